"""The input line for turns that are typed before the session has started."""

from textual import on
from textual.containers import Horizontal
from textual.widgets import Static

from agent_tui.tui.widgets.talk_input import TalkInput
from agent_tui.tui.widgets.text import counted


class FirstTurns(Horizontal):
    """The line above the footer while a session is expected. It keeps what is sent until `take`.

    Without it, what a user types to the agent while it is loading would be keys of the process table.
    """

    DEFAULT_CSS = """
    FirstTurns {
        display: none;
        height: 1;
        background: $panel;
        & > #first-sign { width: auto; padding: 0 1; text-style: bold; color: $accent; }
        & > #first-note { width: auto; color: $text-muted; padding: 0 1; }
        &.-open { display: block; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.field = TalkInput()
        self.field.placeholder = "type now; it is sent once the agent is ready"
        self._note = Static(id="first-note", markup=False)
        self._turns: list[str] = []

    def open(self) -> None:
        """Show the line and move the focus into it."""
        self.mount(Static(">", id="first-sign", markup=False), self.field, self._note)
        self.add_class("-open")
        self.screen.set_focus(self.field)  # at once: the next keys may already be there

    def close(self) -> None:
        """Remove the input, so that the focus cannot return to it. Turns that were sent wait for `take`."""
        self.remove_class("-open")
        self.remove_children()

    def take(self) -> list[str]:
        """Return the turns that wait to be sent, and forget them."""
        turns, self._turns = self._turns, []
        return turns

    def take_text(self) -> str:
        """Return the text that was typed and not sent, and clear the line."""
        text, self.field.value = self.field.value, ""
        return text

    @on(TalkInput.Sent)
    def _sent(self, event: TalkInput.Sent) -> None:
        event.stop()
        self._turns.append(event.text)
        self._note.update(f"{counted(len(self._turns), 'turn')} queued")
