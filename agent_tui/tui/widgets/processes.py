"""The process table: waiting dispatches, calls and idle processes, ended ones, then what runs no jobs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from agent_tui.model.child import ProcessKind
from agent_tui.model.events import EndedBy, ProcessState
from agent_tui.model.state import AppState, DispatchView, JobView, ProcessView
from agent_tui.options.declare import ServerOptions
from agent_tui.tui.widgets import copyable
from agent_tui.tui.widgets.endings import process_ended
from agent_tui.tui.widgets.job_text import seconds_of
from agent_tui.tui.widgets.swap_text import code_cell
from agent_tui.tui.widgets.table import Column, Order, Row, Table
from agent_tui.tui.widgets.text import NONE, Span, Tone, duration, in_mb, one_line, pad, stopwatch

ENDED_SHOWN = 20
"""Maximum number of ended processes in the table."""

LOST_SHOWN = 10
"""Maximum number of lost dispatches in the table."""

BAR, SIZE = 5, 5
"""Cells of the memory bar, and of the size beside it."""


_BEFORE = (
    Column("state", 13, 0, 16, grows=0),
    Column("room", 13, 1, 40, grows=2),
    Column("gen", 7, 3, 7, right=True),
    Column("age", 7, 2, 7, right=True),
    Column("mem", 11, 1, 11, right=True, unit="MB"),
    Column("cpu", 5, 4, 5, right=True, unit="%"),
    Column("ping", 7, 6, 7, right=True, from_width=90, unit="ms"),
    Column("pid", 7, 7, 7, right=True, from_width=96),
    Column("job", 9, 8, 15, grows=3, from_width=106),
)
_RSS = Column("rss", 6, 9, 6, right=True, from_width=126, unit="MB")
_USS = Column("uss", 6, 10, 6, right=True, from_width=136, unit="MB")
_PSS = Column("pss", 6, 11, 6, right=True, from_width=146, unit="MB")
_WHY = Column("why", 14, 5, 30, grows=1)
COLUMNS = (*_BEFORE, _USS, _RSS, _WHY)
"""The columns in order. `age` is that of the call, `mem` the memory that the limits apply to. `why` is the
reason that it ended, or what a process without jobs does.
"""

COLUMNS_OF_NODE = (*_BEFORE, _RSS, _USS, _PSS, _WHY)
"""For agents-js: the SDK's limits count RSS, so it comes first; PSS shows how much of it is shared."""

Entry = ProcessView | DispatchView
"""The subject of a row: a process, or a test dispatch without a job (yet)."""

SERVICES = {
    ProcessKind.CONTROL: "control: runs the agent's request and load functions",
    ProcessKind.TEMPLATE: "template: has loaded the agent file; job processes are forked from it",
    ProcessKind.BASE: "base: has loaded the SDK; processes are forked from it",
    ProcessKind.INFERENCE: "inference: runs the SDK's local models for all jobs",
    ProcessKind.BLANK: "blank: has loaded the SDK; becomes a job or control process when one is needed",
}
"""The purpose of each kind of process that runs no jobs."""


_DOES = {
    ProcessKind.CONTROL: "request and load functions",
    ProcessKind.TEMPLATE: "agent loaded, forked per job",
    ProcessKind.BASE: "imports done, forked per job",
    ProcessKind.INFERENCE: "local models for all jobs",
    ProcessKind.BLANK: "SDK loaded, for the next use",
}
"""The same for the column `why`."""


def columns_of(state: AppState) -> tuple[Column, ...]:
    """Return the columns for the language of the agent's file."""
    is_node = state.interpreter is not None and state.interpreter.language == "Node"
    return COLUMNS_OF_NODE if is_node else COLUMNS


SORTED_BY: dict[str, Callable[[ProcessView, AppState], float]] = {
    "pid": lambda p, _: p.pid or 0,
    "gen": lambda p, _: p.generation,
    "mem": lambda p, _: memory_mb(p) or 0.0,
    "rss": lambda p, _: p.rss_mb or 0.0,
    "uss": lambda p, _: p.uss_mb or 0.0,
    "pss": lambda p, _: p.pss_mb or 0.0,
    "cpu": lambda p, _: p.cpu_pct or 0.0,
    "ping": lambda p, _: p.ping_ms or 0.0,
    "age": lambda p, state: -_call_start(p, state),
}
"""The sort key of each column."""


def _call_start(process: ProcessView, state: AppState) -> float:
    """Return when the process's call entered, or was offered, in Unix seconds; infinity without a call."""
    job = state.jobs.get(process.job_id) if process.job_id else None
    return math.inf if job is None else job.times.entered or job.times.launched or job.offered


BY_STATE = Order()


def ordered(state: AppState, order: Order = BY_STATE) -> list[ProcessView]:
    """Return the processes: with a job, idle, starting, services; then the last ended ones."""
    live = sorted(state.live_processes, key=lambda p: (_rank(p), p.started, p.id))
    if order.column:
        live.sort(key=lambda p: SORTED_BY[order.column](p, state), reverse=order.descending)
    ended = [p for p in state.processes.values() if p.state is ProcessState.ENDED and not _is_routine(p)]
    ended.sort(key=lambda p: p.since, reverse=True)
    return live + ended[:ENDED_SHOWN]


def _is_routine(process: ProcessView) -> bool:
    """Return whether an ended process had no job and ended on request, as some do at each save."""
    failed = process.exit_code or process.signal or process.pid is None
    return not process.job_id and not failed and process.ended_by in (None, EndedBy.ORDER)


def entries(state: AppState, order: Order = BY_STATE) -> dict[str, Entry]:
    """Return the rows' entries by key: waiting dispatches, live processes, ended ones (newest first), and
    the processes that run no jobs, unless a column sorts them.
    """
    waiting: list[Entry] = [each for each in state.dispatches if each.waits]
    run = {process.job_id for process in state.processes.values() if process.job_id}
    lost = [each for each in state.dispatches if each.lost and each.job_id not in run]
    live: list[Entry] = []
    services: list[Entry] = []
    ended: list[Entry] = [*lost[-LOST_SHOWN:]]
    for process in ordered(state, order):
        running = live if process.kind is ProcessKind.JOB or order.column else services
        (ended if process.state is ProcessState.ENDED else running).append(process)
    ended.sort(key=lambda each: each.since if isinstance(each, ProcessView) else each.made, reverse=True)
    return {key_of(each): each for each in (*waiting, *live, *ended, *services)}


def key_of(entry: Entry) -> str:
    """Return the key of the entry's row."""
    if isinstance(entry, ProcessView):
        return entry.id
    return f"dispatch {entry.number or entry.job_id or entry.made}"


def dispatch_of(key: str, state: AppState) -> DispatchView | None:
    """Return the dispatch whose row has that key; None if it is no longer kept."""
    return next((each for each in reversed(state.dispatches) if key_of(each) == key), None)


def _rank(process: ProcessView) -> int:
    if process.kind is not ProcessKind.JOB:
        return 3
    if process.job_id:
        return 0
    return 2 if process.state is ProcessState.STARTING else 1


def row(entry: Entry, state: AppState, now: float) -> Row:
    """Return the cells of a row."""
    return process_row(entry, state, now) if isinstance(entry, ProcessView) else dispatch_row(entry, now)


def dispatch_row(dispatch: DispatchView, now: float) -> Row:
    """Return the cells of a dispatch without a job."""
    room = Span(one_line(dispatch.room), Tone.DIM if dispatch.lost else Tone.PLAIN)
    if dispatch.lost:
        whose = "" if dispatch.ours else " (dispatched by another client)"
        why = Span(one_line(dispatch.lost) + whose, Tone.DIM)
        return _row(state=Span("✗ lost", Tone.BAD), room=room, why=why)
    return _row(state=Span("◌ waiting", Tone.WARN), room=room, age=Span(stopwatch(now - dispatch.made)))


def _row(**cells: Span) -> Row:
    return {column.key: cells.get(column.key, Span("")) for column in COLUMNS_OF_NODE}


def process_row(process: ProcessView, state: AppState, now: float) -> Row:
    """Return the cells of a process."""
    job = state.jobs.get(process.job_id) if process.job_id else None
    ended = process.state is ProcessState.ENDED
    tone = Tone.DIM if ended or process.kind is not ProcessKind.JOB else Tone.PLAIN
    cpu = NONE if process.cpu_pct is None else f"{process.cpu_pct:.0f}"
    ping = NONE if process.ping_ms is None else f"{process.ping_ms:.0f}"
    return {
        "state": _state(process, job, state.generation.current, now),
        "room": Span(one_line(job.room) if job else "", tone),
        "gen": Span(str(process.generation or NONE), tone) if job is None else code_cell(job, state, tone),
        "age": Span(_age(process, job, now), tone),
        "mem": memory_cell(process, state.settings.options, tone),
        "cpu": Span("" if ended else cpu, tone),
        "ping": Span("" if ended else ping, tone),
        "pid": Span(NONE if process.pid is None else str(process.pid), tone),
        "job": Span(one_line(process.job_id or ""), tone),
        "rss": Span(in_mb(process.rss_mb), tone),
        "uss": Span(in_mb(process.uss_mb), tone),
        "pss": Span(in_mb(process.pss_mb), tone),
        "why": Span(_why(process), tone),
    }


def _why(process: ProcessView) -> str:
    """Return why a process ended; for a service, what it does, or which one has ended."""
    service, reason = process.kind is not ProcessKind.JOB, one_line(process.reason or "")
    if process.state is ProcessState.ENDED:
        return f"{process.kind}: {reason}" if service else reason
    return _DOES[process.kind] if service else reason


def _age(process: ProcessView, job: JobView | None, now: float) -> str:
    """Return how long the process's call has lasted, or how long it has been starting.

    The seconds of all other processes would render the whole table again each second.
    """
    if job is not None and job.process_id in (process.id, None):
        lasts = seconds_of(job, now)
        return stopwatch(now - job.offered if lasts is None else lasts)
    is_starting = process.kind is ProcessKind.JOB and process.state is ProcessState.STARTING
    if is_starting:
        return stopwatch(now - process.started)
    return "" if process.state is ProcessState.ENDED else NONE


def memory_mb(process: ProcessView) -> float | None:
    """Return the memory that the limits apply to, in MB; RSS before it is measured."""
    return process.memory.points[-1][1] if process.memory.points else process.rss_mb


def memory_cell(process: ProcessView, options: ServerOptions, tone: Tone = Tone.PLAIN) -> Span:
    """Return the memory, and for job processes a bar: full at the limit, or else at the warning."""
    used, warn, limit = memory_mb(process), options.job_memory_warn_mb, options.job_memory_limit_mb
    size = pad(in_mb(used), SIZE, right=True)
    full = limit if limit > 0 else warn
    if used is None or full <= 0 or process.kind is not ProcessKind.JOB:
        return Span(size, tone)
    drawn = f"{bar(used / full, BAR)} {size}"
    if limit > 0 and used > limit:
        return Span(drawn, Tone.BAD)
    return Span(drawn, Tone.WARN if 0 < warn < used else tone)


def bar(share: float, width: int) -> str:
    """Return a bar of `width` cells, full at a share of 1."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(width, "·")


_STATES = {
    ProcessState.IDLE: Span("○ idle"),
    ProcessState.JOB: Span("● job", Tone.GOOD),
    ProcessState.STARTING: Span("◌ starting", Tone.WARN),
    ProcessState.ENDING: Span("◍ ending", Tone.WARN),
}


def _state(process: ProcessView, job: JobView | None, current: int, now: float) -> Span:
    if process.state is ProcessState.ENDED:
        ended = process_ended(process, job)
        is_past = not process.job_id and 0 < process.generation < current  # newer code has loaded
        return Span(ended.text, Tone.DIM) if is_past else ended
    if process.blocked_since:
        return Span(f"⚠ blocked {duration(now - process.blocked_since)}", Tone.WARN)
    shown = _STATES[process.state]
    if process.kind is not ProcessKind.JOB:
        if _serves(process, current):
            shown = Span("◇", Tone.DIM)
        return Span(f"{shown.text[0]} {process.kind}", shown.tone)
    return shown


def _serves(process: ProcessView, current: int) -> bool:
    """Return whether a service process is up: it has answered a ping, or its generation is loaded."""
    if process.kind is ProcessKind.BLANK or process.state is not ProcessState.STARTING:
        return False
    loaded = process.generation <= current if process.generation else current > 0
    return process.ping_ms is not None or loaded


def unready(state: AppState) -> frozenset[str]:
    """Return the ids of the processes that show why the newest code does not load or start; usually none."""
    generation, starts = state.generation, state.starts
    numbers = {generation.failed} if generation.is_broken else set()
    if starts.is_failing:
        numbers.add(starts.generation)
    return frozenset(
        process.id
        for process in state.processes.values()
        if process.generation in numbers
        and process.state is ProcessState.ENDED
        and not process.job_id
        and not _is_routine(process)
    )


class Processes(Table[Entry]):
    """The table of processes and of test dispatches without a job."""

    EMPTY = "each process appears here when it starts"
    SORTABLE = SORTED_BY
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("delete", "request_end", "End job", show=False),
        Binding("enter", "request_job", "Talk"),
    ]
    DEFAULT_CSS = """
    Processes {
        border: round $foreground 30%;
        border-title-color: $foreground;
        &:focus { border: round $accent; }
    }
    """

    @dataclass
    class EndRequested(Message):
        """The user pressed Delete on a process with a live job."""

        job_id: str

    @dataclass
    class JobRequested(Message):
        """The user pressed Enter on a row; `job_id` is the job that its process has or had."""

        job_id: str | None

    @dataclass
    class DispatchRequested(Message):
        """The user pressed Enter on a test dispatch without a job."""

        key: str

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.border_title = "Processes"

    def name_key(self, key: str) -> None:
        """Name the key that moves the focus here in the title."""
        self.border_title = f"{key} Processes"

    def columns_of(self, state: AppState) -> Sequence[Column]:
        return columns_of(state)

    def entries_of(self, state: AppState, order: Order) -> Mapping[str, Entry]:
        return entries(state, order)

    def row_of(self, entry: Entry, state: AppState, now: float) -> Row:
        return row(entry, state, now)

    def first_of(self, keys: Sequence[str]) -> str | None:
        """Return the row of the process that did not become ready, while the code does not work."""
        found = unready(self._state)
        broken = [key for key in keys if key in found]
        if broken:
            return self._placed if self._placed in broken else broken[0]
        return super().first_of(keys)

    @property
    def selected(self) -> ProcessView | None:
        """The process under the cursor; None if there is none."""
        entry = self.selected_entry
        return entry if isinstance(entry, ProcessView) else None

    @property
    def selected_entry(self) -> Entry | None:
        """The entry of the row under the cursor, as of the newest state; None if there is none."""
        key = self.chosen
        if key is None:
            return None
        return self._state.processes.get(key) or dispatch_of(key, self._state)

    def copyable(self) -> Mapping[str, str]:
        return copyable.of_entry(self.selected_entry, self._state)

    def action_request_end(self) -> None:
        """Request to end the selected process's job."""
        process = self.selected
        if process is not None and process.job_id and process.state is not ProcessState.ENDED:
            self.post_message(self.EndRequested(process.job_id))

    def action_request_job(self) -> None:
        """Request the conversation of the selected process's current or last job; the cursor does not move.

        For a dispatch without a job, request its page.
        """
        entry = self.selected_entry
        if entry is None:
            return
        self.choose(key_of(entry))
        if isinstance(entry, ProcessView):
            self.post_message(self.JobRequested(entry.job_id))
        else:
            self.post_message(self.DispatchRequested(key_of(entry)))
