"""Which log lines are shown: the search as users type it, and the filters that they select."""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import thread_time
from typing import TYPE_CHECKING

from agent_tui.model.logs import LogLevel, LogLine
from agent_tui.model.state import AppState
from agent_tui.tui.widgets.text import clip, one_line

if TYPE_CHECKING:
    import regex

HOST = "agent-tui"
OWNER_WIDTH = 13
"""Cells of an owner in most panes: enough for the rooms of test jobs, such as `test-73c4baa7`."""

ID_WIDTH = 9

PREFIX = "re:"
"""The prefix of a regular expression."""

MATCH_S = 0.25
"""CPU seconds to match one slice of lines; `(a|aa)+$` can take years on a single line."""

MARK_S = 0.02
"""CPU seconds to find all matches in one line, so that a page of slow lines is still painted."""


class TooSlow(Exception):
    """A regular expression exceeded its time limit."""


@dataclass(frozen=True, slots=True)
class Query:
    """A search: `typed` is the user's input, empty for no search."""

    typed: str = ""
    text: str = ""
    """The plain text, in lower case if case does not matter; empty for a regular expression."""
    ignores_case: bool = False
    expression: "regex.Pattern[str] | None" = None

    def __bool__(self) -> bool:
        return bool(self.text) or self.expression is not None

    def matches(self, line: str, deadline: float) -> bool:
        """Return whether a line matches.

        Raises TooSlow if a regular expression has not finished by the deadline (`thread_time`).
        """
        if self.expression is None:
            return bool(self.text) and self.text in (line.lower() if self.ignores_case else line)
        left = deadline - thread_time()
        if left <= 0:  # `timeout` limits a single match, but many short ones add up
            raise TooSlow
        try:
            # Keep the GIL: releasing it for each line would wait for other threads each time.
            return self.expression.search(line, timeout=min(left, MATCH_S), concurrent=False) is not None
        except TimeoutError:
            raise TooSlow from None

    def spans(self, line: str) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of each non-empty match in a line that is found within `MARK_S`."""
        if self.expression is None:
            if self.text:
                flags = re.IGNORECASE if self.ignores_case else re.NOFLAG
                yield from (match.span() for match in re.finditer(re.escape(self.text), line, flags))
            return
        try:
            for match in self.expression.finditer(line, timeout=MARK_S, concurrent=False):
                if match.end() > match.start():
                    yield match.span()
        except TimeoutError:
            return


NOTHING = Query()


def parse(typed: str) -> Query:
    """Parse a search: `re:` starts a regular expression; case matters only if it has capitals.

    Raises ValueError for an invalid regular expression.
    """
    if not typed.startswith(PREFIX):
        return Query(typed, typed, typed == typed.lower())
    expression = typed.removeprefix(PREFIX)
    if not expression:
        return NOTHING
    import regex  # takes 30 ms, so not before the first use

    capitals = any(char.isupper() for char in re.sub(r"\\.", "", expression, flags=re.DOTALL))
    flags = regex.MULTILINE | (0 if capitals else regex.IGNORECASE)
    try:
        with warnings.catch_warnings():  # such as the FutureWarning about `[[`
            warnings.simplefilter("ignore")
            return Query(typed, expression=regex.compile(expression, flags))
    except (regex.error, OverflowError, RecursionError) as error:
        raise ValueError(f"invalid regular expression: {error}") from None


def toggled(typed: str) -> str:
    """Add the prefix of a regular expression, or remove it."""
    return typed.removeprefix(PREFIX) if typed.startswith(PREFIX) else PREFIX + typed


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which log lines are shown (minimum level, processes or jobs, generations), and how."""

    level: LogLevel = LogLevel.INFO
    owners: frozenset[str] = frozenset()
    """Ids of processes and jobs; the host's id is empty. An empty set means all."""
    generations: frozenset[int] = frozenset()
    query: Query = NOTHING
    only_matches: bool = False
    folded: bool = True
    """Whether long records are folded, except the toggled ones."""
    wrap: int = 0
    """Cells of text in a row; longer lines continue in the next row. 0 does not wrap."""

    def lets_through(self, line: LogLine) -> bool:
        """Return whether a line passes the filter; the query is not considered."""
        return (
            line.level >= self.level
            and (not self.owners or line.source.process_id in self.owners or line.job_id in self.owners)
            and (not self.generations or line.generation in self.generations)
        )


# -- filters that users select ----------------------------------------------------------------------------

LEVELS = (LogLevel.DEBUG, LogLevel.INFO, LogLevel.WARN, LogLevel.ERROR, LogLevel.FATAL)

LEVEL, OWNER, GENERATION = "level:", "owner:", "generation:"
"""Prefixes of filter names."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A selected filter in the title, which a click removes: its name and its label."""

    name: str
    label: str


def short_id(name: str) -> str:
    """Return an id from outside in at most nine cells."""
    return clip(one_line(name), ID_WIDTH)


def owner_label(owner: str, state: AppState | None) -> str:
    """Return the label of an owner: a job with its room, a process with its pid."""
    name = short_id(owner) or HOST
    if state is not None and owner in state.jobs:
        return f"{name} {clip(one_line(state.jobs[owner].room), 24)}"
    if state is not None and owner in state.processes:
        return f"{name} pid {state.processes[owner].pid or '–'}"
    return name


@dataclass(frozen=True, slots=True)
class Chosen:
    """The selected filters; an empty kind shows everything."""

    level: LogLevel | None = None
    """The lowest level shown; applies if it is above the option logLevel."""
    owners: frozenset[str] = frozenset()
    generations: frozenset[int] = frozenset()


def chips(chosen: Chosen, state: AppState | None) -> tuple[Chip, ...]:
    """Return a chip for each selected filter."""
    level = [] if chosen.level is None else [Chip(f"{LEVEL}{chosen.level.label}", f"{chosen.level.label}+")]
    owners = [Chip(f"{OWNER}{owner}", owner_label(owner, state)) for owner in sorted(chosen.owners)]
    generations = [Chip(f"{GENERATION}{number}", f"gen {number}") for number in sorted(chosen.generations)]
    return (*level, *owners, *generations)


def toggle(chosen: Chosen, name: str) -> Chosen:
    """Return the filters with one added, or removed if it was selected; a level replaces another."""
    kind, _, value = name.partition(":")
    if kind + ":" == LEVEL:
        level = LogLevel[value.upper()]
        return replace(chosen, level=None if chosen.level is level else level)
    if kind + ":" == OWNER:
        return replace(chosen, owners=chosen.owners ^ {value})
    return replace(chosen, generations=chosen.generations ^ {int(value)})


def without(chosen: Chosen, name: str) -> Chosen:
    """Return the filters without this one."""
    return toggle(chosen, name) if name in {chip.name for chip in chips(chosen, None)} else chosen


def choices(state: AppState, chosen: Chosen) -> Iterator[tuple[str, tuple[Chip, ...]]]:
    """Yield headings with their choices: known jobs, processes, and generations, and selected ones."""
    jobs = [job for job in reversed(list(state.jobs.values())) if job.process_id]
    known = {*state.processes, *state.jobs, ""}
    named = [f"{short_id(job.id)}  {clip(one_line(job.room), 30)}{_of(job.generation)}" for job in jobs]
    yield "Jobs", tuple(Chip(f"{OWNER}{job.id}", label) for job, label in zip(jobs, named, strict=True))
    processes = [
        Chip(f"{OWNER}{each.id}", f"{owner_label(each.id, state)}  {each.kind}{_of(each.generation)}")
        for each in state.processes.values()
    ]
    others = [Chip(f"{OWNER}{owner}", short_id(owner)) for owner in sorted(chosen.owners - known)]
    yield "Processes", (*processes, *others, Chip(OWNER, f"{HOST} itself"))
    numbers = {process.generation for process in state.processes.values()}
    numbers |= {job.generation for job in jobs} | chosen.generations
    yield (
        "Generations",
        tuple(Chip(f"{GENERATION}{number}", f"generation {number}") for number in sorted(numbers) if number),
    )


def _of(generation: int) -> str:
    return f", generation {generation}" if generation else ""
