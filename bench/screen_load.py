"""Measures the screen with simulated events on the current terminal: its CPU, and the time per tick.

Simulates 50 job processes whose memory, CPU, and pings change each second. `ui.py` runs it on a pseudo
terminal.

    python bench/screen_load.py RESULT.json [--processes 50] [--seconds 10]
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent_tui.model import events as ev
from agent_tui.model.child import ProcessKind
from agent_tui.tui.app import AgentTuiApp
from tests.fakes.engine import FakeEngine
from tests.tui import histories


def timed(app: AgentTuiApp) -> list[float]:
    """Return a list that gets the CPU time of each further tick, in ms."""
    ticks: list[float] = []
    paint = app._paint

    def measured() -> None:
        begin = time.thread_time()
        paint()
        ticks.append((time.thread_time() - begin) * 1000)

    app._paint = measured  # type: ignore[method-assign]
    return ticks


def fill(engine: FakeEngine, processes: int) -> None:
    """Simulate that many running jobs."""
    histories.idle(engine)
    for number in range(processes):
        job, name = f"AJ_{number:012}", f"j{number}"
        engine.publish(
            ev.OfferReceived(job, f"room-{number}", "", 1),
            ev.ProcessChanged(name, 9000 + number, ProcessKind.JOB, ev.ProcessState.JOB, 1, job),
            ev.JobStarted(job, f"room-{number}", name, 9000 + number, 1, True, 3.0, None),
        )


async def change(engine: FakeEngine, processes: int, rng: random.Random) -> None:
    """Change each process once a second, one after the other."""
    while True:
        for number in range(processes):
            rss = 300 + rng.random() * 50
            engine.publish(
                ev.ProcessMeasured(f"j{number}", rss, rss / 9, rss / 3, 0.0, None, rng.random() * 20),
                ev.ProcessPinged(f"j{number}", rng.random() * 9),
            )
            await asyncio.sleep(1 / processes)


async def measure(app: AgentTuiApp, engine: FakeEngine, processes: int, seconds: float) -> dict[str, float]:
    ticks = timed(app)
    running = asyncio.create_task(app.run_async())
    while app.state is not engine.state:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    changing = asyncio.create_task(change(engine, processes, random.Random(7)))
    await asyncio.sleep(2)
    ticks.clear()
    cpu, begin = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    share = (time.process_time() - cpu) / (time.perf_counter() - begin)
    changing.cancel()
    painted = sorted(ticks)
    app.exit(0)
    await running
    await app.ended()
    return {
        "cpu_pct": share * 100,
        "ticks": len(painted),
        "median_ms": statistics.median(painted),
        "p95_ms": painted[int(len(painted) * 0.95)],
        "max_ms": painted[-1],
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("result", type=Path)
    parser.add_argument("--processes", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    engine = FakeEngine()
    fill(engine, options.processes)

    async def make() -> FakeEngine:
        return engine

    found = await measure(AgentTuiApp(make), engine, options.processes, options.seconds)
    options.result.write_text(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())
