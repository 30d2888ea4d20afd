"""A table of entries of the state: columns that fit the width, sorting, a cursor that keeps its row."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.strip import Strip
from textual.widgets import DataTable

from agent_tui.model.state import AppState
from agent_tui.tui.widgets.listing import Listing
from agent_tui.tui.widgets.text import Span, Tone, pad

E = TypeVar("E")

PAINT_S = 0.5
"""Time between paints: rows are computed and compared, so changes are collected."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. In narrow tables, the column with the highest `drop_priority` is dropped first."""

    key: str
    width: int
    drop_priority: int
    most: int
    """Maximum width if there is spare room; the last column may get more."""
    right: bool = False
    grows: int = 99
    """Spare room goes to the columns with the lowest number first; equal ones share it."""
    from_width: int = 0
    """Minimum width of the table for showing the column, in cells."""
    unit: str = ""
    """The unit of its numbers, named in the header after the key if there is room."""


Row = dict[str, Span]
"""Cells by column key."""


def layout(width: int, columns: Sequence[Column]) -> tuple[tuple[Column, int], ...]:
    """Return the columns that fit `width` cells, with their widths; one blank follows each column.

    Room that no column needs goes to the last one.
    """
    kept = [column for column in columns if column.from_width <= width]
    while sum(column.width + 1 for column in kept) > width and len(kept) > 1:
        kept.remove(max(kept, key=lambda column: column.drop_priority))
    widths = {column.key: column.width for column in kept}
    spare = max(width - sum(column.width + 1 for column in kept), 0)
    for _, group in groupby(sorted(kept, key=lambda column: column.grows), lambda column: column.grows):
        # The one that can grow least comes first: what it does not use is left to the others.
        growing = sorted(group, key=lambda column: column.most - column.width)
        for left, column in zip(range(len(growing), 0, -1), growing, strict=True):
            more = min(spare // left, column.most - column.width)
            widths[column.key] += more
            spare -= more
    widths[kept[-1].key] += spare
    return tuple((column, widths[column.key]) for column in kept)


@dataclass(frozen=True, slots=True)
class Order:
    """The column that rows are sorted by; empty for the table's default order."""

    column: str = ""
    descending: bool = True

    def chosen(self, column: str) -> "Order":
        """Return the sort order after a click on a column: descending, then ascending, then none."""
        if column != self.column:
            return Order(column)
        return Order(column, descending=False) if self.descending else Order()

    def label(self, column: str) -> str:
        """Return the column's header, with an arrow if the table is sorted by this column."""
        return f"{'▼' if self.descending else '▲'}{column}" if column == self.column else column


_CLASSES = {Tone.DIM: "table--dim", Tone.GOOD: "table--good"} | {
    Tone.WARN: "table--warn",
    Tone.BAD: "table--bad",
}


class _Key(Text):
    """What the base class has of a row: the key of its entry."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key


class Table(DataTable[Text], Listing, Generic[E]):
    """A table of entries; the cursor stays on its row when rows move. A click on a row is like Enter."""

    EMPTY: ClassVar[str] = ""
    """The text of the border while there are no entries."""
    SORTABLE: ClassVar[Collection[str]] = ()
    """The keys of the columns that rows can be sorted by."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(_CLASSES.values())
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("S", "sort", "Sort", id="sort"),
        Binding("home", "row(0)", "First row", show=False),
        Binding("end", "row(-1)", "Last row", show=False),
    ]
    DEFAULT_CSS = """
    Table {
        background: $background;
        scrollbar-gutter: stable;
        scrollbar-size: 0 1;
        overflow-x: hidden;
        &:focus { background-tint: transparent; }
        & > .datatable--header {
            background: transparent;
            color: $foreground-muted;
        }
        & > .table--dim { text-style: dim; }
        & > .table--good { color: $text-success; }
        & > .table--warn { color: $text-warning; }
        & > .table--bad { color: $text-error; text-style: bold; }
        & > .datatable--cursor { background: $primary-muted; color: $foreground; text-style: none; }
        &:focus > .datatable--cursor { background: $primary-muted; color: $foreground; text-style: bold; }
    }
    """

    _placed: str | None = None
    """The key of the row that `_arrange` or `choose` moved the cursor to."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(
            id=id,
            cursor_type="row",
            cell_padding=0,
            zebra_stripes=False,
            cursor_foreground_priority="renderable",  # the selected row keeps the colors of its cells
        )
        self._state = AppState()
        self._now = 0.0
        self._painted: float | None = None
        self._columns_shown: tuple[tuple[Column, int], ...] = ()
        self._order: tuple[str, ...] = ()
        """The keys of the rows, from top to bottom."""
        self._keys: set[str] = set()
        self._entries: Mapping[str, E] = {}
        self._cells: dict[str, Row] = {}
        """The cells of the rows that have been visible, as they were last painted."""
        self._strips: dict[str, tuple[Row, tuple[object, ...], Strip]] = {}
        """What was painted: the cells, how the row looks apart from them, and the line."""
        self._chosen: str | None = None
        self._by = Order()

    @abstractmethod
    def columns_of(self, state: AppState) -> Sequence[Column]:
        """Return all columns; one with drop priority 0 is always shown."""

    @abstractmethod
    def entries_of(self, state: AppState, order: Order) -> Mapping[str, E]:
        """Return the entries of the rows, by unique key and in order."""

    def first_of(self, keys: Sequence[str]) -> str | None:
        """Return the row that the cursor is on until the user selects one; None without rows."""
        return keys[0] if keys else None

    @abstractmethod
    def row_of(self, entry: E, state: AppState, now: float) -> Row:
        """Return the cells of an entry's row."""

    def text_of(self, entry: E, cells: Row) -> str:
        """Return the text of a row that the filter searches."""
        return " ".join(span.text for span in cells.values())

    def show(self, state: AppState, now: float) -> None:
        """Show the state, at most twice a second; `now` is in Unix seconds."""
        self._state, self._now = state, now
        if self._painted is not None and 0 < now - self._painted < PAINT_S:
            return
        self._paint()

    def refilter(self) -> None:
        self._paint()

    @property
    def order(self) -> Order:
        """The column that rows are sorted by; settable. Columns that the table cannot sort by are ignored."""
        return self._by

    @order.setter
    def order(self, order: Order) -> None:
        if order != self._by and (not order.column or order.column in self.SORTABLE):
            self._by = order
            self._repaint_all()

    def sort_by(self, column: str) -> None:
        """Sort by that column: descending, then ascending, then in the table's default order."""
        if column in self.SORTABLE:
            self._by = self._by.chosen(column)
            self._repaint_all()

    def action_sort(self) -> None:
        """Sort by the next visible column; after the last one, in the table's default order."""
        shown = ["", *(column.key for column, _ in self._columns_shown if column.key in self.SORTABLE)]
        place = shown.index(self._by.column) if self._by.column in shown else 0
        self._by = Order(shown[(place + 1) % len(shown)])
        self._repaint_all()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        event.stop()
        self.sort_by(event.column_key.value or "")

    def action_row(self, number: int) -> None:
        """Select the first row (0) or the last one (-1)."""
        if self.row_count:
            self.move_cursor(row=number % self.row_count, animate=False)

    async def on_click(self, event: events.Click) -> None:
        """Do what Enter does on the clicked row."""
        row = event.style.meta.get("row", -1)
        if row >= 0 and not event.style.meta.get("out_of_bounds"):
            event.prevent_default()
            self.move_cursor(row=row, animate=False)
            self._note_choice()
            await self.run_action(next(iter(self._bindings.get_bindings_for_key("enter"))).action)

    def choose(self, key: str) -> None:
        """Move the cursor to the row with that key, once there is one."""
        self._chosen = self._placed = key
        if key in self._keys:
            self.move_cursor(row=self.get_row_index(key), animate=False)
            self.call_after_refresh(self._scroll_to_cursor)

    def on_resize(self, event: events.Resize) -> None:
        self._paint()

    def on_mount(self) -> None:
        # The cells contain the theme's colors.
        self.app.theme_changed_signal.subscribe(self, lambda _: self.call_after_refresh(self._repaint_all))

    def _repaint_all(self) -> None:
        """Rebuild the header and all cells."""
        self._columns_shown = ()
        self._paint()

    # -- painting --------------------------------------------------------------------------------------

    def _paint(self) -> None:
        columns = layout(self.scrollable_content_region.width, self.columns_of(self._state))
        if not self.is_mounted or self.scrollable_content_region.width == 0:
            return
        self._painted = self._now
        self._note_choice()
        self._entries = shown = self.entries_of(self._state, self._by)
        keys = tuple(key for key in shown if not self.filter or self._passes(key))
        if columns != self._columns_shown:
            self._lay_out(columns)
        self._add_and_remove(keys)
        self._arrange(keys)
        self._update()
        self.note_count(len(keys), len(shown))
        subtitle = Content("" if shown else self.EMPTY)
        if subtitle != self.border_subtitle:
            self.border_subtitle = subtitle

    def _passes(self, key: str) -> bool:
        return self.keeps(self.text_of(self._entries[key], self._row(key)))

    def _row(self, key: str) -> Row:
        return self.row_of(self._entries[key], self._state, self._now)

    def _lay_out(self, columns: tuple[tuple[Column, int], ...]) -> None:
        self.clear(columns=True)
        self._columns_shown, self._order = columns, ()
        self._keys.clear()
        self._cells.clear()
        self._strips.clear()
        for column, width in columns:
            name = self._by.label(column.key)
            named = f"{name} {column.unit}" if column.unit else name
            shown = named if len(named) <= width else name
            label = Text(pad(shown, width, right=column.right), no_wrap=True)
            self.add_column(label, width=width + 1, key=column.key)

    def _add_and_remove(self, keys: Sequence[str]) -> None:
        """Add and remove rows. A row of the base class has only a key: `render_line` paints the cells."""
        for gone in self._keys.difference(keys):
            self.remove_row(gone)
            self._keys.remove(gone)
            self._cells.pop(gone, None)
            self._strips.pop(gone, None)
        for key in keys:
            if key not in self._keys:
                self._keys.add(key)
                self.add_row(_Key(key), key=key)

    def _update(self) -> None:
        """Compute the visible rows, and refresh those whose cells have changed."""
        first = int(self.scroll_y)
        for number, key in enumerate(self._order[first : first + self.size.height], first):
            cells = self._row(key)
            if cells != self._cells.get(key):
                self._cells[key] = cells
                self.refresh_row(number)

    def get_row_at(self, row_index: int) -> list[Text]:
        """Return the texts of a row, in the order of the columns."""
        key = self._order[row_index]
        cells = self._cells.get(key) or self._row(key)
        return [self._text(cells[column.key], column, width) for column, width in self._columns_shown]

    def render_line(self, y: int) -> Strip:
        """Paint one line. Painting a row again costs nothing while its cells are the same.

        The base class paints all rows again when one cell changes, and lays out each cell with Rich.
        """
        number = y - self.header_height + int(self.scroll_y)
        if y < self.header_height or number >= len(self._order):
            return super().render_line(y)
        key = self._order[number]
        cells = self._cells.get(key)
        if cells is None:
            cells = self._cells[key] = self._row(key)
        hovers = number == self.hover_row and self._show_hover_cursor
        look = (number, number == self.cursor_row, hovers, self.size.width, self.rich_style)
        cached = self._strips.get(key)
        if cached is None or cached[0] is not cells or cached[1] != look:
            cached = self._strips[key] = (cells, look, self._strip(cells, *look))
        return cached[2]

    def _strip(self, cells: Row, number: int, points: bool, hovers: bool, width: int, style: Style) -> Strip:
        css = self.cursor_foreground_priority == "css", self.cursor_background_priority == "css"
        before, after = self._get_styles_to_render_cell(
            False, False, False, hovers, points, self.show_cursor, self._show_hover_cursor, *css
        )
        segments: list[Segment] = []
        for at, (column, room) in enumerate(self._columns_shown):
            text = self._text(cells[column.key], column, room)
            blank = style + Style.from_meta({"row": number, "column": at}) + before + after
            inside = blank + text.style + after if isinstance(text.style, Style) else blank
            segments += (Segment(text.plain, inside), Segment(" ", blank))
        meta = Style.from_meta({"row": number, "column": 0, "out_of_bounds": True})
        return Strip(segments).adjust_cell_length(width, style + before + meta).simplify()

    def notify_style_update(self) -> None:
        self._strips.clear()
        super().notify_style_update()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if int(old_value) != int(new_value):
            self.call_after_refresh(self._paint)  # newly visible rows may be outdated

    def _arrange(self, order: tuple[str, ...]) -> None:
        """Sort the rows and move the cursor back to its entry, or to the top if the user selected none."""
        if order != self._order:
            self._order = order
            places = {key: place for place, key in enumerate(order)}
            self.sort(self._columns_shown[0][0].key, key=lambda cell: places[cell.key])
        before = self.chosen
        if self._chosen not in self._keys:
            self._chosen = None
        wanted = self._chosen or self.first_of(order)
        if wanted is not None and before != wanted:
            self._placed = wanted
            self.move_cursor(row=self.get_row_index(wanted), animate=False, scroll=False)
            if before is None:  # the row may be out of sight
                self.call_after_refresh(self._scroll_to_cursor)
        self._placed = wanted

    def _scroll_cursor_into_view(self, animate: bool = False) -> None:
        """Scroll to the cursor if the user has moved it. A row that moves, such as one that ends and sinks
        below the running ones, would scroll these out of view.
        """
        if self.chosen != self._placed:
            super()._scroll_cursor_into_view(animate=animate)

    def _scroll_to_cursor(self) -> None:
        super()._scroll_cursor_into_view()

    def _note_choice(self) -> None:
        """If the cursor is not where `_arrange` put it, the user selected that row."""
        under = self.chosen
        if under is not None and under != self._placed:
            self._chosen = under

    @property
    def chosen(self) -> str | None:
        """The key of the row under the cursor; None if there is none."""
        return self._order[self.cursor_row] if self.is_valid_row_index(self.cursor_row) else None

    def _text(self, span: Span, column: Column, width: int) -> Text:
        name = _CLASSES.get(span.tone)
        style = self.get_component_rich_style(name, partial=True) if name else ""
        return Text(pad(span.text, width, right=column.right), style=style, no_wrap=True)
