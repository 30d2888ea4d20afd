"""The table of loads on the generations page."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.message import Message

from agent_tui.model.state import AppState, LoadRecord
from agent_tui.tui.widgets import copyable
from agent_tui.tui.widgets.load_rows import Entry, entries, jobs_on, short, status_of
from agent_tui.tui.widgets.log_text import clock
from agent_tui.tui.widgets.table import Column, Order, Row, Table
from agent_tui.tui.widgets.text import Span, Tone, milliseconds, one_line

COLUMNS = (
    Column("gen", 4, 0, 4, right=True),
    Column("state", 14, 0, 14),
    Column("at", 8, 4, 8),
    Column("took", 7, 2, 8, right=True),
    Column("start", 6, 5, 6, from_width=96),
    Column("running", 8, 3, 30, grows=0),
    Column("what changed, or why it failed", 30, 0, 300, grows=0),
)
"""The columns in order. `running` has the jobs on that code, and is there only while jobs run."""

WHAT = COLUMNS[-1].key

SORTED_BY: dict[str, Callable[[Entry, AppState], float | str]] = {
    "gen": lambda entry, _: entry.number,
    "state": lambda entry, state: status_of(entry, state)[1],
    "took": lambda entry, _: (entry.record.seconds if entry.record is not None else None) or 0.0,
    "running": lambda entry, state: len(jobs_on(state, entry.number)),
}
"""The sort key of each column."""


def row(entry: Entry, state: AppState, width: int) -> Row:
    """Return the cells of a load; the text about what changed fits `width` cells."""
    record = entry.record
    mark, word, _ = status_of(entry, state)
    took = "" if record is None or record.seconds is None else milliseconds(record.seconds * 1000)
    jobs = jobs_on(state, entry.number) if entry.loaded else []
    rooms = ", ".join(one_line(job.room) for job in jobs)
    is_old = entry.number != state.generation.current
    return {
        "gen": Span(str(entry.number)),
        "state": Span(f"{mark.text} {word}", mark.tone),
        "at": Span("" if record is None else clock(record.ts, millis=False), Tone.DIM),
        "took": Span(took),
        "start": Span(record.start_method if record is not None and record.good else "", Tone.DIM),
        "running": Span(f"{len(jobs)}: {rooms}" if jobs else "", Tone.WARN if is_old else Tone.PLAIN),
        WHAT: _what(entry, state, width),
    }


def _what(entry: Entry, state: AppState, width: int) -> Span:
    """Return what changed, or why the load failed and where."""
    record = entry.record
    if record is None:
        return Span(one_line(short(state.generation.loading_cause, state)))
    if not record.good:
        return Span(_failed(record, state, width), Tone.BAD)
    if record.rolled_back_to:
        return Span(f"rolled back to {record.rolled_back_to}")
    return Span(names([short(path, state) for path in record.changed or (record.cause,)], width))


def _failed(record: LoadRecord, state: AppState, width: int) -> str:
    """Return the error, then its place; only the file's name if the path does not fit."""
    error = one_line(record.error)
    if not record.file:
        return error
    line = f":{record.line}" if record.line else ""
    path = one_line(short(record.file, state))
    whole = f"{error} · {path}{line}"
    return whole if cell_len(whole) <= width else f"{error} · {PurePath(path).name}{line}"


def names(paths: Sequence[str], width: int) -> str:
    """Return as many of the paths as fit in `width` cells, and how many more there are.

    A first path that does not fit is cut at its start: its end has the file's name.
    """
    paths = [one_line(path) for path in paths]
    for shown in range(len(paths), 0, -1):
        text = ", ".join(paths[:shown]) + _more(len(paths) - shown)
        if cell_len(text) <= width:
            return text
    more = _more(len(paths) - 1)
    return end_of(paths[0], width - len(more)) + more


def _more(count: int) -> str:
    return f" and {count} more" if count else ""


def end_of(path: str, width: int) -> str:
    """Return the end of a path that is longer than `width` cells."""
    if cell_len(path) <= width:
        return path
    kept = path
    while kept and cell_len(kept) > width - 1:
        kept = kept[1:]
    return f"…{kept}"


class LoadList(Table[Entry]):
    """The table of loads, newest first. While the newest is selected, the selection moves to each new one."""

    SORTABLE = SORTED_BY
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "read", "Read"),
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
    ]
    DEFAULT_CSS = """
    LoadList { background: transparent; }
    """

    class Opened(Message):
        """The user pressed Enter on a load, or clicked it."""

    def __init__(self, chosen: int | None = None, *, id: str | None = None) -> None:
        """`chosen` is the generation that is selected first; None for the newest."""
        super().__init__(id=id)
        self._chosen = self._placed = None if chosen is None else str(chosen)

    def columns_of(self, state: AppState) -> Sequence[Column]:
        is_running = bool(state.live_jobs)
        return [column for column in COLUMNS if is_running or column.key != "running"]

    def entries_of(self, state: AppState, order: Order) -> Mapping[str, Entry]:
        found = list(entries(state))
        if order.column:
            found.sort(key=lambda each: SORTED_BY[order.column](each, state), reverse=order.descending)
        return {str(each.number): each for each in found}

    def row_of(self, entry: Entry, state: AppState, now: float) -> Row:
        widths = {column.key: width for column, width in self._columns_shown}
        return row(entry, state, widths.get(WHAT, COLUMNS[-1].width))

    def text_of(self, entry: Entry, cells: Row) -> str:
        """Return what the filter searches: also files and errors that the row has no room for."""
        more = (*entry.record.changed, entry.record.error) if entry.record is not None else ()
        return " ".join((super().text_of(entry, cells), *more))

    @property
    def selected(self) -> Entry | None:
        """The load under the cursor; None if there is none."""
        return next((each for each in entries(self._state) if str(each.number) == self.chosen), None)

    def select_newest(self) -> None:
        """Select the newest load, and each newer one from now on."""
        self._chosen = None
        if self._order:
            self.action_row(0)

    def _note_choice(self) -> None:
        super()._note_choice()
        if self._order and self._chosen == self._order[0] and not self.order.column:
            self._chosen = None

    def copyable(self) -> Mapping[str, str]:
        return copyable.of_load(self.selected.record if self.selected is not None else None)

    def action_read(self) -> None:
        self.post_message(self.Opened())
