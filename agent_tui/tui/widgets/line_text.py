"""Text that is shown as lines, of which only the changed ones are painted."""

from textual.geometry import Region
from textual.widgets import Static

from agent_tui.tui.widgets.text import Line, to_contents


class LineText(Static):
    """Lines of text that do not wrap."""

    def __init__(self, *, id: str | None = None) -> None:
        self._changed: list[Region] = []
        self._lines: tuple[Line, ...] = ()
        super().__init__(id=id, markup=False)

    def show(self, lines: tuple[Line, ...]) -> None:
        """Show the lines. If their number stays the same, so does the layout."""
        before, self._lines = self._lines, lines
        if len(lines) != len(before) or len(lines) != self.size.height:  # or one wraps
            self.update(to_contents(lines), layout=len(lines) != len(before))
            return
        rows = [row for row, pair in enumerate(zip(before, lines, strict=True)) if pair[0] != pair[1]]
        self._changed = [Region(0, row, self.size.width, 1) for row in rows]
        self.update(to_contents(lines), layout=False)
        self._changed = []

    def refresh(
        self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False
    ) -> "LineText":
        """Paint the regions again; within `show`, the changed lines."""
        regions = regions or tuple(self._changed)
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)
