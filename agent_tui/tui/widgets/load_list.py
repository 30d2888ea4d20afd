"""The list of loads: one is selected, the newest as long as nobody chose another one."""

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.events import Click
from textual.geometry import Region
from textual.message import Message
from textual.widgets import Static

from agent_tui.model.state import AppState
from agent_tui.tui.widgets.load_rows import Entry, entries, row
from agent_tui.tui.widgets.text import Line, Span, Tone, to_contents

EMPTY: Line = (Span("nothing has been loaded yet", Tone.DIM),)


class LoadList(VerticalScroll):
    """Rows that ↑ and ↓ go over, newest first."""

    DEFAULT_CSS = """
    LoadList {
        scrollbar-size-vertical: 1;
        & > Static { height: auto; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """
    BINDINGS = [  # noqa: RUF012  the base class says what it is
        Binding("up,k", "select(-1)", show=False),
        Binding("down,j", "select(1)", show=False),
        Binding("home", "select(-1000)", show=False),
        Binding("end", "select(1000)", show=False),
    ]

    class Selected(Message):
        """Another load is the selected one."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._entries: tuple[Entry, ...] = ()
        self._state = AppState()
        self._index = 0
        self._text = Static(markup=False)
        self._lines: tuple[Line, ...] = ()

    def compose(self) -> ComposeResult:
        yield self._text

    def on_resize(self) -> None:
        self._paint()

    @property
    def selected(self) -> Entry | None:
        return self._entries[self._index] if self._entries else None

    def show(self, state: AppState) -> None:
        """Takes the state. Whoever looks at the newest load goes on to the next one with it."""
        before = self.selected
        self._state, self._entries = state, entries(state)
        if before is not None and self._index > 0:
            keys = [entry.key for entry in self._entries]
            self._index = keys.index(before.key) if before.key in keys else len(keys) - 1
        self._paint()

    def select_newest(self) -> None:
        """Goes to the first row, and stays with the newest from there on."""
        self._select(0)

    def action_select(self, by: int) -> None:
        """Selects the row so many below."""
        self._select(self._index + by)

    def on_click(self, event: Click) -> None:
        place = event.get_content_offset(self)
        if place is not None:
            self._select(place.y + self.scroll_offset.y)

    def _select(self, index: int) -> None:
        index = min(max(index, 0), max(len(self._entries) - 1, 0))
        if index != self._index:
            self._index = index
            self._paint()
            self.scroll_to_region(Region(0, index, 1, 1), animate=False)
            self.post_message(self.Selected())

    def _paint(self) -> None:
        width = max(self.scrollable_content_region.width, 40)
        lines = tuple(
            row(entry, self._state, width, selected=number == self._index)
            for number, entry in enumerate(self._entries)
        ) or (EMPTY,)
        if lines != self._lines:
            same_height = len(lines) == len(self._lines)
            self._lines = lines
            self._text.update(to_contents(lines), layout=not same_height)
