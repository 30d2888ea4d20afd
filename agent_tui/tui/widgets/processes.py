"""The process table: one row for each process, live ones first, then the last that ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable

from agent_tui.model.events import ProcessState
from agent_tui.model.state import AppState, ProcessView
from agent_tui.tui.widgets.process_rows import SORTED_BY, Column, Order, Row, layout, ordered, row
from agent_tui.tui.widgets.text import Span, Tone, pad

PAINT_S = 0.5
"""A change of one cell renders all rows anew, so changes are gathered for this long."""

_CLASSES = {Tone.DIM: "processes--dim", Tone.GOOD: "processes--good"} | {
    Tone.WARN: "processes--warn",
    Tone.BAD: "processes--bad",
}


class _Pid(Text):
    """The first cell of a row, which knows whose row it is."""

    process_id = ""


class Processes(DataTable[Text]):
    """Shows `state.processes`; the cursor stays with its process wherever that process's row goes."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(_CLASSES.values())
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("delete", "request_end", "End job", show=False),
        Binding("enter", "request_job", "Open its job", show=False),
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
        """The job of the selected process is to be ended."""

        job_id: str

    @dataclass
    class JobRequested(Message):
        """The page of the selected process's job is wanted."""

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

    def show(self, state: AppState, now: float) -> None:
        """Shows the state, at most twice a second; `now` is in Unix seconds."""
        self._state, self._now = state, now
        if self._painted is not None and 0 < now - self._painted < PAINT_S:
            return
        self._paint()

    @property
    def selected(self) -> ProcessView | None:
        """The process under the cursor as it is now."""
        process_id = self._under_cursor()
        return None if process_id is None else self._state.processes.get(process_id)

    def sort_by(self, column: str) -> None:
        """Sorts the live processes by that column; chosen again the other way round, then not at all."""
        self._by = self._by.chosen(column)
        self._columns_shown = ()
        self._paint()

    def sort_by_next(self) -> None:
        """Sorts by the next column that is shown, after the last by none."""
        shown = ["", *(column.key for column, _ in self._columns_shown if column.key in SORTED_BY)]
        place = shown.index(self._by.column) if self._by.column in shown else 0
        self._by = Order(shown[(place + 1) % len(shown)])
        self._columns_shown = ()
        self._paint()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        event.stop()
        self.sort_by(event.column_key.value or "")

    def action_request_end(self) -> None:
        """Asks for the end of the selected process's job."""
        process = self.selected
        if process is not None and process.job_id and process.state is not ProcessState.ENDED:
            self.post_message(self.EndRequested(process.job_id))

    def action_request_job(self) -> None:
        """Asks for the page of the job that the selected process has or had."""
        process = self.selected
        if process is not None:
            self.post_message(self.JobRequested(process.job_id))

    def on_resize(self, event: events.Resize) -> None:
        self._paint()

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self.call_after_refresh(self._recolour))

    def _recolour(self) -> None:
        """Cells carry the theme's colours, so that all are made anew."""
        self._columns_shown = ()
        self._paint()

    # -- painting --------------------------------------------------------------------------------------

    def _paint(self) -> None:
        columns = layout(self.scrollable_content_region.width)
        if not self.is_mounted or self.scrollable_content_region.width == 0:
            return
        self._painted = self._now
        self._note_choice()
        processes = ordered(self._state, self._by)
        rows = {process.id: row(process, self._state, self._now) for process in processes}
        if columns != self._columns_shown:
            self._lay_out(columns)
        self._add_and_remove(rows)
        self._arrange(tuple(rows))
        self._update(rows)

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
        for process_id in rows.keys() - self._cells.keys():
            cells = self._cells[process_id] = rows[process_id]
            self.add_row(*self._texts(process_id, cells), key=process_id)

    def _update(self, rows: dict[str, Row]) -> None:
        """Only what can be seen: a changed cell costs much, and there may be fifty processes."""
        first = int(self.scroll_y)
        for process_id in self._order[first : first + self.size.height]:
            before, cells = self._cells[process_id], rows[process_id]
            if before == cells:
                continue
            for (column, _), text in zip(self._columns_shown, self._texts(process_id, cells), strict=True):
                if before[column.key] != cells[column.key]:
                    self.update_cell(process_id, column.key, text)
            self._cells[process_id] = cells

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if int(old_value) != int(new_value):
            self.call_after_refresh(self._paint)  # rows that come into sight may be old

    def _arrange(self, order: tuple[str, ...]) -> None:
        """Puts the rows into order and the cursor back to its process, or on top if none was chosen."""
        if order != self._order:
            self._order = order
            places = {process_id: place for place, process_id in enumerate(order)}
            self.sort("pid", key=lambda cell: places[cell.process_id])
        if self._chosen not in self._cells:
            self._chosen = None
        wanted = self._chosen or (order[0] if order else None)
        if wanted is not None and self._under_cursor() != wanted:
            self.move_cursor(row=self.get_row_index(wanted), animate=False, scroll=False)
        self._placed = wanted

    def _note_choice(self) -> None:
        """The cursor is elsewhere than it was put: somebody chose that process."""
        under = self._under_cursor()
        if under is not None and under != self._placed:
            self._chosen = under

    def _under_cursor(self) -> str | None:
        if not self.is_valid_row_index(self.cursor_row):
            return None
        first = self.get_row_at(self.cursor_row)[0]
        return first.process_id if isinstance(first, _Pid) else None

    def _texts(self, process_id: str, cells: Row) -> Sequence[Text]:
        texts = [self._text(cells[column.key], column, width) for column, width in self._columns_shown]
        pid = _Pid(texts[0].plain, style=texts[0].style, no_wrap=True)
        pid.process_id = process_id
        return [pid, *texts[1:]]

    def _text(self, span: Span, column: Column, width: int) -> Text:
        name = _CLASSES.get(span.tone)
        style = self.get_component_rich_style(name, partial=True) if name else ""
        return Text(pad(span.text, width, right=column.right), style=style, no_wrap=True)
