"""The help page: all keys, first those of the focused panel or page."""

from collections.abc import Iterable, Mapping
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.dom import DOMNode
from textual.geometry import Region
from textual.widgets import Input, Static

from agent_tui.tui.actions import Action
from agent_tui.tui.screens.page import BACK, FULL, Page
from agent_tui.tui.widgets.key_rows import (
    GAP,
    NO_MOVES,
    KeyPage,
    Spot,
    entries_of,
    entry_lines,
    found,
    key_groups,
    key_page,
)
from agent_tui.tui.widgets.text import PRINTABLE, to_contents


def classes_around(node: DOMNode) -> tuple[str, ...]:
    """Return the names of the classes of a node and its ancestors, innermost first."""
    kinds = (kind for each in node.ancestors_with_self for kind in type(each).__mro__)
    return tuple(dict.fromkeys(kind.__name__ for kind in kinds))


class Help(Page[str | None]):
    """Lists the keys; `/` filters them, Enter returns the name of the selected action."""

    AUTO_FOCUS = ""  # the filter gets the focus when it opens
    DEFAULT_CLASSES = FULL
    DEFAULT_CSS = """
    Help {
        #help-filter {
            height: 1; border: none; padding: 0; background: $panel;
        }
        #help-scroll { height: 1fr; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
        #help-keys { height: auto; }
        #help-entry { height: 3; margin-top: 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", BACK),
        Binding("q,question_mark", "close", show=False),
        Binding("slash", "filter", "Filter", priority=True),  # before the keys that were typed after it
        Binding("enter", "run", "Run"),
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("left", "other_column(-1)", show=False),
        Binding("right", "other_column(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "move(-1000)", show=False),
        Binding("end", "move(1000)", show=False),
    ]

    def __init__(
        self, actions: Iterable[Action], focus: tuple[str, ...] = (), moves: Mapping[str, str] = NO_MOVES
    ) -> None:
        """`focus` is what `classes_around` returns for the focused widget.

        `moves` maps keys to the keys that they act like.
        """
        super().__init__()
        self._all = key_groups(actions, focus, moves)
        self._groups = self._all
        self._selected = 0
        self._page = KeyPage((), (), 0)
        self._filter = Input(placeholder="filter the keys", id="help-filter", restrict=PRINTABLE)
        self._filter.display = False
        self._keys = Static(id="help-keys", markup=False)
        self._entry = Static(id="help-entry", markup=False)
        self._scroll = VerticalScroll(self._keys, id="help-scroll", can_focus=False)

    def compose(self) -> ComposeResult:
        with Vertical(id="help-box", classes="page-box") as box:
            box.border_title = "Keys"
            yield self._filter
            yield self._scroll
            yield self._entry
        yield self.key_bar()

    def on_resize(self) -> None:
        self.call_after_refresh(self._paint)

    def _paint(self) -> None:
        """Paint the keys, and the selected entry in full; scroll the entry into view."""
        width = self._scroll.scrollable_content_region.width
        if width <= 0:
            return
        entries = entries_of(self._groups)
        self._selected = min(max(self._selected, 0), max(len(entries) - 1, 0))
        self._page = key_page(self._groups, self._selected, width)
        self._keys.update(to_contents(self._page.lines))
        self._entry.update(to_contents(entry_lines(entries[self._selected] if entries else None, width)))
        if entries:
            row = self._page.spots[self._selected].row
            # From the first entry on, the title of its group is visible too.
            self._scroll.scroll_to_region(Region(0, max(row - 1, 0), 1, 2), animate=False)

    def _select(self, number: int) -> None:
        self._selected = number
        self._paint()

    # -- keys ----------------------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        """Move the selection by that many entries."""
        self._select(self._selected + by)

    def action_page(self, pages: int) -> None:
        """Move the selection by pages, within its column."""
        spots = self._page.spots
        if spots:
            at = spots[self._selected]
            self._select(self._nearest(at.row + pages * max(self._scroll.size.height - 2, 1), at.column))

    def action_other_column(self, by: int) -> None:
        """Select the entry beside the selected one; from the last column, in the first one."""
        spots = self._page.spots
        if spots:
            at, columns = spots[self._selected], 1 + max(spot.column for spot in spots)
            self._select(self._nearest(at.row, (at.column + by) % columns))

    def _nearest(self, row: int, column: int) -> int:
        """Return the number of the entry nearest to that row, in that column if the column has entries."""

        def distance(number: int) -> tuple[bool, int]:
            spot: Spot = self._page.spots[number]
            return spot.column != column, abs(spot.row - row)

        return min(range(len(self._page.spots)), key=distance)

    def action_run(self) -> None:
        """Close the page and return the selected action. Keys of pages and panels cannot be run from here."""
        entries = entries_of(self._groups)
        if entries and entries[self._selected].action:
            self.dismiss(entries[self._selected].action)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While the filter is open, a slash is typed as text."""
        return not self._filter.display if action == "filter" else super().check_action(action, parameters)

    def action_filter(self) -> None:
        # Both take effect at once, so that what is typed next is text.
        self._filter.display = True
        self.set_focus(self._filter)

    def action_back(self) -> None:
        """Show all keys if they are filtered, otherwise close the page."""
        if not self._filter.display:
            self.dismiss(None)
            return
        self._filter.display = False
        self._filter.value = ""
        self.set_focus(None)

    def action_close(self) -> None:
        self.dismiss(None)

    @on(Input.Changed)
    def filtered(self, event: Input.Changed) -> None:
        self._groups = found(self._all, event.value)
        self._select(0)

    @on(Input.Submitted)
    def entered(self) -> None:
        self.action_run()

    def on_click(self, event: events.Click) -> None:
        """Select the entry that was clicked, and run it."""
        place = event.get_content_offset(self._keys)
        if place is None:
            return
        column = place.x // (self._page.column_width + GAP)
        if (spot := Spot(place.y, column)) in self._page.spots:
            self._select(self._page.spots.index(spot))
            self.action_run()
