"""Test jobs through a whole engine on a real agent: what they carry, how they arrive, how long they run."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from livekit.protocol.room import ListRoomsRequest

from agent_tui.engine.config import RunConfig
from agent_tui.engine.engine import Engine
from agent_tui.engine.servers import server_api
from agent_tui.model import events as ev
from agent_tui.model.commands import Dispatch, DispatchBy, MeasureMemory
from agent_tui.model.state import AppState
from agent_tui.options.envfiles import Environment
from agent_tui.options.resolve import SourcedValue
from agent_tui.runtimes.interpreter import Interpreter
from tests.limits import PATIENCE_S

AGENT = """
import asyncio, json

async def entry(ctx):
    job, who = ctx.job, ctx.job.participant
    whose = [who.identity, who.metadata, dict(who.attributes)] if who else None
    with open({notes!r}, "a") as file:
        print(json.dumps([job.type, job.metadata, dict(job.attributes), whose]), file=file)
    await asyncio.sleep(60)
"""

pytestmark = pytest.mark.real


@dataclass
class Scene:
    engine: Engine
    notes: Path

    @property
    def state(self) -> AppState:
        subscription = self.engine.subscribe()
        subscription.close()
        return subscription.state

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():  # noqa: ASYNC110  the agent's file is polled
                await asyncio.sleep(0.02)

    async def entered(self, count: int) -> list[Any]:
        """Return what that many jobs recorded."""
        await self.until(lambda: self.notes.exists() and len(self.notes.read_text().splitlines()) >= count)
        return [json.loads(line) for line in self.notes.read_text().splitlines()]

    async def rooms(self) -> set[str]:
        async with server_api(self.engine._servers.current.address, "", 5.0) as api:
            return {room.name for room in (await api.room.list_rooms(ListRoomsRequest())).rooms}


@asynccontextmanager
async def scene_of(folder: Path, **flags: str) -> AsyncIterator[Scene]:
    notes, agent = folder / "notes.txt", folder / "agent.py"
    agent.write_text(AGENT.format(notes=str(notes)))
    given = {"agent": str(agent), "port": "0", **flags}
    config = RunConfig(
        agent=agent,
        cwd=folder,
        read_environment=lambda: Environment({}, (), ()),
        runtime="native",
        interpreter=Interpreter(Path(sys.executable), sys.version.split()[0], "that of the test", ()),
        flags={name: SourcedValue(value, f"--{name}") for name, value in given.items()},
        local=True,
        watch=False,
    )
    async with Engine(config) as engine:
        scene = Scene(engine, notes)
        await scene.until(lambda: scene.state.worker.worker_id and scene.state.generation.current)
        yield scene


@pytest.mark.parametrize("name", ["bob", ""])
async def test_a_dispatched_job_carries_metadata_and_attributes(tmp_path: Path, name: str) -> None:
    async with scene_of(tmp_path, agentName=name) as scene:
        result = await scene.engine.send(Dispatch(metadata="for you", attributes={"tier": "gold"}))
        assert result.ok, result.text
        assert len(result.dispatches) == 1
        (noted,) = await scene.entered(1)
        assert noted[1:] == ["for you", {"tier": "gold"}, None]


async def test_a_simulated_job_comes_to_this_worker_and_may_have_a_participant(tmp_path: Path) -> None:
    async with scene_of(tmp_path) as scene:
        simulate = DispatchBy.SIMULATE
        assert (await scene.engine.send(Dispatch(by=simulate))).ok
        (room_job,) = await scene.entered(1)
        assert room_job == ["JT_ROOM", "", {}, None]
        whole = Dispatch(by=simulate, identity="ann", metadata="of hers", attributes={"tier": "gold"})
        result = await scene.engine.send(whole)
        assert result.ok
        *_, publisher_job = await scene.entered(2)
        assert publisher_job == ["JT_PUBLISHER", "", {}, ["ann", "of hers", {"tier": "gold"}]]
        await scene.until(lambda: scene.state.totals.started == 2)
        (job,) = [each for each in scene.state.jobs.values() if each.test_dispatch in result.dispatches]
        assert job.dispatch_to_entry_ms is not None

        refused = await scene.engine.send(Dispatch(by=simulate, metadata="of nobody"))
        assert not refused.ok
        assert "give an identity" in refused.text


async def test_jobs_run_for_their_dispatch_s_length_and_their_rooms_are_deleted(tmp_path: Path) -> None:
    async with scene_of(tmp_path) as scene:
        stays = await scene.engine.send(Dispatch())
        short = await scene.engine.send(Dispatch(2, length_s=0.2))
        assert len(short.dispatches) == 2

        def over() -> list[ev.JobStatus | None]:
            return [each.status for each in scene.state.jobs.values() if each.status is not None]

        await scene.until(lambda: len(over()) == 2)
        assert over() == [ev.JobStatus.SUCCESS] * 2
        ended = [each for each in scene.state.jobs.values() if each.status]
        assert {each.room for each in ended} == set(short.dispatches.values())
        assert all("job length of 200 ms" in each.reason for each in ended)
        await scene.entered(3)
        async with asyncio.timeout(PATIENCE_S):
            while await scene.rooms() != set(stays.dispatches.values()):  # noqa: ASYNC110  the server is polled
                await asyncio.sleep(0.05)


async def test_memory_is_read_on_request(tmp_path: Path) -> None:
    async with scene_of(tmp_path, numIdleProcesses="2") as scene:
        await scene.until(lambda: sum(each.state == "idle" for each in scene.state.live_processes) == 2)
        subscription = scene.engine.subscribe()
        assert (await scene.engine.send(MeasureMemory())).ok
        subscription.close()
        events = [each.event async for batch in subscription.batches() for each in batch]
        read = {event.id: event for event in events if isinstance(event, ev.ProcessMeasured)}
        idle = {each.id for each in scene.state.live_processes if each.state == "idle"}
        assert idle <= read.keys()
        assert all(event.uss_mb and event.cpu_s is not None for event in read.values())
