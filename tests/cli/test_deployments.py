"""A personal deployment on a server that is not this machine, beside production workers of the same agent."""

import getpass
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from livekit import api

from agent_tui.local_server.server import LocalServer
from agent_tui.settings.settings import defaults_context
from tests.cli.support import EXAMPLES, Run, agent_tui, finished

pytestmark = pytest.mark.real

AGENT = EXAMPLES / "native_agent.py"
PRODUCTION = ("--json", "--deployment", "")
OWN = defaults_context("native", local=False).personal_deployment


@asynccontextmanager
async def remote() -> AsyncIterator[tuple[LocalServer, dict[str, str], str]]:
    """An embedded server under this machine's name, which counts as remote: nothing resolves names."""
    host = socket.gethostname()
    try:
        socket.gethostbyname(host)
    except OSError:
        pytest.skip("this machine's own name does not resolve")
    async with LocalServer(host="0.0.0.0") as server:
        port = server.url.rpartition(":")[2]
        url = f"ws://{host}:{port}"
        environ = {
            "LIVEKIT_URL": url,
            "LIVEKIT_API_KEY": server.api_key,
            "LIVEKIT_API_SECRET": server.api_secret,
            "LOGNAME": getpass.getuser(),
        }
        yield server, environ, host


async def rooms(run: Run, event: str, count: int) -> set[str]:
    """Wait for that many events of a kind; return their rooms."""
    await run.until(event, count)
    return {each["room"] for each in run.all(event)}


@pytest.mark.parametrize("name", ["", "bob"])
async def test_development_and_production_share_a_server(name: str) -> None:
    named = ("--agent-name", name) if name else ()
    async with (
        remote() as (server, environ, host),
        agent_tui(AGENT, *PRODUCTION, *named, environ=environ) as production,
        agent_tui(
            AGENT, "--json", "--dispatch", 2, "--allow-remote", host, *named, environ=environ
        ) as development,
    ):
        assert (await production.until("registered"))["deployment"] == ""
        assert (await development.until("registered"))["deployment"] == OWN
        mine = await rooms(development, "dispatched", 2)
        assert await rooms(development, "job_started", 2) == mine
        http = environ["LIVEKIT_URL"].replace("ws", "http", 1)
        async with api.LiveKitAPI(http, server.api_key, server.api_secret) as client:
            for room in ("call-1", "call-2"):
                agents = [api.RoomAgentDispatch(agent_name=name)]
                await client.room.create_room(api.CreateRoomRequest(name=room, agents=agents))
        assert await rooms(production, "job_started", 2) == {"call-1", "call-2"}
        assert {each["room"] for each in development.all("offer")} == mine
        assert {each["room"] for each in production.all("offer")} == {"call-1", "call-2"}


async def test_without_a_deployment_production_calls_can_arrive_and_it_says_so() -> None:
    async with (
        remote() as (_, environ, host),
        agent_tui(AGENT, "--json", "--deployment", "", environ=environ) as run,
    ):
        assert (await run.until("registered"))["deployment"] == ""
        warning = await run.until("log", level="warn")
        assert warning["text"] == f"no deployment at {host}: production calls can arrive here"


async def test_the_embedded_server_needs_none_even_if_a_remote_one_is_configured() -> None:
    environ = {
        "LIVEKIT_URL": "wss://my.livekit.example",
        "LIVEKIT_API_KEY": "k",
        "LIVEKIT_API_SECRET": "s",
    }
    async with agent_tui(AGENT, "--json", "--local", environ=environ) as run:
        assert (await run.until("registered"))["deployment"] == ""


async def test_the_options_say_where_it_came_from() -> None:
    environ = {"LIVEKIT_URL": "wss://my.livekit.example", "LOGNAME": getpass.getuser()}
    code, run = await finished("options", AGENT, "--json", environ=environ)
    assert code == 0
    assert OWN in str(run.events[0]["deployment"])
    assert "personal deployment" in str(run.events[0]["deployment"])


@pytest.mark.parametrize(
    ("flags", "level", "says"),
    [
        ((), "good", f"{OWN} (personal deployment): only dispatches that name it arrive"),
        (("--deployment", ""), "warning", "production calls can arrive here"),
        (("--production", "--port", "0"), None, ""),
        (("--local",), None, ""),
    ],
)
async def test_doctor_says_which_calls_arrive(flags: tuple[str, ...], level: str | None, says: str) -> None:
    async with remote() as (_, environ, _):
        _, run = await finished("doctor", AGENT, "--json", *flags, environ=environ)
    found = [each for each in run.events if each["check"] == "deployment"]
    assert [each["level"] for each in found] == ([level] if level else [])
    assert all(says in each["text"] for each in found)
