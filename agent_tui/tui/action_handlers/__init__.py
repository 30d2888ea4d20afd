"""The handlers of the registry's actions. Imported after the first frame, because they import all pages."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agent_tui.model import commands as cmd
from agent_tui.model.conversations import SessionView
from agent_tui.model.dispatches import last_room
from agent_tui.model.errors import ExitCode, UserError
from agent_tui.model.events import ProcessState
from agent_tui.model.requests import JoinLink, JoinRoom, ReadSecrets
from agent_tui.model.state import LIVE_PHASES, JobView
from agent_tui.tui.action_handlers.base import Handlers
from agent_tui.tui.action_handlers.tuning import TuningActions
from agent_tui.tui.actions import ACTIONS, BY_NAME
from agent_tui.tui.command_line import LEVELS, find_job, option_name, parse
from agent_tui.tui.editor import open_in_editor
from agent_tui.tui.screens.breaches import BreachesPage
from agent_tui.tui.screens.confirm import Confirm, QuitQuestion
from agent_tui.tui.screens.dispatch_form import DispatchForm
from agent_tui.tui.screens.export import ExportPage
from agent_tui.tui.screens.generations import GenerationsPage
from agent_tui.tui.screens.help import Help, classes_around
from agent_tui.tui.screens.job import DispatchPage, JobPage
from agent_tui.tui.screens.jobs import JobsPage
from agent_tui.tui.screens.log_pages import LogExport
from agent_tui.tui.screens.options import OptionsPage
from agent_tui.tui.screens.pick import Pick
from agent_tui.tui.screens.talk import ContextPage, TalkPage
from agent_tui.tui.screens.worker import WorkerPage
from agent_tui.tui.screenshot import masked, save
from agent_tui.tui.talk_export import FORMS, JSON
from agent_tui.tui.talk_export import save as save_talk
from agent_tui.tui.ui_state_keeper import JOBS
from agent_tui.tui.widgets.copyable import JOIN_LINK
from agent_tui.tui.widgets.detail import Detail
from agent_tui.tui.widgets.detail_text import Tab
from agent_tui.tui.widgets.log_pane import LogPane
from agent_tui.tui.widgets.log_view import LogView
from agent_tui.tui.widgets.problems import problems
from agent_tui.tui.widgets.processes import SERVICES, Processes
from agent_tui.tui.widgets.splits import SplitBody
from agent_tui.tui.widgets.start_pane import StartPane
from agent_tui.tui.widgets.talk_notes import no_calls
from agent_tui.tui.widgets.talk_pane import TalkPane
from agent_tui.tui.widgets.text import counted, one_line, project_path

if TYPE_CHECKING:
    from agent_tui.tui.app import AgentTuiApp

Handler = Callable[[], Awaitable[None]]


class ActionHandlers(Handlers):
    """One method per action without a target; those about tuning are in `TuningActions`."""

    def __init__(self, app: "AgentTuiApp") -> None:
        super().__init__(app)
        self.tuning = TuningActions(app)
        self.last_dispatch = cmd.Dispatch()
        # `tuning` is also an action: look its method up before the attribute of that name
        self._by_name: dict[str, Handler] = {
            action.name: getattr(self.tuning, action.name, None) or getattr(self, action.name)
            for action in ACTIONS
            if action.target is None
        }

    def of(self, name: str) -> Handler:
        """Return the handler of the action `name`."""
        return self._by_name[name]

    # -- test jobs ---------------------------------------------------------------------------------------

    async def dispatch(self, room: str = "") -> None:
        """Start a test job in that room, or in a new one, with the other values last entered in the form."""
        if self._can_dispatch():
            await self.make(replace(self.last_dispatch, room=room, count=1))

    def _can_dispatch(self) -> bool:
        """Return whether the worker is registered; if not, notify the user until it is."""
        worker = self.app.engine.state.worker
        if worker.is_registered:
            return True
        why = f" ({one_line(worker.reason)})" if worker.reason else ""
        self.app.notify_line(
            f"not registered{why}: a dispatch would not reach this worker · i show why",
            failed=True,
            solved=lambda state: state.worker.is_registered,
        )
        return False

    async def dispatch_form(self) -> None:
        if not self._can_dispatch():
            return
        command = await self.app.push_screen_wait(DispatchForm(self.last_dispatch))
        if command is not None:
            self.last_dispatch = command
            await self.make(command)

    async def make(self, command: cmd.Dispatch) -> bool:
        """Start test jobs, and return whether they were; on a remote server the user is asked first."""
        app = self.app
        result = await app.ask(replace(command, confirmed_host=app.confirmed_host), quiet=True)
        if result.refused and await app.host_confirmed("a test dispatch"):
            result = await app.ask(replace(command, confirmed_host=app.confirmed_host), quiet=True)
        if result.ok:
            given = (("metadata", command.metadata), ("attributes", command.attributes))
            named = " and ".join(name for name, value in given if value)
            app.notify_line(f"dispatched to {result.text}{f' with {named}' if named else ''}")
        return result.ok

    async def copy_link(self, room: str = "") -> None:
        """Copy a link into that room, by default the last test job's."""
        if (link := await self._link(room or self._room())) is None:
            return
        self.app.copy_to_clipboard(link.link)
        self.app.notify_line(f"copied a link to {link.room}; its token is valid for one hour")

    async def open_link(self) -> None:
        if (link := await self._link(self._room())) is None:
            return
        self.app.open_url(link.link)
        self.app.notify_line(f"opening {link.room} in the browser")

    async def _link(self, room: str) -> JoinLink | None:
        """Return a link into the room, which has the agent or gets it; None if it does not get it."""
        link = await self.app.engine.request(JoinRoom(room))
        dispatch = replace(self.last_dispatch, room=link.room, count=1)
        return link if not link.needs_dispatch or await self.make(dispatch) else None

    def _room(self) -> str:
        """Return the room that join links lead to: the last test job's."""
        own = self.app.state.worker.deployment  # others may use the same server
        return last_room(self.app.state.dispatches) or "-".join(filter(None, ("agent-tui", own)))

    # -- the selected process and its job ---------------------------------------------------------------

    async def end(self) -> None:
        await self.end_job(self._selected_job)

    async def end_job(self, job_id: str | None) -> None:
        """End that job, even if the selection has changed since the key was pressed."""
        job = await self._confirmed("End", job_id)
        if job is not None:
            await self.app.ask(cmd.EndJob(job.id))

    async def restart(self) -> None:
        job = await self._confirmed("Restart", self._selected_job)
        if job is not None:
            await self.app.ask(cmd.RestartJob(job.id))

    async def swap(self) -> None:
        await self.app.ask(cmd.SwapJob(self._live_job(self._selected_job).id), quiet=True)

    async def pin(self) -> None:
        job = self._live_job(self._selected_job)
        if (await self.app.ask(cmd.PinJob(job.id, not job.pinned), quiet=True)).ok:
            code, room = self.app.engine.state.code_of(job), one_line(job.room)
            self.app.notify_line(
                f"{room} follows reloads again"
                if job.pinned
                else f"{room} is pinned to generation {code}: reloads do not change it · P unpins, U swaps"
            )

    def _live_job(self, job_id: str | None) -> JobView:
        """Return the job. Raise UserError if there is no such live job."""
        job = self.app.state.jobs.get(job_id or "")
        if job is None or job.phase not in LIVE_PHASES:
            raise UserError("no running job selected: select its process first")
        return job

    @property
    def _selected_job(self) -> str | None:
        process = self.app.panel(Processes).selected
        return None if process is None else process.job_id

    async def _confirmed(self, what: str, job_id: str | None) -> JobView | None:
        """Return the job if it is live and the user confirms.

        Ask only if people may be in its room, or have typed to its agent. `what` is the verb of the question.
        Raises UserError if there is no live job.
        """
        state = self.app.state
        job = self._live_job(job_id)
        turns = sum(
            turn.number > 0
            for session in state.sessions.values()
            if session.job_id == job.id
            for turn in session.turns
        )
        why = "People may be in the room." if state.server is not None and state.server.media else ""
        if not why and turns:
            why = f"Its conversation ({counted(turns, 'turn')}) ends."
        question = Confirm(f"{what} job {job.id} in room {job.room}?", why)
        return job if not why or await self.app.push_screen_wait(question) else None

    async def stacks(self) -> None:
        process = self.app.panel(Processes).selected
        if process is None or process.state is ProcessState.ENDED:
            raise UserError("select a running process first")
        self._open_tab(Tab.STACKS)

    async def job(self) -> None:
        page = JobsPage(self.context, self._selected_job, self.app.ui_state.order_of(JOBS))
        await self.app.push_screen_wait(page)
        self.app.ui_state.keep_order(JOBS, page.table.order)

    async def open(self, job_id: str | None) -> None:
        """Open the page of one job."""
        self._check_job(job_id)
        assert job_id is not None
        await self.app.push_screen_wait(JobPage(self.context, job_id))

    async def open_dispatch(self, key: str) -> None:
        """Open the page of a dispatch without a job."""
        await self.app.push_screen_wait(DispatchPage(self.context, key))

    def _check_job(self, job_id: str | None) -> None:
        """Raise UserError if there is no job, which says what the selected process is for."""
        if job_id is None:
            raise UserError(self._without_job())

    def _without_job(self) -> str:
        """Return why the selected process has no job, and how it would get one."""
        process = self.app.panel(Processes).selected
        if process is None:
            return no_calls(self.app.state) or "no call selected · d starts a test job"
        if process.kind in SERVICES:
            return SERVICES[process.kind]
        if process.state is ProcessState.ENDED:
            return f"it ended before it had a call: {one_line(process.reason or 'no reason given')}"
        return f"{process.state}: it has no call yet · {no_calls(self.app.state) or 'd starts a test job'}"

    async def talk_to(self, job_id: str | None) -> None:
        """Open the Talk tab; if it is open, move the focus into it. Without a job, open the Job tab."""
        if job_id is None:
            self._open_tab(Tab.JOB)
            self.app.notify_line(self._without_job())
            return
        dashboard, detail = self.app.screen_stack[0], self.app.panel(Detail)
        is_hidden = dashboard.has_class("-narrow") and not dashboard.has_class("-detail")
        was_open = detail.tab is Tab.TALK and not is_hidden
        self._open_tab(Tab.TALK)
        if was_open:
            detail.type()

    def start_typing(self) -> None:
        """Open the Talk tab, and move the focus into it once it is laid out."""
        self._open_tab(Tab.TALK)
        self.app.call_after_refresh(self.app.panel(TalkPane).type)

    async def say(self, pane: TalkPane, command: cmd.Say) -> None:
        """Send a turn; one that is refused goes back to the line that it was typed in."""
        result = await self.app.ask(command, quiet=True)
        if not result.ok:
            pane.restore(command)

    async def talk(self) -> None:
        """Open the page with the conversation of the selected job."""
        job_id = self._selected_job
        self._check_job(job_id)
        assert job_id is not None
        await self.app.push_screen_wait(TalkPage(self.context, job_id))

    async def open_context(self, command: cmd.InspectSession) -> None:
        """Show what the LLM of a session will see."""
        await self.app.push_screen_wait(ContextPage(self.context, command))

    async def save_talk(self, session: SessionView) -> None:
        """Save a conversation, in the form that the user picks."""
        folder = self.app.exports
        shown = project_path(str(folder))
        forms = {name: f"to read: a {suffix} file in {shown}" for name, (suffix, _) in FORMS.items()}
        forms[JSON] = f"to process: a .json file in {shown}"
        form = await self.app.push_screen_wait(Pick("Save conversation", forms))
        if form is None:
            return
        try:
            path = await asyncio.to_thread(save_talk, session, form, folder)
        except OSError as error:
            self.app.saved("conversation", folder, error)
            return
        self.app.saved("conversation", folder)
        self.app.notify_line(f"saved {project_path(str(path))}")

    async def breaches(self, chosen: str | None = None) -> None:
        """Open the breaches page, with the breach of that key selected."""
        await self.app.push_screen_wait(BreachesPage(self.context, chosen))

    async def copy(self, facts: Mapping[str, str]) -> None:
        """Copy one of these texts, which the user picks if there are several."""
        picked = await self.app.push_screen_wait(Pick("Copy", facts)) if len(facts) > 1 else next(iter(facts))
        if picked == JOIN_LINK:
            await self.copy_link(facts["room"])
        elif picked is not None:
            self.app.copy_to_clipboard(facts[picked])
            self.app.notify_line(f"copied {picked}: {facts[picked]}")

    # -- log lines -----------------------------------------------------------------------------------------

    async def owner(self) -> None:
        process, pane = self.app.panel(Processes).selected, self.app.panel(LogPane)
        self._show_detail(shown=False)
        self._body.reveal(pane)
        pane.owner = None if process is None or pane.owner == process.id else process.id

    async def export_logs(self) -> None:
        rows = self.app.panel(LogView).rows
        await self.app.push_screen_wait(LogExport(rows.shown, self.app.exports))

    async def level(self) -> None:
        higher = [level for level in LEVELS if level > self.app.engine.state.settings.log_level]
        await self.app.set_option("logLevel", (higher or LEVELS)[0].label)

    # -- the agent's code ------------------------------------------------------------------------------------

    async def reload(self) -> None:
        await self.app.ask(cmd.Reload())

    async def pause(self) -> None:
        await self.app.ask(cmd.PauseWatching(not self.app.state.watching.paused))

    async def generations(self, number: int | None = None) -> None:
        """Open the page at that generation. Raise UserError if it is not listed."""
        loads = [load.number for load in self.app.state.loads]
        if number is not None and number not in loads:
            raise UserError(f"generation {number} is not listed: Tab lists them after :gen")
        page = GenerationsPage(
            lambda command: self.app.engine.send(command),
            lambda file, line: open_in_editor(self.app, file, line),
            number,
        )
        page.show(self.app.state, self.app.now())
        await self.app.push_screen_wait(page)

    async def close_trouble(self) -> None:
        self.app.panel(StartPane).hide()
        self.app.show()

    async def edit(self) -> None:
        if (frame := self.app.panel(Detail).shown_frame) is not None:
            open_in_editor(self.app, Path(frame.file), frame.line)
            return
        found = problems(self.app.state, self.app.now(), self.app.in_force)
        file, line = next(((each.file, each.line) for each in found if each.file), (None, None))
        open_in_editor(self.app, Path(file or self.app.state.agent), line or 1)

    # -- the screen as a whole -----------------------------------------------------------------------------

    async def worker(self) -> None:
        await self.app.push_screen_wait(WorkerPage(self.context))

    async def options(self) -> None:
        dashboard, detail = self.app.screen_stack[0], self.app.panel(Detail)
        is_shown = dashboard.has_class("-detail") and detail.tab is Tab.OPTIONS
        if dashboard.has_class("-narrow") and is_shown:
            dashboard.remove_class("-detail")
            self.app.panel(Processes).focus()
        else:
            self._open_tab(Tab.OPTIONS)
            detail.focus_content()

    def _open_tab(self, tab: Tab) -> None:
        self.app.panel(Detail).tab = tab
        self._show_detail(shown=True)
        self._body.reveal(self.app.panel(Detail))

    def _show_detail(self, *, shown: bool) -> None:
        """On a narrow terminal, show the tabs in place of the logs, or the logs in place of the tabs."""
        self.app.screen_stack[0].set_class(shown, "-detail")

    async def focus_processes(self) -> None:
        self._body.reveal(self.app.panel(Processes))
        self.app.panel(Processes).focus()

    async def focus_detail(self) -> None:
        self._show_detail(shown=True)
        self._body.reveal(self.app.panel(Detail))
        self.app.panel(Detail).focus_content()

    async def focus_logs(self) -> None:
        self._show_detail(shown=False)
        self._body.reveal(self.app.panel(LogPane))
        self.app.panel(LogView).focus()

    async def next_tab(self) -> None:
        self._step(1)

    async def previous_tab(self) -> None:
        self._step(-1)

    def _step(self, by: int) -> None:
        detail = self.app.panel(Detail)
        had_focus = detail.has_focus_within
        detail.step(by)
        self._show_detail(shown=True)
        self._body.reveal(detail)
        if had_focus:
            detail.focus_content()

    @property
    def _body(self) -> SplitBody:
        return self.app.panel(SplitBody)

    async def maximize(self) -> None:
        if len(self.app.screen_stack) == 1:
            body = self._body
            body.maximize(None if body.maximized is not None else body.panel_of(self.app.focused))

    async def all_options(self) -> None:
        secrets = await self.app.engine.request(ReadSecrets())
        await self.app.push_screen_wait(OptionsPage(self.app.engine, secrets, self._export))

    async def _export(self) -> None:
        settings = self.app.engine.state.settings
        await self.app.push_screen_wait(ExportPage(settings.resolution, settings.context))

    async def picture(self) -> None:
        secrets = await self.app.engine.request(ReadSecrets())
        svg = masked(self.app.export_screenshot(title="agent-tui"), secrets.values.values())
        try:
            path = await asyncio.to_thread(save, svg, folder := self.app.exports)
        except OSError as error:
            self.app.saved("screenshot", folder, error)
            return
        self.app.saved("screenshot", folder)
        self.app.notify_line(f"saved {project_path(str(path))}, secrets masked")

    async def run_command(self, text: str) -> None:
        """Run a command as typed after `:`. Raise UserError for an unknown one, or if it cannot run now."""
        typed = parse(text)
        match typed.verb:
            case "gen":
                await self.generations(typed.number)
            case "rollback":
                await self.app.ask(cmd.RollBack(typed.number))
            case "job" if typed.arguments:
                await self.open(find_job(typed.arguments[0], self.app.state.jobs).id)
            case "dispatch" if typed.arguments:
                await self.dispatch(typed.arguments[0])
            case "level" if typed.arguments:
                await self._set("logLevel", typed.arguments[0])
            case "set":
                await self._set(option_name(typed.arguments[0]), typed.arguments[1])
            case name:
                if not BY_NAME[name].enabled(self.app.state):
                    raise UserError(f":{name} is not available now")
                await self.app.act(name)

    async def _set(self, name: str, value: str) -> None:
        if (await self.app.ask(cmd.SetOptions({name: value}), quiet=False)).ok:
            self.app.notify_line(f"{name} = {value}")

    async def help(self) -> None:
        """Show all keys, and run the action that the user picks there."""
        screen = self.app.screen
        page = Help(self.app.actions, classes_around(screen.focused or screen), self.app.moves)
        picked = await self.app.push_screen_wait(page)
        if picked is None:
            return
        action = BY_NAME[picked]
        if len(self.app.screen_stack) > 1:
            raise UserError(f"{action.title} works on the dashboard: close this page first")
        if not action.enabled(self.app.state):
            raise UserError(f"{action.title} is not available now")
        await self.of(picked)()

    async def drain(self) -> None:
        if not self.app.quitting:
            await self.app.stop("quit after jobs", kill=False, drain=True)

    async def quit(self) -> None:
        calls = [job for job in self.app.state.live_jobs if not job.test_dispatch]
        if calls and not self.app.quitting and not await self.app.push_screen_wait(QuitQuestion(len(calls))):
            return
        await self.quit_at_once()

    async def quit_at_once(self) -> None:
        if self.app.killing:
            self.app.leave(ExitCode.JOB_FAILED)
        await self.app.stop("quit", self.app.quitting)
