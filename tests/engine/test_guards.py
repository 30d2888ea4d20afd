"""Nothing is dispatched on a remote server without its name."""

import pytest

from agent_tui.model.dispatches import remote_refusal
from agent_tui.model.events import ServerChosen, ServerKind


def server(host: str, *, remote: bool) -> ServerChosen:
    return ServerChosen(ServerKind.CONFIGURED, f"wss://{host}", host, remote, media=True)


@pytest.mark.parametrize("confirmed", ["", "anything"])
def test_a_local_server_needs_no_confirmation(confirmed: str) -> None:
    assert remote_refusal(server("localhost", remote=False), confirmed, "a test dispatch") is None


@pytest.mark.parametrize(
    ("confirmed", "allowed"),
    [("", False), ("other.livekit.cloud", False), ("my.livekit.cloud", True), (" MY.livekit.cloud ", True)],
)
def test_a_remote_server_needs_its_own_name(confirmed: str, allowed: bool) -> None:
    refusal = remote_refusal(server("my.livekit.cloud", remote=True), confirmed, "a test dispatch")
    assert (refusal is None) is allowed
    assert allowed or "my.livekit.cloud" in str(refusal)
