"""What the actions of the registry do, by group; loaded after the first frame, for it brings all pages."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from agent_tui.tui.actions import ACTIONS
from agent_tui.tui.doing.agent import AgentActions
from agent_tui.tui.doing.jobs import JobActions
from agent_tui.tui.doing.logs import LogActions
from agent_tui.tui.doing.screen import ScreenActions
from agent_tui.tui.doing.tuning import TuningActions

if TYPE_CHECKING:
    from agent_tui.tui.app import AgentTuiApp

Do = Callable[[], Awaitable[None]]


class Doing:
    """The groups over one app. An action's method has the action's name, in just one of them."""

    def __init__(self, app: "AgentTuiApp") -> None:
        self.jobs = JobActions(app)
        self.logs = LogActions(app)
        self.agent = AgentActions(app)
        self.tuning = TuningActions(app)
        self.screen = ScreenActions(app)
        groups = (self.jobs, self.logs, self.agent, self.tuning, self.screen)
        self._by_name: dict[str, Do] = {
            action.name: getattr(group, action.name)
            for action in ACTIONS
            for group in groups
            if hasattr(group, action.name)
        }

    def of(self, name: str) -> Do:
        """What the action of that name does."""
        return self._by_name[name]
