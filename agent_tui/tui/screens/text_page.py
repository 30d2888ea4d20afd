"""Pages of lines to read and scroll."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.visual import VisualType
from textual.widgets import Static

from agent_tui.logs.sanitise import sanitise
from agent_tui.tui.screens.live_page import REFRESH_S
from agent_tui.tui.screens.page import Page
from agent_tui.tui.widgets.text import Line, to_contents


class TextPage(Page[None]):
    """Lines that stay as they are while it is open; Esc or q closes it."""

    DEFAULT_CSS = """
    TextPage {
        #page-box {
            width: 100%; max-width: 130; height: auto; max-height: 100%;
        }
        Static { width: 1fr; height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Close"),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]

    def __init__(self, title: str, lines: VisualType) -> None:
        super().__init__()
        self._title = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="page-box", classes="page-box") as box:
            box.border_title = Content(self._title)
            box.border_subtitle = "↑ ↓ scroll · Esc closes"
            yield Static(self._lines, markup=False)

    def on_mount(self) -> None:
        self.query_one("#page-box").focus()

    def action_scroll(self, lines: int) -> None:
        self.query_one("#page-box").scroll_relative(y=lines, animate=False)

    def action_close(self) -> None:
        self.dismiss(None)


class LiveTextPage(TextPage):
    """Lines that are made anew twice a second, and painted where they are others."""

    def __init__(self, title: str, lines: Callable[[], tuple[Line, ...]]) -> None:
        self._make = lines
        self._shown = lines()
        super().__init__(title, to_contents(self._shown))

    def on_mount(self) -> None:
        super().on_mount()
        self.set_interval(REFRESH_S, self.show)

    def show(self) -> None:
        """Paints what is so now."""
        lines = self._make()
        if lines != self._shown:
            self._shown = lines
            self.query_one(Static).update(to_contents(lines))


class StacksPage(TextPage):
    """The stacks as they were; Esc, s or q closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("s", "close", show=False)]

    def __init__(self, title: str, stacks: str) -> None:
        super().__init__(title, Content(sanitise(stacks).strip("\n")))
