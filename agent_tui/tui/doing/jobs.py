"""Test jobs, and what is done with the selected process and its job."""

from dataclasses import replace

from agent_tui.model import commands as cmd
from agent_tui.model.errors import UserError
from agent_tui.model.requests import JoinRoom
from agent_tui.model.state import LIVE_PHASES, JobView
from agent_tui.tui.doing.group import Group
from agent_tui.tui.screens.breaches import BreachesPage
from agent_tui.tui.screens.confirm import Confirm
from agent_tui.tui.screens.dispatch_form import DispatchForm
from agent_tui.tui.screens.job import JobPage, JobsPage
from agent_tui.tui.screens.page import StacksPage
from agent_tui.tui.widgets.dispatch_panel import DispatchPanel
from agent_tui.tui.widgets.processes import Processes


class JobActions(Group):
    """Remembers the last test job."""

    last = cmd.Dispatch()

    async def dispatch(self) -> None:
        await self.make(self.last)

    async def dispatch_form(self) -> None:
        command = await self.app.push_screen_wait(DispatchForm(self.last))
        if command is not None:
            self.last = command
            await self.make(command)

    async def make(self, command: cmd.Dispatch) -> None:
        """Makes test jobs; on a remote server its name is asked for first."""
        app = self.app
        result = await app.ask(replace(command, confirmed_host=app.confirmed_host))
        if result.refused and await app.host_typed("a test dispatch"):
            await app.ask(replace(command, confirmed_host=app.confirmed_host))

    async def copy_link(self) -> None:
        link = await self.app.handle.request(JoinRoom(self._room()))
        self.app.copy_to_clipboard(link.link)
        self.app.tell(f"copied: a link into {link.room}, with a token for one hour")

    async def open_link(self) -> None:
        link = await self.app.handle.request(JoinRoom(self._room()))
        self.app.open_url(link.link)
        self.app.tell(f"opening {link.room} in the browser")

    def _room(self) -> str:
        """The room that a person joins: of the last test job, so that it is always the same one."""
        return self.app.panel(DispatchPanel).last_room or "agent-tui"

    # -- the selected one ------------------------------------------------------------------------------

    async def end(self) -> None:
        await self.end_job(self._selected_job)

    async def end_job(self, job_id: str | None) -> None:
        """Ends that job, whatever is selected by now."""
        job = await self._confirmed("End", job_id)
        if job is not None:
            await self.app.ask(cmd.EndJob(job.id))

    async def restart(self) -> None:
        job = await self._confirmed("Restart", self._selected_job)
        if job is not None:
            await self.app.ask(cmd.RestartJob(job.id))

    @property
    def _selected_job(self) -> str | None:
        process = self.app.panel(Processes).selected
        return None if process is None else process.job_id

    async def _confirmed(self, what: str, job_id: str | None) -> JobView | None:
        """The job; asks first where people may be in its room."""
        state = self.app.state
        job = state.jobs.get(job_id) if job_id else None
        if job is None or job.phase not in LIVE_PHASES:
            raise UserError("no running job is selected: choose its process in the table")
        live = state.server is not None and state.server.media
        if live and not await self.app.push_screen_wait(Confirm(f"{what} job {job.id} in room {job.room}?")):
            return None
        return job

    async def stacks(self) -> None:
        process = self.app.panel(Processes).selected
        if process is None:
            raise UserError("select a process first")
        result = await self.app.handle.send(cmd.DumpStacks(process.id))
        if not result.ok:
            raise UserError(result.text)
        await self.app.push_screen_wait(StacksPage(f"Stacks of {process.kind} {process.pid}", result.text))

    async def sort(self) -> None:
        self.app.panel(Processes).sort_by_next()

    # -- pages -----------------------------------------------------------------------------------------

    async def job(self) -> None:
        await self.app.push_screen_wait(JobsPage(self.sight, self._selected_job))

    async def open(self, job_id: str | None) -> None:
        """The page of one job."""
        if job_id is None:
            raise UserError("this process has had no job yet")
        await self.app.push_screen_wait(JobPage(self.sight, job_id))

    async def breaches(self) -> None:
        await self.app.push_screen_wait(BreachesPage(self.sight))
