"""The breaches page: memory warnings and limit events, and the memory graph of the selected entry."""

from collections.abc import Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import OptionList, Static

from agent_tui.model.state import AppState
from agent_tui.tui.screens.job import JobPage
from agent_tui.tui.screens.page import LivePage, PageContext
from agent_tui.tui.widgets import copyable
from agent_tui.tui.widgets.breaches import (
    Breach,
    Kind,
    Order,
    breach_line,
    breach_memory,
    choices,
    no_breaches,
    shown,
)
from agent_tui.tui.widgets.line_list import LineList
from agent_tui.tui.widgets.text import Line, Span, Tone, to_contents


class BreachesPage(LivePage):
    """A filtered list above a memory graph; Enter opens the job's page."""

    DEFAULT_CSS = """
    BreachesPage {
        #breach-kinds { height: 1; width: 1fr; link-style: none; }
        #breach-list { height: 1fr; min-height: 4; margin: 1 0 0 0; }
        #breach-memory { height: 45%; max-height: 16; margin: 1 0 0 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", f"kind({Kind.ALL.value!r})", show=False),
        Binding("w", f"kind({Kind.WARNINGS.value!r})", show=False),
        Binding("l", f"kind({Kind.LIMITS.value!r})", show=False),
        Binding("S", "sort", "Sort", id="sort"),
    ]

    def __init__(self, context: PageContext, chosen: str | None = None) -> None:
        """`chosen` is the key of the breach to select at first."""
        super().__init__(context)
        self._first = chosen
        self._kind = Kind.ALL
        self._order = Order.NEWEST
        self._breaches: dict[str, Breach] = {}
        self._choices = Static(id="breach-kinds", markup=False)
        self._list = LineList(facts=self._facts, id="breach-list")
        self._memory = Static(id="breach-memory", markup=False)

    def compose(self) -> ComposeResult:
        with Vertical(classes="page-box") as box:
            box.border_title = "Breaches"
            yield self._choices
            yield self._list
            yield self._memory
        yield self.key_bar()

    def on_mount(self) -> None:
        self._list.focus()

    # -- painting ----------------------------------------------------------------------------------------

    def paint(self) -> None:
        state = self.state
        self._breaches = dict(shown(state, self._kind, self._order))
        rows = [(key, breach_line(ts, warned, state)) for key, (ts, warned) in self._breaches.items()]
        self._list.show_rows(rows or [("", (_nothing(state),))])
        if self._first is not None:
            self._list.choose(self._first)
            self._first = None
        text = choices(self._kind, self._order, len(rows), len(state.breaches))
        self._choices.update(text)
        self._show_memory()

    def _show_memory(self) -> None:
        size = self._memory.size
        self._memory.update(to_contents(self._memory_lines(size.width, size.height)))

    def _memory_lines(self, width: int, height: int) -> tuple[Line, ...]:
        breach = self._breaches.get(self._list.chosen or "")
        if breach is None:
            return ()
        return breach_memory(breach, self.state, self.now, width, height)

    # -- keys --------------------------------------------------------------------------------------------

    def action_kind(self, kind: str) -> None:
        self._kind = Kind(kind)
        self.repaint()

    def action_sort(self) -> None:
        """Switch to the next sort order: newest first, most memory first, or by process."""
        self._order = self._order.next
        self.repaint()

    def _facts(self, key: str) -> Mapping[str, str]:
        breach = self._breaches.get(key)
        return copyable.of_breach(breach[1] if breach else None, self.state)

    @on(OptionList.OptionHighlighted)
    def chosen(self) -> None:
        self._show_memory()

    @on(OptionList.OptionSelected)
    def opened(self, event: OptionList.OptionSelected) -> None:
        breach = self._breaches.get(self._list.key_at(event.option_index))
        if breach is None:
            return
        if breach[1].job_id is None:
            self.notify("no job to open: this process was not running one", severity="error", markup=False)
        else:
            self.app.push_screen(JobPage(self.context, breach[1].job_id))


def _nothing(state: AppState) -> Span:
    if not state.breaches:
        return no_breaches(state)
    return Span("no breach of this kind: a shows all", Tone.DIM)
