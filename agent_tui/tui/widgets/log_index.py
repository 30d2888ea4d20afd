"""The index of the rows that pass the filters; it grows and shrinks with the ring of lines.

A row is one number: the line's index times `PARTS`, plus the row's number within the record. So lookups are
bisections, and only a change of the filter scans all lines, in slices.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.cells import cell_len

from agent_tui.model.logs import LogLevel, LogLine
from agent_tui.tui.widgets.log_query import NOTHING, Query

MAX_ROWS = 200
"""Maximum rows of a record in the pane; the last one counts the rest, which the record's page shows."""

PARTS = 256
FOLDED_ROWS = 2
"""Rows of a folded record: its first line, then its last line with the number of hidden ones."""

SHORTEST_FOLD = 4
"""Minimum lines of a record that can be folded."""


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which lines are shown: from a level on, of some processes or jobs, of some generations."""

    level: LogLevel = LogLevel.INFO
    owners: frozenset[str] = frozenset()
    """Ids of processes and jobs; the host's id is empty. An empty set means all."""
    generations: frozenset[int] = frozenset()
    query: Query = NOTHING
    only_matches: bool = False
    folded: bool = True
    """Whether long records are folded, except the toggled ones."""

    def lets_through(self, line: LogLine) -> bool:
        """Return whether a line passes the filter; the query is not considered."""
        return (
            line.level >= self.level
            and (not self.owners or line.source.process_id in self.owners or line.job_id in self.owners)
            and (not self.generations or line.generation in self.generations)
        )


def line_count(text: str) -> int:
    """Return the number of lines of a record."""
    return text.rstrip("\n").count("\n") + 1


def row_count(text: str, *, folded: bool = False) -> int:
    """Return the number of rows of a record."""
    lines = line_count(text)
    return FOLDED_ROWS if folded and lines >= SHORTEST_FOLD else min(lines, MAX_ROWS)


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
        if "\n" in text:
            self.rows.extend(self._further(line))
        return True

    def _further(self, line: LogLine) -> range:
        """Return the rows of a record after its first."""
        count = row_count(line.text, folded=self.is_folded(line.index))
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
