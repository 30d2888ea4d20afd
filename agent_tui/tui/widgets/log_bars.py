"""The bars of the log pane: the title above the lines, and the prompts below them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from agent_tui.model.logs import LogLevel
from agent_tui.tui.widgets.log_filter import Chip, toggled
from agent_tui.tui.widgets.log_text import TITLE_ROLES, Parts, Role
from agent_tui.tui.widgets.text import clip, counted, grouped, one_line


@dataclass(frozen=True, slots=True)
class Title:
    """The content of the title line."""

    level: LogLevel
    chips: tuple[Chip, ...] = ()
    key: str = ""
    """The key that moves the focus to the logs."""
    needle: str = ""
    only_matches: bool = False
    rank: int = 0
    found: int = 0
    scanned: int | None = None
    """Progress of a scan in percent; None without one."""
    picked: int = 0
    """Number of lines in the selected range; 0 or 1 is no range."""
    follow: bool = True
    wrap: bool = False
    unseen: int = 0
    dropped: int = 0
    lines: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the title: the name that a click sends, its text, and its drop priority (highest first)."""

    name: str
    parts: tuple[tuple[str, Role], ...]
    drop_priority: int


def title_pieces(title: Title, width: int) -> tuple[list[Piece], list[Piece]]:
    """Return the title's left and right pieces that fit the width."""
    count = len(title.chips)
    chips = [Piece(chip.name, ((f"{chip.label} ×", Role.KEY),), 5) for chip in title.chips]
    short = Piece("log_filters", ((f"{counted(count, 'filter')} ▾", Role.KEY),), 0)
    left = [
        Piece("", ((f"{title.key} Logs".lstrip(), Role.TITLE),), 4),
        Piece("log_filters", ((f"{title.level.label} ▾", Role.KEY),), 0),
        *(chips or [Piece("log_filters", (("all ▾", Role.KEY),), 3)]),
        Piece("find", tuple(_find(title)), 2 if title.needle or title.scanned is not None else 3),
    ]
    right = [
        Piece("", ((counted(title.lines, "line"), Role.QUIET),), 6),
        *([Piece("wrap", (("wrap", Role.KEY),), 4)] if title.wrap else []),
        Piece("follow", tuple(_follow(title)), 0),
    ]
    if title.picked > 1:
        right[0] = Piece(
            "copy_lines", ((f"{grouped(title.picked)} selected ", Role.TEXT), ("y", Role.KEY)), 3
        )
    if title.dropped:
        right.insert(0, Piece("", ((f"⚠ {grouped(title.dropped)} dropped", Role.WARN_WORD),), 1))
    for priority in (6, 5, 4, 3, 2, 1):
        if _cells(left) + _cells(right) + 1 <= width:
            break
        if priority == 5 and chips:
            left.insert(left.index(chips[0]), short)
        left = [piece for piece in left if piece.drop_priority != priority]
        right = [piece for piece in right if piece.drop_priority != priority]
    return left, right


def _find(title: Title) -> Parts:
    progress = "" if title.scanned is None else f"{title.scanned}%"
    if not title.needle:
        return (
            [(f"filtering… {progress}", Role.TEXT)] if progress else [("/ ", Role.KEY), ("find", Role.QUIET)]
        )
    needle = clip(one_line(title.needle), 20)
    count = f"{title.rank}/{title.found}" if title.rank else counted(title.found, "match", "matches")
    only = " only" if title.only_matches else ""
    result = f"searching… {progress}" if progress else (count if title.found else "no match")
    return [(f"/{needle}", Role.FOUND), (f" {result}{only}", Role.TEXT)]


def _follow(title: Title) -> Parts:
    if title.follow:
        return [("● follow", Role.GOOD)]
    new = f"+{grouped(title.unseen)} new " if title.unseen else ""
    return [("‖ paused ", Role.WARN_WORD), (new, Role.TEXT), (" f ", Role.KEY), ("follow", Role.QUIET)]


def _cells(pieces: Iterable[Piece]) -> int:
    return sum(3 + sum(cell_len(text) for text, _ in piece.parts) for piece in pieces)


class LogTitle(Widget):
    """The title line: level, filters, search, dropped lines, follow mode. Its parts are clickable."""

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
        """The user clicked a part of the title."""

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


class PromptInput(Input):
    """The input of a prompt."""


class FindInput(PromptInput):
    """The input for the text to find."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "go(-1)", "Previous match", show=False),
        Binding("down", "go(1)", "Next match", key_display="↑ ↓"),
        Binding("ctrl+r", "regex", "Regular expression", show=False),
    ]

    @dataclass
    class Go(Message):
        """Go to the next (1) or previous (-1) match."""

        step: int

    def action_go(self, step: int) -> None:
        self.post_message(self.Go(step))

    def action_regex(self) -> None:
        """Switch between a regular expression and plain text."""
        before, at = len(self.value), self.cursor_position
        self.value = toggled(self.value)
        self.cursor_position = max(at + len(self.value) - before, 0)


class LogPrompt(Horizontal):
    """A prompt: a label, an input, and help or an error."""

    DEFAULT_CSS = """
    LogPrompt {
        display: none;
        height: 1;
        background: $panel;
        & > .prompt-word { width: auto; text-style: bold; }
        & > Input { width: 1fr; min-width: 12; }
        & > .prompt-help { width: auto; max-width: 70%; height: 1; color: $text-muted; padding: 0 1; }
        &.-open { display: block; }
        &.-failed > .prompt-help { color: $text-error; }
        &.-narrow > .prompt-help { display: none; }
        &.-failed > .prompt-help { display: block; }
    }
    """

    def __init__(self, word: str, field: PromptInput, help: str, *, id: str) -> None:
        super().__init__(id=id)
        self.field = field
        self._word, self._help = word, help
        self._note = Static(help, classes="prompt-help", markup=False)
        self._before: Widget | None = None

    @property
    def is_open(self) -> bool:
        return self.has_class("-open")

    def open(self) -> None:
        """Show the prompt and focus its input."""
        if not self.field.is_attached:
            self.mount(Static(f" {self._word} ", classes="prompt-word", markup=False), self.field, self._note)
        if not self.is_open:
            self._before = self.screen.focused
        self.say("")
        self.add_class("-open")
        self.screen.set_focus(self.field)  # at once: the next keys may already be there

    def close(self, then: Widget, *, back: bool = False) -> None:
        """Hide the prompt. If it has the focus, focus `then`, or with `back` the widget focused before."""
        focused, before = self.field.has_focus, self._before
        self.remove_class("-open")
        self.say("")
        if focused:
            (before if back and before is not None and before.is_attached else then).focus()

    def say(self, wrong: str) -> None:
        """Show an error in one line; an empty text shows the help again."""
        self.set_class(bool(wrong), "-failed")
        self._note.update(Content(one_line(wrong, 200) or self._help))
