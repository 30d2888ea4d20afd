"""The input line for typing to the agent."""

from dataclasses import dataclass, field
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from agent_tui.logs.sanitize import printable

NEWLINE = "↵"
"""Stands for a line break in the one-line input. The turn that is sent has real line breaks."""

PAST = 50
"""Maximum number of turns that ↑ can bring back."""


@dataclass
class Draft:
    """What was typed to one session, and what was sent to it."""

    text: str = ""
    past: list[str] = field(default_factory=list)
    at: int = 0
    """The index in `past` of the shown turn; `len(past)` for the text being typed."""
    typed: str = ""
    """The text being typed while an older one is shown."""


class TalkInput(Input):
    """The input: Enter sends, ↑ and ↓ bring back sent turns, and pasted lines become one turn."""

    DEFAULT_CSS = "TalkInput { width: 1fr; min-width: 12; background: transparent; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Send"),
        Binding("escape", "leave", "Leave"),
        Binding("up", "recall(-1)", "Earlier"),
        Binding("down", "recall(1)", show=False),
        Binding("pageup", "page(-1)", "Scroll"),
        Binding("pagedown", "page(1)", show=False),
    ]

    @dataclass
    class Sent(Message):
        """The user sent a turn."""

        text: str

    class Left(Message):
        """The user pressed Esc."""

    @dataclass
    class PageRequested(Message):
        """The user wants to scroll the conversation by that many pages."""

        pages: int

    def __init__(self) -> None:
        super().__init__(compact=True, select_on_focus=False, placeholder="type to the agent")
        self._drafts: dict[str, Draft] = {}
        self._key = ""

    @property
    def _draft(self) -> Draft:
        return self._drafts.setdefault(self._key, Draft())

    def switch(self, key: str) -> None:
        """Type to another session; each session keeps its unsent text."""
        if key == self._key:
            return
        self._draft.text, self._key = self.value, key
        self._put(self._draft.text)

    async def on_key(self, event: events.Key) -> None:
        """Send the turn at once: keys after Enter may already be queued, and bindings run later."""
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            await self.action_submit()

    async def action_submit(self) -> None:
        text = self.value.replace(NEWLINE, "\n").strip()
        draft = self._draft
        if text:
            draft.past = [*(each for each in draft.past if each != self.value), self.value][-PAST:]
            self.post_message(self.Sent(text))
        draft.at, draft.typed = len(draft.past), ""
        self._put("")

    def restore(self) -> None:
        """Put the last turn back into the input, unless the user has typed something since."""
        if not self.value:
            self.action_recall(-1)

    def _put(self, text: str) -> None:
        self.value = text
        self.cursor_position = len(text)

    def _on_paste(self, event: events.Paste) -> None:
        self.paste(event.text)
        event.prevent_default()
        event.stop()

    def paste(self, pasted: str) -> None:
        """Insert all lines, not only the first. Most terminals end pasted lines with a carriage return."""
        lines = pasted.strip("\r\n").splitlines()
        text = NEWLINE.join(printable(line).rstrip() for line in lines)
        if self.selection.is_empty:
            self.insert_text_at_cursor(text)
        else:
            self.replace(text, *self.selection)

    def action_leave(self) -> None:
        self.post_message(self.Left())

    def action_page(self, pages: int) -> None:
        self.post_message(self.PageRequested(pages))

    def action_recall(self, step: int) -> None:
        """Show the previous or next turn that was sent."""
        draft = self._draft
        if draft.at == len(draft.past):
            draft.typed = self.value
        draft.at = min(max(draft.at + step, 0), len(draft.past))
        self._put(draft.past[draft.at] if draft.at < len(draft.past) else draft.typed)
