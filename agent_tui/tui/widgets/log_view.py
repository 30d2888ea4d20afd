"""The scrolling part of the log pane: paints only visible rows and keeps the reader's place."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from agent_tui.logs.ring import CAPACITY
from agent_tui.model.logs import LogLevel, LogLine
from agent_tui.model.state import AppState
from agent_tui.tui.widgets.line_keys import LINE_KEYS
from agent_tui.tui.widgets.log_filter import LogFilter
from agent_tui.tui.widgets.log_painter import SELECTED, STYLES, LogPainter
from agent_tui.tui.widgets.log_rows import AT_ONCE, SLICE, LogRows
from agent_tui.tui.widgets.log_text import as_text, fold_cells, indent, match_place
from agent_tui.tui.widgets.text import counted

if TYPE_CHECKING:
    from textual.timer import Timer

STEP = 8
"""Columns to scroll per press of ← or →."""

NARROWEST = 8
"""Minimum cells of text in a wrapped row."""

MAX_COPIED = 1_000_000
"""Maximum characters to copy; terminals silently cut or ignore longer text."""

SLICE_S = 0.005
"""Pause between the slices of a scan, in which keys are handled and rows are painted."""


class LogView(ScrollView, can_focus=True):
    """A Line API view of `LogRows`, with the actions on its lines.

    Follows the newest line until the user scrolls or selects. Sideways, only the text scrolls.
    """

    ALLOW_SELECT = False  # it selects whole lines instead
    COMPONENT_CLASSES: ClassVar[set[str]] = {*STYLES.values(), SELECTED}
    DEFAULT_CSS = """
    LogView {
        height: 1fr;
        background: $surface;
        overflow-x: auto;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        scrollbar-size-horizontal: 0;
        & > .log--mark { color: $accent; text-style: bold; }
        & > .log--time { color: $text-muted; }
        & > .log--owner { color: $text-primary; }
        & > .log--quiet { color: $text-muted; }
        & > .log--warn { color: $text-warning; }
        & > .log--error { color: $text-error; }
        & > .log--warn-word { color: $text-warning; text-style: bold; }
        & > .log--error-word { color: $text-error; text-style: bold reverse; }
        & > .log--found { color: $text; background: $warning-muted; text-style: bold underline; }
        & > .log--fold { color: $text-accent; }
        & > .log--selected { background: $panel; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *LINE_KEYS,
        Binding("shift+up", "extend(-1)", "Select upwards", show=False),
        Binding("shift+down", "extend(1)", "Select downwards", show=False),
        Binding("shift+left", "scroll_home_aside", "Start of the lines", show=False),
        Binding("shift+right", "scroll_page_right", "Page right", show=False),
        Binding("enter", "open", "Whole record", show=False),
    ]

    class Changed(Message):
        """The content of the title may have changed."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, LogView.Changed)

    class Scanned(Message):
        """A scan has finished and its rows are shown."""

    class SearchCancelled(Message):
        """The search was cancelled because its regular expression was too slow."""

    def __init__(self, level: LogLevel = LogLevel.INFO, capacity: int = CAPACITY) -> None:
        super().__init__()
        self.rows = LogRows(level, capacity)
        self.unseen = 0
        """Number of shown lines added since the view stopped following."""
        self._follow = True
        self._selected: int | None = None
        self._anchor: int | None = None
        self._placing = False
        self._scan: Timer | None = None
        self._painter = LogPainter(self, self.rows)
        self._wrap = False

    # -- lines and filters -----------------------------------------------------------------------------

    def add(self, lines: Sequence[LogLine]) -> None:
        """Add new lines; the lines in view stay in place."""
        change = self.rows.add(lines)
        if not self._follow:
            self.unseen += change.records_added
        first = self.rows.first
        if self._selected is not None and self._selected < first:
            self._selected = self._anchor = None
        elif self._anchor is not None:
            self._anchor = max(self._anchor, first)
        self._place(self.scroll_y - change.rows_evicted)
        if change.records_added or change.rows_evicted:
            self.post_message(self.Changed())
        self._continue_scan()

    def name_owners(self, state: AppState) -> None:
        """Name the owners of lines by that state from now on."""
        self._painter.state = state

    def request(self, wanted: LogFilter) -> None:
        """Apply another filter or search and keep the place; many lines are scanned in slices."""
        self.rows.request(wanted)
        self._painter.forget()
        self._continue_scan(AT_ONCE)

    def _continue_scan(self, count: int = 0) -> None:
        """Continue a scan: `count` lines at once, the others from a timer. Posts `Scanned` at the end."""
        if self.rows.scanned is not None and self.rows.work(count):
            with self._place_kept():
                self.rows.swap()
            self.post_message(self.Scanned())
        self._post_cancelled()
        scanning = self.rows.scanned is not None
        if not scanning and self._scan is not None:
            self._scan.stop()
            self._scan = None
        elif scanning and self._scan is None and self.is_attached:
            self._scan = self.set_interval(SLICE_S, self._scan_slice)
        if scanning:
            self.post_message(self.Changed())
            self.refresh()

    def _scan_slice(self) -> None:
        self._continue_scan(SLICE)

    def _post_cancelled(self) -> None:
        if self.rows.search_cancelled:
            self.rows.search_cancelled = False
            self._painter.forget()
            self.post_message(self.SearchCancelled())

    @contextmanager
    def _place_kept(self) -> Iterator[None]:
        """Keep the selected line, or else the top line, on its screen row while the shown rows change."""
        anchor, offset = self._selected, 0
        top = int(self.scroll_y)
        if anchor is None and len(self.rows):
            anchor = self.rows.at(min(top, len(self.rows) - 1))[0].index
        if anchor is not None:
            offset = self.rows.index.row_of(anchor) - top
        yield
        self._painter.forget()
        self._place(self.rows.index.row_of(anchor) - offset if anchor is not None else 0)
        self.post_message(self.Changed())

    def _place(self, top: float) -> None:
        """Update the virtual size and scroll to row `top`, or to the end while following.

        Does nothing before the view is attached; the first resize calls it again.
        """
        if not self.is_attached:
            return
        self._placing = True
        index = self.rows.index
        size = Size(self._painter.columns.prefix + (index.filter.wrap or index.width), len(self.rows))
        if size != self.virtual_size:
            self.virtual_size = size
        target = self.max_scroll_y if self._follow else min(max(top, 0), self.max_scroll_y)
        if target != self.scroll_y:
            self.scroll_to(y=target, animate=False, force=True)
        self._placing = False
        self.refresh()

    # -- following and selecting -----------------------------------------------------------------------

    @property
    def follow(self) -> bool:
        """Whether the newest line stays in view."""
        return self._follow

    @follow.setter
    def follow(self, follow: bool) -> None:
        if follow:
            self._selected = self._anchor = None
            self._scroll_aside(0)
        if follow != self._follow:
            self._follow, self.unseen = follow, 0
            self.post_message(self.Changed())
        self._place(self.scroll_y)

    @property
    def selected(self) -> int | None:
        """Index of the selected line; of a range, the end that moves."""
        return self._selected

    @property
    def picked(self) -> tuple[int, int] | None:
        """Indexes of the first and last selected line; None without a selection."""
        if self._selected is None:
            return None
        anchor = self._selected if self._anchor is None else self._anchor
        return min(anchor, self._selected), max(anchor, self._selected)

    def select(self, index: int, *, extend: bool = False) -> None:
        """Select a line, or with `extend` a range to it; scroll it into view and stop following."""
        if not extend:
            self._anchor = None
        elif self._anchor is None:
            self._anchor = self._selected if self._selected is not None else index
        self._selected = index
        self.follow = False
        row, behind = self.rows.index.row_of(index), self.rows.index.row_of(index + 1)
        top, height = int(self.scroll_y), max(self.scrollable_content_region.height, 1)
        if row < top:
            top = row
        elif behind > top + height:
            top = min(row, behind - height)
        self._place(top)
        self.post_message(self.Changed())

    def reveal(self, index: int) -> None:
        """Select a matching line and bring the match into view, centered if it was out of view."""
        line = self.rows.line(index)
        if line is None:
            return
        region, top = self.scrollable_content_region, int(self.scroll_y)
        columns, wrap = self._painter.columns, self.rows.index.filter.wrap
        part, start, end = match_place(line, self.rows.query, columns, wrap=wrap)
        if part and self.rows.is_folded(line):
            self.toggle_fold(line)
        row = self.rows.index.row_of(index) + part
        self.select(index)
        if not top <= row < top + region.height:
            self._place(row - region.height // 2)
        start -= indent(part, columns)
        self._scroll_aside(0 if end < region.width else min(start, end + STEP - region.width))

    def go_to(self, row: int) -> None:
        """Select the line of a row and scroll it to the top of the view, if enough rows follow."""
        if len(self.rows):
            self._select_row(row)
            self._place(row)

    def _scroll_aside(self, x: int) -> None:
        if x != self.scroll_x:
            self.scroll_to(x=x, animate=False, force=True)

    @property
    def bottom(self) -> int | None:
        """Index of the lowest line in view; None if there is none."""
        if not len(self.rows):
            return None
        row = int(self.scroll_y) + max(self.scrollable_content_region.height, 1) - 1
        return self.rows.at(min(row, len(self.rows) - 1))[0].index

    @property
    def current(self) -> LogLine | None:
        """The selected line, or else the lowest line in view."""
        index = self._selected if self._selected is not None else self.bottom
        return None if index is None else self.rows.line(index)

    @property
    def wrap(self) -> bool:
        """Whether long lines continue in the next row; settable."""
        return self._wrap

    @wrap.setter
    def wrap(self, wrap: bool) -> None:
        self._wrap = wrap
        self._fit()

    def _fit(self) -> None:
        """Adapt the columns and the wrapped rows to the width."""
        width = self.scrollable_content_region.width
        self._painter.fit(width, wrap=self._wrap)
        cells = max(width - self._painter.columns.prefix, NARROWEST) if self._wrap else 0
        if cells != self.rows.filter.wrap:
            self._scroll_aside(0)
            self.request(replace(self.rows.filter, wrap=cells))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Stop following when the user scrolls away from the end, and follow again at the end."""
        super().watch_scroll_y(old_value, new_value)
        if not self._placing and (new_value >= self.max_scroll_y) != self._follow:
            self._follow, self.unseen = not self._follow, 0
            self.post_message(self.Changed())

    # -- keys ------------------------------------------------------------------------------------------

    def action_select(self, step: int) -> None:
        """Select the previous or next line; below the newest line, follow again."""
        start = self._selected if self._selected is not None else self.bottom
        if start is None:
            return
        if self._selected is None:
            self.select(start)
        elif step < 0:
            self._select_row(self.rows.index.row_of(start) - 1)
        elif self.rows.index.row_of(start + 1) < len(self.rows):
            self._select_row(self.rows.index.row_of(start + 1))
        else:
            self.follow = True

    def action_extend(self, step: int) -> None:
        """Extend the range by one line up or down."""
        start = self._selected if self._selected is not None else self.bottom
        if start is None:
            return
        if self._selected is None:
            self.select(start)
        row = self.rows.index.row_of(start) - 1 if step < 0 else self.rows.index.row_of(start + 1)
        self._select_row(row, extend=True)

    def action_page(self, pages: int) -> None:
        """Scroll one page up or down and move the selection with it."""
        height = max(self.scrollable_content_region.height - 1, 1)
        if self._selected is not None:
            self._select_row(self.rows.index.row_of(self._selected) + pages * height)
        elif len(self.rows):
            self._select_row(int(self.scroll_y) if pages < 0 else int(self.scroll_y) + 2 * height)
            if pages < 0:
                self._place(self.scroll_y - height)

    def _select_row(self, row: int, *, extend: bool = False) -> None:
        if len(self.rows):
            self.select(self.rows.at(min(max(row, 0), len(self.rows) - 1))[0].index, extend=extend)

    def action_oldest(self) -> None:
        self._select_row(0)

    def action_follow(self) -> None:
        self.follow = True

    def action_open(self) -> None:
        """Open the selected record, or else the lowest one in view."""
        if (line := self.current) is not None:
            self._open(line)

    def _open(self, line: LogLine) -> None:
        from agent_tui.tui.screens.log_pages import LogRecord

        self.app.push_screen(LogRecord(line))

    def action_fold(self) -> None:
        """Fold or unfold the selected record, or else the lowest one in view."""
        if (line := self.current) is not None:
            self.toggle_fold(line)

    def toggle_fold(self, line: LogLine) -> None:
        """Fold or unfold a record if it is long enough; keep the place."""
        with self._place_kept():
            self.rows.toggle_fold(line)

    def action_fold_all(self) -> None:
        """Fold all long records, or unfold all."""
        self.rows.fold_all()
        self._continue_scan(AT_ONCE)

    def action_wrap(self) -> None:
        """Wrap long lines, or show each in one row."""
        self.wrap = not self.wrap

    def action_copy_lines(self) -> None:
        """Copy the selected lines as text."""
        if self.picked is None:
            self._notify(
                "no lines selected: use ↑ ↓, Shift+↑ ↓ for several, or the mouse (Shift+drag selects text)",
                failed=True,
            )
            return
        lines = self.rows.shown(*self.picked)
        text = "\n".join(map(as_text, lines))
        if len(text) > MAX_COPIED:
            self._notify("too long for the clipboard · X save to a file", failed=True)
            return
        self.app.copy_to_clipboard(text)
        self._notify(f"copied {counted(len(lines), 'line')}")

    def _notify(self, text: str, *, failed: bool = False) -> None:
        self.notify(text, severity="error" if failed else "information", markup=False)

    def action_scroll_left(self) -> None:
        self.scroll_to(x=self.scroll_x - STEP, animate=False)

    def action_scroll_right(self) -> None:
        self.scroll_to(x=self.scroll_x + STEP, animate=False)

    def action_scroll_home_aside(self) -> None:
        self.scroll_to(x=0, animate=False)

    def action_scroll_page_right(self) -> None:
        page = self.scrollable_content_region.width - self._painter.columns.prefix
        self.scroll_to(x=self.scroll_x + max(page, STEP), animate=False)

    # -- the mouse -------------------------------------------------------------------------------------

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Select a line, or with Shift a range."""
        row = int(self.scroll_y) + event.y
        if event.button == 1 and row < len(self.rows):
            self.capture_mouse()
            self._select_row(row, extend=event.shift)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Select a range by dragging; scroll beyond the edge."""
        if self.app.mouse_captured is not self or not event.button:
            return
        row = min(max(int(self.scroll_y) + event.y, 0), len(self.rows) - 1)
        if row >= 0 and self.rows.at(row)[0].index != self._selected:
            self._select_row(row, extend=True)

    def on_mouse_up(self) -> None:
        if self.app.mouse_captured is self:
            self.release_mouse()

    def on_click(self, event: events.Click) -> None:
        """Fold or unfold on a click on the fold sign; open the record on a double click."""
        row = int(self.scroll_y) + event.y
        if row >= len(self.rows):
            return
        line, part = self.rows.at(row)
        columns, wrap = self._painter.columns, self.rows.index.filter.wrap
        cell = event.x if event.x < indent(part, columns) else event.x + int(self.scroll_x)
        dragged = self.picked is not None and self.picked[0] != self.picked[1]
        folded = self.rows.is_folded(line)
        if not dragged and cell in fold_cells(line, part, columns, folded=folded, wrap=wrap):
            self.toggle_fold(line)
        elif event.chain == 2:
            self._open(line)

    # -- painting --------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        self._fit()
        self._place(self.scroll_y)
        self._continue_scan()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._painter.forget()

    def render_line(self, y: int) -> Strip:
        left, top = self.scroll_offset
        width = self.scrollable_content_region.width
        if y == 0 and not len(self.rows):
            return self._painter.empty(width)
        return self._painter.row(top + y, left, width, self.picked)
