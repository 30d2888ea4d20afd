"""The ring of log lines: written from any thread, announced by index, pulled by range."""

import threading
from collections import deque
from collections.abc import Callable
from itertools import islice

from agent_tui.logs.door import Door
from agent_tui.model.clock import Clock
from agent_tui.model.logs import LogLevel, LogLine, LogSource, LogStream

CAPACITY = 50_000


class LogStore:
    """Keeps the last `capacity` lines. Indexes never repeat, so a reader knows what it missed."""

    def __init__(self, clock: Clock, capacity: int = CAPACITY, door: Door | None = None) -> None:
        self._door = door or Door()
        self._clock = clock
        self._lines: deque[LogLine] = deque(maxlen=capacity)
        self._end = 0
        self._dropped = 0
        self._jobs: dict[str, str] = {}
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
        return self._end - len(self._lines)

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
        clean = self._door.clean(text)
        stamp = self._clock.time() if ts is None else ts
        shown = {
            self._door.clean(name): self._door.clean(value) if isinstance(value, str) else value
            for name, value in (fields or {}).items()
        }
        with self._lock:
            job_id = self._jobs.get(source.process_id)
            self._lines.append(
                LogLine(self._end, stamp, level, source, job_id, clean, self._door.clean(logger), shown)
            )
            self._end += 1
        self._on_added()

    def drop(self, source: LogSource, count: int) -> None:
        """Counts lines that were read but not stored, and says so in their place."""
        with self._lock:
            self._dropped += count
        notice = LogSource(source.process_id, LogStream.HOST)
        self.add(notice, LogLevel.WARN, f"{count} lines of {source.stream} dropped: more than can be shown")

    def pull(self, first: int, end: int) -> tuple[LogLine, ...]:
        """The kept lines with first ≤ index < end, in order."""
        with self._lock:
            oldest = self._end - len(self._lines)
            return tuple(islice(self._lines, max(first - oldest, 0), max(end - oldest, 0)))


def _nothing() -> None:
    return
