"""Renders rows of the log pane as strips, cached, and cut to the visible columns."""

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.cache import LRUCache
from textual.strip import Strip
from textual.widget import Widget

from agent_tui.model.logs import LogLine
from agent_tui.tui.widgets.log_rows import LogRows
from agent_tui.tui.widgets.log_text import ROW_ROLES, Columns, Role, columns, indent, row_parts
from agent_tui.tui.widgets.text import counted

if TYPE_CHECKING:
    from agent_tui.model.state import AppState

CACHED_ROWS = 128
"""More rows than a screen has; not many more, because the garbage collector walks all cached objects."""

STYLES: dict[Role, str] = {role: f"log--{role}" for role in ROW_ROLES}
"""The component class of each role."""

SELECTED = "log--selected"


class LogPainter:
    """Renders rows in the styles of one view's component classes."""

    def __init__(self, view: Widget, rows: LogRows) -> None:
        self._view = view
        self._rows = rows
        self._strips: LRUCache[tuple[int, int, bool], Strip] = LRUCache(CACHED_ROWS)
        self.columns = Columns()
        """The columns that fit the current width."""
        self.state: AppState | None = None
        """The state that names the owners of lines."""
        self._plain: Style | None = None
        self._chosen: Style | None = None

    def fit(self, width: int, *, wrap: bool) -> None:
        """Adapt to a new width, in cells."""
        self.columns = columns(width, wrap=wrap)
        self.forget()

    def forget(self) -> None:
        """Clear the cache after a change of styles, columns, or filters."""
        self._strips.clear()
        self._plain = self._chosen = None

    def row(self, row: int, left: int, width: int, picked: tuple[int, int] | None) -> Strip:
        """Return a row whose text is scrolled by `left` cells; the columns before the text stay in place.

        `›` marks a row that continues to the right. `picked` has the first and last index of the selected
        lines.
        """
        if row >= len(self._rows):
            return Strip.blank(width, self._fill(False))
        line, part = self._rows.at(row)
        selected = picked is not None and picked[0] <= line.index <= picked[1]
        fill = self._fill(selected)
        strip = self._whole(line, part, width, selected)
        continues = strip.cell_length > left + width
        if left:
            frozen = indent(part, self.columns)
            strip = Strip.join([strip.crop(0, frozen), strip.crop(frozen + left, left + width)])
        if continues:
            end = Strip([Segment("›", self._style(Role.MARK) + Style(bgcolor=fill.bgcolor))], 1)
            strip = Strip.join([strip.crop_extend(0, width - 1, fill), end])
        return strip.extend_cell_length(width, fill)

    def empty(self, width: int) -> Strip:
        """Return the row that an empty pane shows: why there are no lines."""
        if self._rows.end == 0:
            text = "no log lines yet: the output of all processes appears here"
        else:
            hidden = counted(self._rows.end - self._rows.first, "line")
            text = f"{hidden} hidden by the {self._hiding()}"
        return Strip([Segment(f" {text}", self._style(Role.QUIET))]).crop_extend(0, width, self._fill(False))

    def _hiding(self) -> str:
        """Return what hides all lines: the filters in effect, and the search if it shows only matches."""
        shown = self._rows.filter
        filters = [
            f"level filter ({shown.level.label})",
            *(["process and job filter"] if shown.owners else []),
            *(["generation filter"] if shown.generations else []),
            *(["search (m show all lines)"] if shown.only_matches else []),
        ]
        return " and the ".join(filters)

    def _whole(self, line: LogLine, part: int, width: int, selected: bool) -> Strip:
        """Return a whole row, at least `width` cells wide."""
        key = (line.index, part, selected)
        strip = self._strips.get(key)
        if strip is None:
            query, folded = self._rows.query, self._rows.is_folded(line)
            wrap = self._rows.index.filter.wrap
            parts = row_parts(
                line,
                part,
                self.columns,
                query,
                selected=selected,
                folded=folded,
                wrap=wrap,
                state=self.state,
            )
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
        """Return the style of blank cells. Cached, because Textual computes it at each call."""
        if self._plain is None or self._chosen is None:
            self._plain = self._view.rich_style
            self._chosen = self._view.get_component_rich_style(SELECTED)
        return self._chosen if selected else self._plain

    def _style(self, role: Role) -> Style:
        return self._view.get_component_rich_style(STYLES[role])
