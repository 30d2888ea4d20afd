"""The lines behind the log pane: a mirror of the store's ring, and the index of what is shown of it.

Knows no screen. When a filter changes, what was shown stays whole and grows on while the new index is made
in slices (`work`); `swap` puts it in the old one's place.
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
"""Lines that are scanned in one go: some milliseconds."""

REGEX_COSTS = 8
"""So many times what looking for a text does, and more."""

AT_ONCE = 2 * SLICE
"""So few lines are not worth slicing."""


@dataclass(frozen=True, slots=True)
class Change:
    """What adding lines did: screen rows that went at the front, records that came at the end."""

    rows_evicted: int = 0
    records_added: int = 0


class LogRows:
    """Lines in, rows out. Every call is cheap enough for a tick of the screen."""

    def __init__(
        self, level: LogLevel = LogLevel.INFO, capacity: int = CAPACITY, max_bytes: int = MAX_BYTES
    ) -> None:
        self._ring = Ring(capacity, max_bytes)
        self._index = LogIndex(LogFilter(level), 0)
        self._wanted: LogIndex | None = None
        self.gave_up = False
        """Whether a regular expression took too long, so that it is no longer looked for."""

    def __len__(self) -> int:
        return len(self._index.rows)

    @property
    def end(self) -> int:
        """Index of the next line that is wanted."""
        return self._ring.end

    @property
    def first(self) -> int:
        """Index of the oldest line that is still here."""
        return self._ring.first

    @property
    def width(self) -> int:
        """Cells of the widest line that was shown so far."""
        return self._index.width

    # -- lines ---------------------------------------------------------------------------------------

    def add(self, lines: Sequence[LogLine]) -> Change:
        """Takes the next lines in; the oldest go when there are too many.

        Lines that are missing between the last and these were evicted from the store: older ones go as well.
        Of very many lines the newest are shown at once, and a scan for the others begins.
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
        """Lets an index take lines in; a regular expression that takes too long is given up."""
        try:
            return index.add(lines, deadline=thread_time() + MATCH_S)
        except TooSlow:
            self.gave_up = True
            index.filter = replace(index.filter, query=NOTHING, only_matches=False)
            taken = index.add(lines, deadline=inf)
            if index is self._wanted or self._wanted is None:
                self.request(index.filter)
            return taken

    # -- filters -------------------------------------------------------------------------------------

    @property
    def filter(self) -> LogFilter:
        """What is asked for; what is shown follows when it is `swap`ped in."""
        return self._index.filter if self._wanted is None else self._wanted.filter

    @property
    def query(self) -> Query:
        """What is looked for."""
        return self.filter.query

    def request(self, wanted: LogFilter) -> None:
        """Begins to look for what another filter shows; a scan that is under way is given up."""
        toggled = self._index.toggled if wanted.folded == self._index.filter.folded else ()
        self._wanted = LogIndex(wanted, self.first, toggled)

    def work(self, count: int = SLICE) -> bool:
        """Scans the next lines for what was asked for; tells whether it may be swapped in."""
        wanted = self._wanted
        if wanted is None:
            return False
        if wanted.filter.query.expression is not None:
            count //= REGEX_COSTS
        self._index_lines(wanted, self._ring.between(wanted.upto, wanted.upto + count))
        return self._wanted is not None and self._wanted.upto == self.end

    def swap(self) -> None:
        """Shows what was asked for, once it is whole."""
        assert self._wanted is not None
        assert self._wanted.upto == self.end
        self._index, self._wanted = self._wanted, None

    @property
    def scanned(self) -> int | None:
        """How much of the scan is done, in percent; None when none is under way."""
        if self._wanted is None:
            return None
        return 100 * (self._wanted.upto - self.first) // max(len(self._ring), 1)

    # -- folds ---------------------------------------------------------------------------------------

    def is_long(self, line: LogLine) -> bool:
        """Whether a record can be folded."""
        return line_count(line.text) >= SHORTEST_FOLD

    def is_folded(self, line: LogLine) -> bool:
        """Whether a record is shown as its first and its last line."""
        return self._index.is_folded(line.index) and self.is_long(line)

    def toggle_fold(self, line: LogLine) -> bool:
        """Folds or unfolds one record; False when it is too short for that."""
        if not self.is_long(line):
            return False
        self._index.toggle(line)
        if self._wanted is not None and self._wanted.filter.folded == self._index.filter.folded:
            self._wanted.toggle(line)
        return True

    def fold_all(self, folded: bool) -> None:
        """Begins to fold or unfold all records alike."""
        self.request(replace(self.filter, folded=folded))
        assert self._wanted is not None
        self._wanted.toggled.clear()

    # -- what was found ------------------------------------------------------------------------------

    @property
    def found(self) -> int:
        """How many lines hold what is looked for."""
        return len(self._index.matches)

    def rank(self, index: int) -> int:
        """The how-manieth match this line is, from 1; 0 when it is none."""
        return self._index.rank(index)

    def match_after(self, index: int) -> int | None:
        """The first match after this line, else the first of all."""
        return self._index.match_after(index)

    def match_before(self, index: int) -> int | None:
        """The last match before this line, else the last of all."""
        return self._index.match_before(index)

    # -- rows ----------------------------------------------------------------------------------------

    def at(self, row: int) -> tuple[LogLine, int]:
        """The line of a row, and which of its rows that is."""
        index, part = divmod(self._index.rows[row], PARTS)
        line = self._ring.line(index)
        assert line is not None
        return line, part

    def line(self, index: int) -> LogLine | None:
        """A line by its index, None when it is no longer here."""
        return self._ring.line(index)

    def row_of(self, index: int) -> int:
        """The first row of a line, or of the next one that is shown."""
        return self._index.row_of(index)

    def row_after(self, index: int) -> int:
        """The first row behind a line."""
        return self._index.row_of(index + 1)

    def shown(self, first: int | None = None, last: int | None = None) -> list[LogLine]:
        """The shown lines with first ≤ index ≤ last, in order; all without bounds."""
        low = self.first if first is None else first
        indexes = self._index.shown(low, self.end if last is None else last)
        return [line for line in map(self._ring.line, indexes) if line is not None]

    def count(self, first: int, last: int) -> int:
        """How many lines are shown with first ≤ index ≤ last."""
        return sum(1 for _ in self._index.shown(first, last))

    def row_at_time(self, ts: float) -> int:
        """The row of the first shown line from that time on (Unix seconds), behind all if there is none.

        Records carry their children's own stamps: where these are not in order, it is one such place.
        """
        row = bisect_left(range(len(self)), ts, key=lambda row: _stamp(self.at(row)[0]))
        return self.row_of(self.at(row)[0].index) if row < len(self) else row


def _stamp(line: LogLine) -> float:
    return line.ts if isfinite(line.ts) else 0.0
