"""How a person joins a room: a token for an hour, and a link that opens it in the browser."""

import secrets
import time
from urllib.parse import urlencode

from agent_tui.model.errors import UserError
from agent_tui.model.events import ServerChosen
from agent_tui.model.requests import JoinLink
from agent_tui.model.signing import sign
from agent_tui.worker.urls import ServerAddress

LIFE_S = 3600
PAGE = "https://meet.livekit.io/custom"
"""LiveKit's own page for any server; the browser connects to the server, the page's host does not."""


def join_link(server: ServerChosen, address: ServerAddress, room: str, agent_name: str) -> JoinLink:
    """A link for one new participant, valid for an hour; a room made by joining gets the agent too.

    Raises UserError on a server without media: nobody can join there.
    """
    if not server.media:
        raise UserError(
            "nobody can join a room here: the embedded server has no media; put livekit-server on PATH "
            "or start `livekit-server --dev`, then start agent-tui again"
        )
    claims = {
        "iss": address.api_key,
        "sub": f"developer-{secrets.token_hex(3)}",
        "exp": int(time.time()) + LIFE_S,
        "video": {"roomJoin": True, "room": room, "canPublish": True, "canSubscribe": True},
    }
    if agent_name:
        claims["roomConfig"] = {"agents": [{"agentName": agent_name}]}
    token = sign(claims, address.api_secret)
    query = urlencode({"liveKitUrl": address.url, "token": token})
    return JoinLink(room, address.url, token, f"{PAGE}?{query}")
