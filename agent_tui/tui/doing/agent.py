"""The agent's code: loading it, what was loaded, and its file."""

from pathlib import Path

from agent_tui.model import commands as cmd
from agent_tui.tui.doing.group import Group
from agent_tui.tui.editor import open_in_editor
from agent_tui.tui.screens.generations import GenerationsPage
from agent_tui.tui.widgets.start_pane import StartPane


class AgentActions(Group):
    """What concerns the code that runs."""

    async def reload(self) -> None:
        await self.app.ask(cmd.Reload())

    async def pause(self) -> None:
        await self.app.ask(cmd.PauseWatching(not self.app.state.watching.paused))

    async def generations(self) -> None:
        page = GenerationsPage(
            lambda command: self.app.handle.send(command),
            lambda file, line: open_in_editor(self.app, file, line),
        )
        page.follow(self.app.state, self.app.now())
        await self.app.push_screen_wait(page)

    async def close_trouble(self) -> None:
        self.app.panel(StartPane).close()
        self.app.show()

    async def edit(self) -> None:
        failed = self.app.state.generation
        file, line = (failed.file, failed.line) if failed.failed else (None, None)
        open_in_editor(self.app, Path(file or self.app.state.agent), line or 1)
