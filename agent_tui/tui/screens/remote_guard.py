"""The confirmation before anything runs on a remote server: the user types its host name."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Static

from agent_tui.tui.screens.page import Page
from agent_tui.tui.widgets.text import PRINTABLE, brief


def confirms(typed: str, host: str) -> bool:
    """Return whether the typed text is the host's name; case and surrounding spaces do not matter."""
    return bool(host) and typed.strip().lower() == host.lower()


def progress(typed: str, host: str) -> str:
    """Return the line below the input: what to do next, or that the name is wrong."""
    text = typed.strip().lower()
    if not text:
        return "nothing runs until you type the name"
    if confirms(text, host):
        return "✓ matches · Enter continue"
    return "… keep typing" if host.lower().startswith(text) else "✗ not the server's name"


class RemoteGuard(Page[str | None]):
    """Returns the host if the user typed its name, None if they cancelled."""

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
        Input { margin-top: 1; }
        #guard-progress { margin-top: 0; color: $text-muted; padding-left: 1; }
        #guard-progress.-matches { color: $text-success; }
        Horizontal { height: auto; align-horizontal: right; margin-top: 1; }
        Button { margin-left: 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]

    def __init__(self, host: str, what: str) -> None:
        """`what` names the action to confirm, such as "a test dispatch"."""
        super().__init__()
        self._host, self._what = host, what

    def compose(self) -> ComposeResult:
        with Vertical(id="guard-box", classes="page-box") as box:
            box.border_title = "⚠ REMOTE SERVER"
            yield Static(Content(f"About to run {brief(self._what)} on"), markup=False)
            yield Static(Content(brief(self._host)), id="guard-host", markup=False)
            yield Static(
                Content(
                    "This server is not on your machine. It may serve other people, and it may cost "
                    "money. Type its name to continue; agent-tui asks once per run."
                ),
                markup=False,
            )
            yield Input(placeholder="server name", id="guard-input", restrict=PRINTABLE)
            yield Static(Content(progress("", self._host)), id="guard-progress", markup=False)
            with Horizontal():
                yield Button(Content("Cancel (Esc)"), id="guard-cancel", variant="primary")
                yield Button(Content("Continue (Enter)"), id="guard-go", variant="error", disabled=True)

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        matches = confirms(event.value, self._host)
        shown = self.query_one("#guard-progress", Static)
        shown.update(Content(progress(event.value, self._host)))
        shown.set_class(matches, "-matches")
        self.query_one("#guard-go", Button).disabled = not matches

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        if confirms(event.value, self._host):
            self.dismiss(self._host)

    @on(Button.Pressed, "#guard-go")
    def _go(self) -> None:
        self.dismiss(self._host)

    @on(Button.Pressed, "#guard-cancel")
    def action_cancel(self) -> None:
        self.dismiss(None)
