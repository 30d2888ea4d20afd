"""The loads of the agent's code, and the facts and steps of one of them. Pure functions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from agent_tui.model.events import ProcessState
from agent_tui.model.reduce import LOADS
from agent_tui.model.state import AppState, JobView, LoadRecord, ProcessView
from agent_tui.tui.widgets.job_text import step_bar
from agent_tui.tui.widgets.swap_text import took
from agent_tui.tui.widgets.text import (
    Line,
    Span,
    Tone,
    counted,
    fact,
    megabytes,
    milliseconds,
    one_line,
    stopwatch,
)

INDENT = 11
"""Cells before a fact's value."""

FILES_SHOWN = 6
JOBS_SHOWN = 3
BAR, SHORT_BAR = 20, 4
"""Width of all bars in one column, and of the longest one in several, in cells."""

EIGHTHS = " ▏▎▍▌▋▊▉"

STEPS = {
    "seen": "save seen",
    "read": "files read",
    "control": "process up",
    "load": "file loaded",
    "warm": "idle warm",
    "quiet": "quiet",
    "switch": "switched",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the list: a finished load, or, if `record` is None, the running one."""

    number: int
    record: LoadRecord | None
    overtook: tuple[int, ...] = ()
    """The numbers of earlier loads that were cancelled by the save that started this one."""

    loaded: bool = True
    """Whether the file loaded, even if the processes of this generation then failed to start."""

    @property
    def outcome(self) -> tuple[int, bool | None]:
        """The number, and whether it is good; None while it loads."""
        return self.number, None if self.record is None else self.record.good


def entries(state: AppState) -> tuple[Entry, ...]:
    """Return the rows, newest first. A cancelled load has no row; the next one lists it in `overtook`."""
    found: list[Entry] = []
    last = 0 if len(state.loads) < LOADS else state.loads[0].number
    good = {record.number for record in state.loads if record.good}
    bad = {record.number for record in state.loads if not record.good}
    if not state.generation.is_broken:  # its processes start again
        bad -= {state.generation.current}
    for record in state.loads:
        if record.number in good and record.good is (record.number in bad):
            continue  # a generation that loaded, and whose processes failed to start, has two records
        overtook = tuple(range(last + 1, record.number))
        found.append(Entry(record.number, record, overtook, record.number in good))
        last = max(last, record.number)
    if (loading := state.generation.loading) > last:
        found.append(Entry(loading, None, tuple(range(last + 1, loading))))
    return tuple(reversed(found))


def short(path: str, state: AppState) -> str:
    """Return a path relative to the agent's folder, or its last folder and name; other text unchanged."""
    if "/" not in path:
        return path
    file, folder = PurePath(path), PurePath(state.agent).parent
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else "/".join(file.parts[-2:])


def status_of(entry: Entry, state: AppState) -> tuple[Span, str, str]:
    """Return a load's mark, its state in a word, and its state as the end of a sentence."""
    record = entry.record
    if record is None:
        return Span("◌", Tone.WARN), "loading", "is loading"
    is_current = record.number == state.generation.current
    if not record.good and is_current:
        return Span("✗", Tone.BAD), "not starting", "is current, but its processes fail to start"
    if not record.good:
        return Span("✗", Tone.BAD), "failed", "failed to start" if entry.loaded else "failed to load"
    if is_current:
        return Span("●", Tone.GOOD), "current", "is current"
    return Span("✓", Tone.DIM), "replaced", "was replaced"


# -- facts ------------------------------------------------------------------------------------------------

Fact = tuple[str, str, Tone]
"""A label, its value, and its tone."""


def fact_lines(entry: Entry, state: AppState, now: float, width: int = 0) -> tuple[Line, ...]:
    """Return the facts about a load, without its steps. Width 0 does not wrap."""
    record = entry.record
    mark, _, what = status_of(entry, state)
    took = ""
    if record is not None and record.seconds is not None:
        took = f" · took {milliseconds(record.seconds * 1000)}"
    head = (mark, Span(f" generation {entry.number}", Tone.STRONG), Span(f" {what}{took}"))
    facts = _facts(entry, state, now)
    return (head, *(line for name, value, tone in facts for line in fact(name, value, INDENT, width, tone)))


def _facts(entry: Entry, state: AppState, now: float) -> Iterator[Fact]:
    record = entry.record
    cause = state.generation.loading_cause if record is None else record.cause
    yield "trigger", _cause(cause, state), Tone.PLAIN
    if record is not None and record.rolled_back_to:
        yield _rolled_back(record, state)
    if record is not None and record.changed and record.changed != (record.cause,):
        yield "changed", _files(record.changed, state), Tone.PLAIN
    if entry.overtook:
        first, *rest = entry.overtook
        which = f"{first} to {rest[-1]}" if rest else f"{first}"
        yield "skipped", f"{which}: saved again while loading", Tone.PLAIN
    if record is None:
        return
    if record.good:
        yield "start", f"{record.start_method}: {record.start_reason}", Tone.PLAIN
    if processes := [each for each in state.live_processes if each.generation == record.number]:
        yield "memory", memory(processes), Tone.PLAIN
    for line, text in enumerate(took(record.number, state) if record.good else ()):
        yield ("" if line else "swapped"), text, Tone.PLAIN
    if record.good and (jobs := jobs_on(state, record.number)):
        yield from _job_facts(jobs, now)


def _cause(cause: str, state: AppState) -> str:
    return f"{short(cause, state)} saved" if "/" in cause else cause


def _files(paths: tuple[str, ...], state: AppState) -> str:
    more = len(paths) - FILES_SHOWN
    shown = ", ".join(short(path, state) for path in paths[:FILES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def _rolled_back(record: LoadRecord, state: AppState) -> Fact:
    same = f"same as generation {record.rolled_back_to}"
    if record.number != state.generation.current:
        return "code", same, Tone.PLAIN
    return "code", f"{same}, not the files on disk", Tone.WARN


def memory(processes: list[ProcessView]) -> str:
    """Return the total PSS of the processes, or else their USS or RSS, and the number of processes."""
    count = counted(len(processes), "process", "processes")
    for name in ("pss", "uss", "rss"):
        sizes = [getattr(each, f"{name}_mb") for each in processes]
        if all(size is not None for size in sizes):
            return f"{megabytes(sum(sizes))} {name} in {count}{_by_state(processes)}"
    return f"not measured yet: {count}{_by_state(processes)}"


def _by_state(processes: list[ProcessView]) -> str:
    counts = ((ProcessState.JOB, "with a job"), (ProcessState.IDLE, "idle"))
    words = [
        f"{count} {word}"
        for state, word in counts
        if (count := sum(each.state is state for each in processes))
    ]
    return f" ({', '.join(words)})" if words else ""


def jobs_on(state: AppState, number: int) -> list[JobView]:
    """Return the running jobs on the code of that generation."""
    return [job for job in state.live_jobs if state.code_of(job) == number]


def _job_facts(jobs: list[JobView], now: float) -> list[Fact]:
    shown = [
        f"{one_line(job.id)} in {one_line(job.room)}, {stopwatch(now - job.offered)}"
        for job in jobs[:JOBS_SHOWN]
    ]
    if len(jobs) > JOBS_SHOWN:
        shown[-1] += f", and {len(jobs) - JOBS_SHOWN} more"
    return [("jobs" if number == 0 else "", text, Tone.PLAIN) for number, text in enumerate(shown)]


# -- steps ------------------------------------------------------------------------------------------------


def step_lines(record: LoadRecord, columns: int = 1) -> tuple[Line, ...]:
    """Return the steps with bars, `columns` per row.

    In one column, each bar starts where the one before ends; in several, the longest step has a full bar.
    """
    taken = record.steps.measured
    if columns == 1:
        return _waterfall(taken)
    most = max((ms for _, ms in taken), default=0.0) or 1.0
    cells = [_step(name, ms, ms / most) for name, ms in taken]
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    return tuple((Span("  "), *(span for cell in row for span in cell)) for row in rows)


def _waterfall(taken: Sequence[tuple[str, float]]) -> tuple[Line, ...]:
    total, lines = sum(ms for _, ms in taken), list[Line]()
    end = 0.0
    for name, ms in taken:
        start, end = end, end + ms
        shown = step_bar(0.0, start, end, total, BAR)
        lines.append((Span(f"  {STEPS[name]:<12}", Tone.DIM), Span(f"{milliseconds(ms):>7}"), *shown))
    return tuple(lines)


def _step(name: str, ms: float, share: float) -> Line:
    return (
        Span(f"{STEPS[name]:<12}", Tone.DIM),
        Span(f"{bar(share, SHORT_BAR):<{SHORT_BAR}}", Tone.DIM),
        Span(f"{milliseconds(ms):>6}  "),
    )


def bar(share: float, width: int) -> str:
    """Return a bar for a share (0…1) of `width` cells; a share above 0 is always visible."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    whole, rest = divmod(max(eighths, 1 if share > 0 else 0), 8)
    return "█" * whole + (EIGHTHS[rest] if rest else "")
