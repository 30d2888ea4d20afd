"""Reads the output pipes of all children into the store, in one thread, so that no job waits for a reader."""

import contextlib
import itertools
import os
import selectors
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from agent_tui.logs.store import LogStore
from agent_tui.logs.tracebacks import StderrLevels
from agent_tui.model.clock import Clock
from agent_tui.model.logs import LineRecord, LogLevel, LogSource, LogStream, ParseLine

READ_SIZE = 262_144
MAX_PENDING = 1_048_576
"""Bytes of an unfinished line. The rest of a longer line is dropped, since the store keeps less anyway."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many lines one pipe may store in a window. Further lines are read, dropped, and counted."""

    lines: int = 20_000
    window_s: float = 1.0


@dataclass(slots=True)
class _Pipe:
    source: LogSource
    pending: bytearray = field(default_factory=bytearray)
    too_long: bool = False
    """Whether the next bytes are the rest of a line whose start is already stored."""
    window: float = 0.0
    used: int = 0
    dropped: int = 0
    levels: StderrLevels | None = None
    parse: ParseLine | None = None

    def __post_init__(self) -> None:
        if self.source.stream is LogStream.STDERR:
            self.levels = StderrLevels()

    def level(self, text: str) -> LogLevel:
        return self.levels.level(text) if self.levels else LogLevel.INFO


class LogIntake:
    """A `LogSink` that fills a store. `close()` ends its thread and closes pipes that are still open."""

    def __init__(self, store: LogStore, clock: Clock, allowance: Allowance | None = None) -> None:
        self._store = store
        self._clock = clock
        self._allowance = allowance or Allowance()
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._arrivals: list[tuple[int, _Pipe]] = []
        self._closing = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, name="log-intake", daemon=True)
        self._thread.start()

    def attach(self, fd: int, source: LogSource, parse: ParseLine | None = None) -> None:
        os.set_blocking(fd, False)
        with self._lock:
            self._arrivals.append((fd, _Pipe(source, parse=parse)))
        self._wake()

    def write(
        self,
        source: LogSource,
        level: LogLevel,
        text: str,
        *,
        ts: float | None = None,
        logger: str = "",
        fields: dict[str, object] | None = None,
    ) -> None:
        self._store.add(source, level, text, ts=ts, logger=logger, fields=fields)

    def close(self) -> None:
        """Store the lines that are still in the pipes, and end the thread."""
        self._closing = True
        self._wake()
        self._thread.join(timeout=5)
        os.close(self._wake_write)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"w")

    def _run(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select(self._allowance.window_s):
                if key.data is None:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake_read, 4096)
                    self._adopt()
                else:
                    self._read(key.fd, key.data)
            self._settle_windows()
        self._adopt()
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                self._read(key.fd, key.data)
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                self._end(key.fd, key.data)
        self._selector.close()
        os.close(self._wake_read)

    def _adopt(self) -> None:
        with self._lock:
            arrivals, self._arrivals = self._arrivals, []
        for fd, pipe in arrivals:
            self._selector.register(fd, selectors.EVENT_READ, pipe)

    def _read(self, fd: int, pipe: _Pipe) -> None:
        try:
            chunk = os.read(fd, READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._end(fd, pipe)
            return
        pipe.pending += chunk
        *lines, rest = pipe.pending.split(b"\n")
        if pipe.too_long and lines:
            del lines[0]
            pipe.too_long = False
        if pipe.too_long:
            rest = bytearray()
        elif len(rest) > MAX_PENDING:
            # The rest of the line is dropped: if a secret was split here, it would show the second half.
            lines.append(rest)
            rest = bytearray()
            pipe.too_long = True
        pipe.pending = rest
        self._store_lines(pipe, lines)

    def _store_lines(self, pipe: _Pipe, lines: list[bytearray]) -> None:
        now = self._clock.monotonic()
        if now - pipe.window >= self._allowance.window_s:
            self._report_dropped(pipe)
            pipe.window, pipe.used = now, 0
        room = max(self._allowance.lines - pipe.used, 0)
        texts = [line.decode("utf-8", "replace") for line in lines[:room]]
        for record, group in itertools.groupby(texts, pipe.parse or _no_record):
            if record is None:
                self._store_plain(pipe, group)
            else:
                for _ in group:
                    self._store_record(pipe.source, record)
        pipe.used += min(len(lines), room)
        pipe.dropped += max(len(lines) - room, 0)

    def _store_plain(self, pipe: _Pipe, texts: Iterable[str]) -> None:
        for level, group in itertools.groupby(texts, pipe.level):
            self._store.add_many(pipe.source, level, group)

    def _store_record(self, source: LogSource, record: LineRecord) -> None:
        self._store.add(
            LogSource(source.process_id, LogStream.RECORD),
            record.level,
            record.text,
            ts=record.ts,
            logger=record.logger,
            fields=record.fields,
        )

    def _settle_windows(self) -> None:
        now = self._clock.monotonic()
        for key in list(self._selector.get_map().values()):
            if key.data is not None and now - key.data.window >= self._allowance.window_s:
                self._report_dropped(key.data)

    def _report_dropped(self, pipe: _Pipe) -> None:
        if pipe.dropped:
            self._store.drop(pipe.source, pipe.dropped)
            pipe.dropped = 0

    def _end(self, fd: int, pipe: _Pipe) -> None:
        self._selector.unregister(fd)
        os.close(fd)
        if pipe.pending:
            self._store_lines(pipe, [pipe.pending])
            pipe.pending = bytearray()
        self._report_dropped(pipe)


def _no_record(line: str) -> None:
    return None
