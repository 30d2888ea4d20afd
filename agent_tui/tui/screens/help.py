"""The help page: all keys, by group."""

from collections.abc import Sequence
from textwrap import wrap
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from agent_tui.tui.screens.page import TextPage
from agent_tui.tui.widgets.text import MUTED

HelpRow = tuple[str, str, str, str]
"""Keys, title, help text, and group."""

KEYS_WIDTH = 10
TITLE_WIDTH = 20


def in_groups(rows: Sequence[HelpRow]) -> dict[str, list[HelpRow]]:
    """Return the rows by group, in order of first appearance."""
    groups: dict[str, list[HelpRow]] = {}
    for row in rows:
        groups.setdefault(row[3], []).append(row)
    return groups


def key_row(row: HelpRow, width: int) -> Content:
    """Return keys, title, and help; if `width` is too small, the help goes below the title."""
    keys, title, help, _ = row
    beside = width - KEYS_WIDTH - TITLE_WIDTH
    head = Content.styled(keys.ljust(KEYS_WIDTH - 1) + " ", "bold $text-accent")
    if beside < 30:
        indent, lines = KEYS_WIDTH, ["", *wrap(help, max(width - KEYS_WIDTH, 10))]
    else:
        indent, lines = KEYS_WIDTH + TITLE_WIDTH, wrap(help, beside) or [""]
    first, *rest = lines
    more = "".join(f"\n{' ' * indent}{line}" for line in rest)
    return Content.assemble(head, (title.ljust(TITLE_WIDTH - 1) + " ", "bold"), (first + more, MUTED))


def page(rows: Sequence[HelpRow], width: int) -> Content:
    """Return all groups, each under its name."""
    parts: list[Content] = []
    for group, members in in_groups(rows).items():
        if parts:
            parts.append(Content())
        parts.append(Content.styled(group, "bold underline"))
        parts.extend(key_row(row, width) for row in members)
    return Content("\n").join(parts)


class Help(TextPage):
    """A scrollable list of keys; ?, Esc, or q closes it."""

    DEFAULT_CSS = """
    Help {
        #page-box { max-width: 100; scrollbar-gutter: stable; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark", "close", show=False)]

    def __init__(self, rows: Sequence[HelpRow]) -> None:
        super().__init__("Keys", "")
        self._rows = tuple(rows)

    def on_resize(self) -> None:
        width = self.query_one(VerticalScroll).scrollable_content_region.width
        if width > 0:
            self.query_one(Static).update(page(self._rows, width))
