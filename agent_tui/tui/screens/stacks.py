"""What a process does right now: the stacks of its threads and tasks."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from agent_tui.logs.sanitise import sanitise


class StacksPage(ModalScreen[None]):
    """The stacks as they were; Esc, s or q closes it."""

    DEFAULT_CSS = """
    StacksPage {
        align: center middle;

        #stacks-box {
            width: 100%; max-width: 130; height: auto; max-height: 100%;
            padding: 0 1;
            border: round $primary;
            border-title-color: $text;
            border-subtitle-color: $text-muted;
            background: $surface;
            scrollbar-size-vertical: 1;
        }
        Static { width: 1fr; height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,s,q", "close", "Close")]

    def __init__(self, title: str, stacks: str) -> None:
        super().__init__()
        self._title = title
        self._stacks = sanitise(stacks).strip("\n")

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="stacks-box") as box:
            box.border_title = Content(self._title)
            box.border_subtitle = "↑ ↓ scroll · Esc closes"
            yield Static(Content(self._stacks), markup=False)

    def on_mount(self) -> None:
        self.query_one("#stacks-box").focus()

    def action_close(self) -> None:
        self.dismiss(None)
