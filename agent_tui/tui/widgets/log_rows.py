"""The log pane's lines: a copy of the store's ring, and the index of the shown rows. Without Textual.

A row is one number: the line's index times `PARTS`, plus the row's number within the record. So lookups are
bisections, and only a change of the filter scans all lines: the current index stays in use and keeps growing,
while the new one is built in slices (`LogRows.work`); then `LogRows.swap` replaces the current one.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from time import thread_time

from rich.cells import cell_len

from agent_tui.logs.ring import CAPACITY, MAX_BYTES, Ring
from agent_tui.model.logs import LogLevel, LogLine
from agent_tui.tui.widgets.log_filter import MATCH_S, NOTHING, LogFilter, Query, TooSlow

MAX_ROWS = 200
"""Maximum rows of a record in the pane; the last one counts the rest, which the record's page shows."""

PARTS = 256
FOLDED_ROWS = 2
"""Rows of a folded record: its first line, then its last line with the number of hidden ones."""

SHORTEST_FOLD = 4
"""Minimum lines of a record that can be folded."""

SLICE = 8_192
"""Lines scanned in one slice, which takes a few milliseconds."""

REGEX_COSTS = 8
"""A regular expression is at least this many times slower than plain text."""

AT_ONCE = 2 * SLICE
"""Up to this many lines are scanned without slices."""


def line_count(text: str) -> int:
    """Return the number of lines of a record."""
    return text.rstrip("\n").count("\n") + 1


def shown_lines(text: str, *, folded: bool = False) -> list[str]:
    """Return the lines of a record; if it is folded, the first one, and the last with the hidden count."""
    lines = text.rstrip("\n").split("\n")
    if folded and len(lines) >= SHORTEST_FOLD:
        return [lines[0], fold_mark(len(lines)) + lines[-1]]
    return lines


def fold_mark(count: int) -> str:
    """Return the start of the last line of a folded record with `count` lines."""
    return f"▸ {count - 2} lines  "


def row_slices(text: str, *, folded: bool = False, wrap: int = 0) -> list[tuple[int, int, int]]:
    """Return a record's rows: the number of the shown line, and where in it the row starts and ends."""
    rows: list[tuple[int, int, int]] = []
    for number, line in enumerate(shown_lines(text, folded=folded)):
        start = 0
        for piece in _wrapped(line, wrap):
            rows.append((number, start, start + len(piece)))
            start += len(piece)
        if len(rows) >= MAX_ROWS:
            break
    return rows[:MAX_ROWS]


def _wrapped(line: str, width: int) -> list[str]:
    """Return a line in pieces of at most `width` cells; width 0 does not cut it."""
    if not width:
        return [line]
    if line.isascii():
        return [line[start : start + width] for start in range(0, len(line), width)] or [""]
    pieces, start, cells = [], 0, 0
    for at, char in enumerate(line):
        wide = cell_len(char)
        if cells + wide > width and at > start:
            pieces.append(line[start:at])
            start, cells = at, 0
        cells += wide
    return [*pieces, line[start:]]


def row_count(text: str, *, folded: bool = False, wrap: int = 0) -> int:
    """Return the number of rows of a record."""
    if not wrap:
        lines = line_count(text)
        return FOLDED_ROWS if folded and lines >= SHORTEST_FOLD else min(lines, MAX_ROWS)
    if text.isascii() and "\n" not in text:  # most lines
        return min(max(-(-len(text) // wrap), 1), MAX_ROWS)
    return len(row_slices(text, folded=folded, wrap=wrap))


class LogIndex:
    """The rows and matches of one filter, for all lines up to `upto`."""

    def __init__(self, shown: LogFilter, start: int, toggled: Iterable[int] = ()) -> None:
        """`toggled` are the lines whose fold state is the opposite of the filter's."""
        self.filter = shown
        self.upto = start
        """Index of the first line that is not indexed yet."""
        self.width = 0
        """Width of the widest line so far, in cells."""
        self.rows = array("q")
        self.matches = array("q")
        self.toggled = set(toggled)

    def add(self, lines: Iterable[LogLine], deadline: float) -> int:
        """Index the next lines, all or none; return how many of them are shown.

        Raises TooSlow if a regular expression has not finished by the deadline (`thread_time`).
        """
        rows, matches, upto = len(self.rows), len(self.matches), self.upto
        try:
            return sum(self._add(line, deadline) for line in lines)
        except BaseException:
            del self.rows[rows:], self.matches[matches:]
            self.upto = upto
            raise

    def _add(self, line: LogLine, deadline: float) -> bool:
        shown = self.filter
        self.upto = line.index + 1
        if not shown.lets_through(line):
            return False
        text = line.text
        if shown.query:
            if shown.query.matches(text, deadline):
                self.matches.append(line.index)
            elif shown.only_matches:
                return False
        self.rows.append(line.index * PARTS)
        size = len(text)
        if size > self.width or (2 * size > self.width and not text.isascii()):
            self.width = max(self.width, max(map(cell_len, text.split("\n"))))
        if "\n" in text or shown.wrap:
            self.rows.extend(self._further(line))
        return True

    def _further(self, line: LogLine) -> range:
        """Return the rows of a record after its first."""
        count = row_count(line.text, folded=self.is_folded(line.index), wrap=self.filter.wrap)
        return range(line.index * PARTS + 1, line.index * PARTS + count)

    def is_folded(self, index: int) -> bool:
        """Return whether that record is folded, if it is long enough."""
        return self.filter.folded != (index in self.toggled)

    def toggle(self, line: LogLine) -> None:
        """Fold or unfold a long record."""
        self.toggled ^= {line.index}
        low, high = self.row_of(line.index), self.row_of(line.index + 1)
        if low < high:
            self.rows[low + 1 : high] = array("q", self._further(line))

    def evict(self, first: int) -> int:
        """Drop the lines before index `first`; return the number of rows dropped."""
        gone = bisect_left(self.rows, first * PARTS)
        del self.rows[:gone]
        del self.matches[: bisect_left(self.matches, first)]
        self.upto = max(self.upto, first)
        if self.toggled:
            self.toggled = {index for index in self.toggled if index >= first}
        return gone

    def row_of(self, index: int) -> int:
        """Return the first row of a line, or of the next shown line."""
        return bisect_left(self.rows, index * PARTS)

    def shown(self, first: int, last: int) -> Iterator[int]:
        """Yield the indexes of the shown lines with first ≤ index ≤ last, in order."""
        for row in range(self.row_of(first), self.row_of(last + 1)):
            index, part = divmod(self.rows[row], PARTS)
            if not part:
                yield index

    # -- matches ---------------------------------------------------------------------------------------

    def rank(self, index: int) -> int:
        """Return the number of this line among the matches, from 1; 0 if it is not a match."""
        place = bisect_left(self.matches, index)
        return place + 1 if place < len(self.matches) and self.matches[place] == index else 0

    def match_after(self, index: int) -> int | None:
        """Return the first match after this line, or else the first of all."""
        if not self.matches:
            return None
        place = bisect_right(self.matches, index)
        return self.matches[place % len(self.matches)]

    def match_before(self, index: int) -> int | None:
        """Return the last match before this line, or else the last of all."""
        return self.matches[bisect_left(self.matches, index) - 1] if self.matches else None


@dataclass(frozen=True, slots=True)
class Change:
    """The effect of adding lines: rows evicted at the front, records added at the end."""

    rows_evicted: int = 0
    records_added: int = 0


class LogRows:
    """Turns lines into rows. Each call is fast enough for one tick of the screen."""

    def __init__(
        self, level: LogLevel = LogLevel.INFO, capacity: int = CAPACITY, max_bytes: int = MAX_BYTES
    ) -> None:
        self._ring = Ring(capacity, max_bytes)
        self.index = LogIndex(LogFilter(level), 0)
        """The index of the shown rows."""
        self._wanted: LogIndex | None = None
        self.search_cancelled = False
        """Whether the search was cancelled because its regular expression was too slow."""

    def __len__(self) -> int:
        return len(self.index.rows)

    @property
    def end(self) -> int:
        """Index of the next line to add."""
        return self._ring.end

    @property
    def first(self) -> int:
        """Index of the oldest line."""
        return self._ring.first

    # -- lines ---------------------------------------------------------------------------------------

    def add(self, lines: Sequence[LogLine]) -> Change:
        """Add the next lines; the oldest ones are evicted if there are too many.

        A gap before them means that the store evicted lines, so all older lines are dropped too. Of very many
        lines, the newest are shown at once, and a scan of the others starts.
        """
        if not lines:
            return Change()
        before = len(self)
        if lines[0].index != self.end:
            self._ring.restart(lines[0].index)
        self._ring.extend(lines)
        gone = self.index.evict(self.first)
        if self._wanted is not None:
            self._wanted.evict(self.first)
        kept = lines[max(self.first - lines[0].index, 0) :]
        if len(kept) <= AT_ONCE:
            return Change(gone, self._index_lines(self.index, kept))
        self.index = LogIndex(self.index.filter, self.end - SLICE, self.index.toggled)
        self.request(self.filter)
        return Change(before, self._index_lines(self.index, kept[-SLICE:]))

    def _index_lines(self, index: LogIndex, lines: Sequence[LogLine]) -> int:
        """Add lines to an index; cancel the search if its regular expression is too slow."""
        try:
            return index.add(lines, deadline=thread_time() + MATCH_S)
        except TooSlow:
            self.search_cancelled = True
            index.filter = replace(index.filter, query=NOTHING, only_matches=False)
            added = index.add(lines, deadline=inf)
            if index is self._wanted or self._wanted is None:
                self.request(index.filter)
            return added

    # -- filters -------------------------------------------------------------------------------------

    @property
    def filter(self) -> LogFilter:
        """The requested filter; the shown rows follow at `swap`."""
        return self.index.filter if self._wanted is None else self._wanted.filter

    @property
    def query(self) -> Query:
        """The search."""
        return self.filter.query

    def request(self, wanted: LogFilter) -> None:
        """Start a scan for another filter; a running scan is cancelled."""
        toggled = self.index.toggled if wanted.folded == self.index.filter.folded else ()
        self._wanted = LogIndex(wanted, self.first, toggled)

    def work(self, count: int = SLICE) -> bool:
        """Scan the next `count` lines; return whether the scan has finished."""
        wanted = self._wanted
        if wanted is None:
            return False
        if wanted.filter.query.expression is not None:
            count //= REGEX_COSTS
        self._index_lines(wanted, self._ring.between(wanted.upto, wanted.upto + count))
        return self._wanted is not None and self._wanted.upto == self.end

    def swap(self) -> None:
        """Replace the shown rows by those of the finished scan."""
        assert self._wanted is not None
        assert self._wanted.upto == self.end
        self.index, self._wanted = self._wanted, None

    @property
    def scanned(self) -> int | None:
        """Progress of the running scan in percent; None without one."""
        if self._wanted is None:
            return None
        return 100 * (self._wanted.upto - self.first) // max(len(self._ring), 1)

    # -- folds ---------------------------------------------------------------------------------------

    def is_long(self, line: LogLine) -> bool:
        """Return whether a record is long enough to fold."""
        return line_count(line.text) >= SHORTEST_FOLD

    def is_folded(self, line: LogLine) -> bool:
        """Return whether a record is folded to its first and last line."""
        return self.index.is_folded(line.index) and self.is_long(line)

    def toggle_fold(self, line: LogLine) -> bool:
        """Fold or unfold a record; return False if it is too short."""
        if not self.is_long(line):
            return False
        self.index.toggle(line)
        if self._wanted is not None and self._wanted.filter.folded == self.index.filter.folded:
            self._wanted.toggle(line)
        return True

    def fold_all(self) -> None:
        """Start a scan that folds all long records, or unfolds all."""
        self.request(replace(self.filter, folded=not self.filter.folded))
        assert self._wanted is not None
        self._wanted.toggled.clear()

    # -- rows ----------------------------------------------------------------------------------------

    def at(self, row: int) -> tuple[LogLine, int]:
        """Return the line of a row, and the row's number within the line's record."""
        index, part = divmod(self.index.rows[row], PARTS)
        line = self._ring.line(index)
        assert line is not None
        return line, part

    def line(self, index: int) -> LogLine | None:
        """Return a line by its index; None if it was evicted."""
        return self._ring.line(index)

    def shown(self, first: int | None = None, last: int | None = None) -> list[LogLine]:
        """Return the shown lines with first ≤ index ≤ last, in order; without bounds, all of them."""
        low = self.first if first is None else first
        indexes = self.index.shown(low, self.end if last is None else last)
        return [line for line in map(self._ring.line, indexes) if line is not None]

    def row_at_time(self, ts: float) -> int:
        """Return the row of the first shown line at or after `ts` (Unix seconds), or the end without one.

        Lines have the timestamps of their processes; if these are not in order, it is one such row.
        """
        row = bisect_left(range(len(self)), ts, key=lambda row: _stamp(self.at(row)[0]))
        return self.index.row_of(self.at(row)[0].index) if row < len(self) else row


def _stamp(line: LogLine) -> float:
    return line.ts if isfinite(line.ts) else 0.0
