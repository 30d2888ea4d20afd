"""A short list to pick one entry from."""

from collections.abc import Mapping

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import OptionList

from agent_tui.tui.screens.page import Page
from agent_tui.tui.widgets.line_list import LineList
from agent_tui.tui.widgets.text import Span, Tone, brief, pad

NAME_WIDTH = 11


class Pick(Page[str | None]):
    """Returns the name of the picked entry; None if it is closed."""

    DEFAULT_CSS = """
    Pick {
        #pick-box { width: 72; max-width: 100%; height: auto; max-height: 100%; }
        LineList { height: auto; }
    }
    """
    BINDINGS = [Binding("escape,q", "close", "Close")]  # noqa: RUF012  the base class declares its type

    def __init__(self, title: str, entries: Mapping[str, str]) -> None:
        """`entries` maps each name to the text shown beside it."""
        super().__init__()
        self._title, self._entries = title, entries

    def compose(self) -> ComposeResult:
        with Vertical(id="pick-box", classes="page-box") as box:
            box.border_title = self._title
            box.border_subtitle = "Enter pick · Esc close"
            yield LineList(id="pick-list")

    def on_mount(self) -> None:
        rows = self.query_one(LineList)
        rows.show_rows(
            [
                (name, (Span(pad(name, NAME_WIDTH) + " ", Tone.DIM), Span(brief(text))))
                for name, text in self._entries.items()
            ]
        )
        rows.focus()

    def action_close(self) -> None:
        self.dismiss(None)

    @on(OptionList.OptionSelected)
    def _picked(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self.query_one(LineList).key_at(event.option_index))
