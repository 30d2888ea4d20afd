"""The process table: waiting dispatches and live processes first, then what ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import DataTable

from agent_tui.model.child import ProcessKind
from agent_tui.model.events import ProcessState
from agent_tui.model.state import AppState, DispatchView, JobView, ProcessView
from agent_tui.options.declare import ServerOptions
from agent_tui.tui.widgets.endings import process_ended
from agent_tui.tui.widgets.text import NONE, Span, Tone, age, duration, megabytes, one_line, pad, stopwatch

ENDED_SHOWN = 20
"""Maximum number of ended processes in the table."""

LOST_SHOWN = 10
"""Maximum number of lost dispatches in the table."""

BAR, SIZE = 5, 5
"""Cells of the memory bar, and of the size beside it."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. In narrow tables, the column with the highest `drop_priority` is dropped first."""

    key: str
    width: int
    drop_priority: int
    most: int
    """Maximum width if there is spare room."""
    right: bool = False


_BEFORE = (
    Column("state", 12, 0, 19),
    Column("room", 9, 1, 40),
    Column("gen", 7, 3, 7, right=True),
    Column("age", 7, 2, 7, right=True),
    Column("mem", 11, 1, 11, right=True),
    Column("cpu", 4, 4, 4, right=True),
    Column("ping", 5, 6, 5, right=True),
    Column("pid", 7, 5, 7, right=True),
    Column("job", 9, 8, 15),
)
_RSS = Column("rss", 5, 9, 5, right=True)
_USS = Column("uss", 5, 10, 5, right=True)
_WHY = Column("why", 16, 7, 120)
COLUMNS = (*_BEFORE, _USS, _RSS, _WHY)
"""The columns in order. `mem` is the memory that the limits apply to; `why` the reason that it ended."""

COLUMNS_OF_NODE = (*_BEFORE, _RSS, _USS, Column("pss", 5, 11, 5, right=True), _WHY)
"""For agents-js: the SDK's limits count RSS, so it comes first; PSS shows how much of it is shared."""

GROWS = ("room", "state", "job", "why")

Row = dict[str, Span]
"""Cells by column key."""

Entry = ProcessView | DispatchView
"""What a row is about: a process, or a test dispatch that has no job (yet)."""

EMPTY = "each process appears here when it starts"

SERVICES = {
    ProcessKind.CONTROL: "control: runs the agent's request and load functions",
    ProcessKind.TEMPLATE: "template: has loaded the agent file; job processes are forked from it",
    ProcessKind.BASE: "base: has loaded the SDK; processes are forked from it",
    ProcessKind.INFERENCE: "inference: runs the SDK's local models for all jobs",
    ProcessKind.BLANK: "blank: has loaded the SDK; becomes a job or control process when one is needed",
}
"""What processes without jobs are for."""


def columns_of(state: AppState) -> tuple[Column, ...]:
    """Return the columns for the language of the agent's file."""
    is_node = state.interpreter is not None and state.interpreter.language == "Node"
    return COLUMNS_OF_NODE if is_node else COLUMNS


def layout(width: int, columns: Sequence[Column] = COLUMNS) -> tuple[tuple[Column, int], ...]:
    """Return the columns that fit `width` cells, with their widths; one blank follows each column."""
    kept = list(columns)
    while sum(column.width + 1 for column in kept) > width and len(kept) > 1:
        kept.remove(max(kept, key=lambda column: column.drop_priority))
    widths = {column.key: column.width for column in kept}
    spare = max(width - sum(column.width + 1 for column in kept), 0)
    for column in sorted(kept, key=lambda c: GROWS.index(c.key) if c.key in GROWS else len(GROWS)):
        more = min(spare, column.most - column.width)
        widths[column.key] += more
        spare -= more
    return tuple((column, widths[column.key]) for column in kept)


@dataclass(frozen=True, slots=True)
class Order:
    """The column that live processes are sorted by; without one, they are sorted by state."""

    column: str = ""
    descending: bool = True

    def chosen(self, column: str) -> "Order":
        """Return the order after a click on a column: descending, then ascending, then none."""
        if column not in SORTED_BY:
            return self
        if column != self.column:
            return Order(column)
        return Order(column, descending=False) if self.descending else Order()

    def label(self, column: str) -> str:
        """Return the column's header, with an arrow if it is sorted by it."""
        return f"{'▼' if self.descending else '▲'}{column}" if column == self.column else column


SORTED_BY: dict[str, Callable[[ProcessView], float]] = {
    "pid": lambda p: p.pid or 0,
    "gen": lambda p: p.generation,
    "mem": lambda p: memory_mb(p) or 0.0,
    "rss": lambda p: p.rss_mb or 0.0,
    "uss": lambda p: p.uss_mb or 0.0,
    "pss": lambda p: p.pss_mb or 0.0,
    "cpu": lambda p: p.cpu_pct or 0.0,
    "ping": lambda p: p.ping_ms or 0.0,
    "age": lambda p: -p.started,
}
"""The sort key of each column."""


BY_STATE = Order()


def ordered(state: AppState, order: Order = BY_STATE) -> list[ProcessView]:
    """Return the processes: with a job, idle, starting, services; then the last ended ones."""
    live = sorted(state.live_processes, key=lambda p: (_rank(p), p.started, p.id))
    if order.column:
        live.sort(key=SORTED_BY[order.column], reverse=order.descending)
    ended = [p for p in state.processes.values() if p.state is ProcessState.ENDED]
    ended.sort(key=lambda p: p.since, reverse=True)
    return live + ended[:ENDED_SHOWN]


def entries(state: AppState, order: Order = BY_STATE) -> dict[str, Entry]:
    """Return the rows' entries by key: waiting dispatches, live processes, then what ended, newest first."""
    waiting: list[Entry] = [each for each in state.dispatches if each.waits]
    run = {process.job_id for process in state.processes.values() if process.job_id}
    lost = [each for each in state.dispatches if each.lost and each.job_id not in run]
    live: list[Entry] = []
    ended: list[Entry] = [*lost[-LOST_SHOWN:]]
    for process in ordered(state, order):
        (ended if process.state is ProcessState.ENDED else live).append(process)
    ended.sort(key=lambda each: each.since if isinstance(each, ProcessView) else each.made, reverse=True)
    return {key_of(each): each for each in (*waiting, *live, *ended)}


def key_of(entry: Entry) -> str:
    """Return the key of the entry's row."""
    if isinstance(entry, ProcessView):
        return entry.id
    return f"dispatch {entry.number or entry.job_id or entry.made}"


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
    cpu = NONE if process.cpu_pct is None else f"{process.cpu_pct:.0f}%"
    ping = NONE if process.ping_ms is None else f"{process.ping_ms:.0f}ms"
    up = (process.since if ended else now) - process.started
    at_rest = process.state is not ProcessState.JOB and not ended
    stale = state.is_stale(process)
    return {
        "state": _state(process, job, state.generation.current, now),
        "room": Span(_what(process, job), tone),
        "gen": Span(f"{process.generation or NONE}{' stale' if stale else ''}", Tone.WARN if stale else tone),
        "age": Span(age(up) if at_rest else stopwatch(up), tone),
        "mem": memory_cell(process, state.settings.options, tone),
        "cpu": Span("" if ended else cpu, tone),
        "ping": Span("" if ended else ping, tone),
        "pid": Span(NONE if process.pid is None else str(process.pid), tone),
        "job": Span(one_line(process.job_id or ""), tone),
        "rss": Span(megabytes(process.rss_mb), tone),
        "uss": Span(megabytes(process.uss_mb), tone),
        "pss": Span(megabytes(process.pss_mb), tone),
        "why": Span(one_line(process.reason or ""), tone),
    }


def _what(process: ProcessView, job: JobView | None) -> str:
    """Return the room of the process's job; for support processes, what they are."""
    if process.kind is not ProcessKind.JOB:
        return process.kind.value
    return one_line(job.room) if job else ""


def memory_mb(process: ProcessView) -> float | None:
    """Return the memory that the limits apply to, in MB; RSS before it is measured."""
    return process.memory.points[-1][1] if process.memory.points else process.rss_mb


def memory_cell(process: ProcessView, options: ServerOptions, tone: Tone = Tone.PLAIN) -> Span:
    """Return the memory, and for job processes a bar: full at the limit, or else at the warning."""
    used, warn, limit = memory_mb(process), options.job_memory_warn_mb, options.job_memory_limit_mb
    size = pad(megabytes(used), SIZE, right=True)
    full = limit if limit > 0 else warn
    if used is None or full <= 0 or process.kind is not ProcessKind.JOB:
        return Span(size, tone)
    drawn = f"{bar(used / full, BAR)} {size}"
    if limit > 0 and used > limit:
        return Span(drawn, Tone.BAD)
    return Span(drawn, Tone.WARN if 0 < warn < used else tone)


def contains(cells: Row, text: str) -> bool:
    """Return whether a row contains the text; case does not matter."""
    return text.strip().casefold() in " ".join(span.text for span in cells.values()).casefold()


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
        return process_ended(process, job)
    if process.blocked_since:
        return Span(f"▲ blocked {duration(now - process.blocked_since)}", Tone.BAD)
    if process.state is ProcessState.STARTING and _serves(process, current):
        return Span("● up")
    return _STATES[process.state]


def _serves(process: ProcessView, current: int) -> bool:
    """Return whether a service process is up: it has answered a ping, or its generation is loaded."""
    if process.kind in (ProcessKind.JOB, ProcessKind.BLANK):
        return False
    loaded = process.generation <= current if process.generation else current > 0
    return process.ping_ms is not None or loaded


PAINT_S = 0.5
"""Time between paints; a change of one cell renders all rows, so changes are collected."""

_CLASSES = {Tone.DIM: "processes--dim", Tone.GOOD: "processes--good"} | {
    Tone.WARN: "processes--warn",
    Tone.BAD: "processes--bad",
}


class _First(Text):
    """The first cell of a row, with the key of its entry."""

    key = ""


class Processes(DataTable[Text]):
    """The table of processes; the cursor stays on its row when rows move."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(_CLASSES.values())
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("delete", "request_end", "End job", show=False),
        Binding("enter", "request_job", "Open"),
        Binding("escape", "show_all", "Show all", show=False),
        Binding("home", "row(0)", "First row", show=False),
        Binding("end", "row(-1)", "Last row", show=False),
    ]
    DEFAULT_CSS = """
    Processes {
        border: round $panel-lighten-2;
        border-title-color: $foreground;
        background: $background;
        scrollbar-gutter: stable;
        scrollbar-size: 0 1;
        overflow-x: hidden;
        &:focus {
            border: round $accent;
            background-tint: transparent;
        }
        & > .datatable--header {
            background: transparent;
            color: $foreground-muted;
        }
        & > .processes--dim { text-style: dim; }
        & > .processes--good { color: $text-success; }
        & > .processes--warn { color: $text-warning; }
        & > .processes--bad { color: $text-error; text-style: bold; }
    }
    """

    @dataclass
    class EndRequested(Message):
        """The user pressed Delete on a process with a live job."""

        job_id: str

    @dataclass
    class JobRequested(Message):
        """The user pressed Enter on a process; `job_id` is the job that it has or had."""

        job_id: str | None

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", cell_padding=0, zebra_stripes=False)
        self.border_title = "Processes"
        self._state = AppState()
        self._now = 0.0
        self._painted: float | None = None
        self._columns_shown: tuple[tuple[Column, int], ...] = ()
        self._order: tuple[str, ...] = ()
        self._cells: dict[str, Row] = {}
        self._placed: str | None = None
        self._chosen: str | None = None
        self._by = Order()
        self._filter = ""

    def show(self, state: AppState, now: float) -> None:
        """Show the state, at most twice a second; `now` is in Unix seconds."""
        self._state, self._now = state, now
        if self._painted is not None and 0 < now - self._painted < PAINT_S:
            return
        self._paint()

    @property
    def selected(self) -> ProcessView | None:
        """The process under the cursor; None if there is none."""
        entry = self.selected_entry
        return entry if isinstance(entry, ProcessView) else None

    @property
    def selected_entry(self) -> Entry | None:
        """What the row under the cursor is about, as of the newest state; None if there is none."""
        key = self._under_cursor()
        if key is None:
            return None
        return self._state.processes.get(key) or next(
            (each for each in self._state.dispatches if key_of(each) == key), None
        )

    @property
    def filter(self) -> str:
        """The text that the shown rows contain; empty for all rows. Settable; case does not matter."""
        return self._filter

    @filter.setter
    def filter(self, text: str) -> None:
        self._filter = text
        self._paint()

    def action_show_all(self) -> None:
        """Remove the filter."""
        self.filter = ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return bool(self._filter) if action == "show_all" else super().check_action(action, parameters)

    def sort_by(self, column: str) -> None:
        """Sort live processes by that column: descending, then ascending, then by state again."""
        self._by = self._by.chosen(column)
        self._columns_shown = ()
        self._paint()

    def sort_by_next(self) -> None:
        """Sort by the next visible column; after the last one, by state."""
        shown = ["", *(column.key for column, _ in self._columns_shown if column.key in SORTED_BY)]
        place = shown.index(self._by.column) if self._by.column in shown else 0
        self._by = Order(shown[(place + 1) % len(shown)])
        self._columns_shown = ()
        self._paint()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        event.stop()
        self.sort_by(event.column_key.value or "")

    def action_request_end(self) -> None:
        """Request to end the selected process's job."""
        process = self.selected
        if process is not None and process.job_id and process.state is not ProcessState.ENDED:
            self.post_message(self.EndRequested(process.job_id))

    def action_request_job(self) -> None:
        """Request the page of the job that the selected process has or had."""
        process = self.selected
        if process is not None:
            self.post_message(self.JobRequested(process.job_id))

    def action_row(self, number: int) -> None:
        """Select the first row (0) or the last one (-1)."""
        if self.row_count:
            self.move_cursor(row=number % self.row_count, animate=False)

    def on_resize(self, event: events.Resize) -> None:
        self._paint()

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self.call_after_refresh(self._recolor))

    def _recolor(self) -> None:
        """Rebuild all cells after a change of theme, because they contain its colors."""
        self._columns_shown = ()
        self._paint()

    # -- painting --------------------------------------------------------------------------------------

    def _paint(self) -> None:
        columns = layout(self.scrollable_content_region.width, columns_of(self._state))
        if not self.is_mounted or self.scrollable_content_region.width == 0:
            return
        self._painted = self._now
        self._note_choice()
        shown = entries(self._state, self._by)
        rows = {key: row(entry, self._state, self._now) for key, entry in shown.items()}
        if self._filter:
            rows = {key: cells for key, cells in rows.items() if contains(cells, self._filter)}
        if columns != self._columns_shown:
            self._lay_out(columns)
        self._add_and_remove(rows)
        self._arrange(tuple(rows))
        self._update(rows)
        kept = f"/{one_line(self._filter, 30)} · {len(rows)} of {len(shown)} · Esc show all"
        self.border_subtitle = Content(kept if self._filter else "" if shown else EMPTY)

    def _lay_out(self, columns: tuple[tuple[Column, int], ...]) -> None:
        self.clear(columns=True)
        self._columns_shown, self._cells, self._order = columns, {}, ()
        for column, width in columns:
            label = Text(pad(self._by.label(column.key), width, right=column.right), no_wrap=True)
            self.add_column(label, width=width + 1, key=column.key)

    def _add_and_remove(self, rows: dict[str, Row]) -> None:
        for gone in self._cells.keys() - rows.keys():
            self.remove_row(gone)
            del self._cells[gone]
        for key in rows.keys() - self._cells.keys():
            cells = self._cells[key] = rows[key]
            self.add_row(*self._texts(key, cells), key=key)

    def _update(self, rows: dict[str, Row]) -> None:
        """Update the visible rows only: a changed cell is expensive, and there may be fifty processes."""
        first = int(self.scroll_y)
        for key in self._order[first : first + self.size.height]:
            before, cells = self._cells[key], rows[key]
            if before == cells:
                continue
            for (column, _), text in zip(self._columns_shown, self._texts(key, cells), strict=True):
                if before[column.key] != cells[column.key]:
                    self.update_cell(key, column.key, text)
            self._cells[key] = cells

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if int(old_value) != int(new_value):
            self.call_after_refresh(self._paint)  # newly visible rows may be outdated

    def _arrange(self, order: tuple[str, ...]) -> None:
        """Sort the rows and move the cursor back to its process, or to the top if the user selected none."""
        if order != self._order:
            self._order = order
            places = {key: place for place, key in enumerate(order)}
            self.sort(COLUMNS[0].key, key=lambda cell: places[cell.key])
        if self._chosen not in self._cells:
            self._chosen = None
        wanted = self._chosen or (order[0] if order else None)
        if wanted is not None and self._under_cursor() != wanted:
            self.move_cursor(row=self.get_row_index(wanted), animate=False, scroll=False)
        self._placed = wanted

    def _note_choice(self) -> None:
        """If the cursor is not where `_arrange` put it, the user selected that process."""
        under = self._under_cursor()
        if under is not None and under != self._placed:
            self._chosen = under

    def _under_cursor(self) -> str | None:
        if not self.is_valid_row_index(self.cursor_row):
            return None
        first = self.get_row_at(self.cursor_row)[0]
        return first.key if isinstance(first, _First) else None

    def _texts(self, key: str, cells: Row) -> Sequence[Text]:
        texts = [self._text(cells[column.key], column, width) for column, width in self._columns_shown]
        first = _First(texts[0].plain, style=texts[0].style, no_wrap=True)
        first.key = key
        return [first, *texts[1:]]

    def _text(self, span: Span, column: Column, width: int) -> Text:
        name = _CLASSES.get(span.tone)
        style = self.get_component_rich_style(name, partial=True) if name else ""
        return Text(pad(span.text, width, right=column.right), style=style, no_wrap=True)
