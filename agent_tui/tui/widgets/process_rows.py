"""The process table's rows and columns. Pure functions."""

from collections.abc import Callable
from dataclasses import dataclass

from agent_tui.model.child import ProcessKind
from agent_tui.model.events import ProcessState
from agent_tui.model.state import AppState, JobView, ProcessView
from agent_tui.tui.widgets.endings import process_ended
from agent_tui.tui.widgets.text import NONE, Span, Tone, megabytes, minutes, one_line, stopwatch

ENDED_SHOWN = 20
"""How many of the last ended processes have a row."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `keep` says how long it stays when the table gets narrow (higher goes first)."""

    key: str
    width: int
    keep: int
    most: int
    """How wide it may grow where there is room."""
    right: bool = False


COLUMNS = (
    Column("pid", 7, 0, 7),
    Column("gen", 3, 5, 3, right=True),
    Column("state", 11, 0, 19),
    Column("job", 9, 6, 15),
    Column("room", 10, 1, 28),
    Column("uss", 5, 4, 5, right=True),
    Column("rss", 5, 2, 5, right=True),
    Column("cpu", 4, 7, 4, right=True),
    Column("ping", 5, 8, 5, right=True),
    Column("up", 7, 3, 7, right=True),
    Column("why", 16, 9, 80),
)
"""In the order they are shown. `why` says how an ended process came to its end."""

GROWS = ("state", "room", "job", "why")

Row = dict[str, Span]
"""Cells by the column's key."""


def layout(width: int) -> tuple[tuple[Column, int], ...]:
    """The columns that fit into `width` cells and their widths; one blank follows each column."""
    kept = list(COLUMNS)
    while sum(column.width + 1 for column in kept) > width and len(kept) > 2:
        kept.remove(max(kept, key=lambda column: column.keep))
    widths = {column.key: column.width for column in kept}
    spare = max(width - sum(column.width + 1 for column in kept), 0)
    for column in sorted(kept, key=lambda c: GROWS.index(c.key) if c.key in GROWS else len(GROWS)):
        more = min(spare, column.most - column.width)
        widths[column.key] += more
        spare -= more
    return tuple((column, widths[column.key]) for column in kept)


@dataclass(frozen=True, slots=True)
class Order:
    """By which column the live processes are sorted; without one by what they do."""

    column: str = ""
    descending: bool = True

    def chosen(self, column: str) -> "Order":
        """After somebody has chosen that column: the largest first, then the smallest, then none again."""
        if column not in SORTED_BY:
            return self
        if column != self.column:
            return Order(column)
        return Order(column, descending=False) if self.descending else Order()

    def label(self, column: str) -> str:
        """The column's head."""
        return f"{'▼' if self.descending else '▲'}{column}" if column == self.column else column


SORTED_BY: dict[str, Callable[[ProcessView], float]] = {
    "pid": lambda p: p.pid or 0,
    "gen": lambda p: p.generation,
    "uss": lambda p: p.uss_mb or 0.0,
    "rss": lambda p: p.rss_mb or 0.0,
    "cpu": lambda p: p.cpu_pct or 0.0,
    "ping": lambda p: p.ping_ms or 0.0,
    "up": lambda p: -p.started,
}
"""What a column is sorted by."""


AS_THEY_WORK = Order()


def ordered(state: AppState, order: Order = AS_THEY_WORK) -> list[ProcessView]:
    """Live processes first: those with a job, idle ones, starting ones, services; then the last ended."""
    live = sorted(state.live_processes, key=lambda p: (_rank(p), p.started, p.id))
    if order.column:
        live.sort(key=SORTED_BY[order.column], reverse=order.descending)
    ended = [p for p in state.processes.values() if p.state is ProcessState.ENDED]
    ended.sort(key=lambda p: p.since, reverse=True)
    return live + ended[:ENDED_SHOWN]


def _rank(process: ProcessView) -> int:
    if process.kind is not ProcessKind.JOB:
        return 3
    if process.job_id:
        return 0
    return 2 if process.state is ProcessState.STARTING else 1


def row(process: ProcessView, state: AppState, now: float) -> Row:
    """One process as cells."""
    job = state.jobs.get(process.job_id) if process.job_id else None
    ended = process.state is ProcessState.ENDED
    tone = Tone.DIM if ended or process.kind is not ProcessKind.JOB else Tone.PLAIN
    service = "" if process.kind is ProcessKind.JOB else process.kind.value
    cpu = NONE if process.cpu_pct is None else f"{process.cpu_pct:.0f}%"
    ping = NONE if process.ping_ms is None else f"{process.ping_ms:.0f}ms"
    up = (process.since if ended else now) - process.started
    at_rest = process.state is not ProcessState.JOB and not ended
    return {
        "pid": Span(NONE if process.pid is None else str(process.pid), tone),
        "gen": Span(str(process.generation or NONE), tone),
        "state": STALE if state.is_stale(process) else _state(process, job, state.generation.current),
        "job": Span(one_line(process.job_id or service), tone),
        "room": Span(one_line(job.room) if job else "", tone),
        "uss": Span(megabytes(process.uss_mb), tone),
        "rss": Span(megabytes(process.rss_mb), tone),
        "cpu": Span("" if ended else cpu, tone),
        "ping": Span("" if ended else ping, tone),
        "up": Span(minutes(up) if at_rest else stopwatch(up), tone),
        "why": Span(one_line(process.reason or ""), tone),
    }


STALE = Span("◐ stale job", Tone.WARN)
"""A job that goes on on old code."""

_STATES = {
    ProcessState.IDLE: Span("○ idle"),
    ProcessState.JOB: Span("● job", Tone.GOOD),
    ProcessState.STARTING: Span("◌ starting", Tone.WARN),
    ProcessState.ENDING: Span("◍ ending", Tone.WARN),
}


def _state(process: ProcessView, job: JobView | None, current: int) -> Span:
    if process.state is ProcessState.ENDED:
        return process_ended(process, job)
    if process.state is ProcessState.STARTING and _serves(process, current):
        return Span("● up")
    return _STATES[process.state]


def _serves(process: ProcessView, current: int) -> bool:
    """Processes other than job processes are never idle; that they are up is known by what they did."""
    if process.kind is ProcessKind.JOB:
        return False
    loaded = process.generation <= current if process.generation else current > 0
    return process.ping_ms is not None or loaded
