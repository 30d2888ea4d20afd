"""The table of jobs and of dispatches without one: running first, then ended or lost, the newest first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.message import Message

from agent_tui.model.state import LIVE_PHASES, AppState, DispatchView, JobView
from agent_tui.tui.widgets import copyable
from agent_tui.tui.widgets.endings import job_ended, job_status, signal_name
from agent_tui.tui.widgets.job_text import seconds_of
from agent_tui.tui.widgets.log_text import clock
from agent_tui.tui.widgets.processes import dispatch_of, key_of
from agent_tui.tui.widgets.swap_text import code_cell
from agent_tui.tui.widgets.table import Column, Order, Row, Table
from agent_tui.tui.widgets.text import NONE, Span, Tone, in_mb, milliseconds, one_line, stopwatch

COLUMNS = (
    Column("state", 12, 0, 13),
    Column("room", 11, 1, 60, grows=0),
    Column("offered", 8, 7, 8),
    Column("gen", 7, 6, 7, right=True),
    Column("start", 5, 5, 5),
    Column("entry", 6, 3, 8, right=True),
    Column("duration", 8, 2, 8, right=True),
    Column("peak", 7, 4, 7, right=True, unit="MB"),
    Column("exit", 7, 8, 9, from_width=100),
    Column("job", 15, 9, 15, from_width=150),
    Column("why", 18, 1, 300, grows=0),
)
"""The columns in order. `entry` is the time to the entry function, from the dispatch or else the offer."""

JobEntry = JobView | DispatchView
"""The subject of a row: a job, or a test dispatch without a job."""

SORTED_BY: dict[str, Callable[[JobView, AppState, float], float | str]] = {
    "state": lambda job, _, __: job_status(job).text,
    "room": lambda job, _, __: one_line(job.room),
    "offered": lambda job, _, __: job.offered,
    "gen": lambda job, _, __: job.generation,
    "start": lambda job, _, __: {True: "warm", False: "cold", None: ""}[job.warm],
    "entry": lambda job, _, __: _entry_ms(job) or 0.0,
    "duration": lambda job, _, now: seconds_of(job, now) or 0.0,
    "peak": lambda job, state, _: state.memory_of(job).peak or 0.0,
}
"""The sort key of each column."""


def jobs_of(state: AppState, now: float, order: Order, *, test_loads: bool) -> dict[str, JobEntry]:
    """Return the rows' entries by key: dispatches that wait and running jobs, then ended and lost ones.

    Each of the two parts is sorted; `test_loads`: whether it includes the jobs of loads.
    """
    found: list[JobEntry] = [job for job in state.jobs.values() if test_loads or not job.test_load]
    found += jobless(state)
    found.sort(key=lambda each: each.offered if isinstance(each, JobView) else each.made, reverse=True)
    if order.column:
        found.sort(key=lambda each: _sort_key(each, order.column, state, now), reverse=order.descending)
    found.sort(
        key=lambda each: each.phase not in LIVE_PHASES if isinstance(each, JobView) else not each.waits
    )
    return {each.id if isinstance(each, JobView) else key_of(each): each for each in found}


def jobless(state: AppState) -> list[DispatchView]:
    """Return the test dispatches that wait for a job or were lost without one."""
    return [each for each in state.dispatches if each.job_id not in state.jobs and (each.lost or each.waits)]


def _sort_key(entry: JobEntry, column: str, state: AppState, now: float) -> tuple[bool, float | str]:
    """Return the sort key; a dispatch, which has few of the values, sorts below all jobs that have one."""
    if isinstance(entry, JobView):
        return True, SORTED_BY[column](entry, state, now)
    known: dict[str, float | str] = {
        "room": one_line(entry.room),
        "state": dispatch_state(entry).text,
        "offered": entry.made,
    }
    return column in known, known.get(column, "")


def dispatch_state(dispatch: DispatchView) -> Span:
    """Return the state of a dispatch: waiting or lost."""
    return Span("✗ lost", Tone.BAD) if dispatch.lost else Span("◌ waiting", Tone.WARN)


def row(entry: JobEntry, state: AppState, now: float) -> Row:
    """Return the cells of a row."""
    if isinstance(entry, JobView):
        return job_row(entry, state, now)
    cells = {
        "state": dispatch_state(entry),
        "room": Span(one_line(entry.room)),
        "offered": Span(clock(entry.made, millis=False), Tone.DIM),
        "why": Span(one_line(entry.lost)),
    }
    return {column.key: cells.get(column.key, Span("")) for column in COLUMNS}


def job_row(job: JobView, state: AppState, now: float) -> Row:
    """Return the cells of a job."""
    live = job.phase in LIVE_PHASES
    tone = Tone.PLAIN if live else Tone.DIM
    lasts, entry_ms = seconds_of(job, now), _entry_ms(job)
    status = job_status(job)
    return {
        "state": status,
        "room": Span(one_line(job.room)),
        "offered": Span(clock(job.offered, millis=False), Tone.DIM),
        "gen": code_cell(job, state, tone),
        "start": Span({True: "warm", False: "cold", None: NONE}[job.warm], tone),
        "entry": Span(NONE if entry_ms is None else milliseconds(entry_ms), tone),
        "duration": Span(NONE if lasts is None else stopwatch(lasts), tone),
        "peak": Span(in_mb(state.memory_of(job).peak), tone),
        "exit": Span("" if live else exit_of(job), tone),
        "job": Span(one_line(job.id), Tone.DIM),
        "why": Span(why(job), Tone.PLAIN if status.tone is Tone.BAD else tone),
    }


def why(job: JobView) -> str:
    """Return why a job ended, or was not accepted: its error or reason, or else what ended it."""
    return one_line(job.reason) or job_ended(job)


def exit_of(job: JobView) -> str:
    """Return the signal's name or the exit code of the job's process; empty if unknown."""
    if job.signal:
        return signal_name(job.signal)
    return "" if job.exit_code is None else str(job.exit_code)


def _entry_ms(job: JobView) -> float | None:
    return job.offer_to_entry_ms if job.dispatch_to_entry_ms is None else job.dispatch_to_entry_ms


class JobsTable(Table[JobEntry]):
    """The table of jobs and of dispatches without one. `test_loads` shows those of test loads too."""

    SORTABLE = SORTED_BY
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open"),
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
    ]
    DEFAULT_CSS = """
    JobsTable { height: 1fr; background: transparent; }
    """

    @dataclass
    class Opened(Message):
        """The user pressed Enter on a row, or clicked it: the id of a job, or the key of a dispatch."""

        key: str

    test_loads = False

    def columns_of(self, state: AppState) -> Sequence[Column]:
        """Return the columns; that of the rooms leaves room that no name needs to the others."""
        names = [job.room for job in state.jobs.values()] + [each.room for each in jobless(state)]
        longest = max((cell_len(one_line(name)) for name in names), default=0)
        return tuple(
            replace(each, most=min(max(longest, each.width), each.most)) if each.key == "room" else each
            for each in COLUMNS
        )

    def entries_of(self, state: AppState, order: Order) -> Mapping[str, JobEntry]:
        return jobs_of(state, self._now, order, test_loads=self.test_loads)

    def row_of(self, entry: JobEntry, state: AppState, now: float) -> Row:
        return row(entry, state, now)

    def toggle_test_loads(self) -> None:
        """Show or hide the jobs of test loads and sweeps."""
        self.test_loads = not self.test_loads
        self._paint()

    def action_open(self) -> None:
        if self.chosen is not None:
            self.post_message(self.Opened(self.chosen))

    def copyable(self) -> Mapping[str, str]:
        key, state = self.chosen or "", self._state
        if key not in state.jobs and (dispatch := dispatch_of(key, state)) is not None:
            return copyable.of_entry(dispatch, state)
        return copyable.of_job(state.jobs.get(key), state)
