"""A page over the dashboard that goes on with what happens."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from agent_tui.engine.engine_api import EngineAPI
from agent_tui.model.state import AppState
from agent_tui.tui.screens.page import Page
from agent_tui.tui.widgets.memory_plot import Levels

REFRESH_S = 0.5


@dataclass(frozen=True, slots=True)
class Sight:
    """What a page looks at: the newest state, the time (Unix seconds), and whom it may ask."""

    handle: EngineAPI
    state: Callable[[], AppState]
    now: Callable[[], float]

    @property
    def levels(self) -> Levels:
        """The memory levels in force."""
        options = self.state().settings.options
        return Levels(options.job_memory_warn_mb, options.job_memory_limit_mb)


class LivePage(Page[None]):
    """Calls `show()` when it opens, twice a second, and when its size changes; Esc or q closes it.

    Each page says in `show` what it paints.
    """

    DEFAULT_CSS = """
    LivePage {
        .page-box {
            width: 100%; height: 100%;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "close", "Close")]

    def __init__(self, sight: Sight) -> None:
        super().__init__()
        self.sight = sight

    @abstractmethod
    def show(self) -> None:
        """Paints what is so now."""

    def on_mount(self) -> None:
        self.set_interval(REFRESH_S, self.show)
        self.call_after_refresh(self.show)

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self.show)

    def action_close(self) -> None:
        self.dismiss(None)
