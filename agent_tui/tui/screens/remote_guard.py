"""The guard before anything is done on a server that is not local: its host must be typed."""

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
    """Whether what was typed names the host, in any case and with spaces around."""
    return bool(host) and typed.strip().lower() == host.lower()


def progress(typed: str, host: str) -> str:
    """What is still missing, in words."""
    text = typed.strip().lower()
    if not text:
        return "nothing is done until the name is there"
    if confirms(text, host):
        return "✓ that is its name: Enter goes on"
    return "… go on typing" if host.lower().startswith(text) else "✗ that is not its name"


class RemoteGuard(Page[str | None]):
    """Returns the host when it was typed in full, None when the user would rather not."""

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
        """`what` is about to be done, such as "a test dispatch"."""
        super().__init__()
        self._host, self._what = host, what

    def compose(self) -> ComposeResult:
        with Vertical(id="guard-box", classes="page-box") as box:
            box.border_title = "⚠ REMOTE SERVER"
            yield Static(Content(f"You asked for {brief(self._what)} on"), markup=False)
            yield Static(Content(brief(self._host)), id="guard-host", markup=False)
            yield Static(
                Content(
                    "It does not run on this machine: other people may be served there, and it may cost "
                    "money. Type its name to go on; it is asked once in a run."
                ),
                markup=False,
            )
            yield Input(placeholder="the server's name, as above", id="guard-input", restrict=PRINTABLE)
            yield Static(Content(progress("", self._host)), id="guard-progress", markup=False)
            with Horizontal():
                yield Button(Content("Cancel (Esc)"), id="guard-cancel", variant="primary")
                yield Button(Content("Go on (Enter)"), id="guard-go", variant="error", disabled=True)

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
