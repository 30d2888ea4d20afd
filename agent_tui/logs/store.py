"""The ring of log lines: written from any thread, announced by index, pulled by range."""

import threading
from collections.abc import Callable, Iterable

from agent_tui.logs.redactor import Redactor
from agent_tui.logs.ring import CAPACITY, MAX_BYTES, Ring
from agent_tui.model.clock import Clock
from agent_tui.model.logs import LogLevel, LogLine, LogSource, LogStream

MAX_KNOWN = 10_000
"""Processes whose generation is remembered: many more than live at a time."""


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
        self._first = self._end = 0  # the ring's, read without its lock: each is whole at any moment
        self._dropped = 0
        self._jobs: dict[str, str] = {}
        self._generations: dict[str, int] = {}
        self._lock = threading.Lock()
        self._on_added: Callable[[], None] = _nothing

    def on_added(self, callback: Callable[[], None]) -> None:
        """Calls back, from whichever thread wrote, after lines were added or dropped."""
        self._on_added = callback

    @property
    def end(self) -> int:
        """Index of the next line."""
        return self._end

    @property
    def first(self) -> int:
        """Index of the oldest line that is still kept."""
        return self._first

    @property
    def dropped(self) -> int:
        """Lines lost to overload before they were stored."""
        return self._dropped

    def assign(self, process_id: str, job_id: str | None) -> None:
        """From now on that process's lines belong to this job (None: to none)."""
        with self._lock:
            if job_id is None:
                self._jobs.pop(process_id, None)
            else:
                self._jobs[process_id] = job_id

    def introduce(self, process_id: str, generation: int) -> None:
        """From now on that process's lines are of this generation of the agent's code."""
        with self._lock:
            self._generations[process_id] = generation
            if len(self._generations) > MAX_KNOWN:
                del self._generations[next(iter(self._generations))]

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
        """Stores one line, sanitised."""
        redactor = self._redactor
        shown = redactor.clean_value(fields or {})
        logger = redactor.clean(logger) if logger else ""
        self._store(
            source, level, (redactor.clean(text),), self._clock.time() if ts is None else ts, logger, shown
        )

    def add_many(self, source: LogSource, level: LogLevel, texts: Iterable[str]) -> None:
        """Stores lines that came together, sanitised; they are announced once."""
        clean = [self._redactor.clean(text) for text in texts]
        if clean:
            self._store(source, level, clean, self._clock.time(), "", {})

    def drop(self, source: LogSource, count: int) -> None:
        """Counts lines that were read but not stored, and says so in their place."""
        with self._lock:
            self._dropped += count
        notice = LogSource(source.process_id, LogStream.HOST)
        self.add(notice, LogLevel.WARN, f"{count} lines of {source.stream} dropped: more than can be shown")

    def pull(self, first: int, end: int) -> tuple[LogLine, ...]:
        """The kept lines with first ≤ index < end, in order."""
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
            job_id = self._jobs.get(source.process_id)
            generation = self._generations.get(source.process_id, 0)
            self._ring.extend(
                [
                    LogLine(index, ts, level, source, job_id, text, logger, fields, generation)
                    for index, text in enumerate(texts, self._ring.end)
                ]
            )
            self._first, self._end = self._ring.first, self._ring.end
        self._on_added()


def _nothing() -> None:
    return
