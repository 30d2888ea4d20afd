"""The command line (`:`), shown above the footer while it is open."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from agent_tui.tui.widgets.text import PRINTABLE, one_line

if TYPE_CHECKING:
    from textual.widget import Widget

HISTORY = 50
SHOWN = 8
"""Completions beside the input."""


class CommandInput(Input):
    """The text field of the command line (`:`)."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete(1)", "Complete"),
        Binding("shift+tab", "complete(-1)", show=False),
        Binding("up", "recall(-1)", "Last command"),
        Binding("down", "recall(1)", show=False),
        Binding("enter", "submit", "Run"),
        Binding("escape", "leave", "Close"),
    ]

    class Left(Message):
        """The user pressed Esc."""

    @dataclass
    class Wanted(Message):
        """The user wants the next (1) or previous (-1) completion, or with `past`, command."""

        step: int
        past: bool

    def action_leave(self) -> None:
        self.post_message(self.Left())

    def action_complete(self, step: int) -> None:
        self.post_message(self.Wanted(step, past=False))

    def action_recall(self, step: int) -> None:
        self.post_message(self.Wanted(step, past=True))


class CommandBar(Horizontal):
    """The command line; the app runs the entered command."""

    DEFAULT_CSS = """
    CommandBar {
        display: none;
        height: 1;
        background: $panel;
        & > #command-sign { width: auto; padding: 0 0 0 1; text-style: bold; color: $accent; }
        & > Input { width: 1fr; min-width: 16; }
        & > #command-note { width: auto; max-width: 75%; color: $text-muted; padding: 0 1; }
        &.-open { display: block; }
    }
    """

    @dataclass
    class Entered(Message):
        """The user entered a command."""

        text: str

    def __init__(
        self,
        complete: Callable[[str], tuple[str, ...]],
        describe: Callable[[str], str],
        *,
        id: str | None = None,
    ) -> None:
        """`complete(text)` returns the lines that the typed text can become, `describe(text)` what a line
        does.
        """
        super().__init__(id=id)
        self._complete, self._describe = complete, describe
        self._field = CommandInput(compact=True, select_on_focus=False, restrict=PRINTABLE)
        self._note = Static(id="command-note", markup=False)
        self._before: Widget | None = None
        self._typed = ""
        """What was typed before the first completion."""
        self._at = -1
        self._past: list[str] = []
        self._past_at = 0

    def action_command(self) -> None:
        """Show the line and move the focus into it."""
        if not self._field.is_attached:
            self.mount(Static(":", id="command-sign", markup=False), self._field, self._note)
        if not self.has_class("-open"):
            self._before = self.screen.focused
        self._typed, self._at, self._past_at = "", -1, len(self._past)
        self._put("")
        self._show_note()
        self.add_class("-open")
        self.screen.set_focus(self._field)  # at once: the next keys may already be there

    def _close(self) -> None:
        self.remove_class("-open")
        if self._before is not None and self._before.is_attached:
            self._before.focus()

    def _put(self, text: str) -> None:
        with self._field.prevent(Input.Changed):
            self._field.value = text
        self._field.cursor_position = len(text)

    def _show_note(self) -> None:
        found = self._complete(self._typed)
        line = self._field.value
        is_chosen = self._at >= 0 or found in ((), (line,)) or " " in line
        if about := self._describe(line) if line and is_chosen else "":
            self._note.update(Content(about))
            return
        words = [one_line(each.rpartition(" ")[2], 24) for each in found[:SHOWN]]
        more = " …" if len(found) > SHOWN else ""
        self._note.update(Content(f"{' '.join(words)}{more}" if words else "no command starts with this"))

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self._typed, self._at = event.value, -1
        self._show_note()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        text = event.value.strip()
        self._close()
        if text:
            self._past = [*(each for each in self._past if each != text), text][-HISTORY:]
            self.post_message(self.Entered(text))

    @on(CommandInput.Left)
    def _left(self) -> None:
        self._close()

    @on(CommandInput.Wanted)
    def _wanted(self, event: CommandInput.Wanted) -> None:
        event.stop()
        if event.past:
            self._past_at = min(max(self._past_at + event.step, 0), len(self._past))
            self._put(self._past[self._past_at] if self._past_at < len(self._past) else "")
        elif found := self._complete(self._typed):
            self._at = (
                (self._at + event.step) % len(found) if self._at >= 0 else (event.step - 1) % len(found)
            )
            self._put(found[self._at])
            self._show_note()
