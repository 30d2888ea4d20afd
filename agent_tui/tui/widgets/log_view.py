"""The scrolling part of the log pane: paints only the rows that are seen, keeps the reader's place."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from agent_tui.logs.ring import CAPACITY
from agent_tui.model.logs import LogLevel, LogLine
from agent_tui.tui.widgets.log_rows import LogRows
from agent_tui.tui.widgets.log_text import ROW_ROLES, Columns, Role, columns, match_place, row_parts

CACHED_ROWS = 1024
STEP = 8
"""Columns that one press of ← or → goes."""

_STYLES: dict[Role, str] = {role: f"log--{role}" for role in ROW_ROLES}


class LogView(ScrollView, can_focus=True):
    """A Line API view of `LogRows`. Follows the end until somebody scrolls or selects."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*_STYLES.values(), "log--selected"}
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
        & > .log--selected { background: $panel; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "select(-1)", "Line up", show=False),
        Binding("down", "select(1)", "Line down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "oldest", "Oldest line", show=False),
        Binding("end", "follow", "Follow", show=False),
        Binding("enter", "open", "Whole record", show=False),
        Binding("escape", "release", "Clear find", show=False),
    ]

    @dataclass
    class Opened(Message):
        """Somebody wants to read a whole record."""

        line: LogLine

    class Changed(Message):
        """What the title tells may have changed."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, LogView.Changed)

    class Released(Message):
        """Escape was pressed in the lines."""

    def __init__(self, level: LogLevel, capacity: int = CAPACITY) -> None:
        super().__init__()
        self.rows = LogRows(level, capacity)
        self.unseen = 0
        """Shown lines that came since the view left the end."""
        self._follow = True
        self._selected: int | None = None
        self._placing = False
        self._strips: LRUCache[tuple[int, int, bool], Strip] = LRUCache(CACHED_ROWS)
        self._columns = Columns()
        self._plain: Style | None = None
        self._chosen: Style | None = None

    # -- lines and filters -----------------------------------------------------------------------------

    def add(self, lines: Sequence[LogLine]) -> None:
        """Takes new lines in; the line under the reader's eye stays where it is."""
        change = self.rows.add(lines)
        if not self._follow:
            self.unseen += change.records_added
        if self._selected is not None and self._selected < self.rows.first:
            self._selected = None
        self._place(self.scroll_y - change.rows_evicted)
        if change.records_added or change.rows_evicted:
            self.post_message(self.Changed())

    def filter(self, level: LogLevel, owner: str | None) -> None:
        """Changes what is shown and keeps the place."""
        with self._place_kept():
            self.rows.filter(level, owner)

    def find(self, needle: str, only_matches: bool) -> None:
        """Looks for a text and keeps the place."""
        with self._place_kept():
            self.rows.find(needle, only_matches)

    @contextmanager
    def _place_kept(self) -> Iterator[None]:
        """Around a change of what is shown: the selected or the top line stays on its row of the screen."""
        anchor, offset = self._selected, 0
        top = int(self.scroll_y)
        if anchor is None and len(self.rows):
            anchor = self.rows.at(min(top, len(self.rows) - 1))[0].index
        if anchor is not None:
            offset = self.rows.row_of(anchor) - top
        yield
        self._forget()
        self._place(self.rows.row_of(anchor) - offset if anchor is not None else 0)
        self.post_message(self.Changed())

    def _place(self, top: float) -> None:
        """Tells the scroller how much there is, and goes to the end or to this row.

        Before there is a screen nothing is placed; the first resize does it.
        """
        if not self.is_attached:
            return
        self._placing = True
        size = Size(self._columns.prefix + self.rows.width, len(self.rows))
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
        """Whether the newest line is kept in view."""
        return self._follow

    @follow.setter
    def follow(self, follow: bool) -> None:
        if follow:
            self._selected = None
            self._scroll_aside(0)
        if follow != self._follow:
            self._follow, self.unseen = follow, 0
            self.post_message(self.Changed())
        self._place(self.scroll_y)

    @property
    def selected(self) -> int | None:
        """Index of the selected line."""
        return self._selected

    def select(self, index: int) -> None:
        """Selects a line and brings it into view; following ends."""
        self._selected = index
        self.follow = False
        row, behind = self.rows.row_of(index), self.rows.row_after(index)
        top, height = int(self.scroll_y), max(self.scrollable_content_region.height, 1)
        if row < top:
            top = row
        elif behind > top + height:
            top = min(row, behind - height)
        self._place(top)
        self.post_message(self.Changed())

    def reveal(self, index: int) -> None:
        """Selects a found line; what was found comes into view, in the middle if it was out of view."""
        line = self.rows.line(index)
        if line is None:
            return
        region, top = self.scrollable_content_region, int(self.scroll_y)
        part, start, end = match_place(line, self.rows.needle, self._columns)
        row = self.rows.row_of(index) + part
        self.select(index)
        if not top <= row < top + region.height:
            self._place(row - region.height // 2)
        self._scroll_aside(0 if end < region.width else min(start, end + STEP - region.width))

    def _scroll_aside(self, x: int) -> None:
        if x != self.scroll_x:
            self.scroll_to(x=x, animate=False, force=True)

    @property
    def bottom(self) -> int | None:
        """Index of the lowest line in view, None when there is none."""
        if not len(self.rows):
            return None
        row = int(self.scroll_y) + max(self.scrollable_content_region.height, 1) - 1
        return self.rows.at(min(row, len(self.rows) - 1))[0].index

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Whoever scrolls away from the end leaves following; whoever scrolls back to it follows again."""
        super().watch_scroll_y(old_value, new_value)
        if not self._placing and (new_value >= self.max_scroll_y) != self._follow:
            self._follow, self.unseen = not self._follow, 0
            self.post_message(self.Changed())

    # -- keys and mouse --------------------------------------------------------------------------------

    def action_select(self, step: int) -> None:
        """One line up or down; down from the newest follows again."""
        start = self._selected if self._selected is not None else self.bottom
        if start is None:
            return
        if self._selected is None:
            self.select(start)
        elif step < 0:
            self._select_row(self.rows.row_of(start) - 1)
        elif self.rows.row_after(start) < len(self.rows):
            self._select_row(self.rows.row_after(start))
        else:
            self.follow = True

    def action_page(self, pages: int) -> None:
        """A page up or down; the selection goes along."""
        height = max(self.scrollable_content_region.height - 1, 1)
        if self._selected is not None:
            self._select_row(self.rows.row_of(self._selected) + pages * height)
        elif len(self.rows):
            self._select_row(int(self.scroll_y) if pages < 0 else int(self.scroll_y) + 2 * height)
            if pages < 0:
                self._place(self.scroll_y - height)

    def _select_row(self, row: int) -> None:
        if len(self.rows):
            self.select(self.rows.at(min(max(row, 0), len(self.rows) - 1))[0].index)

    def action_oldest(self) -> None:
        self._select_row(0)

    def action_follow(self) -> None:
        self.follow = True

    def action_open(self) -> None:
        """Opens the selected record, or else the lowest one in view."""
        index = self._selected if self._selected is not None else self.bottom
        line = None if index is None else self.rows.line(index)
        if line is not None:
            self.post_message(self.Opened(line))

    def action_release(self) -> None:
        self.post_message(self.Released())

    def action_scroll_left(self) -> None:
        self.scroll_to(x=self.scroll_x - STEP, animate=False)

    def action_scroll_right(self) -> None:
        self.scroll_to(x=self.scroll_x + STEP, animate=False)

    def on_click(self, event: events.Click) -> None:
        """A click selects a line, a second one opens it."""
        row = int(self.scroll_y) + event.y
        if row >= len(self.rows):
            return
        line, _ = self.rows.at(row)
        self.select(line.index)
        if event.chain == 2:
            self.post_message(self.Opened(line))

    # -- painting --------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        self._columns = columns(self.scrollable_content_region.width)
        self._forget()
        self._place(self.scroll_y)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._forget()

    def _forget(self) -> None:
        self._strips.clear()
        self._plain = self._chosen = None

    def render_line(self, y: int) -> Strip:
        """One row: cached whole, then cut to what is in view; a row that goes on says so with `›`."""
        scroll_x, scroll_y = self.scroll_offset
        row, width = scroll_y + y, self.scrollable_content_region.width
        if row >= len(self.rows):
            return (
                self._empty(width) if y == 0 and not len(self.rows) else Strip.blank(width, self._fill(False))
            )
        line, part = self.rows.at(row)
        fill = self._fill(line.index == self._selected)
        strip = self._strip(line, part, width)
        if (selection := self.text_selection) is not None and (span := selection.get_span(row)):
            strip = self._with_selection(strip, span)
        if strip.cell_length > scroll_x + width:
            end = Strip([Segment("›", self._style(Role.MARK) + Style(bgcolor=fill.bgcolor))], 1)
            strip = Strip.join([strip.crop_extend(scroll_x, scroll_x + width - 1, fill), end])
        elif scroll_x:
            strip = strip.crop_extend(scroll_x, scroll_x + width, fill)
        return strip.apply_offsets(scroll_x, row)

    def _strip(self, line: LogLine, part: int, width: int) -> Strip:
        """A whole row, at least so wide."""
        selected = line.index == self._selected
        key = (line.index, part, selected)
        strip = self._strips.get(key)
        if strip is None:
            parts = row_parts(line, part, self._columns, self.rows.needle, selected=selected)
            fill = self._fill(selected)
            over = Style(bgcolor=fill.bgcolor) if selected else Style.null()
            segments = [
                Segment(text, self._style(role) + (Style.null() if role is Role.FOUND else over))
                for text, role in parts
            ]
            cells = sum(cell_len(text) for text, _ in parts)
            segments.append(Segment(" " * (width - cells), fill))
            strip = self._strips[key] = Strip(segments, max(width, cells))
        return strip

    def _fill(self, selected: bool) -> Style:
        """The style of a row where nothing is written; made once, since Textual works it out at each call."""
        if self._plain is None or self._chosen is None:
            self._plain, self._chosen = self.rich_style, self.get_component_rich_style("log--selected")
        return self._chosen if selected else self._plain

    def _style(self, role: Role) -> Style:
        return self.get_component_rich_style(_STYLES[role])

    def _empty(self, width: int) -> Strip:
        if self.rows.end == 0:
            text = "no log lines yet"
        else:
            text = (
                f"none of {self.rows.end - self.rows.first} lines is shown: see level, owner and find above"
            )
        return Strip([Segment(f" {text}", self._style(Role.QUIET))]).crop_extend(0, width, self._fill(False))

    # -- selecting text with the mouse -------------------------------------------------------------------

    def _with_selection(self, strip: Strip, span: tuple[int, int]) -> Strip:
        """Marks characters start ≤ i < end of a row; an end of -1 is the row's."""
        style = Style(bgcolor=self.screen.get_component_rich_style("screen--selection").bgcolor)
        start, end = span
        segments: list[Segment] = []
        at = 0
        for text, base, _ in strip:
            low, high = max(start - at, 0), len(text) if end == -1 else min(max(end - at, 0), len(text))
            for piece, over in ((text[:low], None), (text[low:high], style), (text[max(low, high) :], None)):
                if piece:
                    segments.append(Segment(piece, (base or Style()) + over if over else base))
            at += len(text)
        return Strip(segments)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text; only rows that it touches are made."""
        picked: list[str] = []
        first = selection.start.y if selection.start is not None else 0
        last = selection.end.y if selection.end is not None else len(self.rows) - 1
        for row in range(max(first, 0), min(last, len(self.rows) - 1) + 1):
            if (span := selection.get_span(row)) is not None:
                line, part = self.rows.at(row)
                text = "".join(text for text, _ in row_parts(line, part, self._columns))
                picked.append(text[span[0] : None if span[1] == -1 else span[1]].rstrip())
        return "\n".join(picked), "\n"
