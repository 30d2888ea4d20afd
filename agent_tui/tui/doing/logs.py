"""The log pane's keys, which work wherever the focus is."""

from agent_tui.model.logs import LogLevel
from agent_tui.tui.doing.group import Group
from agent_tui.tui.widgets.log_pane import LogPane
from agent_tui.tui.widgets.processes import Processes

LEVELS = (LogLevel.DEBUG, LogLevel.INFO, LogLevel.WARN, LogLevel.ERROR)


class LogActions(Group):
    """Hands what is asked for on to the pane."""

    @property
    def _pane(self) -> LogPane:
        return self.app.panel(LogPane)

    async def owner(self) -> None:
        process, pane = self.app.panel(Processes).selected, self._pane
        pane.owner = None if process is None or pane.owner == process.id else process.id

    async def find(self) -> None:
        self._pane.start_find()

    async def find_next(self) -> None:
        self._pane.find_next()

    async def find_previous(self) -> None:
        self._pane.find_previous()

    async def only_found(self) -> None:
        self._pane.toggle_only_found()

    async def log_filters(self) -> None:
        self._pane.choose_filters()

    async def go_to_time(self) -> None:
        self._pane.start_time()

    async def fold(self) -> None:
        self._pane.fold()

    async def fold_all(self) -> None:
        self._pane.fold_all()

    async def copy_lines(self) -> None:
        self._pane.copy()

    async def export_logs(self) -> None:
        self._pane.export()

    async def follow(self) -> None:
        self._pane.follow = True

    async def level(self) -> None:
        higher = [level for level in LEVELS if level > self.app.handle.state.settings.log_level]
        await self.app.set_option("logLevel", (higher or LEVELS)[0].label)
