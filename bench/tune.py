"""Checks the recommendation of a sweep with new runs at the recommended count and other seeds.

New runs are measured independently of agent-tui: this script logs when it dispatches a job, and the agent's
entry function logs when it is called. The script prints the share of hits of each new run, whether it meets
the target and is in the predicted interval, the predicted and measured warm-hit rates, and idle memory
compared with the kernel's smaps_rollup.

    python bench/tune.py [--prewarms 0 0.3 2] [--seeds 10] [--jobs 40] [--target 'p95<50ms']
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from agent_tui.engine.config import RunConfig
from agent_tui.engine.engine import Engine
from agent_tui.model import commands as cmd
from agent_tui.model.child import ProcessKind
from agent_tui.model.events import ProcessState
from agent_tui.model.tuning import Advice, Phase, Progress, SweepPlan, SweepResult, Target, TestLoad
from agent_tui.options.envfiles import Environment
from agent_tui.options.resolve import SourcedValue
from agent_tui.runtimes.interpreter import Interpreter
from agent_tui.tuning.advice import advise, model_error
from agent_tui.tuning.arrivals import offsets
from agent_tui.tuning.grammar import parse_target
from agent_tui.tuning.report import table
from agent_tui.tuning.results import rows
from agent_tui.tuning.sweep import Sweep

AGENT = """
import asyncio, os, time

def prewarm(proc):
    time.sleep({prewarm})

async def entry(ctx):
    line = f"{{ctx.job.room.name}} {{time.time()!r}}\\n".encode()
    fd = os.open({entries!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line)
    os.close(fd)
    await asyncio.sleep(3600)
"""
RATES = {0.0: 3.0, 0.3: 2.0, 2.0: 0.4}
"""Arrivals per second for each prewarm time in s. Two concurrent starts can handle that many."""

COUNTS = {0.0: (0, 1, 2, 3), 0.3: (0, 1, 2, 3, 4), 2.0: (0, 1, 2, 3, 4, 5)}
JOB_LENGTH_S = 0.3
SETTLE_S = 90.0


@dataclass
class Place:
    """An agent that an engine in this process hosts, and the times that the agent logs."""

    engine: Engine
    entries: Path
    kernel: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Pid -> USS and PSS in MB by smaps_rollup, right after the sweep has read them."""

    def entered(self) -> dict[str, float]:
        """Return the time of each room's entry, in Unix seconds."""
        lines = self.entries.read_text().splitlines() if self.entries.exists() else []
        return {room: float(at) for room, at in (line.split() for line in lines)}

    def note_kernel(self, progress: Progress) -> None:
        """Read the kernel's figures at the start of each run, just after the sweep has read the memory."""
        if progress.phase is Phase.RUNNING and not progress.jobs and progress.finished is None:
            for pid in self.idle_pids():
                self.kernel[pid] = smaps(pid)

    def idle_pids(self) -> list[int]:
        return [
            each.pid
            for each in self.engine.state.live_processes
            if each.kind is ProcessKind.JOB and each.state is ProcessState.IDLE and each.pid is not None
        ]


def smaps(pid: int) -> tuple[float, float]:
    """Return USS and PSS of a process from the kernel, in MB."""
    found: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        found[name] = int(value.split()[0])
    return (found["Private_Clean"] + found["Private_Dirty"]) / 1024, found["Pss"] / 1024


@contextlib.asynccontextmanager
async def hosted(folder: Path, prewarm_s: float) -> AsyncIterator[Place]:
    """Run an engine with an agent whose prewarm takes that long, on the embedded server.

    Yields once it is registered.
    """
    entries, agent = folder / "entries.txt", folder / "agent.py"
    agent.write_text(AGENT.format(prewarm=prewarm_s, entries=str(entries)))
    python = Interpreter(Path(sys.executable), sys.version.split()[0], "the Python of the bench", ())
    config = RunConfig(
        agent=agent,
        cwd=folder,
        read_environment=lambda: Environment({}, (), ()),
        runtime="native",
        interpreter=python,
        flags={"agent": SourcedValue(str(agent), "AGENT"), "port": SourcedValue("0", "--port")},
        local=True,
        watch=False,
    )
    async with Engine(config) as engine:
        while True:
            state = engine.state
            if state.worker.worker_id and state.generation.current:
                break
            await asyncio.sleep(0.05)
        yield Place(engine, entries)


async def settle(place: Place, count: int) -> None:
    """Set numIdleProcesses, and wait until there are that many idle processes and no others."""
    await place.engine.send(cmd.SetOptions({"numIdleProcesses": str(count)}))
    async with asyncio.timeout(SETTLE_S):
        while True:
            jobs = [each for each in place.engine.state.live_processes if each.kind is ProcessKind.JOB]
            if len(jobs) == count == len(place.idle_pids()):
                break
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)


async def attained(place: Place, count: int, load: TestLoad, target: Target) -> tuple[int, int]:
    """Measure a new run independently of the sweep. Return the jobs that hit the target, and all jobs."""
    await settle(place, count)
    asked: dict[str, float] = {}

    async def dispatch() -> None:
        at = time.time()
        result = await place.engine.send(cmd.Dispatch(length_s=load.job_length_s))
        asked.update(dict.fromkeys(result.dispatches.values(), at))

    start = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for offset in offsets(load):
            await asyncio.sleep(max(start + offset - time.monotonic(), 0))
            group.create_task(dispatch())
    async with asyncio.timeout(SETTLE_S):
        while not asked.keys() <= (entered := place.entered()).keys():  # noqa: ASYNC110  the entries are in a file
            await asyncio.sleep(0.05)
    return sum(target.hit((entered[room] - at) * 1000, True) for room, at in asked.items()), len(asked)


def print_sweep(place: Place, result: SweepResult, advice: Advice) -> None:
    print("\n".join(f"  {line}" for line in (*table(rows(result)), *advice.lines)))
    for each in advice.candidates:
        print(
            f"  {each.num_idle_processes} idle: warm-hit rate measured {each.warm_measured:.3f}, "
            f"predicted {each.warm_predicted:.3f}"
        )
    print(f"  largest difference: {(model_error(advice.candidates) or 0) * 100:.1f} points")
    off = [
        max(abs(memory.uss_mb / kernel[0] - 1), abs(memory.pss_mb / kernel[1] - 1))
        for run in result.runs
        for memory in run.memory
        if (kernel := place.kernel.get(memory.pid))
        and memory.uss_mb is not None
        and memory.pss_mb is not None
    ]
    print(f"  idle memory differs from smaps_rollup by at most {max(off, default=0):.2%} (n={len(off)})")


async def check(options: argparse.Namespace, prewarm_s: float) -> None:
    target = parse_target(options.target)
    load = TestLoad(options.jobs, RATES[prewarm_s], job_length_s=JOB_LENGTH_S)
    print(f"prewarm {prewarm_s:g} s, {load.rate:g}/s, {load.jobs} jobs, {target.text}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        async with hosted(Path(folder), prewarm_s) as place:
            result = await Sweep(place.engine, SweepPlan(load, COUNTS[prewarm_s]), place.note_kernel).run()
            advice = advise(result, target)
            print_sweep(place, result, advice)
            if advice.chosen is None:
                return
            low, high = advice.chosen.confidence
            met = inside = 0
            for number in range(options.seeds):
                hits, jobs = await attained(
                    place, advice.chosen.num_idle_processes, load.reseeded(1001 + number), target
                )
                met += target.met(hits, jobs)
                inside += low - 1e-9 <= hits / jobs <= high + 1e-9
                print(f"  new run {number + 1}: {hits} of {jobs} ({hits / jobs:.1%})", flush=True)
            print(
                f"  {met} of {options.seeds} new runs meet the target, "
                f"{inside} are in [{low:.3f}, {high:.3f}]",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prewarms", nargs="*", type=float, choices=RATES, default=list(RATES))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--target", default="p95<50ms")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores")
    for prewarm_s in options.prewarms:
        asyncio.run(check(options, prewarm_s))


if __name__ == "__main__":
    main()
