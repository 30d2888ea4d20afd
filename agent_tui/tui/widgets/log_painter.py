"""Rows of the log pane as strips: each made once, and cut to what is in view."""

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.cache import LRUCache
from textual.strip import Strip
from textual.widget import Widget

from agent_tui.model.logs import LogLine
from agent_tui.tui.widgets.log_rows import LogRows
from agent_tui.tui.widgets.log_text import ROW_ROLES, Columns, Role, columns, row_parts

CACHED_ROWS = 128
"""More than any screen shows; each holds what Textual made of it for the garbage collector to look at."""

STYLES: dict[Role, str] = {role: f"log--{role}" for role in ROW_ROLES}
"""The view's component class of each role."""

SELECTED = "log--selected"


class LogPainter:
    """Paints for one view, whose component classes are the styles."""

    def __init__(self, view: Widget, rows: LogRows) -> None:
        self._view = view
        self._rows = rows
        self._strips: LRUCache[tuple[int, int, bool], Strip] = LRUCache(CACHED_ROWS)
        self.columns = Columns()
        """What each part of a row takes, at the width that there is."""
        self._plain: Style | None = None
        self._chosen: Style | None = None

    def fit(self, width: int) -> None:
        """Rows are so wide from now on."""
        self.columns = columns(width)
        self.forget()

    def forget(self) -> None:
        """Rows look different from now on."""
        self._strips.clear()
        self._plain = self._chosen = None

    def row(self, row: int, left: int, width: int, picked: tuple[int, int] | None) -> Strip:
        """That row from the column `left` on; one that goes on says so with `›`.

        `picked` are the first and last index of the lines that are selected.
        """
        if row >= len(self._rows):
            return Strip.blank(width, self._fill(False))
        line, part = self._rows.at(row)
        selected = picked is not None and picked[0] <= line.index <= picked[1]
        fill = self._fill(selected)
        strip = self._whole(line, part, width, selected)
        if strip.cell_length > left + width:
            end = Strip([Segment("›", self._style(Role.MARK) + Style(bgcolor=fill.bgcolor))], 1)
            strip = Strip.join([strip.crop_extend(left, left + width - 1, fill), end])
        elif left:
            strip = strip.crop_extend(left, left + width, fill)
        return strip

    def empty(self, width: int) -> Strip:
        """In place of the first row, when there is none."""
        if self._rows.end == 0:
            text = "no log lines yet"
        else:
            kept = self._rows.end - self._rows.first
            text = f"none of {kept} lines is shown: see the filters and find above"
        return Strip([Segment(f" {text}", self._style(Role.QUIET))]).crop_extend(0, width, self._fill(False))

    def _whole(self, line: LogLine, part: int, width: int, selected: bool) -> Strip:
        """A whole row, at least so wide."""
        key = (line.index, part, selected)
        strip = self._strips.get(key)
        if strip is None:
            query, folded = self._rows.query, self._rows.is_folded(line)
            parts = row_parts(line, part, self.columns, query, selected=selected, folded=folded)
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
            self._plain = self._view.rich_style
            self._chosen = self._view.get_component_rich_style(SELECTED)
        return self._chosen if selected else self._plain

    def _style(self, role: Role) -> Style:
        return self._view.get_component_rich_style(STYLES[role])
