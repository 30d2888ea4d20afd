"""The two bars of the log pane: the title line above the lines and the field for finding below."""

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from agent_tui.model.logs import LogLevel
from agent_tui.tui.widgets.log_text import TITLE_ROLES, Piece, Title, title_pieces


class LogTitle(Widget):
    """One line: level, owner, find, what was dropped, whether the end is followed. Its parts take clicks."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"log-title--{role}" for role in TITLE_ROLES}
    DEFAULT_CSS = """
    LogTitle {
        height: 1;
        background: $panel;
        & > .log-title--title { text-style: bold; }
        & > .log-title--key { text-style: bold; }
        & > .log-title--quiet { color: $text-muted; }
        & > .log-title--good { color: $text-success; }
        & > .log-title--warn-word { color: $text-warning; text-style: bold; }
        & > .log-title--found { text-style: bold underline; }
    }
    """

    @dataclass
    class Clicked(Message):
        """A part of the title was clicked."""

        name: str

    def __init__(self) -> None:
        super().__init__()
        self._title = Title(LogLevel.INFO)

    def show(self, title: Title) -> None:
        if title != self._title:
            self._title = title
            self.refresh()

    def render(self) -> Text:
        left, right = title_pieces(self._title, self.size.width)
        before, behind = self._text(left), self._text(right)
        gap = max(self.size.width - before.cell_len - behind.cell_len, 1)
        return Text.assemble(before, " " * gap, behind, no_wrap=True, overflow="crop")

    def _text(self, pieces: list[Piece]) -> Text:
        text = Text()
        for piece in pieces:
            text.append(" ")
            start = len(text)
            for words, role in piece.parts:
                text.append(words, self.get_component_rich_style(f"log-title--{role}"))
            text.apply_meta({"piece": piece.name}, start)
            text.append("  ")
        return text

    def on_click(self, event: events.Click) -> None:
        name = event.style.meta.get("piece")
        if name:
            self.post_message(self.Clicked(str(name)))


class FindInput(Input):
    """The text to find; leaves the list keys to the lines."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "End find", show=False),
        Binding("up", "go(-1)", "Found before", show=False),
        Binding("down", "go(1)", "Found next", show=False),
        Binding("ctrl+o", "only", "Only found lines", show=False),
    ]

    class Left(Message):
        """Finding is over."""

    @dataclass
    class Go(Message):
        """To the next (1) or the last (-1) found line."""

        step: int

    class OnlyToggled(Message):
        """Only found lines, or all."""

    def action_leave(self) -> None:
        self.post_message(self.Left())

    def action_go(self, step: int) -> None:
        self.post_message(self.Go(step))

    def action_only(self) -> None:
        self.post_message(self.OnlyToggled())
