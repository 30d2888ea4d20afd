"""The token that lets a worker in."""

from agent_tui.model.errors import UserError
from agent_tui.model.signing import sign
from agent_tui.worker.urls import ServerAddress

TOKEN_LIFE_S = 6 * 3600
"""As long as the SDKs': it only matters at the upgrade, and a long one survives a clock that is behind."""


def worker_token(server: ServerAddress, now: float) -> str:
    """A JWT for one connection attempt; `now` is Unix seconds.

    HS256, issued by the API key, with `exp` and `video.agent` (worker-protocol §2). There is no `nbf`, so a
    clock that is ahead does no harm. Raises `UserError` when the key or the secret is empty.
    """
    for value, name in ((server.api_key, "key"), (server.api_secret, "secret")):
        if not value:
            raise UserError(
                f"no API {name} for {server.url}: give --api-{name} or LIVEKIT_API_{name.upper()}"
            )
    claims = {"iss": server.api_key, "exp": int(now) + TOKEN_LIFE_S, "video": {"agent": True}}
    return sign(claims, server.api_secret)
