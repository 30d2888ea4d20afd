"""Textual's compositor, limited to the rows that an update changes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby

from textual._compositor import Compositor
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip


class RowCompositor(Compositor):
    """Renders only the changed rows of widgets.

    Textual renders every visible widget in full, containers included, even if one row of one changed.
    """

    def _get_renders(self, crop: Region | None = None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        if crop is None:
            yield from super()._get_renders(crop)
            return
        for widget, (region, clip) in self.visible_widgets.items():
            rows = clip.intersection(Region(clip.x, crop.y, clip.width, crop.height))
            if shown := region.intersection(rows):
                yield region, rows, widget.render_lines(shown.translate((-region.x, -region.y)))

    def _render_chops(
        self, crop: Region, is_rendered_line: Callable[[int], bool]
    ) -> Sequence[Mapping[int, Strip]]:
        rows = [row for row in crop.line_range if is_rendered_line(row)]
        found: list[Mapping[int, Strip]] = []
        for _, each in groupby(enumerate(rows), lambda pair: pair[1] - pair[0]):
            band = [row for _, row in each]
            part = super()._render_chops(Region(crop.x, band[0], crop.width, len(band)), is_rendered_line)
            found = found or list(part)
            found[band[0] : band[-1] + 1] = part[band[0] : band[-1] + 1]
        return found or super()._render_chops(crop, is_rendered_line)


def with_rows(screen: Screen[object]) -> Screen[object]:
    """Return the screen, with that compositor."""
    screen._compositor = RowCompositor()
    return screen
