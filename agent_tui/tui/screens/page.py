"""The base classes of pages over the dashboard: static text, and content that follows the state."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.visual import VisualType
from textual.widgets import Static

from agent_tui.engine.engine_api import EngineAPI
from agent_tui.model.state import AppState
from agent_tui.tui.widgets.memory_plot import Levels
from agent_tui.tui.widgets.text import Line, to_contents

REFRESH_S = 0.5

R = TypeVar("R")


class Page(ModalScreen[R]):
    """A page with one `.page-box`, whose size each subclass sets."""

    DEFAULT_CSS = """
    Page {
        align: center middle;

        .page-box {
            padding: 0 1;
            border: round $primary;
            border-title-color: $text;
            border-subtitle-color: $text-muted;
            background: $surface;
            scrollbar-size-vertical: 1;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        # The id makes it follow the user's key for the action.
        Binding("question_mark", "app.act('help')", "Help", show=False, id="help")
    ]


class Follower:
    """A page that the app passes each new state to, like a panel."""

    def follow(self, state: AppState, now: float) -> None:
        """Show the state; `now` is in Unix seconds."""


@dataclass(frozen=True, slots=True)
class PageContext:
    """What live pages read: the engine, the newest state, and the time in Unix seconds."""

    engine: EngineAPI
    state: Callable[[], AppState]
    now: Callable[[], float]

    @property
    def levels(self) -> Levels:
        """The memory levels in effect."""
        options = self.state().settings.options
        return Levels(options.job_memory_warn_mb, options.job_memory_limit_mb)


class LivePage(Page[None]):
    """A page that calls `show` when it opens, twice a second, and on resize; Esc or q closes it."""

    DEFAULT_CSS = """
    LivePage {
        .page-box {
            width: 100%; height: 100%;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "close", "Close")]

    def __init__(self, context: PageContext) -> None:
        super().__init__()
        self.context = context

    @abstractmethod
    def show(self) -> None:
        """Paint the newest state."""

    def on_mount(self) -> None:
        self.set_interval(REFRESH_S, self.show)
        self.call_after_refresh(self.show)

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self.show)

    def action_close(self) -> None:
        self.dismiss(None)


class TextPage(Page[None]):
    """A page of static text; Esc or q closes it."""

    DEFAULT_CSS = """
    TextPage {
        #page-box {
            width: 100%; max-width: 130; height: auto; max-height: 100%;
        }
        Static { width: 1fr; height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "Close"),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]

    def __init__(self, title: str, lines: VisualType) -> None:
        super().__init__()
        self._title = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="page-box", classes="page-box") as box:
            box.border_title = Content(self._title)
            box.border_subtitle = "↑ ↓ scroll · Esc close"
            yield Static(self._lines, markup=False)

    def on_mount(self) -> None:
        self.query_one("#page-box").focus()

    def action_scroll(self, lines: int) -> None:
        self.query_one("#page-box").scroll_relative(y=lines, animate=False)

    def action_close(self) -> None:
        self.dismiss(None)


class LiveTextPage(TextPage):
    """A page of text that is rebuilt twice a second and on resize, and painted if it changed."""

    def __init__(self, title: str, lines: Callable[[int], tuple[Line, ...]]) -> None:
        """`lines(width)` builds the text for that many cells; width 0 means not known yet."""
        self._make = lines
        self._shown = lines(0)
        super().__init__(title, to_contents(self._shown))

    def on_mount(self) -> None:
        self.set_interval(REFRESH_S, self.show)

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self.show)

    def show(self) -> None:
        """Paint the newest text."""
        lines = self._make(self.query_one("#page-box").scrollable_content_region.width)
        if lines != self._shown:
            self._shown = lines
            self.query_one(Static).update(to_contents(lines))
