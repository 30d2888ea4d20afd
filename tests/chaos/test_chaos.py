"""AGENT_TUI_CHAOS_FAULTS faults (100), chosen by AGENT_TUI_CHAOS_SEED: the same ones for the same seed."""

import asyncio
import sys
import tomllib
from collections import Counter
from pathlib import Path

import psutil
import pytest

from agent_tui.engine.api import server_api
from agent_tui.worker.urls import ServerAddress
from tests.chaos.rig import FAULT_NAMES, FAULTS, IDLE, PAUSE_S, SEED, Chaos, chaos, memory_mb
from tests.cli.test_servers import KEY, SECRET
from tests.fakes.scripted_child import until

pytestmark = [pytest.mark.real, pytest.mark.timeout(120 + 4 * FAULTS)]

QUIET_S = 60.0


async def test_what_must_hold_holds(tmp_path: Path) -> None:
    async with chaos(tmp_path) as under:
        reading = asyncio.create_task(read_on(under))
        dispatching = asyncio.create_task(under.keep_dispatching())
        pid = under.run.process.pid
        await asyncio.sleep(2)
        fds, early = psutil.Process(pid).num_fds(), 0.0
        for number in range(FAULTS):
            name = under.rng.choice(FAULT_NAMES)
            under.done[name] += 1
            await getattr(under, name)()
            await asyncio.sleep(PAUSE_S)
            if number == max(FAULTS // 10, 1):
                early = memory_mb(pid)
        dispatching.cancel()
        await quiet(under)
        await the_server_has_the_worker_that_is_told(under)
        await quiet(under)
        reading.cancel()
        await asyncio.gather(dispatching, reading, return_exceptions=True)
        late = memory_mb(pid)
        sys.stdout.write(
            f"\nseed {SEED}, {FAULTS} faults: {dict(sorted(under.done.items()))}\n"
            f"{under.dispatched} dispatches, jobs {dict(ends(under))}, "
            f"memory {early:.0f} MB → {late:.0f} MB, descriptors {fds} → {psutil.Process(pid).num_fds()}\n"
        )
        every_accepted_job_has_one_end(under)
        what_is_told_is_what_is_there(under)
        tomllib.loads(
            (tmp_path / "agent-tui.toml").read_text() if (tmp_path / "agent-tui.toml").exists() else ""
        )
        assert list(tmp_path.glob(".agent-tui.toml*")) == []
        assert len(psutil.Process(pid).children(recursive=True)) <= IDLE + 3  # base, control, and a template
        assert psutil.Process(pid).num_fds() <= fds + 8
        assert late < early * 1.25 + 5


def what_is_told_is_what_is_there(under: Chaos) -> None:
    """The processes that the events leave alive are those that the kernel knows, each with its state."""
    last = {event["id"]: event for event in under.run.all("process")}
    told = {event["pid"] for event in last.values() if event["state"] != "ended"}
    there = {child.pid for child in psutil.Process(under.run.process.pid).children(recursive=True)}
    assert told == there


async def the_server_has_the_worker_that_is_told(under: Chaos) -> None:
    """A last job is given to the registration that the events say stands."""
    before = under.run.all("job_started")
    await under.dispatch("short")
    await until(lambda: len(under.run.all("job_started")) > len(before), limit_s=10)
    room = under.run.all("job_started")[-1]["room"]
    address = ServerAddress(f"ws://127.0.0.1:{under.port}", KEY, SECRET)
    async with server_api(address, room, 5) as client:
        (dispatch,) = await client.agent_dispatch.list_dispatch(room)
    assert [job.state.worker_id for job in dispatch.state.jobs] == [
        under.run.all("registered")[-1]["worker_id"]
    ]


async def read_on(under: Chaos) -> None:
    """Takes events as they come, so that nobody waits for us."""
    while True:
        await under.run.more()


async def quiet(under: Chaos) -> None:
    """Nothing is done any more: all jobs come to an end, and the wanted processes wait."""
    await under.save()
    await under.edit_back()
    async with asyncio.timeout(QUIET_S):
        while not settled(under):  # noqa: ASYNC110  what is waited for is in another process
            await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    idle = set(under.pids("job", "idle"))
    assert len(idle) == IDLE
    assert all(psutil.pid_exists(pid) for pid in idle)


def settled(under: Chaos) -> bool:
    return not open_jobs(under) and not under.pids("job", "job") and len(under.pids("job", "idle")) == IDLE


def accepted(under: Chaos) -> set[str]:
    return {e["job_id"] for e in under.run.all("offer_answered") if e["accepted"]}


def open_jobs(under: Chaos) -> set[str]:
    over = {e["job_id"] for name in ("job_ended", "job_lost") for e in under.run.all(name)}
    return accepted(under) - over


def ends(under: Chaos) -> Counter[str]:
    counts = Counter(e["status"] for e in under.run.all("job_ended"))
    counts["lost"] = len(under.run.all("job_lost"))
    return counts


def every_accepted_job_has_one_end(under: Chaos) -> None:
    told = Counter(e["job_id"] for name in ("job_ended", "job_lost") for e in under.run.all(name))
    wrong = {job: told[job] for job in accepted(under) if told[job] != 1}
    assert wrong == {}, f"ends that were told by job: {wrong}"
    assert len(accepted(under)) > FAULTS / 4
