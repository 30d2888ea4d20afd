"""Nothing is dispatched on a remote server without its name."""

import pytest

from agent_tui.model.dispatches import exposure, remote_refusal
from agent_tui.model.events import ServerChosen, ServerKind
from agent_tui.worker.protocol import knows_deployments


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


def test_the_config_file_may_allow_a_remote_server() -> None:
    allowed = ServerChosen(ServerKind.CONFIGURED, "wss://x", "x", remote=True, media=True, allowed=True)
    assert remote_refusal(allowed, "", "a test dispatch") is None


@pytest.mark.parametrize(
    ("url", "deployment", "knows", "production", "why"),
    [
        ("wss://x.cloud", "", True, False, "no deployment at x.cloud: production calls can arrive here"),
        ("wss://x.cloud", "ann", True, False, ""),
        (
            "wss://x.cloud",
            "ann",
            False,
            False,
            "x.cloud does not support deployments: production calls can arrive here",
        ),
        ("wss://x.cloud", "", True, True, ""),
        ("ws://localhost:7880", "", False, False, ""),
    ],
)
def test_when_production_calls_can_arrive(
    url: str, deployment: str, knows: bool, production: bool, why: str
) -> None:
    assert exposure(url, deployment, knows_deployments=knows, production=production) == why


@pytest.mark.parametrize(
    ("version", "known"),
    [("1.13.5", True), ("1.12.0", True), ("v2.0", True), ("1.11.9", False), ("", False), ("dev", False)],
)
def test_which_servers_know_deployments(version: str, known: bool) -> None:
    assert knows_deployments(version) is known
