"""What all lists share: `/` filters the rows, Esc shows all again, `y` copies from the selected row."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from agent_tui.tui.widgets.text import PRINTABLE, one_line


class Listing(Widget):
    """A list with rows of text; the second base class of each list, after the widget that draws it.

    A subclass shows only rows whose text it `keeps`, and reports their number with `note_count`.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "find", "Filter", id="find"),
        Binding("y", "copy_lines", "Copy", id="copy_lines"),
        Binding("escape", "show_all", "Show all", show=False),
    ]

    _filter = ""
    _line: "FilterLine | None" = None
    _count = (0, 0)

    @dataclass
    class CopyRequested(Message):
        """The user wants to copy one of these texts, by their names."""

        facts: Mapping[str, str]

    @abstractmethod
    def refilter(self) -> None:
        """Show the rows that the filter keeps."""

    def copyable(self) -> Mapping[str, str]:
        """Return the texts that can be copied from the selected row, by name."""
        return {}

    @property
    def filter(self) -> str:
        """The text that the shown rows contain; empty for all rows. Settable; case does not matter."""
        return self._filter

    @filter.setter
    def filter(self, text: str) -> None:
        if text != self._filter:
            self._filter = text
            self.refilter()
        self._show_line(is_open=bool(text) or (self._line is not None and self._line.has_focus_within))

    def keeps(self, text: str) -> bool:
        """Return whether the filter shows a row with this text."""
        return self._filter.strip().casefold() in text.casefold()

    def note_count(self, shown: int, total: int) -> None:
        """Report how many rows are shown, for the filter's line."""
        self._count = (shown, total)
        if self._line is not None:
            self._line.note(shown, total)

    def _show_line(self, *, is_open: bool) -> None:
        if is_open and self._line is None and isinstance(self.parent, Widget):
            self._line = FilterLine(self)
            self.parent.mount(self._line, after=self)
            self._line.note(*self._count)
        elif not is_open and self._line is not None:
            self._line.remove()
            self._line = None

    async def action_find(self) -> None:
        """Open the filter's input line, which stays open while the filter hides rows."""
        self._show_line(is_open=True)
        if self._line is not None:
            self.screen.set_focus(self._line.field)  # at once: the next keys may already be there

    def action_show_all(self) -> None:
        """Remove the filter and go back to the list."""
        self.focus()
        self._show_line(is_open=False)
        self.filter = ""

    def action_copy_lines(self) -> None:
        """Copy a text from the selected row; the user picks one if there are several."""
        facts = {name: text for name, text in self.copyable().items() if text}
        if facts:
            self.post_message(self.CopyRequested(facts))
        else:
            self.notify("nothing to copy: select a row", severity="error", markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "show_all":
            return bool(self._filter)  # without a filter, Esc is for the page or the app
        return super().check_action(action, parameters)


class FilterLine(Horizontal):
    """The line below a list: the filter, and how many rows it shows."""

    DEFAULT_CSS = """
    FilterLine {
        height: 1;
        background: $panel;
        & > .filter-sign { width: auto; padding: 0 0 0 1; text-style: bold; color: $accent; }
        & > Input { width: 1fr; min-width: 8; }
        & > .filter-note { width: auto; color: $text-muted; padding: 0 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "keep", "Go to the rows"),
        Binding("escape", "leave", "Show all"),
    ]

    def __init__(self, listing: Listing) -> None:
        super().__init__()
        self._listing = listing
        self.field = Input(listing.filter, compact=True, select_on_focus=False, restrict=PRINTABLE)
        self._note = Static(classes="filter-note", markup=False)

    def compose(self) -> ComposeResult:
        yield Static("/", classes="filter-sign", markup=False)
        yield self.field
        yield self._note

    def note(self, shown: int, total: int) -> None:
        """Show how many of the rows contain the text."""
        self._note.update(Content(f"{shown} of {total} · Esc show all"))

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self._listing.filter = one_line(event.value)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_keep()

    def action_keep(self) -> None:
        """Go to the rows. The filter remains, unless it is empty."""
        if self._listing.filter:
            self._listing.focus()
        else:
            self._listing.action_show_all()

    def action_leave(self) -> None:
        """Remove the filter."""
        self._listing.action_show_all()
