"""The texts of the job page. Pure functions."""

from collections.abc import Sequence

from agent_tui.model.events import EndedBy
from agent_tui.model.logs import LogLevel, LogLine
from agent_tui.model.state import LIVE_PHASES, AppState, JobTimes, JobView
from agent_tui.tui.widgets.endings import job_ended, job_status
from agent_tui.tui.widgets.log_rows import MAX_ROWS, line_count
from agent_tui.tui.widgets.log_text import Columns, Role, clock, row_parts
from agent_tui.tui.widgets.memory_plot import Levels, memory_lines
from agent_tui.tui.widgets.plot import Mark, beside
from agent_tui.tui.widgets.swap_text import code_facts
from agent_tui.tui.widgets.text import (
    NONE,
    Line,
    Span,
    Tone,
    clip,
    counted,
    milliseconds,
    one_line,
    pad,
    wrapped,
)

TIME_LINE_WIDTH = 35
PLOT_HEIGHT = 9

_STEPS: tuple[tuple[str, str], ...] = (
    ("dispatch", "dispatched"),
    ("offer", "offered"),
    ("accepted", "answered"),
    ("assigned", "assigned"),
    ("process", "launched"),
    ("entry", "entered"),
    ("connected", "connected"),
    ("end", "ended"),
)
"""The rows of the timeline: names, and fields of `JobTimes`."""

HALVES = {(False, False): " ", (True, False): "▌", (False, True): "▐", (True, True): "█"}
"""A cell of a bar by whether its left and its right half belong to it."""

LEAST_BAR, MOST_BAR = 8, 32
"""Cells of the bars of the timeline."""

MEMORY_WIDTH = 45
"""Cells of the memory graph beside a timeline with bars."""

_TONES = {
    Role.MARK: Tone.PLAIN,
    Role.TEXT: Tone.PLAIN,
    Role.WARN: Tone.WARN,
    Role.WARN_WORD: Tone.WARN,
    Role.ERROR: Tone.BAD,
    Role.ERROR_WORD: Tone.BAD,
}
"""The tones of log rows; other roles are dim."""


def summary_lines(job: JobView, state: AppState, width: int) -> tuple[Line, ...]:
    """Return the job's status, what ended it, and its process."""
    standing = job_status(job)
    after = f" · {milliseconds(1000 * job.seconds)}" if job.seconds is not None else ""
    is_in_reason = job.ended_by in (EndedBy.EXIT, EndedBy.SIGNAL) and job.reason
    ended = "" if is_in_reason else job_ended(job)
    status = f"{job.status}" if job.status is not None and job.status not in standing.text else ""
    more = f"  {status}" if status else ""
    taken = len(f"{standing.text}  room {after}{more}")
    lines: list[Line] = [
        (
            Span(standing.text, standing.tone),
            Span(f"  room {clip(one_line(job.room), max(width - taken, 8))}{after}"),
            Span(more, Tone.DIM),
        )
    ]
    if ended:
        lines.append((Span(f"{'ended':<9}", Tone.DIM), Span(clip(ended, width - 9))))
    if job.reason:
        tone = Tone.BAD if standing.tone is Tone.BAD else Tone.PLAIN
        lines.append((Span(f"{'reason':<9}", Tone.DIM), Span(one_line(job.reason), tone)))
    lines.append((Span(f"{'process':<9}", Tone.DIM), Span(clip(_process(job, state), width - 9))))
    if code := ", ".join(code_facts(job, state)):
        lines.append((Span(f"{'code':<9}", Tone.DIM), Span(clip(code, width - 9))))
    return tuple(lines)


def _process(job: JobView, state: AppState) -> str:
    if job.process_id is None:
        return "none yet" if job.phase in LIVE_PHASES else "none"
    facts = [f"{one_line(job.process_id)} pid {job.pid or NONE}", f"generation {job.generation}"]
    if job.warm is not None:
        facts.append("warm" if job.warm else "cold start")
    if job.exit_code == 0 and job.phase not in LIVE_PHASES:
        facts.append("exit code 0")  # any other is part of what ended the job
    if job.restarts:
        facts.append(counted(job.restarts, "restart"))
    return ", ".join(facts)


def time_line(job: JobView, width: int = 0) -> tuple[Line, ...]:
    """Return the steps, each with the time since the dispatch (or offer) and since the previous step.

    If `width` has room, each step until the entry function also has a bar: from the step before to it.
    """
    cells = min(width - TIME_LINE_WIDTH - 2, MOST_BAR)
    first = "dispatch" if job.times.dispatched is not None else "offer"
    head = (
        Span("Timeline", Tone.STRONG),
        Span(pad(f"since {first}", 16, right=True) + pad("step", 11, right=True), Tone.DIM),
    )
    lines: list[Line] = [head]
    stamps = [(_name(name, job), getattr(job.times, field)) for name, field in _STEPS]
    known = [at for _, at in stamps if at is not None]
    started = max([at for name, at in stamps if at is not None and name != "end"], default=0.0)
    before: float | None = None
    for name, at in stamps:
        since = NONE if at is None else clock(at, millis=False) if at == known[0] else _took(known[0], at)
        step = NONE if at is None or before is None else _took(before, at)
        tone = Tone.DIM if at is None else Tone.PLAIN
        lines.append(
            (
                Span(pad(name, 10), tone),
                Span(pad(since, 14, right=True), tone),
                Span(pad(step, 11, right=True), Tone.DIM),
                *step_bar(known[0] if known else 0.0, before, at, started, cells),
            )
        )
        before = at if at is not None else before
    return tuple(lines)


def step_bar(first: float, before: float | None, at: float | None, last: float, cells: int) -> Line:
    """Return the bar of a step from `before` to `at` on an axis from `first` to `last`, `cells` wide."""
    if cells < LEAST_BAR or before is None or at is None or at > last or last <= first:
        return ()
    start, end = (round((when - first) / (last - first) * cells * 2) for when in (before, at))
    start, end = min(start, 2 * cells - 1), max(end, min(start, 2 * cells - 1) + 1)
    halves = "".join(HALVES[start <= half < end, start <= half + 1 < end] for half in range(0, 2 * cells, 2))
    return (Span(f"  {halves.rstrip()}", Tone.SERIES),)


def _name(name: str, job: JobView) -> str:
    return "declined" if name == "accepted" and job.accepted is False else name


def job_memory(
    job: JobView, state: AppState, now: float, width: int, height: int = PLOT_HEIGHT
) -> tuple[Line, ...]:
    """Return the memory graph of the job's process, from its launch to its end."""
    times = job.times
    end = times.ended if times.ended is not None else now
    marks = [
        Mark(ts, Tone.BAD if warned.over_limit else Tone.WARN)
        for ts, warned in state.breaches
        if warned.job_id == job.id
    ]
    start, levels = start_of(times, job.offered), Levels.of(state.settings.options)
    return memory_lines(state.memory_of(job), start, end, levels, width, height, marks=marks)


def overview_lines(
    job: JobView, state: AppState, now: float, width: int, crash: Sequence[Line] = ()
) -> tuple[Line, ...]:
    """Return a job's status, its traceback `crash`, and its timeline and memory, side by side."""
    bars = TIME_LINE_WIDTH + 2 + MOST_BAR
    left = bars if width >= bars + MEMORY_WIDTH else TIME_LINE_WIDTH
    memory = job_memory(job, state, now, max(width - left - 3, 20))
    figures = beside(time_line(job, left), memory, left, gap=3)
    return (*summary_lines(job, state, width), (), *((*crash, ()) if crash else ()), *figures)


def start_of(times: JobTimes, otherwise: float) -> float:
    """Return when the job got its process, in Unix seconds; `otherwise` if it has no process."""
    return times.launched or times.entered or otherwise


def log_lines(lines: Sequence[LogLine], width: int, *, rows: int = MAX_ROWS) -> tuple[Line, ...]:
    """Return log lines as in the log pane, without the owner column; at most `rows` rows of each record."""
    layout = Columns(millis=width >= 100, owner=0, aligned=width >= 100)
    return tuple(
        tuple(Span(text, _TONES.get(role, Tone.DIM)) for text, role in row_parts(line, row, layout))
        for line in lines
        for row in range(min(line_count(line.text), rows))
    )


def brief_lines(line: LogLine, width: int) -> tuple[Line, ...]:
    """Return a log line in at most two rows, with only the level in color; further rows are indented."""
    time, word = f"{clock(line.ts, millis=False)} ", f"{line.level.name:<6}"
    indent = len(time) + len(word)
    first, *rest = wrapped(one_line(line.text), width - indent)
    more = [clip(" ".join(rest), max(width - indent, 8))] if rest else []
    tone = (
        Tone.BAD if line.level >= LogLevel.ERROR else Tone.WARN if line.level >= LogLevel.WARN else Tone.DIM
    )
    return (
        (Span(time, Tone.DIM), Span(word, tone), Span(first)),
        *((Span(" " * indent + row),) for row in more),
    )


def log_title(lines: Sequence[LogLine], shown: int) -> Line:
    """Return the heading of the log: how many records are shown, and how many are warnings or errors."""
    bad = sum(line.level >= LogLevel.WARN for line in lines)
    more = f"  last {shown} of {counted(len(lines), 'record')} · 2 shows all"
    loud = f"  {counted(bad, 'warning or error', 'warnings and errors')}" if bad else ""
    return (Span("Log", Tone.STRONG), Span(more, Tone.DIM), Span(loud, Tone.WARN))


def _took(start: float, end: float) -> str:
    return milliseconds(1000 * (end - start))


def seconds_of(job: JobView, now: float) -> float | None:
    """Return how long the job lasted, or has lasted so far; None before it started."""
    started = job.times.entered or job.times.launched
    if job.seconds is not None:
        return job.seconds
    return None if started is None or job.phase not in LIVE_PHASES else now - started
