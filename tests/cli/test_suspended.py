"""The command after it or its machine was suspended: offers that the server has withdrawn start nothing."""

import asyncio
import signal
import time
from pathlib import Path

import pytest
from livekit.protocol.room import CreateRoomRequest

from agent_tui.engine.servers import server_api
from agent_tui.worker.urls import ServerAddress
from tests.cli.support import agent_tui
from tests.cli.test_servers import KEY, SECRET, at, free_port, server

pytestmark = pytest.mark.real

STOPPED_S = 6.0
AGENT = "async def entry(ctx):\n    ctx.shutdown('done')\n"


async def dispatch(port: int, count: int, pause_s: float) -> None:
    """Create rooms, each of which dispatches a job."""
    address = ServerAddress(f"ws://127.0.0.1:{port}", KEY, SECRET)
    async with server_api(address, "r", 10) as client:
        for _ in range(count):
            await client.room.create_room(CreateRoomRequest(name=f"r-{time.monotonic()}"))
            await asyncio.sleep(pause_s)


async def test_offers_that_arrived_during_a_suspension_start_no_process(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    port = free_port()
    async with server(port), agent_tui("--json", "--no-watch", cwd=tmp_path, environ=at(port)) as run:
        await run.until("registered")  # the server forgets a dispatch that finds no worker
        await dispatch(port, 1, 0.0)
        await run.until("job_ended")
        await asyncio.sleep(2)  # the server has answered a ping
        run.process.send_signal(signal.SIGSTOP)
        await dispatch(port, 12, STOPPED_S / 12)
        run.process.send_signal(signal.SIGCONT)
        await run.until("offer", count=13)
        await dispatch(port, 3, 0.1)
        await run.until("offer", count=16)
        accepted = [e["job_id"] for e in run.all("offer_answered") if e["accepted"]]
        await run.until("job_ended", count=len(accepted))  # each that was accepted is assigned and runs
        lost = run.all("job_lost")
        assert {"too old" in each["why"] for each in lost} == {True}
        assert len(lost) >= 4
