"""What a process does right now: the stacks of its threads and tasks."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from agent_tui.logs.sanitise import sanitise
from agent_tui.tui.screens.text_page import TextPage


class StacksPage(TextPage):
    """The stacks as they were; Esc, s or q closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("s", "close", show=False)]

    def __init__(self, title: str, stacks: str) -> None:
        super().__init__(title, Content(sanitise(stacks).strip("\n")))
