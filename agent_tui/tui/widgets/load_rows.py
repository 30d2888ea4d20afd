"""The loads of the agent's code as the generations page lists them. Pure functions."""

from dataclasses import dataclass
from pathlib import PurePath

from agent_tui.model.events import ProcessState
from agent_tui.model.reduce import LOADS
from agent_tui.model.state import AppState, JobView, LoadRecord, ProcessView
from agent_tui.tui.widgets.log_text import clock
from agent_tui.tui.widgets.text import Line, Span, Tone, megabytes, milliseconds, one_line, pad, stopwatch

FILES_SHOWN = 6
JOBS_SHOWN = 3
BAR = 20
"""Cells of the longest step's bar."""

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
    """One row: a load that is over, or (without `record`) the one that is under way."""

    number: int
    record: LoadRecord | None
    overtook: tuple[int, ...] = ()
    """Loads that a later save ended before they were over; this is the one that it led to."""

    @property
    def key(self) -> tuple[int, bool | None]:
        """What tells it from others: a generation that is given up later has two rows."""
        return self.number, None if self.record is None else self.record.good


def entries(state: AppState) -> tuple[Entry, ...]:
    """Newest first. A load that was overtaken has no row, and is told where it went."""
    found: list[Entry] = []
    last = 0 if len(state.loads) < LOADS else state.loads[0].number
    for record in state.loads:
        found.append(Entry(record.number, record, tuple(range(last + 1, record.number))))
        last = max(last, record.number)
    if (loading := state.generation.loading) > last:
        found.append(Entry(loading, None, tuple(range(last + 1, loading))))
    return tuple(reversed(found))


def short(path: str, state: AppState) -> str:
    """A file as seen from the agent's folder, others by folder and name; words stay as they are."""
    if "/" not in path:
        return path
    file, folder = PurePath(path), PurePath(state.agent).parent
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else "/".join(file.parts[-2:])


# -- the list ---------------------------------------------------------------------------------------------


def row(entry: Entry, state: AppState, width: int, *, selected: bool) -> Line:
    """One load in exactly `width` cells."""
    record = entry.record
    mark, _ = _standing(entry, state)
    method = "loading" if record is None else record.start_method if record.good else "failed"
    cause = state.generation.loading_cause if record is None else record.cause
    took = "" if record is None or record.seconds is None else milliseconds(record.seconds * 1000)
    jobs = len(_jobs(state, entry.number)) if record is not None and record.good else 0
    at = "" if record is None else clock(record.ts, millis=False)
    head = f"{entry.number:>4}  {at:<8}  "
    on_it = f"{jobs} job{'' if jobs == 1 else 's'}" if jobs else ""
    tail = f"  {took:>7}  {method:<8}  {on_it:<7}"
    tone = Tone.STRONG if selected else Tone.PLAIN
    return (
        Span("▸ " if selected else "  ", tone),
        mark,
        Span(head, tone),
        Span(pad(one_line(short(cause, state)), max(width - 3 - len(head) - len(tail), 0)), tone),
        Span(tail, tone),
    )


def _standing(entry: Entry, state: AppState) -> tuple[Span, str]:
    record = entry.record
    if record is None:
        return Span("◌", Tone.WARN), "loading"
    if not record.good:
        broken = any(each.good and each.number == record.number for each in state.loads)
        return Span("✗", Tone.BAD), "does not start" if broken else "does not load"
    if record.number == state.generation.current:
        return Span("●", Tone.GOOD), "serves"
    return Span("✓", Tone.GOOD), "was ready"


# -- what is known of one ---------------------------------------------------------------------------------


def fact_lines(entry: Entry, state: AppState, now: float) -> tuple[Line, ...]:
    """What is so of one load, but for the times of its steps."""
    record = entry.record
    mark, what = _standing(entry, state)
    if record is None:
        head: Line = (mark, Span(f" generation {entry.number}", Tone.STRONG), Span(" is loading"))
        return head, _fact("cause", _words(state.generation.loading_cause, state)), *_overtook(entry)
    took = "" if record.seconds is None else f", {milliseconds(record.seconds * 1000)} after the save"
    lines = [
        (mark, Span(f" generation {record.number}", Tone.STRONG), Span(f" {what}{took}")),
        _fact("cause", _words(record.cause, state)),
    ]
    if record.rolled_back_to:
        lines.append(_rolled_back(record, state))
    if record.changed and record.changed != (record.cause,):
        lines.append(_fact("changed", _files(record.changed, state)))
    lines += _overtook(entry)
    if record.good:
        lines.append(_fact("start", f"{record.start_method}: {record.start_reason}"))
    if processes := [each for each in state.live_processes if each.generation == record.number]:
        lines.append(_fact("memory", memory(processes)))
    if record.good and (jobs := _jobs(state, record.number)):
        lines += _job_lines(jobs, now)
    return tuple(lines)


def _fact(name: str, value: str, tone: Tone = Tone.PLAIN) -> Line:
    return Span(f"  {name:<9}", Tone.DIM), Span(one_line(value), tone)


def _words(cause: str, state: AppState) -> str:
    return f"{short(cause, state)} was saved" if "/" in cause else cause


def _files(paths: tuple[str, ...], state: AppState) -> str:
    more = len(paths) - FILES_SHOWN
    shown = ", ".join(short(path, state) for path in paths[:FILES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def _rolled_back(record: LoadRecord, state: AppState) -> Line:
    if record.number != state.generation.current:
        return _fact("code", f"that of generation {record.rolled_back_to}")
    return _fact("code", f"that of generation {record.rolled_back_to}, not what is on disk", Tone.WARN)


def _overtook(entry: Entry) -> tuple[Line, ...]:
    if not entry.overtook:
        return ()
    first, *rest = entry.overtook
    which = f"{first} to {rest[-1]}" if rest else f"{first}"
    return (_fact("overtook", f"{which}, saved again while loading"),)


def memory(processes: list[ProcessView]) -> str:
    """The sum over processes of what can be added up (PSS), or else of USS or RSS, and how many they are."""
    count = f"{len(processes)} process{'' if len(processes) == 1 else 'es'}"
    for name in ("pss", "uss", "rss"):
        sizes = [getattr(each, f"{name}_mb") for each in processes]
        if all(size is not None for size in sizes):
            return f"{megabytes(sum(sizes))} {name} in {count}{_doing(processes)}"
    return f"not measured yet: {count}{_doing(processes)}"


def _doing(processes: list[ProcessView]) -> str:
    counts = ((ProcessState.JOB, "with a job"), (ProcessState.IDLE, "idle"))
    words = [
        f"{count} {word}"
        for state, word in counts
        if (count := sum(each.state is state for each in processes))
    ]
    return f" ({', '.join(words)})" if words else ""


def _jobs(state: AppState, number: int) -> list[JobView]:
    return [job for job in state.live_jobs if job.generation == number]


def _job_lines(jobs: list[JobView], now: float) -> list[Line]:
    shown = [
        f"{one_line(job.id)} in {one_line(job.room)}, {stopwatch(now - job.offered)}"
        for job in jobs[:JOBS_SHOWN]
    ]
    if len(jobs) > JOBS_SHOWN:
        shown[-1] += f", and {len(jobs) - JOBS_SHOWN} more"
    return [_fact("jobs" if number == 0 else "", text) for number, text in enumerate(shown)]


# -- steps ------------------------------------------------------------------------------------------------


def step_lines(record: LoadRecord, columns: int = 1) -> tuple[Line, ...]:
    """A bar for each step that there was, so many beside each other; the longest one's is whole."""
    taken = record.steps.taken
    most = max((ms for _, ms in taken), default=0.0) or 1.0
    width = BAR if columns == 1 else BAR // 5
    cells = [_step(name, ms, ms / most, width) for name, ms in taken]
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    return tuple((Span("  "), *(span for cell in row for span in cell)) for row in rows)


def _step(name: str, ms: float, share: float, width: int) -> Line:
    return (
        Span(f"{STEPS[name]:<12}", Tone.DIM),
        Span(f"{bar(share, width):<{width}}", Tone.DIM),
        Span(f"{milliseconds(ms):>6}  "),
    )


def bar(share: float, width: int) -> str:
    """A bar as long as a share (0…1) of `width` cells; what is not nothing is to be seen."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    whole, rest = divmod(max(eighths, 1 if share > 0 else 0), 8)
    return "█" * whole + (EIGHTHS[rest] if rest else "")
