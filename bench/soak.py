"""Measures whether agent-tui's memory grows with the number of jobs.

It measures two setups: the job manager, the pool, and the state over scripted processes (no process is
started, so that many jobs take little time), and the whole command with forks of a native agent on a server.
It prints the memory after the first tenth of the jobs and at the end, and their ratio.

    python bench/soak.py [--scripted 100000] [--forked 2000]
"""

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

import rig

from agent_tui.engine.bus import Bus
from agent_tui.model import child as ch
from agent_tui.model import events as ev
from agent_tui.model.clock import SystemClock
from agent_tui.processes.pool import Plan
from tests.fakes.scripted_child import ScriptedChild
from tests.jobs.support import Bench

MB = 2**20
AT_ONCE = 20
AGENT = "async def entry(ctx):\n    ctx.shutdown('done')\n"


class Forgetful:
    """Creates children that finish each job at once, and keeps none of them."""

    def __init__(self) -> None:
        self.children: list[ScriptedChild] = []

    async def __call__(self, kind: ch.ProcessKind, process_id: str) -> ScriptedChild:
        child = ScriptedChild(kind, process_id)
        child.answers = self._answer
        child.say(ch.Loading(), ch.Ready())
        return child

    @staticmethod
    def _answer(child: ScriptedChild, message: ch.ToChild) -> None:
        match message:
            case ch.Ping(sent_ms=sent):
                child.say(ch.Pong(sent))
            case ch.StartJob():
                child.say(ch.EntryStarted(time.time()), ch.Exiting("done"), ch.ShuttingDown())
                child.end(0)
            case ch.Shutdown(reason=reason):
                child.say(ch.ShutdownAck(), ch.Exiting(reason), ch.ShuttingDown())
                child.end(0)


class Engine(Bench):
    """The job manager and its collaborators, with the state that a screen shows."""

    def __init__(self) -> None:
        super().__init__(Forgetful(), target=2)  # type: ignore[arg-type]
        self.bus = Bus(SystemClock())
        self.finished = 0
        # The base class keeps all events in lists.
        self.manager._emit = self._record
        self.pool._supervisor = replace(self.pool._supervisor, emit=self._record)

    def _record(self, event: ev.Event) -> None:
        self.bus.publish(event)
        self.finished += isinstance(event, ev.JobEnded)

    def answer(self, job_id: str, answer: object) -> bool:
        asyncio.get_running_loop().call_soon(self.assign, job_id)
        return True

    def update_job(self, *_: object) -> bool:
        return True

    def outcome(self, *_: object) -> None: ...
    def changed(self, *_: object) -> None: ...
    def job_over(self, *_: object) -> None: ...


async def scripted(count: int) -> tuple[float, float]:
    """Return the memory of this process after a tenth of the jobs and after all of them, in MB."""
    engine = Engine()
    running = asyncio.create_task(engine.pool.run())
    engine.pool.use(Plan(1, engine.nursery))
    early = 0.0
    for number in range(count):
        engine.offer(f"AJ_{number}")
        while number - engine.finished >= AT_ONCE:  # noqa: ASYNC110  a few iterations of the loop
            await asyncio.sleep(0)
        if number == count // 10:
            early = own_mb()
    while engine.finished < count:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    late = own_mb()
    await asyncio.gather(engine.manager.close("over"), engine.pool.close("over"))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return early, late


def own_mb() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss / MB)


async def forked(count: int) -> tuple[float, float]:
    """Return the memory of the command's process after a tenth of the jobs and after all of them, in MB."""
    from livekit import api

    from agent_tui.local_server.server import LocalServer

    with tempfile.TemporaryDirectory() as name:
        agent = Path(name) / "agent.py"
        agent.write_text(AGENT)
        async with LocalServer(port=0) as server:
            command = await asyncio.create_subprocess_exec(
                *rig.HOST,
                str(agent),
                *("--json", "--num-idle-processes=4", f"--url={server.url}"),
                *(f"--api-key={server.api_key}", f"--api-secret={server.api_secret}"),
                stdout=asyncio.subprocess.PIPE,
                limit=2**24,
            )
            assert command.stdout is not None
            process = psutil.Process(command.pid)
            while b'"state": "idle"' not in await command.stdout.readline():
                pass
            ended, early, started = 0, 0.0, 0
            client = api.LiveKitAPI(server.url, server.api_key, server.api_secret)
            tasks: set[asyncio.Task[object]] = set()
            while ended < count:
                while started < count and started - ended < AT_ONCE:
                    request = api.CreateRoomRequest(name=f"room-{started}")
                    task = asyncio.create_task(client.room.create_room(request))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    started += 1
                line = await command.stdout.readline()
                if b'"job_ended"' in line or b'"job_lost"' in line:
                    ended += 1
                    if ended == max(count // 10, 1):
                        early = process.memory_info().rss / MB
            late = process.memory_info().rss / MB
            await client.aclose()
            command.terminate()
            await command.communicate()
            return early, late


def report(what: str, count: int, figures: tuple[float, float], seconds: float) -> None:
    early, late = figures
    took = f"{what:<10} {count:>7} jobs in {seconds:6.1f} s"
    print(f"{took}: {early:6.1f} MB → {late:6.1f} MB, ×{late / early:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--scripted", type=int, default=100_000)
    parser.add_argument("--forked", type=int, default=2_000)
    arguments = parser.parse_args()
    for what, run, count in (
        ("scripted", scripted, arguments.scripted),
        ("forked", forked, arguments.forked),
    ):
        if count:
            started = time.monotonic()
            figures = asyncio.run(run(count))
            report(what, count, figures, time.monotonic() - started)


if __name__ == "__main__":
    main()
