"""The question asked before test jobs run on a remote server; closing it means no."""

from enum import Enum
from time import monotonic
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Static

from agent_tui.tui.screens.page import Page
from agent_tui.tui.widgets.text import brief


class Answer(Enum):
    """The answer: whether test jobs are allowed on the host (not now, in this run, or always)."""

    NO = "guard-no"
    YES = "guard-yes"
    ALWAYS = "guard-always"


class RemoteGuard(Page[Answer]):
    """Shows the host and asks. The No button has the focus, so Enter answers no."""

    DEFAULT_CSS = """
    RemoteGuard {
        #guard-box {
            width: 72; max-width: 100%; height: auto; max-height: 100%;
            padding: 0 2 1 2;
            border: heavy $error;
            border-title-color: $text-error;
            border-title-style: bold;
        }
        Static { height: auto; margin-top: 1; }
        #guard-host { background: $error-muted; color: $text-error; text-style: bold; text-align: center; }
        Horizontal { height: auto; align-horizontal: right; margin-top: 1; }
        Button { margin-left: 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer('guard-yes')", "Yes"),
        Binding("a", "answer('guard-always')", "Always"),
        Binding("n,escape", "answer('guard-no')", "No"),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    GRACE_S: ClassVar = 0.5
    """Seconds after opening during which a yes is ignored: the key may have been meant for another page.
    """

    def __init__(self, host: str, what: str) -> None:
        """`what` names the action to confirm, such as "a test dispatch"."""
        super().__init__()
        self._host, self._what, self._opened = host, what, 0.0

    def compose(self) -> ComposeResult:
        with Vertical(id="guard-box", classes="page-box") as box:
            box.border_title = "⚠ REMOTE SERVER"
            yield Static(Content(f"Start {brief(self._what)} on"), markup=False)
            yield Static(Content(brief(self._host)), id="guard-host", markup=False)
            yield Static(
                Content(
                    "This server is not on your machine. It may serve other people, and it may cost "
                    "money. Yes applies to this run. Always is saved in agent-tui.toml, for "
                    "everyone who uses that file."
                ),
                markup=False,
            )
            with Horizontal():
                yield Button(Content("No (n)"), id=Answer.NO.value, variant="primary")
                yield Button(Content("Yes (y)"), id=Answer.YES.value, variant="warning")
                yield Button(Content("Always on this host (a)"), id=Answer.ALWAYS.value, variant="error")

    def on_mount(self) -> None:
        self._opened = monotonic()
        self.query_one(f"#{Answer.NO.value}").focus()

    def action_answer(self, answer: str) -> None:
        given = Answer(answer)
        # The page may open while the user types: y and a have a meaning on the dashboard too.
        if given is Answer.NO or monotonic() - self._opened >= self.GRACE_S:
            self.dismiss(given)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.action_answer(str(event.button.id))
