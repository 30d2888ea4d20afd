"""A yes-or-no question; closing it means no."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Static

from agent_tui.tui.screens.page import Page
from agent_tui.tui.widgets.text import brief, counted


class Confirm(Page[bool]):
    """Returns True for yes, False otherwise. The No button has the focus, so Enter answers no."""

    DEFAULT_CSS = """
    Confirm {
        #confirm-box {
            width: 64; max-width: 100%; height: auto; max-height: 100%;
            padding: 1 2;
            border: round $warning;
            border-title-color: $text-warning;
        }
        Static { height: auto; margin-bottom: 1; }
        #confirm-detail { color: $text-muted; }
        Horizontal { height: auto; align-horizontal: right; }
        Button { margin-left: 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    def __init__(self, question: str, detail: str = "", *, yes: str = "Yes", no: str = "No") -> None:
        """`detail` explains what happens if the answer is yes."""
        super().__init__()
        self._question, self._detail, self._yes, self._no = question, detail, yes, no

    def compose(self) -> ComposeResult:
        with Vertical(id="confirm-box", classes="page-box") as box:
            box.border_title = "Confirm"
            yield Static(Content(brief(self._question)), markup=False)
            if self._detail:
                yield Static(Content(brief(self._detail)), id="confirm-detail", markup=False)
            with Horizontal():
                yield Button(Content(f"{self._no} (n)"), id="confirm-no", variant="primary")
                yield Button(Content(f"{self._yes} (y)"), id="confirm-yes", variant="warning")

    def on_mount(self) -> None:
        self.query_one("#confirm-no").focus()

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "confirm-yes")


class QuitQuestion(Confirm):
    """Asks whether to quit while calls are running. Pressing q again, the key that opens it, means yes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("q", "answer(True)", "Quit", show=False)]

    def __init__(self, calls: int) -> None:
        super().__init__(
            f"Quit while {counted(calls, 'call is', 'calls are')} running?",
            "Quitting ends them gracefully. Press q again to quit, Esc to stay. Q waits for them to end.",
            yes="Quit",
            no="Stay",
        )
