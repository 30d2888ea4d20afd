"""The base classes of pages over the dashboard; their content follows the state."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from agent_tui.engine.engine_api import EngineAPI
from agent_tui.model.state import AppState
from agent_tui.tui.widgets.header import PageHeader
from agent_tui.tui.widgets.key_bar import KeyBar
from agent_tui.tui.widgets.tabs import tab_title
from agent_tui.tui.widgets.talk_steps import DEFAULT_LIMITS, Limits
from agent_tui.tui.widgets.text import Line, to_contents

PAINT_S = 0.5
"""Time between paints of a page, in s, unless the user does something."""

HELP, BACK = "Help", "Back"
LAST = {HELP: 1, BACK: 2}
"""The labels of the keys that are last in each page's footer, and never dropped; nor is Enter."""

OF_LISTS = {"Copy": 4, "Sort": 3, "Filter": 2}
"""The drop priorities of the keys that all lists have."""

R = TypeVar("R")


FULL = "-full"
"""The class of pages that cover the dashboard completely. Nothing below them is laid out or painted."""


class Page(ModalScreen[R]):
    """A page with one `.page-box`, whose size each subclass sets, and on full pages a footer."""

    DROP_PRIORITIES: ClassVar[Mapping[str, int]] = {}
    """If the footer is too narrow, the label with the highest one is dropped first; 1 by default."""

    DEFAULT_CSS = """
    Page {
        align: center middle;

        StatusLine { dock: bottom; offset-y: -1; display: none; background: $surface; }
        StatusLine.-shown { display: block; }

        .page-box {
            padding: 0 1;
            border: round $primary;
            border-title-color: $text;
            border-subtitle-color: $text-muted;
            background: $surface;
            scrollbar-size-vertical: 1;
        }
        &.-full {
            background: $background;
            &:ansi { background: ansi_default; }
            .page-box { width: 100%; height: 100%; }
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        # The id makes it follow the user's key for the action.
        Binding("question_mark", "app.act('help')", HELP, id="help")
    ]

    def on_mount(self) -> None:
        if self.has_class(FULL):
            self.mount(PageHeader())

    def key_bar(self) -> KeyBar:
        """Return the footer: the keys of the page and of the focused widget, then help and the way back."""
        return KeyBar(self.drop_priority, _footer_order)

    def drop_priority(self, binding: Binding) -> int | None:
        """Return how soon the footer drops a key; None for a key that has nothing to act on."""
        if binding.description in LAST or binding.key == "enter":
            return 0
        return self.DROP_PRIORITIES.get(binding.description, OF_LISTS.get(binding.description, 1))


def _footer_order(binding: Binding) -> int:
    return -1 if binding.key == "enter" else LAST.get(binding.description, 0)


class TabbedPage(Page[None]):
    """A page with tabs in the border of its box, as on the dashboard. `show_tab` paints the selected one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"tab({number})", show=False) for number in range(1, 4)),
        Binding("left_square_bracket", "step(-1)", show=False, id="previous_tab"),
        Binding("right_square_bracket", "step(1)", "Tabs", key_display="[ ]", id="next_tab"),
    ]

    @abstractmethod
    def tabs(self) -> Mapping[str, str]:
        """Return the names of the tabs by their ids, in order."""

    @property
    @abstractmethod
    def tab(self) -> str:
        """The id of the selected tab."""

    @abstractmethod
    def show_tab(self, tab: str) -> None:
        """Select a tab."""

    def tab_title(self) -> Content:
        """Return the tabs with their digits; a single one has none."""
        tabs = self.tabs()
        named = {id: f"{number} {name}" for number, (id, name) in enumerate(tabs.items(), 1)}
        return tab_title(named if len(tabs) > 1 else tabs, self.tab)

    def action_tab(self, number: int) -> None:
        """Select the tab with that number, if there is one."""
        if number <= len(tabs := list(self.tabs())):
            self.show_tab(tabs[number - 1])

    def action_step(self, by: int) -> None:
        """Select the next tab, or the previous one."""
        tabs = list(self.tabs())
        if self.tab in tabs:
            self.show_tab(tabs[(tabs.index(self.tab) + by) % len(tabs)])

    def on_click(self, event: events.Click) -> None:
        if (tab := str(event.style.meta.get("tab", ""))) in self.tabs():
            self.show_tab(tab)


class FormRows(VerticalScroll, can_focus=False, inherit_bindings=False):
    """The rows of a form. Keys move the focus, and the view scrolls to it."""


class Follower:
    """A page that the app passes each new state to, like a panel."""

    def show(self, state: AppState, now: float) -> None:
        """Show the state; `now` is in Unix seconds."""


@dataclass(frozen=True, slots=True)
class PageContext:
    """What a page needs when it opens: the engine, and the dashboard's state at `now` (Unix seconds)."""

    engine: EngineAPI
    state: Callable[[], AppState]
    now: Callable[[], float]
    limits: Limits = DEFAULT_LIMITS
    """The limits above which turns of a conversation are marked as slow."""


class LivePage(Follower, Page[None]):
    """A page that calls `paint` when it opens, on resize, and at most twice a second for new states.

    Esc or q closes it.
    """

    DEFAULT_CLASSES = FULL
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", BACK),
        Binding("q", "close", BACK, show=False),
    ]

    def __init__(self, context: PageContext) -> None:
        super().__init__()
        self.context = context
        self.state, self.now = context.state(), context.now()
        """The newest state, and its time in Unix seconds."""
        self._painted = float("-inf")

    @abstractmethod
    def paint(self) -> None:
        """Paint `state` as of `now`; called once the page is laid out."""

    def show(self, state: AppState, now: float) -> None:
        self.state, self.now = state, now
        if not 0 < now - self._painted < PAINT_S:
            self.repaint()

    def repaint(self) -> None:
        """Paint now, if the page is laid out. While it closes, its content is removed piece by piece."""
        if self.is_mounted and self.is_attached and self.display and self.size.width:
            self._painted = self.now
            self.paint()

    def on_mount(self) -> None:
        self.call_after_refresh(self.repaint)

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self.repaint)

    def action_close(self) -> None:
        self.dismiss(None)


class TextPage(LivePage):
    """A page of text that is built from the state, and painted when the text has changed."""

    DEFAULT_CLASSES = ""
    DEFAULT_CSS = """
    TextPage {
        #page-box {
            width: 100%; max-width: 130; height: auto; max-height: 100%;
        }
        Static { width: 1fr; height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll(1)", "Scroll", key_display="↑ ↓"),
        Binding("k", "scroll(-1)", show=False),
    ]

    def __init__(
        self, title: str, context: PageContext, lines: Callable[[AppState, float, int], tuple[Line, ...]]
    ) -> None:
        """`lines(state, now, width)` builds the text for that many cells."""
        super().__init__(context)
        self._title, self._lines = title, lines
        self._body = Static(markup=False)  # a query would find the status line that a notice adds
        self._shown: tuple[Line, ...] | None = None

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="page-box", classes="page-box") as box:
            box.border_title = Content(self._title)
            yield self._body
        yield self.key_bar()

    def on_mount(self) -> None:
        self.query_one("#page-box").focus()

    def paint(self) -> None:
        width = self.query_one("#page-box").scrollable_content_region.width
        lines = self._lines(self.state, self.now, width)
        if lines != self._shown:
            self._shown = lines
            self._body.update(to_contents(lines))

    def action_scroll(self, lines: int) -> None:
        self.query_one("#page-box").scroll_relative(y=lines, animate=False)
