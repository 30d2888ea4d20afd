"""Keeps the newest lines, limited in number and bytes. It has no lock; its owner must use one."""

import sys
from collections.abc import Iterable, Mapping

from agent_tui.model.logs import LogLine

CAPACITY = 200_000
MAX_BYTES = 128 * 2**20
"""Maximum number of bytes of all kept lines (`weight`). A long line takes the place of many short ones."""

LINE_BYTES = 280
"""About how many bytes a line takes in addition to its text, in the ring and in a front end's index."""

FIELD_BYTES = 80


def weight(line: LogLine) -> int:
    """Return about how many bytes of memory a line takes."""
    size = LINE_BYTES + sys.getsizeof(line.text)
    return size + _field_bytes(line.fields) if line.fields else size


def _field_bytes(fields: Mapping[str, object]) -> int:
    size = 0
    waiting: list[object] = [fields]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += value.keys()
            waiting += value.values()
        elif isinstance(value, (list, tuple)):
            waiting += value
        size += FIELD_BYTES + (len(value) if isinstance(value, str) else 0)
    return size


class Ring:
    """Keeps the newest lines, by index. Rings with the same limits and input keep the same lines."""

    def __init__(self, capacity: int = CAPACITY, max_bytes: int = MAX_BYTES) -> None:
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._lines: list[LogLine | None] = []
        self._head = 0
        self._bytes = 0
        self.first = 0
        """Index of the oldest kept line."""

    def __len__(self) -> int:
        return len(self._lines) - self._head

    @property
    def end(self) -> int:
        """Index of the next line."""
        return self.first + len(self)

    @property
    def bytes(self) -> int:
        """The estimated bytes of the kept lines (`weight`)."""
        return self._bytes

    def extend(self, lines: Iterable[LogLine]) -> None:
        """Add the next lines, and drop the oldest ones beyond the limits. The newest line always stays."""
        for line in lines:
            self._lines.append(line)
            self._bytes += weight(line)
        while len(self) > self._capacity or (self._bytes > self._max_bytes and len(self) > 1):
            self._evict()
        if self._head > 4096 and self._head > len(self):  # rarely, so that it costs next to nothing per line
            del self._lines[: self._head]
            self._head = 0

    def restart(self, first: int) -> None:
        """Forget all lines. The next line gets the index `first`."""
        self._lines.clear()
        self._head = self._bytes = 0
        self.first = first

    def _evict(self) -> None:
        oldest = self._lines[self._head]
        assert oldest is not None
        self._lines[self._head] = None
        self._bytes -= weight(oldest)
        self._head += 1
        self.first += 1

    def line(self, index: int) -> LogLine | None:
        """Return a line by its index; None if it is not kept."""
        return self._lines[self._head + index - self.first] if self.first <= index < self.end else None

    def between(self, first: int, end: int) -> list[LogLine]:
        """Return the kept lines with first ≤ index < end, in order."""
        low, high = max(first, self.first) - self.first, min(end, self.end) - self.first
        kept = self._lines[self._head + low : self._head + high] if low < high else []
        return kept  # type: ignore[return-value]  # None stands only before the head
