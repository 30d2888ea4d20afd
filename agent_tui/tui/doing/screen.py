"""The worker, the options, help, a picture, and leaving."""

import asyncio
from pathlib import Path

from agent_tui.model.errors import ExitCode, UserError
from agent_tui.model.requests import ReadSecrets
from agent_tui.tui.doing.group import Group
from agent_tui.tui.picture import masked, save
from agent_tui.tui.screens.export import ExportPage
from agent_tui.tui.screens.help import Help
from agent_tui.tui.screens.options import OptionsPage
from agent_tui.tui.screens.worker import WorkerPage
from agent_tui.tui.widgets.options_panel import OptionsPanel
from agent_tui.tui.widgets.processes import Processes


class ScreenActions(Group):
    """What concerns the screen as a whole."""

    async def worker(self) -> None:
        await self.app.push_screen_wait(WorkerPage(self.sight))

    async def options(self) -> None:
        dashboard = self.app.screen_stack[0]
        if dashboard.has_class("-narrow"):
            dashboard.toggle_class("-options")
        if dashboard.has_class("-options") or not dashboard.has_class("-narrow"):
            self.app.panel(OptionsPanel).focus()
        else:
            self.app.panel(Processes).focus()

    async def all_options(self) -> None:
        secrets = await self.app.handle.request(ReadSecrets())
        await self.app.push_screen_wait(OptionsPage(self.app.handle, secrets, self._export))

    async def _export(self) -> None:
        settings = self.app.handle.state.settings
        await self.app.push_screen_wait(ExportPage(settings.resolution, settings.basis))

    async def picture(self) -> None:
        secrets = await self.app.handle.request(ReadSecrets())
        svg = masked(self.app.export_screenshot(title="agent-tui"), secrets.values.values())
        try:
            path = await asyncio.to_thread(save, svg, Path.cwd())
        except OSError as error:
            raise UserError(f"the picture is not saved: {error}") from None
        self.app.tell(f"saved as {path.name}, secrets masked")

    async def help(self) -> None:
        actions = self.app.actions
        await self.app.push_screen_wait(
            Help([(each.shown_keys, each.title, each.help, each.group) for each in actions])
        )

    async def drain(self) -> None:
        if not self.app.quitting:
            await self.app.stop("quit after the jobs", kill=False, drain=True)

    async def quit(self) -> None:
        if self.app.killing:
            self.app.leave(ExitCode.JOB_FAILED)
        await self.app.stop("quit", self.app.quitting)
