"""The texts of the detail tabs, which describe the selected row of the process table. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from agent_tui.model.child import ProcessKind
from agent_tui.model.events import ProcessState
from agent_tui.model.logs import LogLine
from agent_tui.model.state import AppState, DispatchView, JobView, ProcessView
from agent_tui.tui.widgets.endings import process_ended
from agent_tui.tui.widgets.job_text import (
    PLOT_HEIGHT,
    brief_lines,
    job_memory,
    log_lines,
    start_of,
    summary_lines,
    time_line,
)
from agent_tui.tui.widgets.log_text import clock
from agent_tui.tui.widgets.memory_plot import Levels, memory_lines
from agent_tui.tui.widgets.plot import Mark
from agent_tui.tui.widgets.processes import SERVICES, Entry, unready
from agent_tui.tui.widgets.source import failing_place, source_lines, traceback_lines
from agent_tui.tui.widgets.stack_rows import blocked_line, place_of, stack_lines, top_frame
from agent_tui.tui.widgets.talk_notes import why_none
from agent_tui.tui.widgets.text import (
    NONE,
    Line,
    Span,
    Tone,
    clip,
    duration,
    fact,
    megabytes,
    one_line,
    wrapped,
)

INDENT = 13
MIN_PLOT, MAX_PLOT = 7, 20


class Tab(StrEnum):
    """The tabs, in order."""

    TALK = "Talk"
    JOB = "Job"
    LOGS = "Job logs"
    MEMORY = "Memory"
    STACKS = "Stacks"
    OPTIONS = "Options"


@dataclass(frozen=True, slots=True)
class Stacks:
    """The stacks of a process, taken at `at` (Unix seconds), or why there are none."""

    process_id: str
    text: str
    at: float


def entry_title(entry: Entry | None, state: AppState) -> str:
    """Return the name of the selected entry: its room, or its process."""
    if entry is None:
        return ""
    if isinstance(entry, DispatchView):
        return one_line(entry.room)
    job = job_of(entry, state)
    if job is not None:
        return one_line(job.room)
    what = entry.state.value if entry.kind is ProcessKind.JOB else entry.kind.value
    return f"{what} {entry.pid or NONE}"


def job_of(entry: Entry | None, state: AppState) -> JobView | None:
    """Return the job that the entry has or had; None if it has none, or if it is no longer kept."""
    return state.jobs.get(entry.job_id) if entry is not None and entry.job_id else None


LOG_ROWS = 3
"""The fewest rows of log lines that the Job tab shows."""


def job_lines(
    entry: Entry | None,
    state: AppState,
    now: float,
    width: int,
    height: int,
    log: Sequence[LogLine] = (),
) -> tuple[Line, ...]:
    """Return the lines of the Job tab: status, timeline, and, if the height allows, memory of the job and the
    last lines of its `log`.

    For a process without a job, they say what it is for.
    """
    if entry is None:
        return _muted("Select a process: its job, its logs, and its memory appear here.", width)
    job = job_of(entry, state)
    if isinstance(entry, DispatchView):
        return dispatch_lines(entry, state, now, width)
    if job is None:
        return _process(entry, state, now, width)
    lines = _job(job, state, width)
    if len(lines) + PLOT_HEIGHT + 1 <= height:
        lines = (*lines, (), *job_memory(job, state, now, width))
    loud = [each for each in log if each.level >= state.settings.log_level]
    return (*lines, *_last_lines(loud, width, height - len(lines)))


def _last_lines(log: Sequence[LogLine], width: int, height: int) -> tuple[Line, ...]:
    """Return a heading and the last lines of a log, in at most `height` rows; nothing if too few fit."""
    if not log or height < LOG_ROWS + 2:
        return ()
    rows: list[Line] = []
    for line in reversed(log[-height:]):
        brief = brief_lines(line, width)
        if len(brief) + len(rows) > height - 2:
            break
        rows = [*brief, *rows]
    return ((), (Span("Log", Tone.STRONG), Span("  last lines", Tone.DIM)), *rows)


def no_talk(
    entry: Entry | None,
    state: AppState,
    now: float,
    width: int,
    height: int,
    log: Sequence[LogLine] = (),
) -> tuple[Line, ...]:
    """Return the lines of the Talk tab for a job without a conversation: why, then those of the Job tab."""
    why = _muted(why_none(entry, state), width)
    if entry is None:
        return why
    return (*why, (), *job_lines(entry, state, now, width, height - len(why) - 1, log))


def _job(job: JobView, state: AppState, width: int) -> tuple[Line, ...]:
    crash = traceback_lines(job.traceback, width, state.agent)
    return (*summary_lines(job, state, width), (), *((*crash, ()) if crash else ()), *time_line(job, width))


def dispatch_lines(dispatch: DispatchView, state: AppState, now: float, width: int) -> tuple[Line, ...]:
    """Return the state of a dispatch (waiting, or why it was lost), and its job if one was offered."""
    job = job_of(dispatch, state)
    if not dispatch.lost:
        head = (Span("◌ waiting ", Tone.WARN), Span(f"for {duration(now - dispatch.made)}"))
        return (head, *_muted("No worker has been offered its job yet.", width))
    whose = "your test dispatch, sent" if dispatch.ours else "dispatched by another client"
    lines: list[Line] = [
        (Span("✗ lost", Tone.BAD), Span(f" · {whose} at {clock(dispatch.made, millis=False)}"))
    ]
    lines += [(Span(row),) for row in wrapped(one_line(dispatch.lost), width)]
    return (
        *lines,
        (),
        *(_job(job, state, width) if job is not None else _muted("i shows the worker", width)),
    )


def _process(process: ProcessView, state: AppState, now: float, width: int) -> tuple[Line, ...]:
    """Return what a process without a job is, and its figures."""
    ended = process.state is ProcessState.ENDED
    if ended:
        head = process_ended(process, None)
    elif process.kind is ProcessKind.JOB:
        waits = process.state is ProcessState.IDLE
        head = Span("○ idle: waits for a job") if waits else Span(f"◌ {process.state}", Tone.WARN)
    else:
        head = Span(SERVICES[process.kind])
    sizes = [
        f"{name} {megabytes(mb)}"
        for name, mb in (("rss", process.rss_mb), ("uss", process.uss_mb), ("pss", process.pss_mb))
        if mb is not None
    ]
    facts = [
        ("process", f"{process.id} pid {process.pid or NONE}"),
        ("generation", str(process.generation) if process.generation else ""),
        ("age", duration((process.since if ended else now) - process.started, whole_minutes=not ended)),
        ("reason", process.reason or ""),
        ("memory", ", ".join(sizes)),
    ]
    lines = [(Span(row, head.tone),) for row in wrapped(head.text, width)]
    trace = _trace_of(process, state)
    place = failing_place(trace)  # the problem at the top has the traceback
    code = source_lines(place, width, state.agent) if place else traceback_lines(trace, width, state.agent)
    return (
        *lines,
        (),
        *(line for name, value in facts if value for line in fact(name, value, INDENT, width)),
        *(((), *code) if code else ()),
    )


def _trace_of(process: ProcessView, state: AppState) -> str:
    """Return the traceback of the load or start that failed in this process; empty if it is another one's."""
    if process.id not in unready(state):
        return ""
    generation, starts = state.generation, state.starts
    is_load = process.kind is not ProcessKind.JOB and process.generation == generation.failed
    return generation.traceback if is_load or not starts.is_failing else starts.traceback


def logs_of(lines: Sequence[LogLine], entry: Entry | None, width: int) -> tuple[Line, ...]:
    """Return the tab with the entry's log lines."""
    if entry is None:
        return _muted("Select a process: its log lines appear here.", width)
    if isinstance(entry, DispatchView) and entry.job_id is None:
        return _muted("No log lines: it has no job.", width)
    return log_lines(lines, width) or _muted(
        "No log lines: it wrote none, or they are no longer kept.", width
    )


def memory_of(
    entry: Entry | None, state: AppState, now: float, levels: Levels, width: int, height: int
) -> tuple[Line, ...]:
    """Return the tab with the memory graph: of the job's process since its launch, or of the process."""
    job = job_of(entry, state)
    process = entry if isinstance(entry, ProcessView) else None
    if entry is None or (process is None and job is None):
        return _muted("Select a process: its memory appears here.", width)
    series = process.memory if process is not None and process.memory.points else None
    if series is None and job is not None:
        series = state.memory_of(job)
    if series is None or not series.points:
        return _muted("Not measured yet." if process and process.pid else "Not measured.", width)
    start, end = series.points[0][0], now
    if job is not None:
        start = min(start_of(job.times, job.offered), series.points[-1][0])
        end = job.times.ended or now
    elif process is not None and process.state is ProcessState.ENDED:
        end = max(process.since, series.points[-1][0])
    marks = [
        Mark(ts, Tone.BAD if warned.over_limit else Tone.WARN)
        for ts, warned in state.breaches
        if (job is not None and warned.job_id == job.id) or (process and warned.process_id == process.id)
    ]
    tall = min(max(height - 4, MIN_PLOT), MAX_PLOT)
    drawn = memory_lines(series, start, end, levels, width, tall, marks=marks)
    return (*drawn, (), *(_sizes(process) if process is not None else ()))


def _sizes(process: ProcessView) -> tuple[Line, ...]:
    named = (
        ("rss", process.rss_mb),
        ("uss", process.uss_mb),
        ("pss", process.pss_mb),
        ("children", process.children_mb or None),
    )
    shown = [(name, mb) for name, mb in named if mb is not None]
    return (
        tuple(
            span for name, mb in shown for span in (Span(f"{name} ", Tone.DIM), Span(f"{megabytes(mb)}   "))
        ),
    )


def stacks_of(
    stacks: Stacks | None, entry: Entry | None, state: AppState, now: float, width: int
) -> tuple[Line, ...]:
    """Return the tab with the stacks of the selected process; first whether its event loop is blocked."""
    if not isinstance(entry, ProcessView) or entry.state is ProcessState.ENDED:
        return _muted("Select a running process: s shows which code it is executing.", width)
    if stacks is None or stacks.process_id != entry.id:
        return _muted("Reading the stacks…", width)
    top = top_frame(stacks.text)
    opens = f" · e opens {place_of(top, state.agent).split(' ')[0]}" if top is not None else ""
    head = clip(f"at {clock(stacks.at, millis=False)} · s refreshes{opens}", width)
    blocked_s = now - entry.blocked_since if entry.blocked_since else 0.0
    blocked = blocked_line(stacks.text, blocked_s, entry.blocked_at, state.agent)
    return (
        *((Span(row, Tone.WARN),) for row in (wrapped(f"⚠ {blocked}", width) if blocked else ())),
        (Span(head, Tone.DIM),),
        (),
        *stack_lines(stacks.text, width, state.agent, is_blocked=bool(blocked)),
    )


def _muted(text: str, width: int) -> tuple[Line, ...]:
    return tuple((Span(row, Tone.DIM),) for row in wrapped(text, width))
