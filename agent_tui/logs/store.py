"""The ring of log lines: written from any thread, announced by index, read by range."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable

from agent_tui.logs.redactor import Redactor
from agent_tui.logs.ring import CAPACITY, MAX_BYTES, Ring
from agent_tui.model.clock import Clock
from agent_tui.model.events import LogsAdded
from agent_tui.model.logs import LogLevel, LogLine, LogSource, LogStream

BATCH_S = 0.05
"""Shortest time between two announcements, in s."""

MAX_ENDED = 10_000
"""How many ended processes are remembered with their generation and job."""


class LogStore:
    """Keeps the newest lines. Indexes never repeat, so a reader knows what it missed."""

    def __init__(
        self,
        clock: Clock,
        capacity: int = CAPACITY,
        redactor: Redactor | None = None,
        *,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._redactor = redactor or Redactor()
        self._clock = clock
        self._ring = Ring(capacity, max_bytes)
        self._first = self._end = (
            0  # the ring's values, read without its lock: each is consistent at any moment
        )
        self._dropped = 0
        self._owners: dict[str, tuple[int, str | None]] = {}
        """Generation and job of each process."""
        self._ended: deque[str] = deque()
        self._lock = threading.Lock()
        self._on_added: Callable[[], None] = _nothing

    def on_added(self, callback: Callable[[], None]) -> None:
        """Call back, in the writing thread, after lines were added or dropped."""
        self._on_added = callback

    @property
    def end(self) -> int:
        """Index of the next line."""
        return self._end

    @property
    def first(self) -> int:
        """Index of the oldest kept line."""
        return self._first

    @property
    def dropped(self) -> int:
        """Lines lost to overload before they were stored."""
        return self._dropped

    def set_owner(self, process_id: str, generation: int, job_id: str | None = None) -> None:
        """Mark the process's lines from now on with this generation of the agent's code and this job."""
        with self._lock:
            self._owners[process_id] = (generation, job_id)

    def process_ended(self, process_id: str) -> None:
        """Record that a process has ended. It is forgotten later, because its last lines may still come."""
        with self._lock:
            self._ended.append(process_id)
            if len(self._ended) > MAX_ENDED:
                self._owners.pop(self._ended.popleft(), None)

    def add(
        self,
        source: LogSource,
        level: LogLevel,
        text: str,
        *,
        ts: float | None = None,
        logger: str = "",
        fields: dict[str, object] | None = None,
    ) -> None:
        """Store one line, sanitized."""
        redactor = self._redactor
        shown = redactor.clean_value(fields or {})
        logger = redactor.clean(logger) if logger else ""
        self._store(
            source, level, (redactor.clean(text),), self._clock.time() if ts is None else ts, logger, shown
        )

    def add_many(self, source: LogSource, level: LogLevel, texts: Iterable[str]) -> None:
        """Store several lines, sanitized, and announce them together."""
        clean = [self._redactor.clean(text) for text in texts]
        if clean:
            self._store(source, level, clean, self._clock.time(), "", {})

    def drop(self, source: LogSource, count: int) -> None:
        """Count lines that were read but not stored, and store a line that says so."""
        with self._lock:
            self._dropped += count
        notice = LogSource(source.process_id, LogStream.HOST)
        self.add(notice, LogLevel.WARN, f"{count} lines of {source.stream} dropped: too many to show")

    def pull(self, first: int, end: int) -> tuple[LogLine, ...]:
        """Return the kept lines with first ≤ index < end, in order."""
        with self._lock:
            return tuple(self._ring.between(first, end))

    def _store(
        self,
        source: LogSource,
        level: LogLevel,
        texts: Iterable[str],
        ts: float,
        logger: str,
        fields: dict[str, object],
    ) -> None:
        with self._lock:
            generation, job_id = self._owners.get(source.process_id, (0, None))
            self._ring.extend(
                [
                    LogLine(index, ts, level, source, job_id, text, logger, fields, generation)
                    for index, text in enumerate(texts, self._ring.end)
                ]
            )
            self._first, self._end = self._ring.first, self._ring.end
        self._on_added()


class LogAnnouncer:
    """Turns the store's calls, from any thread, into batched `LogsAdded` events on the event loop."""

    def __init__(self, store: LogStore, emit: Callable[[LogsAdded], None]) -> None:
        self._store = store
        self._emit = emit
        self._loop = asyncio.get_running_loop()
        self._told = store.end
        self._timer: asyncio.TimerHandle | None = None
        self._woken = False
        store.on_added(self._added)

    def close(self) -> None:
        """Announce the remaining lines, and nothing after them."""
        self._store.on_added(_nothing)
        self.announce()

    def _added(self) -> None:
        if self._woken:
            return  # a pending announcement will include what was added
        self._woken = True
        with contextlib.suppress(RuntimeError):  # the loop has ended: there are no readers
            self._loop.call_soon_threadsafe(self._announce_soon)

    def _announce_soon(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(BATCH_S, self.announce)

    def announce(self) -> None:
        """Announce everything that is not announced yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._woken = False  # before `end` is read: a line added after that schedules a new announcement
        end = self._store.end
        if end > self._told:
            first, self._told = self._told, end
            self._emit(LogsAdded(max(first, self._store.first), end, self._store.dropped))


def _nothing() -> None:
    return
