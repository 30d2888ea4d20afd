"""A list of lines whose cursor stays on its line when others are added or removed."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from agent_tui.tui.widgets.listing import Listing
from agent_tui.tui.widgets.text import Line, Span, Tone, to_content

Rows = Sequence[tuple[str, Line]]
"""Unique keys and their lines. The key is empty for a line that is not a row, such as a hint."""

NO_MATCH: Line = (Span("no row contains this text · Esc show all", Tone.DIM),)


class LineList(OptionList, Listing):
    """A list of rows, each with a key."""

    DEFAULT_CSS = """
    LineList {
        height: 1fr;
        border: none;
        padding: 0;
        background: transparent;
        scrollbar-size-vertical: 1;
        text-wrap: nowrap;
        text-overflow: ellipsis;
        &:focus { border: none; background-tint: transparent; }
        & > .option-list--option-highlighted { background: $primary-muted; text-style: none; }
        &:focus > .option-list--option-highlighted { background: $primary-muted; text-style: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select", "Open"),
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
    ]

    def __init__(
        self, *, facts: Callable[[str], Mapping[str, str]] = lambda key: {}, id: str | None = None
    ) -> None:
        """`facts(key)` returns the texts that can be copied about a row, by name."""
        super().__init__(id=id, markup=False, compact=True)
        self._facts = facts
        self._all: Rows = ()
        self._keys: tuple[str, ...] = ()
        self._rows: tuple[Line, ...] = ()

    @property
    def chosen(self) -> str | None:
        """The key of the line under the cursor; None if there is none."""
        at = self.highlighted
        return self._keys[at] if at is not None and at < len(self._keys) else None

    def choose(self, key: str) -> None:
        """Move the cursor to the line with that key, if there is one."""
        if key in self._keys:
            self.highlighted = self._keys.index(key)

    def key_at(self, index: int) -> str:
        """Return the key of the line at `index`."""
        return self._keys[index]

    def copyable(self) -> Mapping[str, str]:
        return self._facts(self.chosen) if self.chosen else {}

    def show_rows(self, rows: Rows) -> None:
        """Show these rows; the cursor stays on the row with the same key, or moves to the first row."""
        self._all = rows
        self.refilter()

    def refilter(self) -> None:
        named = [row for row in self._all if row[0]]
        kept = [(key, line) for key, line in named if self.keeps("".join(span.text for span in line))]
        self.note_count(len(kept), len(named))
        if named and not kept:
            kept = [("", NO_MATCH)]
        self._put(kept if named else self._all)

    def _put(self, rows: Rows) -> None:
        keys, lines = tuple(key for key, _ in rows), tuple(line for _, line in rows)
        if keys == self._keys:
            for at, (line, before) in enumerate(zip(lines, self._rows, strict=True)):
                if line != before:
                    self.replace_option_prompt_at_index(at, to_content(line))
            self._rows = lines
            return
        chosen = self.chosen
        self._keys, self._rows = keys, lines
        self.clear_options()
        self.add_options(Option(to_content(line)) for line in lines)
        if keys:
            self.highlighted = keys.index(chosen) if chosen in keys else 0
