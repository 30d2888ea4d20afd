"""Which lines the filters let through, as rows of the screen: an index that grows and shrinks with the ring.

A row is one number, the line's index times `PARTS` plus which of the record's rows it is; so a place is
found by bisection, and nothing walks all lines but the one scan after a filter has changed, in slices.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.cells import cell_len

from agent_tui.model.logs import LogLevel, LogLine
from agent_tui.tui.widgets.log_query import NOTHING, Query

MAX_ROWS = 200
"""Rows of one record; what is more is counted on the last of them and read in the record's own screen."""

PARTS = 256
FOLDED_ROWS = 2
"""Of a folded record: its first line, and how many are hidden before its last."""

SHORTEST_FOLD = 4
"""Lines of a record that is worth folding."""


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What is shown, and how: lines of the level on, of these processes or jobs, of these generations."""

    level: LogLevel = LogLevel.INFO
    owners: frozenset[str] = frozenset()
    """Ids of processes and of jobs; the host's is empty. None: all."""
    generations: frozenset[int] = frozenset()
    query: Query = NOTHING
    only_matches: bool = False
    folded: bool = True
    """Whether long records are folded, but for those that were toggled."""

    def lets_through(self, line: LogLine) -> bool:
        """Whether a line is shown, as far as what is looked for does not matter."""
        return (
            line.level >= self.level
            and (not self.owners or line.source.process_id in self.owners or line.job_id in self.owners)
            and (not self.generations or line.generation in self.generations)
        )


def line_count(text: str) -> int:
    """How many lines a record has."""
    return text.rstrip("\n").count("\n") + 1


def row_count(text: str, *, folded: bool = False) -> int:
    """How many rows a record takes."""
    lines = line_count(text)
    return FOLDED_ROWS if folded and lines >= SHORTEST_FOLD else min(lines, MAX_ROWS)


class LogIndex:
    """The rows and the found lines of one filter, of all lines up to `upto`."""

    def __init__(self, shown: LogFilter, start: int, toggled: Iterable[int] = ()) -> None:
        """`toggled` are the lines whose fold is the other way round than the filter says."""
        self.filter = shown
        self.upto = start
        """Index of the first line that was not taken in yet."""
        self.width = 0
        """Cells of the widest line so far."""
        self.rows = array("q")
        self.matches = array("q")
        self.toggled = set(toggled)

    def add(self, lines: Iterable[LogLine], deadline: float) -> int:
        """Takes the next lines in, all or none; returns how many of them are shown.

        Raises TooSlow if a regular expression is not done by the deadline (`thread_time`).
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
        if "\n" in text:
            self.rows.extend(self._further(line))
        return True

    def _further(self, line: LogLine) -> range:
        """The rows of a record after its first."""
        count = row_count(line.text, folded=self.is_folded(line.index))
        return range(line.index * PARTS + 1, line.index * PARTS + count)

    def is_folded(self, index: int) -> bool:
        """Whether that record is folded, if it is long enough."""
        return self.filter.folded != (index in self.toggled)

    def toggle(self, line: LogLine) -> None:
        """Folds a long record or unfolds it."""
        self.toggled ^= {line.index}
        low, high = self.row_of(line.index), self.row_of(line.index + 1)
        if low < high:
            self.rows[low + 1 : high] = array("q", self._further(line))

    def evict(self, first: int) -> int:
        """Drops what is older than this line; tells how many rows that were."""
        gone = bisect_left(self.rows, first * PARTS)
        del self.rows[:gone]
        del self.matches[: bisect_left(self.matches, first)]
        self.upto = max(self.upto, first)
        if self.toggled:
            self.toggled = {index for index in self.toggled if index >= first}
        return gone

    def row_of(self, index: int) -> int:
        """The first row of a line, or of the next one that is shown."""
        return bisect_left(self.rows, index * PARTS)

    def shown(self, first: int, last: int) -> Iterator[int]:
        """The indexes of the shown lines with first ≤ index ≤ last, in order."""
        for row in range(self.row_of(first), self.row_of(last + 1)):
            index, part = divmod(self.rows[row], PARTS)
            if not part:
                yield index

    # -- what was found --------------------------------------------------------------------------------

    def rank(self, index: int) -> int:
        """The how-manieth match this line is, from 1; 0 when it is none."""
        place = bisect_left(self.matches, index)
        return place + 1 if place < len(self.matches) and self.matches[place] == index else 0

    def match_after(self, index: int) -> int | None:
        """The first match after this line, else the first of all."""
        if not self.matches:
            return None
        place = bisect_right(self.matches, index)
        return self.matches[place % len(self.matches)]

    def match_before(self, index: int) -> int | None:
        """The last match before this line, else the last of all."""
        return self.matches[bisect_left(self.matches, index) - 1] if self.matches else None
