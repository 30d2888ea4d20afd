"""Measures how fast a typed turn reaches its job, and what a job pays for having its session followed.

    python bench/talk.py [--turns 50] [--pairs 3]

The agent's LLM is a script (tests/agents/sdk_talks.py), so that all time is agent-tui's and the SDK's.
"""

import argparse
import asyncio
import math
import os
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import rig

from agent_tui.engine.config import RunConfig
from agent_tui.engine.engine import Engine
from agent_tui.model import commands as cmd
from agent_tui.model import session_events as se
from agent_tui.options.configfile import read_environment_and_config
from agent_tui.runtimes.interpreter import find_interpreter
from agent_tui.runtimes.kinds import detect

AGENT = rig.ROOT / "tests/agents/sdk_talks.py"
LIMIT_S = 600.0


@asynccontextmanager
async def job(*, sessions: bool, text_only: bool = True) -> AsyncIterator[tuple[Engine, str]]:
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
        sessions=sessions,
        text_only=text_only,
    )
    engine = Engine(config)
    async with engine, asyncio.timeout(LIMIT_S):
        while not engine.state.is_ready_for_tests(1):  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(0.05)
        await engine.send(cmd.Dispatch(length_s=3600))
        while not (engine.state.sessions if sessions else engine.state.totals.started):  # noqa: ASYNC110
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


def memory_mb(engine: Engine, job_id: str) -> float:
    pid = next(each.pid for each in engine.state.processes.values() if each.job_id == job_id)
    return float(psutil.Process(pid).memory_full_info().uss) / 2**20


def shown(values: list[float]) -> str:
    ordered = sorted(values)
    return f"median {statistics.median(ordered):.1f}, p95 {ordered[math.ceil(0.95 * len(ordered)) - 1]:.1f}"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=50)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    async with job(sessions=True) as (engine, job_id):
        round_trips = await asked(engine, job_id, options.turns)
        reached = await turns(engine, job_id, options.turns)
    print(f"command -> session's host in the job and back  {shown(round_trips)} ms")
    print(f"command -> user message shown                  {shown(reached)} ms")
    differences = []
    for _ in range(options.pairs):
        sizes = {}
        for sessions in (False, True):
            # With audio in both: a session without it loads less, by far.
            async with job(sessions=sessions, text_only=False) as (engine, job_id):
                sizes[sessions] = memory_mb(engine, job_id)
        differences.append(sizes[True] - sizes[False])
    print(f"memory (USS) of a job with its session followed, less without  {shown(differences)} MB")


if __name__ == "__main__":
    asyncio.run(main())
