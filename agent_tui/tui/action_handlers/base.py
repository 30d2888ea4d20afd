"""What every group of actions has."""

from typing import TYPE_CHECKING

from agent_tui.tui.screens.page import PageContext

if TYPE_CHECKING:
    from agent_tui.tui.app import AgentTuiApp


class Handlers:
    """Actions over one app: they render nothing themselves, but open pages and send commands."""

    def __init__(self, app: "AgentTuiApp") -> None:
        self.app = app

    @property
    def context(self) -> PageContext:
        """What a live page looks at."""
        return PageContext(self.app.engine, lambda: self.app.state, self.app.now)
