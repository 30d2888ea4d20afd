"""Measures the screen with simulated events on the current terminal: its CPU, and the time per tick.

Simulates 50 job processes whose memory, CPU, and pings change each second. `ui.py` runs it on a pseudo
terminal.

    python bench/screen_load.py RESULT.json [--processes 50] [--seconds 10] [--talk TURNS]

With `--talk`, it instead types turns to a simulated session while these processes change. It measures the
time from Enter to the command, and from the text of a reply to the write to the terminal.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from textual.events import Key

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model import session_events as se
from agent_tui.model.child import ProcessKind
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.widgets.processes import Processes
from agent_tui.tui.widgets.talk_pane import TalkPane
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


class Watch:
    """Notes when the screen sends a command, and when a word is in what it writes to the terminal."""

    def __init__(self, app: AgentTuiApp, engine: FakeEngine) -> None:
        self._seen = asyncio.Event()
        self._word = ""
        self._at = 0.0
        send, driver = engine.send, app._driver
        assert driver is not None
        write = driver.write

        async def noted_send(command: cmd.Command) -> cmd.CommandResult:
            self._note()
            return await send(command)

        def noted_write(data: str) -> None:
            write(data)
            if self._word and self._word in data:
                self._note()

        engine.send = noted_send  # type: ignore[method-assign]
        driver.write = noted_write  # type: ignore[method-assign]

    def _note(self) -> None:
        self._at = time.perf_counter()
        self._seen.set()

    async def took(self, act: Callable[[], object], word: str = "") -> float:
        """Return the ms from the act to the next command, or to the word."""
        self._seen.clear()
        self._word = word
        begin = time.perf_counter()
        act()
        async with asyncio.timeout(10):
            await self._seen.wait()
        self._word = ""
        return (self._at - begin) * 1000


async def converse(app: AgentTuiApp, engine: FakeEngine, processes: int, turns: int) -> dict[str, float]:
    """Measure typed turns and streamed replies, in ms. Each reply is a word that occurs once."""
    histories.talk(engine)
    running = asyncio.create_task(app.run_async())
    while app.state is not engine.state:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    job = engine.state.jobs[histories.TALKING]
    app.panel(Processes).choose(job.process_id or "")
    changing = asyncio.create_task(change(engine, processes, random.Random(7)))
    await asyncio.sleep(2)
    pane, watch, rng = app.screen.query_one(TalkPane), Watch(app, engine), random.Random(7)
    left: list[float] = []
    painted: list[float] = []
    for turn in range(5, 5 + turns):
        pane.type()
        pane.input.value = f"turn {turn}"
        left.append(await watch.took(lambda: app.post_message(Key("enter", "\r"))))
        engine.publish(se.TurnStarted(histories.TALKING, 1, turn, True, 2, f"turn {turn}"))
        await asyncio.sleep(0.2 + rng.random() / 5)
        word = f"reply{turn}x"
        delta = se.MessageDelta(histories.TALKING, 1, turn, word)
        painted.append(await watch.took(partial(engine.publish, delta), word))
        engine.publish(
            histories.said(turn, se.Role.ASSISTANT, word),
            se.TurnEnded(histories.TALKING, 1, turn, True, 300.0, 200.0, {}),
        )
    changing.cancel()
    app.exit(0)
    await running
    await app.ended()
    named = {"command": spread(left), "painted": spread(painted)}
    return {
        "turns": turns,
        **{f"{what}_{name}_ms": ms for what, each in named.items() for name, ms in each.items()},
    }


def spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": statistics.median(ordered),
        "p95": ordered[int(len(ordered) * 0.95)],
        "max": ordered[-1],
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("result", type=Path)
    parser.add_argument("--processes", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--talk", type=int, metavar="TURNS", default=0)
    options = parser.parse_args()
    engine = FakeEngine()
    fill(engine, options.processes)

    async def make() -> FakeEngine:
        return engine

    app = AgentTuiApp(make)
    if options.talk:
        found = await converse(app, engine, options.processes, options.talk)
    else:
        found = await measure(app, engine, options.processes, options.seconds)
    options.result.write_text(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())
