"""The log pane's lines: a copy of the store's ring, and the index of the shown rows. Without Textual.

When the filter changes, the current index stays in use and keeps growing, while the new one is built in
slices (`work`); then `swap` replaces the current one.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from time import thread_time

from agent_tui.logs.ring import CAPACITY, MAX_BYTES, Ring
from agent_tui.model.logs import LogLevel, LogLine
from agent_tui.tui.widgets.log_index import PARTS, SHORTEST_FOLD, LogFilter, LogIndex, line_count
from agent_tui.tui.widgets.log_query import MATCH_S, NOTHING, Query, TooSlow

SLICE = 8_192
"""Lines scanned in one slice, which takes a few milliseconds."""

REGEX_COSTS = 8
"""A regular expression is at least this many times slower than plain text."""

AT_ONCE = 2 * SLICE
"""Up to this many lines are scanned without slices."""


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
        self._index = LogIndex(LogFilter(level), 0)
        self._wanted: LogIndex | None = None
        self.search_cancelled = False
        """Whether the search was cancelled because its regular expression was too slow."""

    def __len__(self) -> int:
        return len(self._index.rows)

    @property
    def end(self) -> int:
        """Index of the next line to add."""
        return self._ring.end

    @property
    def first(self) -> int:
        """Index of the oldest line."""
        return self._ring.first

    @property
    def width(self) -> int:
        """Width of the widest line shown so far, in cells."""
        return self._index.width

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
        gone = self._index.evict(self.first)
        if self._wanted is not None:
            self._wanted.evict(self.first)
        kept = lines[max(self.first - lines[0].index, 0) :]
        if len(kept) <= AT_ONCE:
            return Change(gone, self._index_lines(self._index, kept))
        self._index = LogIndex(self._index.filter, self.end - SLICE, self._index.toggled)
        self.request(self.filter)
        return Change(before, self._index_lines(self._index, kept[-SLICE:]))

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
        return self._index.filter if self._wanted is None else self._wanted.filter

    @property
    def query(self) -> Query:
        """The search."""
        return self.filter.query

    def request(self, wanted: LogFilter) -> None:
        """Start a scan for another filter; a running scan is cancelled."""
        toggled = self._index.toggled if wanted.folded == self._index.filter.folded else ()
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
        self._index, self._wanted = self._wanted, None

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
        return self._index.is_folded(line.index) and self.is_long(line)

    def toggle_fold(self, line: LogLine) -> bool:
        """Fold or unfold a record; return False if it is too short."""
        if not self.is_long(line):
            return False
        self._index.toggle(line)
        if self._wanted is not None and self._wanted.filter.folded == self._index.filter.folded:
            self._wanted.toggle(line)
        return True

    def fold_all(self, folded: bool) -> None:
        """Start a scan that folds or unfolds all records."""
        self.request(replace(self.filter, folded=folded))
        assert self._wanted is not None
        self._wanted.toggled.clear()

    # -- matches -------------------------------------------------------------------------------------

    @property
    def found(self) -> int:
        """Number of lines that match the search."""
        return len(self._index.matches)

    def rank(self, index: int) -> int:
        """Return the number of this line among the matches, from 1; 0 if it is not a match."""
        return self._index.rank(index)

    def match_after(self, index: int) -> int | None:
        """Return the first match after this line, or else the first of all."""
        return self._index.match_after(index)

    def match_before(self, index: int) -> int | None:
        """Return the last match before this line, or else the last of all."""
        return self._index.match_before(index)

    # -- rows ----------------------------------------------------------------------------------------

    def at(self, row: int) -> tuple[LogLine, int]:
        """Return the line of a row, and the row's number within the line's record."""
        index, part = divmod(self._index.rows[row], PARTS)
        line = self._ring.line(index)
        assert line is not None
        return line, part

    def line(self, index: int) -> LogLine | None:
        """Return a line by its index; None if it was evicted."""
        return self._ring.line(index)

    def row_of(self, index: int) -> int:
        """Return the first row of a line, or of the next shown line."""
        return self._index.row_of(index)

    def row_after(self, index: int) -> int:
        """Return the first row after a line."""
        return self._index.row_of(index + 1)

    def shown(self, first: int | None = None, last: int | None = None) -> list[LogLine]:
        """Return the shown lines with first ≤ index ≤ last, in order; without bounds, all of them."""
        low = self.first if first is None else first
        indexes = self._index.shown(low, self.end if last is None else last)
        return [line for line in map(self._ring.line, indexes) if line is not None]

    def count(self, first: int, last: int) -> int:
        """Return the number of shown lines with first ≤ index ≤ last."""
        return sum(1 for _ in self._index.shown(first, last))

    def row_at_time(self, ts: float) -> int:
        """Return the row of the first shown line at or after `ts` (Unix seconds), or the end without one.

        Lines have the timestamps of their processes; if these are not in order, it is one such row.
        """
        row = bisect_left(range(len(self)), ts, key=lambda row: _stamp(self.at(row)[0]))
        return self.row_of(self.at(row)[0].index) if row < len(self) else row


def _stamp(line: LogLine) -> float:
    return line.ts if isfinite(line.ts) else 0.0
