"""Join links: who may join which room, and that the token stays hidden."""

import urllib.parse

import pytest

from agent_tui.engine.servers import join_link
from agent_tui.model.errors import UserError
from agent_tui.model.signing import verify
from agent_tui.worker.urls import ServerAddress
from tests.tui.histories import EMBEDDED, LOCAL

ADDRESS = ServerAddress("ws://localhost:7880", "devkey", "secret")


@pytest.mark.parametrize(
    ("name", "deployment", "agents"),
    [
        ("", "", None),
        ("bob", "", [{"agentName": "bob"}]),
        ("", "ann", [{"deployment": "ann"}]),
        ("bob", "ann", [{"agentName": "bob", "deployment": "ann"}]),
    ],
)
def test_a_link_lets_one_person_into_one_room(name: str, deployment: str, agents: object) -> None:
    link = join_link(LOCAL, ADDRESS, "demo 1", name, deployment)
    claims = verify(link.token, "secret")
    assert claims["video"] == {"roomJoin": True, "room": "demo 1", "canPublish": True, "canSubscribe": True}
    assert claims.get("roomConfig") == (agents and {"agents": agents})
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(link.link).query)
    assert query == {"liveKitUrl": ["ws://localhost:7880"], "token": [link.token]}
    assert link.token not in repr(link)


def test_without_media_it_says_what_to_install() -> None:
    with pytest.raises(UserError, match="livekit-server"):
        join_link(EMBEDDED, ADDRESS, "demo", "")
