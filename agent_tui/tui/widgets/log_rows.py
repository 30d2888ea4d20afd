"""The lines behind the log pane: a mirror of the store's ring, what the filters let through, what find found.

Knows no screen. Lines are named by their index in the store, which never repeats; a row is one screen row, of
which a record with several lines (a traceback) has several.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from agent_tui.logs.ring import CAPACITY
from agent_tui.model.logs import LogLevel, LogLine

MAX_ROWS = 200
"""Rows of one record; what is more is counted on the last of them and read in the record's own screen."""

_PARTS = 256


@dataclass(frozen=True, slots=True)
class Change:
    """What adding lines did: screen rows that went at the front, records that came at the end."""

    rows_evicted: int = 0
    records_added: int = 0


class LogRows:
    """Lines in, rows out. Every call is cheap enough for a tick of the screen."""

    def __init__(self, level: LogLevel = LogLevel.INFO, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._lines: list[LogLine] = []
        self._first = 0
        self._rows = array("q")
        self._matches = array("q")
        self._level = level
        self._owner: str | None = None
        self._needle = ""
        self._only_matches = False
        self.width = 0
        """Cells of the widest line so far."""

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def end(self) -> int:
        """Index of the next line that is wanted."""
        return self._first + len(self._lines)

    @property
    def first(self) -> int:
        """Index of the oldest line that is still here."""
        return self._first

    # -- lines ---------------------------------------------------------------------------------------

    def add(self, lines: Sequence[LogLine]) -> Change:
        """Takes the next lines in; the oldest go when there are more than the capacity.

        Lines that are missing between the last and these were evicted from the store: older ones go as well.
        """
        if not lines:
            return Change()
        before = len(self._rows)
        evicted = 0
        if lines[0].index != self.end:
            self._lines.clear()
            self._rows, self._matches = array("q"), array("q")
            self._first = lines[0].index
            evicted, before = before, 0
        self._lines.extend(lines)
        added = self._show(lines)
        return Change(evicted + self._evict(), added)

    def _evict(self) -> int:
        """Drops what is over the capacity; tells how many rows that were."""
        excess = len(self._lines) - self._capacity
        if excess <= 0:
            return 0
        del self._lines[:excess]
        self._first += excess
        gone = bisect_left(self._rows, self._first * _PARTS)
        del self._rows[:gone]
        del self._matches[: bisect_left(self._matches, self._first)]
        return gone

    def _show(self, lines: Iterable[LogLine]) -> int:
        """Appends the rows of those lines that the filters let through; tells how many lines these were."""
        rows, level, owner, needle = self._rows, self._level, self._owner, self._needle
        fold = needle == needle.lower()
        shown = 0
        for line in lines:
            if line.level < level:
                continue
            if owner is not None and line.source.process_id != owner and line.job_id != owner:
                continue
            text = line.text
            if needle:
                if needle in (text.lower() if fold else text):
                    self._matches.append(line.index)
                elif self._only_matches:
                    continue
            shown += 1
            rows.append(line.index * _PARTS)
            size = len(text)
            if size > self.width or (2 * size > self.width and not text.isascii()):
                self.width = max(self.width, max(map(cell_len, text.split("\n"))))
            if "\n" in text:
                rows.extend(range(line.index * _PARTS + 1, line.index * _PARTS + row_count(text)))
        return shown

    # -- filters and find ----------------------------------------------------------------------------

    @property
    def level(self) -> LogLevel:
        return self._level

    @property
    def owner(self) -> str | None:
        return self._owner

    @property
    def needle(self) -> str:
        return self._needle

    @property
    def only_matches(self) -> bool:
        return self._only_matches

    def filter(self, level: LogLevel, owner: str | None) -> None:
        """Shows lines from this level on, of this process or job (None: of all)."""
        self._level, self._owner = level, owner
        self._again()

    def find(self, needle: str, only_matches: bool = False) -> None:
        """Looks for a text in the shown lines; capitals count only where the text has some."""
        self._needle, self._only_matches = needle, only_matches and bool(needle)
        self._again()

    def _again(self) -> None:
        self._rows, self._matches, self.width = array("q"), array("q"), 0
        self._show(self._lines)

    @property
    def found(self) -> int:
        """How many lines hold the text."""
        return len(self._matches)

    def rank(self, index: int) -> int:
        """The how-manieth match this line is, from 1; 0 when it is none."""
        place = bisect_left(self._matches, index)
        return place + 1 if place < len(self._matches) and self._matches[place] == index else 0

    def match_after(self, index: int) -> int | None:
        """The first match after this line, else the first of all."""
        if not self._matches:
            return None
        place = bisect_right(self._matches, index)
        return self._matches[place % len(self._matches)]

    def match_before(self, index: int) -> int | None:
        """The last match before this line, else the last of all."""
        if not self._matches:
            return None
        return self._matches[bisect_left(self._matches, index) - 1]

    # -- rows ----------------------------------------------------------------------------------------

    def at(self, row: int) -> tuple[LogLine, int]:
        """The line of a row, and which of its rows that is."""
        index, part = divmod(self._rows[row], _PARTS)
        return self._lines[index - self._first], part

    def line(self, index: int) -> LogLine | None:
        """A line by its index, None when it is no longer here."""
        return self._lines[index - self._first] if self._first <= index < self.end else None

    def row_of(self, index: int) -> int:
        """The first row of a line, or of the next one that is shown."""
        return bisect_left(self._rows, index * _PARTS)

    def row_after(self, index: int) -> int:
        """The first row behind a line."""
        return bisect_left(self._rows, (index + 1) * _PARTS)


def row_count(text: str) -> int:
    """How many rows a record takes."""
    return min(text.rstrip("\n").count("\n") + 1, MAX_ROWS)
