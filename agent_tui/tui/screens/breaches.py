"""The breaches page: memory warnings and limit events, and the memory graph of the selected one's process."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, OptionList, Static

from agent_tui.model.state import AppState
from agent_tui.tui.screens.job import JobPage
from agent_tui.tui.screens.page import LivePage, PageContext
from agent_tui.tui.widgets.breaches import (
    Breach,
    BreachFilter,
    Kind,
    breach_line,
    breach_memory,
    filter_line,
    no_breaches,
    shown,
)
from agent_tui.tui.widgets.line_list import LineList
from agent_tui.tui.widgets.text import Line, Span, Tone, to_content, to_contents


class BreachesPage(LivePage):
    """A filtered list above a memory graph; Enter opens the job's page."""

    DEFAULT_CSS = """
    BreachesPage {
        #breach-kinds { height: 1; width: 1fr; }
        #breach-find { height: 1; border: none; padding: 0; background: $panel; }
        #breach-list { height: 1fr; min-height: 4; margin: 1 0 0 0; }
        #breach-memory { height: 45%; max-height: 16; margin: 1 0 0 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", f"kind({Kind.ALL.value!r})", show=False),
        Binding("w", f"kind({Kind.WARNINGS.value!r})", show=False),
        Binding("l", f"kind({Kind.LIMITS.value!r})", show=False),
        Binding("slash", "find", show=False),
    ]

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._filter = BreachFilter()
        self._breaches: dict[str, Breach] = {}

    def compose(self) -> ComposeResult:
        with Vertical(classes="page-box") as box:
            box.border_title = "Breaches"
            box.border_subtitle = "Enter open job · / find · Esc close"
            yield Static(id="breach-kinds", markup=False)
            yield Input(placeholder="/ room, pid, or job", id="breach-find")
            yield LineList(id="breach-list")
            yield Static(id="breach-memory", markup=False)

    def on_mount(self) -> None:
        self.query_one(LineList).focus()

    # -- painting ----------------------------------------------------------------------------------------

    def paint(self) -> None:
        state = self.state
        self._breaches = dict(shown(state, self._filter))
        rows = [(key, breach_line(ts, warned, state)) for key, (ts, warned) in self._breaches.items()]
        self.query_one(LineList).show(rows or [("", (_nothing(state),))])
        kinds = filter_line(self._filter, len(rows), len(state.breaches))
        self.query_one("#breach-kinds", Static).update(to_content(kinds))
        self._show_memory()

    def _show_memory(self) -> None:
        memory = self.query_one("#breach-memory", Static)
        memory.update(to_contents(self._memory(memory.size.width, memory.size.height)))

    def _memory(self, width: int, height: int) -> tuple[Line, ...]:
        breach = self._breaches.get(self.query_one(LineList).chosen or "")
        if breach is None:
            return ()
        return breach_memory(breach, self.state, self.now, width, height)

    # -- keys --------------------------------------------------------------------------------------------

    def action_kind(self, kind: str) -> None:
        self._filter = BreachFilter(Kind(kind), self._filter.text)
        self.repaint()

    def action_find(self) -> None:
        self.query_one(Input).focus()

    def action_close(self) -> None:
        """Leave the text box if it has the focus, otherwise close the page."""
        if self.query_one(Input).has_focus:
            self.query_one(LineList).focus()
        else:
            super().action_close()

    @on(Input.Changed)
    def text_changed(self, event: Input.Changed) -> None:
        self._filter = BreachFilter(self._filter.kind, event.value)
        self.repaint()

    @on(Input.Submitted)
    def text_entered(self) -> None:
        self.query_one(LineList).focus()

    @on(OptionList.OptionHighlighted)
    def chosen(self) -> None:
        self._show_memory()

    @on(OptionList.OptionSelected)
    def opened(self, event: OptionList.OptionSelected) -> None:
        breach = self._breaches.get(self.query_one(LineList).key_at(event.option_index))
        if breach is None:
            return
        if breach[1].job_id is None:
            self.notify("no job to open: this process was not running one", severity="error", markup=False)
        else:
            self.app.push_screen(JobPage(self.context, breach[1].job_id))


def _nothing(state: AppState) -> Span:
    if not state.breaches:
        return no_breaches(state)
    return Span("no breach matches the filters: a shows all, / edits the text", Tone.DIM)
