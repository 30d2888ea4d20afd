"""The base class of action handlers."""

from typing import TYPE_CHECKING

from agent_tui.tui.screens.page import PageContext

if TYPE_CHECKING:
    from agent_tui.tui.app import AgentTuiApp


class Handlers:
    """Handles actions of one app: opens pages and sends commands. It draws nothing itself."""

    def __init__(self, app: "AgentTuiApp") -> None:
        self.app = app

    @property
    def context(self) -> PageContext:
        """What pages need from the app: the engine, the state, and the options in effect."""
        return PageContext(self.app.engine, lambda: self.app.state, self.app.now, self.app.preferences.limits)
