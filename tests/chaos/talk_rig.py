"""Conversations with running jobs, for faults to act on, and what was said in them."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import re
import signal
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.agent_source import JAVASCRIPT, SOURCE
from tests.cli.support import AGENTS, ENVIRON, Event, Run, agent_tui, save
from tests.nodes import CACHE, newest_node, project
from tests.sdks import sdk_pythons

CALLS = 2
"""Running calls at once."""

PATIENCE_S = 60.0
TURN_TIMEOUT_S = 1.5
"""The time limit of a turn. A turn that should have an answer may take it on a busy machine: see `Said`."""

_MARK = re.compile(r"#(\d+)#")
"""The number of a turn in its text, which survives whatever else the text has."""


@dataclass(slots=True)
class Said:
    """A turn that was typed: what became of it, by the events that name its number."""

    kind: str
    answered: bool
    """Whether it must have an answer unless its session ends or is too slow."""
    started: list[Event] = field(default_factory=list)
    shown: list[Event] = field(default_factory=list)
    """Messages of the user with its text."""
    replies: list[Event] = field(default_factory=list)
    """Messages of the agent that repeat its text."""
    ended: list[Event] = field(default_factory=list)


@dataclass
class Talks:
    """The running calls, and all turns."""

    run: Run
    agent: Path
    rng: random.Random
    turns: dict[int, Said] = field(default_factory=dict)
    calls: dict[str, Event] = field(default_factory=dict)
    """The event `session_started` of each open session's job."""
    results: list[bool] = field(default_factory=list)
    """Whether each command was carried out, in order."""
    events: Counter[str] = field(default_factory=Counter)
    own_errors: list[str] = field(default_factory=list)
    numbers: Any = field(default_factory=lambda: itertools.count(1))
    pids: dict[str, int] = field(default_factory=dict)
    """The pid of each running job."""
    places: dict[tuple[str, int, int], int] = field(default_factory=dict)
    """The number of a turn by job, session, and the session's own number of it."""
    strays: list[Event] = field(default_factory=list)
    """Ends of typed turns that nobody typed."""
    version: int = 0

    # -- reading --------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Read events as they arrive. Only counts are kept of most of them."""
        while True:
            await self.run.more()
            self._note(self.run.events.pop())

    def _note(self, event: Event) -> None:
        name = event["event"]
        self.events[name] += 1
        if name == "job_started":
            self.pids[event["job_id"]] = event["pid"]
        elif name == "job_ended":
            self.pids.pop(event["job_id"], None)
            self.calls.pop(event["job_id"], None)
        elif name == "session_started":
            self.calls[event["job_id"]] = event
        elif name == "session_ended":
            self.calls.pop(event["job_id"], None)
        elif name == "turn_started" and event["typed"]:
            self._of(event["text"], "started", event)
            if found := _MARK.search(event["text"]):
                self.places[event["job_id"], event["session"], event["turn"]] = int(found[1])
        elif name == "message":
            self._of(event["text"], "shown" if event["role"] == "user" else "replies", event)
        elif name == "turn_ended" and event["typed"]:
            place = event["job_id"], event["session"], event["turn"]
            if place in self.places:
                self.turns[self.places[place]].ended.append(event)
            else:
                self.strays.append(event)
        elif name == "log" and event["text"].startswith("command "):
            self.results.append(event["text"].startswith("command done"))
        elif name == "log" and event["source"] == "agent-tui" and "internal error" in event["text"]:
            self.own_errors.append(event["text"])

    def _of(self, text: str, what: str, event: Event) -> None:
        if found := _MARK.search(text):
            getattr(self.turns[int(found[1])], what).append(event)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until the condition holds. Raise AssertionError after a time limit."""
        last = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < last, f"not within {PATIENCE_S:g} s: {what}"
            await asyncio.sleep(0.01)

    # -- commands -------------------------------------------------------------------------------------

    async def command(self, name: str, value: object) -> bool:
        """Send a command to the engine, and return whether it was carried out."""
        assert self.run.process.stdin is not None
        before = len(self.results)
        self.run.process.stdin.write(json.dumps({name: value}).encode() + b"\n")
        await self.until(lambda: len(self.results) > before, f"result of {name}")
        return self.results[before]

    async def say(self, call: str, kind: str, text: str, *, answered: bool = True) -> int:
        """Type a turn, and return its number; 0 if the session had ended, so that it was refused."""
        number: int = next(self.numbers)
        self.turns[number] = Said(kind, answered)
        if await self.command("say", [call, f"#{number}# {text}"]):
            return number
        assert call not in self.calls, f"an open session refused {kind}"
        del self.turns[number]
        return 0

    async def over(self, number: int) -> None:
        """Wait until a turn has ended."""
        if number:
            await self.until(
                lambda: self.turns[number].ended, f"the end of turn {number}: {self.turns[number]}"
            )

    async def call(self) -> str:
        """Return the id of a call with an open session, after starting as many as there should be."""
        while len(self.pids) < CALLS:
            count = self.events["session_started"]
            await self.command("dispatch", f"talk-{next(self.numbers)}")
            await self.until(lambda: self.events["session_started"] > count, "another session")  # noqa: B023
        await self.until(lambda: self.calls, "an open session")
        return self.rng.choice(sorted(self.calls))

    async def end_of(self, call: str) -> None:
        """Wait until a job has ended."""
        await self.until(lambda: call not in self.pids, f"the end of {call}")

    def kill(self, call: str) -> None:
        """Kill a job's process."""
        with contextlib.suppress(ProcessLookupError, KeyError):
            os.kill(self.pids[call], signal.SIGKILL)

    async def save(self) -> None:
        """Save the agent's file with another reply, which running sessions get."""
        self.version += 1
        before = self.events["generation_ready"]
        text = self.agent.read_text()
        save(self.agent, re.sub(r"([\"`]reply)(?: v\d+)?", rf"\1 v{self.version}", text))
        await self.until(lambda: self.events["generation_ready"] > before, "the new generation")


@asynccontextmanager
async def talks(tmp: Path, seed: int) -> AsyncIterator[Talks]:
    """Start agent-tui with a scripted agent. Yield once it has its first calls."""
    is_js = SOURCE is JAVASCRIPT
    agent = tmp / ("agent.mjs" if is_js else "agent.py")
    if is_js:
        project(tmp)
    agent.write_text((AGENTS / ("js_talks.mjs" if is_js else "sdk_talks.py")).read_text())
    runs = ("--node", newest_node()) if is_js else ("--python", sdk_pythons()[-1])
    driver = Path(__file__).parents[1] / "options/outside/driven.py"
    async with agent_tui(
        *(agent, "--local", "--json", "--port=0", *runs, f"--turn-timeout={TURN_TIMEOUT_S}s"),
        *("--job-length=10m", "--shutdown-process-timeout=1s", "--on-reload=swap", "--num-idle-processes=1"),
        cwd=tmp,
        program=(driver,),
        environ={**ENVIRON, **CACHE},
    ) as run:
        under = Talks(run, agent, random.Random(seed))
        reading = asyncio.create_task(under.read())
        try:
            await under.until(lambda: under.events["registered"], "the registration")
            await under.until(lambda: under.events["generation_ready"], "the first generation")
            await under.call()
            yield under
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


def by_end(under: Talks) -> dict[str, dict[str, int]]:
    """Return how the turns of each kind ended."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for said in under.turns.values():
        found[said.kind][str(said.ended[0]["error"] or "answered")[:60]] += 1
    return {kind: dict(ends) for kind, ends in sorted(found.items())}
