"""Measures how fast a typed turn reaches its job, and what a job pays for having its session followed.

    python bench/talk.py [--turns 50] [--pairs 3] [--kinds sdk js]

The agent's LLM is a script (tests/agents/sdk_talks.py), so that all time is agent-tui's and the SDK's. What
following a session costs is measured with an agent that talks to itself (bench/talks), once followed and once
with --no-sessions.
"""

import argparse
import asyncio
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import rig

from agent_tui.engine.config import RunConfig
from agent_tui.engine.engine import Engine
from agent_tui.model import commands as cmd
from agent_tui.model import session_events as se
from agent_tui.options.configfile import read_environment_and_config
from agent_tui.runtimes.interpreter import find_interpreter
from agent_tui.runtimes.kinds import detect

AGENT = rig.ROOT / "tests/agents/sdk_talks.py"
TALKS = rig.ROOT / "bench/talks"
LIMIT_S = 600.0


@asynccontextmanager
async def job() -> AsyncIterator[tuple[Engine, str]]:
    """Run the agent with one job. Yields the engine and the job's id once its session has started."""
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    runtime = detect(AGENT)
    config = RunConfig(
        agent=AGENT,
        cwd=AGENT.parent,
        read_environment=lambda: read_environment_and_config(AGENT, AGENT.parent, environ),
        runtime=runtime,
        interpreter=find_interpreter(AGENT, runtime, environ, str(rig.SDK_PYTHON)),
        local=True,
        watch=False,
        text_only=True,
    )
    engine = Engine(config)
    async with engine, asyncio.timeout(LIMIT_S):
        while not engine.state.is_ready_for_tests(1):  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(0.05)
        await engine.send(cmd.Dispatch(length_s=3600))
        while not engine.state.sessions:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await asyncio.sleep(2.0)  # the greeting
        yield engine, next(iter(engine.state.jobs))
        await engine.send(cmd.Stop("measured"))
        await engine.closed()


async def turns(engine: Engine, job_id: str, count: int) -> list[float]:
    """Type turns one after the other; return the ms from each command to the session's user message."""
    reached = []
    subscription = engine.subscribe()
    batches = subscription.batches()
    loop = asyncio.get_running_loop()
    for number in range(count):
        sent = loop.time()
        await engine.send(cmd.Say(job_id, f"turn {number}"))
        done = False
        while not done:
            for stamped in await anext(batches):
                match stamped.event:
                    case se.MessageAdded(role=se.Role.USER):
                        reached.append((loop.time() - sent) * 1000)
                    case se.TurnEnded():
                        done = True
                    case _:
                        pass
    subscription.close()
    return reached


async def asked(engine: Engine, job_id: str, count: int) -> list[float]:
    """Send `count` trivial requests to the session. Return how long each round trip took, in ms."""
    loop = asyncio.get_running_loop()
    took = []
    for _ in range(count):
        sent = loop.time()
        await engine._jobs.sessions(job_id).ask("get_framework_info")
        took.append((loop.time() - sent) * 1000)
    return took


def shown(values: list[float]) -> str:
    ordered = sorted(values)
    return f"median {statistics.median(ordered):.1f}, p95 {ordered[math.ceil(0.95 * len(ordered)) - 1]:.1f}"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=50)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--kinds", nargs="*", choices=("sdk", "js"), default=["sdk", "js"])
    options = parser.parse_args()
    async with job() as (engine, job_id):
        round_trips = await asked(engine, job_id, options.turns)
        reached = await turns(engine, job_id, options.turns)
    print(f"command -> session's host in the job and back  {shown(round_trips)} ms")
    print(f"command -> user message shown                  {shown(reached)} ms")
    for kind in options.kinds:
        costs = [(talked(kind, sessions=True), talked(kind, sessions=False)) for _ in range(options.pairs)]
        for name, unit in (("cpu_ms", "ms"), ("mb", "MB")):
            tapped, bare = (statistics.median(pair[at][name] for pair in costs) for at in (0, 1))
            less = [pair[0][name] - pair[1][name] for pair in costs]
            print(f"{kind}: {NAMED[name]}  {tapped:.1f} {unit}, if not followed {bare:.1f}")
            print(f"{kind}:   difference in each pair  {shown(less)} {unit}")


NAMED = {"cpu_ms": "CPU of a turn of a followed session", "mb": "memory (USS) of its job"}


def talked(kind: str, *, sessions: bool) -> dict[str, float]:
    """Run one job that talks to itself. Return the CPU of a turn in ms, and the private memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        name = {"sdk": "agent.py", "js": "agent.mjs"}[kind]
        agent, out = Path(folder) / name, Path(folder) / "cost.json"
        shutil.copy(TALKS / name, agent)
        if kind == "js":
            (agent.parent / "node_modules").symlink_to(rig.NODE_MODULES)
        command = [
            sys.executable,
            "-m",
            "agent_tui",
            agent,
            "--local",
            "--headless",
            "--no-text",
            "--no-watch",
        ]
        command += ["--python", rig.SDK_PYTHON] if kind == "sdk" else []
        command += [
            "--no-watch",
            "--dispatch",
            "1",
            "--exit-when-idle",
            *([] if sessions else ["--no-sessions"]),
        ]
        environ = {"PATH": os.environ["PATH"], "HOME": folder, "BENCH_OUT": str(out)}
        subprocess.run(
            [str(each) for each in command], env=environ, check=True, timeout=120, stdout=subprocess.DEVNULL
        )
        cost: dict[str, float] = json.loads(out.read_text())
        return cost


if __name__ == "__main__":
    asyncio.run(main())
