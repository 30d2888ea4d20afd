"""Record what an engine publishes, and play it later to a screen.

A recording is a text file with one JSON value per line: the moments (stamped events, and the captions of a
film), the log lines, and the results of commands that pages send.
"""

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec

from agent_tui.engine.bus import LIMIT, Bus, Subscription
from agent_tui.engine.engine_api import EngineAPI
from agent_tui.model.clock import SystemClock
from agent_tui.model.codec import DATA
from agent_tui.model.commands import Command, CommandResult, Stop
from agent_tui.model.events import Stamped
from agent_tui.model.logs import LogLine
from agent_tui.model.reduce import reduce
from agent_tui.model.requests import A, Asks, LogRange, ReadLogs, Secrets
from agent_tui.model.state import AppState
from agent_tui.options.declare import OPTIONS


class Caption(msgspec.Struct, frozen=True):
    """A caption of the film. It is shown from that time (in Unix seconds) until the next caption."""

    ts: float
    text: str


class Recording(msgspec.Struct, frozen=True):
    """A run of an engine. Times are Unix seconds."""

    moments: tuple[Stamped | Caption, ...]
    lines: tuple[LogLine, ...]
    results: tuple[tuple[Command, CommandResult], ...]

    @property
    def start(self) -> float:
        return self.moments[0].ts

    @property
    def end(self) -> float:
        return self.moments[-1].ts

    def save(self, path: Path, renamed: Mapping[str, str]) -> None:
        """Write the file. `renamed` maps texts, such as paths of this machine, to their replacements."""
        values: list[Any] = []
        for moment in self.moments:
            if isinstance(moment, Caption):
                values.append(["caption", moment.ts, moment.text])
            else:
                values.append(["event", moment.seq, moment.ts, _envelope(moment.event)])
        values += (["line", msgspec.to_builtins(line)] for line in self.lines)
        values += (
            ["result", _envelope(command), msgspec.to_builtins(result)] for command, result in self.results
        )
        text = "".join(f"{json.dumps(value, ensure_ascii=False)}\n" for value in values)
        for old, new in renamed.items():
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")


def read_recording(path: Path) -> Recording:
    """Return the recording in that file."""
    moments: list[Stamped | Caption] = []
    lines: list[LogLine] = []
    results: list[tuple[Command, CommandResult]] = []
    for text in path.read_text(encoding="utf-8").splitlines():
        match json.loads(text):
            case ["event", seq, ts, event]:
                moments.append(Stamped(seq, ts, _decoded(event)))
            case ["caption", ts, caption]:
                moments.append(Caption(ts, caption))
            case ["line", line]:
                lines.append(msgspec.convert(line, LogLine))
            case ["result", command, result]:
                results.append((_decoded(command), msgspec.convert(result, CommandResult)))
            case other:
                raise ValueError(f"{path.name}: unknown entry {other!r}")
    return Recording(tuple(moments), tuple(lines), tuple(results))


@asynccontextmanager
async def recorded(engine: EngineAPI) -> AsyncIterator[list[Stamped | Caption]]:
    """Run the engine and collect its events in the list; callers may append captions."""
    moments: list[Stamped | Caption] = []
    subscription = engine.subscribe()

    async def collect() -> None:
        async for batch in subscription.batches():
            moments.extend(batch)

    async with engine:
        collecting = asyncio.create_task(collect())
        try:
            yield moments
        finally:
            collecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await collecting


async def finished(engine: EngineAPI, moments: list[Stamped | Caption], commands: list[Command]) -> Recording:
    """Return the recording of a running engine, with its log lines and the results of these commands."""
    kept = tuple(moments)
    logs = await engine.request(ReadLogs(0, engine.state.log_end))
    results = [(command, await engine.send(command)) for command in commands]
    return Recording(kept, logs.lines, tuple(results))


class Playback:
    """An engine that plays a recording up to a time that the caller sets. Implements `EngineAPI`."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._bus = Bus(SystemClock())
        self._results = {_key(command): result for command, result in recording.results}
        self._next = 0
        self.now = recording.start
        """The time that the screen shows, in Unix seconds."""
        self.caption = ""

    def play(self, until: float) -> None:
        """Apply the events up to that time."""
        moments = self._recording.moments
        while self._next < len(moments) and (moment := moments[self._next]).ts <= until:
            if isinstance(moment, Caption):
                self.caption = moment.text
            else:
                self._bus.state = reduce(self._bus.state, moment)
            self._next += 1
        self.now = until

    @property
    def first_caption(self) -> float:
        """The time at which the film starts, in Unix seconds."""
        return next(each.ts for each in self._recording.moments if isinstance(each, Caption))

    @property
    def end(self) -> float:
        return self._recording.end

    @property
    def up(self) -> bool:
        return True

    @property
    def state(self) -> AppState:
        return self._bus.state

    async def closed(self) -> None:
        await self._bus.closed()

    def subscribe(self, limit: int = LIMIT) -> Subscription:
        return self._bus.subscribe(limit)

    async def send(self, command: Command) -> CommandResult:
        if isinstance(command, Stop):
            self._bus.close()
        return self._results.get(_key(command), CommandResult(True))

    async def request(self, request: Asks[A]) -> A:
        answer: object = Secrets({option.name: "" for option in OPTIONS if option.kind.secret})
        if isinstance(request, ReadLogs):
            answer = LogRange(self._recording.lines[request.first : request.end])
        return cast("A", answer)

    async def __aenter__(self) -> object:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._bus.close()


def _envelope(message: Any) -> dict[str, Any]:
    return {"case": DATA.case(message), "value": _marked(msgspec.to_builtins(message))}


def _decoded(envelope: dict[str, Any]) -> Any:
    return DATA.decode_json(json.dumps(envelope).encode())


def _marked(value: Any) -> Any:
    """Return the value with numbers that JSON does not have, such as infinity, in the form of the codec."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if isinstance(value, dict):
        return {name: _marked(inner) for name, inner in value.items()}
    return [_marked(inner) for inner in value] if isinstance(value, list | tuple) else value


def _key(command: Command) -> str:
    return json.dumps(_envelope(command), sort_keys=True)
