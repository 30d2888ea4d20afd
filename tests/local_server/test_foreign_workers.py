"""Workers of the real SDKs: they register, get dispatches, and are terminated."""

import asyncio
import os
import time
from pathlib import Path
from typing import Final

import pytest
from livekit import api
from livekit.protocol.agent import JobType

from agent_tui.local_server.pool import PoolKey
from agent_tui.local_server.server import LocalServer
from agent_tui.local_server.session import WorkerSession
from tests.nodes import newest_node, nodes
from tests.sdks import each_sdk_with

from .foreign import NODE, PYTHON_OPTIONS, PYTHON_SERVER, Foreign, running

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

_ROOT: Final = Path(__file__).parents[2]
_SLOW: Final = 150.0
"""Seconds that importing an SDK takes on a busy machine."""


def _node_modules() -> Path:
    return Path(os.environ.get("AGENT_TUI_NODE_MODULES") or _ROOT / ".venvs" / "js" / "node_modules")


@each_sdk_with("command", ("dev", "start"))
async def test_livekit_agents(sdk_python: Path, command: str, tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(PYTHON_SERVER if command == "dev" else PYTHON_OPTIONS)
    await _is_served([str(sdk_python), "agent.py", command], tmp_path)


async def test_agents_js(tmp_path: Path) -> None:
    modules = _node_modules()
    if not nodes() or not (modules / "@livekit" / "agents").is_dir():
        pytest.skip("no Node, or no @livekit/agents: set AGENT_TUI_NODE_MODULES")
    (tmp_path / "node_modules").symlink_to(modules.resolve())
    (tmp_path / "agent.mjs").write_text(NODE)
    await _is_served([str(newest_node()), "agent.mjs", "start"], tmp_path)


async def _is_served(command: list[str], folder: Path) -> None:
    name, room = "foreign", "a-room"
    async with LocalServer() as server:
        environment = {
            "LIVEKIT_URL": server.url,
            "LIVEKIT_API_KEY": server.api_key,
            "LIVEKIT_API_SECRET": server.api_secret,
            "AGENT_NAME": name,
        }
        with running(command, folder, environment) as foreign:
            worker = await _registered(server, foreign)
            assert worker.key == PoolKey(name, "", JobType.JT_ROOM, "")
            assert worker.version
            async with api.LiveKitAPI(server.url, server.api_key, server.api_secret) as client:
                request = api.CreateAgentDispatchRequest(agent_name=name, room=room, metadata="hello")
                dispatch = await client.agent_dispatch.create_dispatch(request)
                entry = await foreign.told("entry", _SLOW)
                found = await client.agent_dispatch.get_dispatch(dispatch.id, room)
                assert found is not None
                assert (entry["room"], entry["metadata"]) == (room, "hello")
                assert [job.id for job in found.state.jobs] == [entry["job"]]
                assert list(server.workers[0].running) == [entry["job"]]
                await client.agent_dispatch.delete_dispatch(dispatch.id, room)
            assert (await foreign.told("ended", _SLOW))["job"] == entry["job"]
            assert not server.workers[0].running


async def _registered(server: LocalServer, foreign: Foreign) -> WorkerSession:
    deadline = time.monotonic() + _SLOW
    while not server.workers:
        assert time.monotonic() < deadline, foreign.log
        assert foreign.process.poll() is None, foreign.log
        await asyncio.sleep(0.05)
    return server.workers[0]
