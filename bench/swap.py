"""Measures how long after a save a running session is on the new code, and what many swaps cost in memory.

    python bench/swap.py [--kinds sdk js] [--saves 50] [--swaps 1000] [--python PATH]

A save is timed from the moment the file is replaced to the event `Swapped`; the duration in the event is the
part of the job's process. The memory is that of a job whose session is swapped without saves, as fast as it
answers. No other worker is measured: OpenRTC, which also changes running calls, has no session without media.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import rig

from agent_tui.engine.config import RunConfig
from agent_tui.engine.engine import Engine
from agent_tui.model import commands as cmd
from agent_tui.model import session_events as se
from agent_tui.model.child import ProcessKind
from agent_tui.model.events import ProcessState
from agent_tui.options.configfile import read_environment_and_config
from agent_tui.runtimes.interpreter import find_interpreter
from agent_tui.runtimes.kinds import AGENTS_JS, detect
from agent_tui.runtimes.node.find import find_node

AGENTS = {
    "sdk": rig.ROOT / "tests/agents/sdk_swap/agent.py",
    "js": rig.ROOT / "tests/agents/js_swap/agent.mjs",
}
BLANKS = 2
"""How many blank processes of an agents-js file are ready at each save."""

SAID = "instructions one"
"""What a save changes in the agent's file."""

LIMIT_S = 3600.0
PAUSE_S = 0.5
"""Between two saves. A save during the load of the one before would be part of it."""

SHOWN_AT = (1, 10, 100, 200, 500, 1000, 2000)


@asynccontextmanager
async def job(agent: Path, python: str) -> AsyncIterator[tuple[Engine, str]]:
    """Run the agent with one job. Yields the engine and the job's id once its session has started."""
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    runtime = detect(agent)
    interpreter = (
        find_node(agent, environ)
        if runtime == AGENTS_JS
        else find_interpreter(agent, runtime, environ, python)
    )
    config = RunConfig(
        agent=agent,
        cwd=agent.parent,
        read_environment=lambda: read_environment_and_config(agent, agent.parent, environ),
        runtime=runtime,
        interpreter=interpreter,
        local=True,
    )
    engine = Engine(config)
    async with engine, asyncio.timeout(LIMIT_S):
        while not engine.state.is_ready_for_tests(1):  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(0.05)
        await engine.send(cmd.Dispatch(length_s=3600))
        while not engine.state.sessions:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await asyncio.sleep(3.0)  # the greeting, and the next idle process
        yield engine, next(iter(engine.state.jobs))
        await engine.send(cmd.Stop("measured"))
        await engine.closed()


class Swaps:
    """Waits for the swaps of an engine's one session."""

    def __init__(self, engine: Engine) -> None:
        self._batches = engine.subscribe().batches()

    async def next(self) -> se.Swapped:
        while True:
            for stamped in await anext(self._batches):
                if isinstance(stamped.event, se.Swapped):
                    assert stamped.event.reached is se.SwapReach.ALL, stamped.event.notes
                    return stamped.event


async def saved(engine: Engine, agent: Path, count: int) -> tuple[list[float], list[float]]:
    """Save `count` times. Return the ms from each save to its swap, and the ms of that in the job."""
    text, swaps, loop = agent.read_text(), Swaps(engine), asyncio.get_running_loop()  # noqa: ASYNC240
    took, inside = [], []
    for number in range(count):
        while agent.suffix != ".py" and ready_blanks(engine) < BLANKS:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        new = agent.with_name(f".{agent.name}.new")
        new.write_text(text.replace(SAID, f"instructions {number}"))
        at = loop.time()
        new.replace(agent)
        event = await swaps.next()
        took.append((loop.time() - at) * 1000)
        inside.append(event.duration_ms)
        await asyncio.sleep(PAUSE_S)
    return took, inside


def ready_blanks(engine: Engine) -> int:
    processes = engine.state.processes.values()
    return sum(each.kind is ProcessKind.BLANK and each.state is ProcessState.IDLE for each in processes)


async def swapped(engine: Engine, job_id: str, agent: Path, count: int) -> list[tuple[int, float]]:
    """Swap `count` times. Return the memory (USS) of the job's process, in MB, after some of them."""
    text, swaps = agent.read_text(), Swaps(engine)  # noqa: ASYNC240
    pid = next(each.pid for each in engine.state.processes.values() if each.job_id == job_id)
    sizes = []
    sessions = engine._jobs.sessions(job_id)
    for number in range(1, count + 1):
        content = text.replace(SAID, f"instructions {number}").encode()
        sessions.swap(1000 + number, {str(agent): content})
        await swaps.next()
        if number in SHOWN_AT or number == count:
            sizes.append((number, psutil.Process(pid).memory_full_info().uss / 2**20))
    return sizes


def shown(values: list[float]) -> str:
    ordered = sorted(values)
    return f"p50 {statistics.median(ordered):.1f}, p95 {ordered[int(0.95 * (len(ordered) - 1))]:.1f} ms"


async def measure(kind: str, options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        agent = Path(folder) / AGENTS[kind].name
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(AGENTS[kind].parent, folder, dirs_exist_ok=True, ignore=ignored)
        if kind == "js":
            (Path(folder) / "node_modules").symlink_to(rig.NODE_MODULES)
        async with job(agent, options.python) as (engine, job_id):
            took, inside = await saved(engine, agent, options.saves)
            print(f"{kind}: save -> session on the new code  {shown(took)} ({len(took)} saves)", flush=True)
            print(f"{kind}: of that, in the job              {shown(inside)}", flush=True)
            sizes = await swapped(engine, job_id, agent, options.swaps)
    print(
        f"{kind}: memory of the job after swaps: {', '.join(f'{n}: {mb:.1f} MB' for n, mb in sizes)}",
        flush=True,
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=AGENTS, default=["sdk"])
    parser.add_argument("--saves", type=int, default=50)
    parser.add_argument("--swaps", type=int, default=1000)
    parser.add_argument("--python", default=str(rig.SDK_PYTHON), help="a Python with livekit-agents")
    options = parser.parse_args()
    for kind in options.kinds:
        await measure(kind, options)


if __name__ == "__main__":
    asyncio.run(main())
