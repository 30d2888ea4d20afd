"""The screen: composes the panels, paints what the stream tells, turns keys into commands."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, TypeVar

from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Footer

from agent_tui.engine.handle import Handle
from agent_tui.model import commands as cmd
from agent_tui.model.errors import ExitCode, UserError
from agent_tui.model.events import ProcessState
from agent_tui.model.logs import LogLevel, LogLine
from agent_tui.model.state import LIVE_PHASES, AppState, JobView, Registration
from agent_tui.options.declare import Basis, ServerOptions
from agent_tui.options.resolve import resolve
from agent_tui.tui.actions import ACTIONS, BY_NAME
from agent_tui.tui.bridge import Bridge
from agent_tui.tui.editor import open_in_editor
from agent_tui.tui.palette import ActionProvider
from agent_tui.tui.screens.confirm import Confirm
from agent_tui.tui.screens.dispatch_form import DispatchForm
from agent_tui.tui.screens.export import ExportPage
from agent_tui.tui.screens.generations import GenerationsPage
from agent_tui.tui.screens.help import Help
from agent_tui.tui.screens.options import OptionsPage
from agent_tui.tui.screens.remote_guard import RemoteGuard
from agent_tui.tui.screens.stacks import StacksPage
from agent_tui.tui.screens.tuning import TuningPage
from agent_tui.tui.screens.tuning_forms import FIRST_LOAD, FIRST_SWEEP, LoadForm, SweepForm
from agent_tui.tui.tuner import Tuner
from agent_tui.tui.widgets.breaches import Breaches
from agent_tui.tui.widgets.dispatch_panel import DispatchPanel
from agent_tui.tui.widgets.header import Header
from agent_tui.tui.widgets.log_pane import LogPane
from agent_tui.tui.widgets.options_panel import OptionsPanel
from agent_tui.tui.widgets.processes import Processes
from agent_tui.tui.widgets.start_pane import StartPane

PAINT_S = 0.1
CLOCK_TICKS = 10
"""Every so many ticks what counts seconds is painted, though nothing happened."""

SETTLE_TICKS = 6
"""Ticks after a change in which panels that paint at most twice a second catch up with it."""

MAX_IDLE = 256
DEFAULTS = resolve((), Basis()).options
"""Until there is an engine."""

P = TypeVar("P", bound=Widget)

MakeEngine = Callable[[], Awaitable[Handle]]


class AgentTuiApp(App[int]):
    """One screen over one engine. The engine is made after the first frame, and ended with the app."""

    TITLE = "agent-tui"
    CSS_PATH = "app.tcss"
    COMMANDS = App.COMMANDS | {ActionProvider}
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012  the base class says what it is
        (0, "-narrow"),
        (110, "-wide"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            key,
            f"act({action.name!r})",
            action.footer or action.title,
            show=bool(action.footer) and key == action.keys[0],
            tooltip=action.help,
            priority=key.startswith("ctrl+"),
        )
        for action in ACTIONS
        for key in action.keys
    ]

    def __init__(
        self,
        make_engine: MakeEngine,
        *,
        agent: str = "",
        dispatch: int = 0,
        confirmed_host: str = "",
        now: Callable[[], float] = time.time,
        tuner: Tuner | None = None,
    ) -> None:
        """`agent` is the file's path for the first frame, before there is an engine to tell of it.

        `dispatch` test jobs are made once the worker is ready.
        """
        super().__init__()
        self._make_engine = make_engine
        self._now = now
        self._engine: Handle | None = None
        self._bridge: Bridge | None = None
        self._engine_task: asyncio.Task[None] | None = None
        self.state = AppState(agent=agent)
        """What the screen shows, as of the last paint."""
        self._first_dispatch = dispatch
        self._last_dispatch = cmd.Dispatch()
        self._confirmed_host = confirmed_host
        self._tuner = tuner or Tuner()
        self._tuner.ended = self._tell_tuned
        self._last_load, self._last_sweep = FIRST_LOAD, FIRST_SWEEP
        self._quitting = False
        self._enabled: tuple[bool, ...] = ()
        self._shown_options: ServerOptions | None = None
        self._panels: dict[type[Widget], Widget] = {}
        self._ticks = 0
        self._settling = 0

    # -- life ----------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield Header(id="header")
        with Horizontal(id="body"):
            with Vertical(id="left"):
                yield StartPane(id="start")
                yield Processes(id="processes")
                yield Breaches(id="breaches")
                yield LogPane(self._pull, id="logs")
            with Vertical(id="right"):
                yield OptionsPanel(id="options")
                yield DispatchPanel(id="dispatch")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self._show()
        self.set_interval(PAINT_S, self._paint)
        self.call_after_refresh(self._start)

    def _start(self) -> None:
        self._engine_task = asyncio.create_task(self._run_engine(), name="engine")

    async def _run_engine(self) -> None:
        """Makes the engine, follows it to its end, and leaves with it."""
        try:
            self._engine = await self._make_engine()
            self._bridge = Bridge(self._engine.subscribe)
            following = asyncio.create_task(self._bridge.run(), name="stream")
            async with self._engine:
                self._panel(OptionsPanel).show_options(self._engine.resolution)
                self._panel(LogPane).level = self._engine.log_level
                await following
            self.exit(ExitCode.OK)
        except UserError as error:
            self.exit(error.exit_code, return_code=error.exit_code, message=f"agent-tui: {error}")

    async def stop(self, reason: str, kill: bool, *, drain: bool = False) -> None:
        """Ends the engine, in good order or at once; the app leaves when it has ended."""
        self._quitting = True
        if self._engine is not None and self._engine.up:
            await self._engine.send(cmd.Stop(reason, kill, drain))
        else:
            if self._engine_task is not None:
                self._engine_task.cancel()
            self.exit(ExitCode.OK)

    async def ended(self) -> None:
        """Returns when the engine has ended, also when the screen went by an error of its own."""
        await self._tuner.close()
        if self._engine_task is None or self._engine_task.done():
            return
        if self._engine is not None and self._engine.up:
            await self._engine.send(cmd.Stop("the screen has ended"))
        else:
            self._engine_task.cancel()
        await asyncio.gather(self._engine_task, return_exceptions=True)

    # -- painting --------------------------------------------------------------------------------------

    def _pull(self, first: int, end: int) -> tuple[LogLine, ...]:
        return self._engine.logs(first, end) if self._engine is not None else ()

    def _refresh_keys(self) -> None:
        """The footer is made anew, which costs a layout, only when other keys make sense than before."""
        enabled = tuple(action.enabled(self.state) for action in ACTIONS)
        if enabled != self._enabled:
            self._enabled = enabled
            self.refresh_bindings()

    def _paint(self) -> None:
        """Takes what the stream brought since the last time, and shows it."""
        changed, logs = False, None
        if self._bridge is not None:
            self.state, changed, logs = self._bridge.take()
        self._ticks += 1
        self._settling = SETTLE_TICKS if changed else self._settling - 1
        if self._settling < 0 and self._ticks % CLOCK_TICKS:
            return  # only what counts seconds could look different
        if logs is not None:
            self._panel(LogPane).added(logs)
        self._show()
        if changed:
            self._refresh_keys()
        if self._first_dispatch and _ready(self.state):
            count, self._first_dispatch = self._first_dispatch, 0
            self.run_worker(self._guarded(lambda: self._dispatch(cmd.Dispatch(count))), group="actions")

    def _show(self) -> None:
        """Each panel finds out by itself whether it has anything new to paint."""
        state, now = self.state, self._now()
        options = self._options
        start, header = self._panel(StartPane), self._panel(Header)
        if not header.is_attached:
            return  # the app is leaving
        with self.batch_update():
            start.show(state, now, options)
            start.set_class(start.needed, "-shown")
            start.set_class(state.generation.current > 0, "-serving")
            header.show(state, now, options, self._tuner.summary)
            self._panel(Processes).show(state, now)
            self._panel(LogPane).show(state, now)
            self._panel(Breaches).show(state, now)
            self._panel(DispatchPanel).show(state, now)
            self._panel(OptionsPanel).show(state, now)
            if self._engine is not None and options is not self._shown_options:
                self._shown_options = options  # others edit too: a sweep, a save of the config file
                self._panel(OptionsPanel).show_options(self._engine.resolution)

    def _panel(self, kind: type[P]) -> P:
        """The one panel of that kind, found once: a search walks the whole screen."""
        if kind not in self._panels:
            self._panels[kind] = self.screen_stack[0].query_one(kind)
        panel = self._panels[kind]
        assert isinstance(panel, kind)
        return panel

    # -- actions ---------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "act" and parameters:
            return True if BY_NAME[str(parameters[0])].enabled(self.state) else None
        return super().check_action(action, parameters)

    async def action_act(self, name: str) -> None:
        """Runs an action of the registry; what it waits for holds nothing else up."""
        self.run_worker(self._guarded(getattr(self, f"do_{name}")), group="actions", exclusive=False)

    async def _guarded(self, act: Callable[[], Awaitable[None]]) -> None:
        try:
            await act()
        except UserError as error:
            self._tell(str(error), failed=True)

    async def do_dispatch(self) -> None:
        await self._dispatch(self._last_dispatch)

    async def do_dispatch_form(self) -> None:
        command = await self.push_screen_wait(DispatchForm(self._last_dispatch))
        if command is not None:
            self._last_dispatch = command
            await self._dispatch(command)

    async def _dispatch(self, command: cmd.Dispatch) -> None:
        result = await self._send(replace(command, confirmed_host=self._confirmed_host))
        if result is not None and result.refused and await self._host_typed("a test dispatch"):
            await self._send(replace(command, confirmed_host=self._confirmed_host))

    async def _host_typed(self, what: str) -> bool:
        """Asks for the name of the server, which is remote; whether it was typed."""
        if self.state.server is None:
            return False
        host = await self.push_screen_wait(RemoteGuard(self.state.server.host, what))
        self._confirmed_host = host or self._confirmed_host
        return host is not None

    async def _may_load(self, what: str) -> bool:
        """Whether so many test jobs may be made on this server; asks where that is not clear."""
        server = self.state.server
        if server is None:
            raise UserError("no server is in use yet")
        return not server.remote or server.host == self._confirmed_host or await self._host_typed(what)

    async def do_load(self) -> None:
        self._tuner.check_free()
        load = await self.push_screen_wait(LoadForm(self._last_load))
        if load is not None:
            self._last_load = load
            if await self._may_load(f"{load.jobs} test jobs"):
                self._tuner.start_load(self._handle, load, self._confirmed_host)
                await self.do_tuning()

    async def do_sweep(self) -> None:
        self._tuner.check_free()
        wish = await self.push_screen_wait(SweepForm(self._last_sweep))
        if wish is not None:
            self._last_sweep = wish
            jobs = wish.plan.load.jobs * len(wish.plan.counts) * wish.plan.repeat
            if await self._may_load(f"a sweep of {jobs} test jobs"):
                plan = replace(wish.plan, confirmed_host=self._confirmed_host)
                self._tuner.start_sweep(self._handle, plan, wish.target)
                await self.do_tuning()

    async def do_tuning(self) -> None:
        if isinstance(self.screen, TuningPage):
            self.screen.show_newest()
        else:
            await self.push_screen_wait(TuningPage(self._tuner, lambda: self._options.num_idle_processes))

    async def do_apply_advice(self) -> None:
        advice = self._tuner.advice
        if advice is None or advice.count is None:
            raise UserError("no sweep has advised a count: w starts one")
        await self._set_idle(advice.count)

    async def do_copy_link(self) -> None:
        link = self._handle.join_link(self._room())
        self.copy_to_clipboard(link.link)
        self._tell(f"copied: a link into {link.room}, with a token for one hour")

    async def do_open_link(self) -> None:
        link = self._handle.join_link(self._room())
        self.open_url(link.link)
        self._tell(f"opening {link.room} in the browser")

    async def do_end(self) -> None:
        job = await self._selected_job("End")
        if job is not None:
            await self._send(cmd.EndJob(job.id))

    async def do_restart(self) -> None:
        job = await self._selected_job("Restart")
        if job is not None:
            await self._send(cmd.RestartJob(job.id))

    async def _selected_job(self, what: str) -> JobView | None:
        """The selected process's job; asks first where people may be in its room."""
        process = self._panel(Processes).selected
        job = self.state.jobs.get(process.job_id) if process is not None and process.job_id else None
        if job is None or job.phase not in LIVE_PHASES:
            self._tell("no running job is selected: choose its process in the table", failed=True)
            return None
        server = self.state.server
        live = server is not None and server.media
        if live and not await self.push_screen_wait(Confirm(f"{what} job {job.id} in room {job.room}?")):
            return None
        return job

    async def do_more_idle(self) -> None:
        await self._change_idle(+1)

    async def do_less_idle(self) -> None:
        await self._change_idle(-1)

    async def _change_idle(self, by: int) -> None:
        count = self._handle.resolution.options.num_idle_processes + by
        if 0 <= count <= MAX_IDLE:
            await self._set_idle(count)

    async def _set_idle(self, count: int) -> None:
        if self._tuner.sweeping:
            raise UserError("the sweep sets numIdleProcesses itself until it is over")
        await self._set_option("numIdleProcesses", str(count))

    def _tell_tuned(self, what: str) -> None:
        if self.is_running and not isinstance(self.screen, TuningPage):
            self._tell(f"{what}: T shows it")

    async def do_owner(self) -> None:
        process, pane = self._panel(Processes).selected, self._panel(LogPane)
        pane.owner = None if process is None or pane.owner == process.id else process.id

    async def do_find(self) -> None:
        self._panel(LogPane).start_find()

    async def do_find_next(self) -> None:
        self._panel(LogPane).find_next()

    async def do_find_previous(self) -> None:
        self._panel(LogPane).find_previous()

    async def do_level(self) -> None:
        levels = [LogLevel.DEBUG, LogLevel.INFO, LogLevel.WARN, LogLevel.ERROR]
        higher = [level for level in levels if level > self._handle.log_level]
        await self._set_option("logLevel", (higher or levels)[0].label)

    async def do_follow(self) -> None:
        self._panel(LogPane).follow = True

    async def do_reload(self) -> None:
        await self._send(cmd.Reload())

    async def do_stacks(self) -> None:
        process = self._panel(Processes).selected
        if process is None:
            self._tell("select a process first")
            return
        result = await self._handle.send(cmd.DumpStacks(process.id))
        if result.ok:
            await self.push_screen_wait(StacksPage(f"Stacks of {process.kind} {process.pid}", result.text))
        else:
            self._tell(result.text, failed=True)

    async def do_pause(self) -> None:
        await self._send(cmd.PauseWatching(not self.state.watching.paused))

    async def do_generations(self) -> None:
        await self.push_screen_wait(GenerationsPage(self.state))

    async def do_close_trouble(self) -> None:
        self._panel(StartPane).close()
        self._show()

    async def do_edit(self) -> None:
        failed = self.state.generation
        file, line = (failed.file, failed.line) if failed.failed else (None, None)
        open_in_editor(self, Path(file or self.state.agent), line or 1)

    async def do_options(self) -> None:
        dashboard = self.screen_stack[0]
        if dashboard.has_class("-narrow"):
            dashboard.toggle_class("-options")
        if dashboard.has_class("-options") or not dashboard.has_class("-narrow"):
            self._panel(OptionsPanel).focus()
        else:
            self._panel(Processes).focus()

    async def do_all_options(self) -> None:
        handle = self._handle
        await self.push_screen_wait(
            OptionsPage(lambda: handle.settings, handle.function_names, self._edit, self._export)
        )

    async def _edit(self, command: cmd.Command) -> cmd.CommandResult:
        result = await self._handle.send(command)
        self._panel(OptionsPanel).show_options(self._handle.resolution)
        self._panel(LogPane).level = self._handle.log_level
        return result

    async def _export(self) -> None:
        settings = self._handle.settings
        await self.push_screen_wait(ExportPage(settings.resolution, settings.basis))

    async def do_help(self) -> None:
        rows = [(action.shown_keys, action.title, action.help, action.group) for action in ACTIONS]
        await self.push_screen_wait(Help(rows))

    async def do_drain(self) -> None:
        if not self._quitting:
            await self.stop("quit after the jobs", kill=False, drain=True)

    async def do_quit(self) -> None:
        await self.stop("quit", self._quitting)

    # -- what panels ask for ---------------------------------------------------------------------------

    @on(OptionsPanel.Edited)
    def edited(self, event: OptionsPanel.Edited) -> None:
        self.run_worker(self._set_option(event.name, event.value), group="actions")

    @on(LogPane.LevelChanged)
    def level_changed(self, event: LogPane.LevelChanged) -> None:
        self.run_worker(self._set_option("logLevel", event.level.label), group="actions")

    @on(DispatchPanel.AgainRequested)
    def again_requested(self) -> None:
        self.run_worker(self._guarded(self.do_dispatch), group="actions")

    @on(DispatchPanel.FormRequested)
    def form_requested(self) -> None:
        self.run_worker(self._guarded(self.do_dispatch_form), group="actions")

    @on(Processes.EndRequested)
    def end_requested(self) -> None:
        self.run_worker(self._guarded(self.do_end), group="actions")

    # -- helpers -----------------------------------------------------------------------------------------

    @property
    def _handle(self) -> Handle:
        if self._engine is None:
            raise UserError("agent-tui is still starting")
        return self._engine

    @property
    def _options(self) -> ServerOptions:
        return DEFAULTS if self._engine is None else self._engine.resolution.options

    def _room(self) -> str:
        """The room that a person joins: of the last test job, so that it is always the same one."""
        return self._panel(DispatchPanel).last_room or "agent-tui"

    async def _set_option(self, name: str, value: str) -> None:
        result = await self._send(cmd.SetOptions({name: value}), quiet=True)
        panel = self._panel(OptionsPanel)
        if result is not None and not result.ok:
            panel.failed(name, result.text)
        panel.show_options(self._handle.resolution)
        self._panel(LogPane).level = self._handle.log_level

    async def _send(self, command: cmd.Command, *, quiet: bool = False) -> cmd.CommandResult | None:
        result = await self._handle.send(command)
        if not result.refused and not (quiet and result.ok):
            self._tell(result.text, failed=not result.ok)
        return result

    def _tell(self, text: str, *, failed: bool = False) -> None:
        self.notify(text, severity="error" if failed else "information", markup=False)


def _ready(state: AppState) -> bool:
    """Whether a test job would be taken by a warm process."""
    idle = any(process.state is ProcessState.IDLE for process in state.processes.values())
    return state.worker.state is Registration.REGISTERED and idle
