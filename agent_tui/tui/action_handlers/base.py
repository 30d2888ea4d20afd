"""The base class of action handlers."""

from typing import TYPE_CHECKING

from agent_tui.tui.screens.page import PageContext

if TYPE_CHECKING:
    from agent_tui.tui.app import AgentTuiApp


class Handlers:
    """Handlers of one app's actions. They open pages and send commands; they draw nothing themselves."""

    def __init__(self, app: "AgentTuiApp") -> None:
        self.app = app

    @property
    def context(self) -> PageContext:
        """The context that live pages get."""
        return PageContext(self.app.engine, lambda: self.app.state, self.app.now)
