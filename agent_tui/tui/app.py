"""The app: composes the panels, paints the engine's state, and turns keys into commands."""

import asyncio
import contextlib
import importlib
import os
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from rich.console import Console, RenderableType
from rich.text import Text
from textual import events, on
from textual.app import App, ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.driver import Driver
from textual.filter import LineFilter
from textual.notifications import SeverityLevel
from textual.signal import Signal
from textual.widget import Widget
from textual.widgets import Input

from agent_tui.engine.engine_api import EngineAPI
from agent_tui.model import commands as cmd
from agent_tui.model.conversations import SessionView
from agent_tui.model.errors import ExitCode, InternalError, UserError
from agent_tui.model.requests import ReadLogs
from agent_tui.model.settings import DEFAULTS
from agent_tui.model.state import AppState
from agent_tui.options.declare import ServerOptions
from agent_tui.tui.actions import ACTIONS, BY_NAME, ActionProvider, ActionRequested, FooterContext, Place
from agent_tui.tui.command_line import completions, describe
from agent_tui.tui.compositor import with_rows
from agent_tui.tui.key_queue import KeyQueue
from agent_tui.tui.preferences import DARK, OWN_THEMES, Preferences, default_exports, remapped
from agent_tui.tui.screens.page import FULL, Follower
from agent_tui.tui.summary import summary
from agent_tui.tui.talk_stream import TalkStream
from agent_tui.tui.terminal import ControlCharacters
from agent_tui.tui.ui_state_keeper import UiStateKeeper
from agent_tui.tui.widgets.breaches import Breaches
from agent_tui.tui.widgets.command_bar import CommandBar
from agent_tui.tui.widgets.detail import Detail
from agent_tui.tui.widgets.first_turns import FirstTurns
from agent_tui.tui.widgets.header import Header, PageHeader
from agent_tui.tui.widgets.key_bar import KeyBar
from agent_tui.tui.widgets.listing import Listing
from agent_tui.tui.widgets.log_pane import LogPane
from agent_tui.tui.widgets.options_panel import OptionsPanel
from agent_tui.tui.widgets.problems import NO_SPACE, no_space
from agent_tui.tui.widgets.processes import Processes
from agent_tui.tui.widgets.splits import SplitBody
from agent_tui.tui.widgets.start_pane import StartPane
from agent_tui.tui.widgets.status_line import FRESH_S, Notice, StatusLine, current, load_notice
from agent_tui.tui.widgets.talk_input import TalkInput
from agent_tui.tui.widgets.talk_notes import unsupported
from agent_tui.tui.widgets.talk_pane import TalkPane
from agent_tui.tui.widgets.text import one_line, project_path

if TYPE_CHECKING:  # what the first frame does not need
    from textual.screen import Screen
    from textual.worker import Worker

    from agent_tui.tui.action_handlers import ActionHandlers

PAINT_S = 0.1
CLOCK_TICKS = 10
"""After this many ticks without a change, paint anyway: some texts count seconds."""

SETTLE_TICKS = 6
"""After a change, paint for this many ticks: panels that paint twice a second catch up with it."""

CONTROL_CHARACTERS = ControlCharacters()
"""A single instance: Textual caches the lines that a filter has processed."""

SIGNAL_COLORS = ("text-error", "text-warning", "text-success", "error", "warning")
"""The theme's variables that repeat a sign in color."""

OPEN_WITHIN_S = 1.0
"""The longest time that keys wait for a page to open, in s."""

NOTICES = 50
WIDGET_KEY = 2
"""The drop priority of the focused widget's own keys in the footer."""

SHARED_KEYS = ("ctrl+left", "ctrl+right", "ctrl+g")
"""Keys that a focused input or page uses itself."""

P = TypeVar("P", bound=Widget)

MakeEngine = Callable[[], Awaitable[EngineAPI]]


_NAMES = [action.name for action in ACTIONS]


def footer_order(binding: Binding) -> int:
    """Return the place of a key in the footer: first the focused widget's own, then those of the registry."""
    return _NAMES.index(binding.id) if binding.id in _NAMES else -1


class AgentTuiApp(App[int]):
    """The screen of one engine. It starts the engine after the first frame and stops it at exit."""

    TITLE = "agent-tui"
    CSS_PATH = "app.tcss"
    COMMANDS = App.COMMANDS | {ActionProvider}
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012  the base class declares its type
        (0, "-narrow"),
        (110, "-wide"),
        (180, "-wider"),
    ]
    VERTICAL_BREAKPOINTS = [(30, "-high"), (50, "-tall")]  # noqa: RUF012  the same
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            key,
            f"act({action.name!r})",
            action.footer or action.title,
            show=bool(action.footer) and key == action.keys[0],
            tooltip=action.help,
            # Also while another widget or a page has the focus.
            priority=key.startswith(("ctrl+", "f1")) and key not in SHARED_KEYS,
            id=action.name,
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
        talk: bool = False,
        confirmed_host: str = "",
        preferences: Preferences = Preferences(),  # noqa: B008  it is frozen
        ui_state: Path | None = None,
        now: Callable[[], float] = time.time,
        exit_process: Callable[[int], object] = os._exit,
    ) -> None:
        """Create the app. `agent` is the agent file's path, shown until the engine is running.

        `dispatch` test jobs start once the worker is ready. With `talk`, the first session that starts is
        shown, ready to type. `ui_state` is the file of the UI state; without
        it, nothing is saved.
        """
        super().__init__()
        self.error_console = Console(highlight=False, stderr=True, color_system=None)
        self.actions = remapped(ACTIONS, preferences.keys)
        """The registry, with the user's keys."""
        self.moves = preferences.moves
        """Keys that act as another one, except where text is typed."""
        self.preferences = preferences
        for own in OWN_THEMES:
            self.register_theme(own)
        self.set_keymap(preferences.bindings)
        self.ui_state = UiStateKeeper(self, ui_state)
        self.theme = (
            preferences.theme or self.ui_state.state.theme or os.environ.get("TEXTUAL_THEME") or DARK.name
        )
        self._make_engine = make_engine
        self.now = now
        self._engine: EngineAPI | None = None
        self._engine_task: asyncio.Task[None] | None = None
        self.state = AppState(agent=agent)
        """The state that the last paint showed."""
        self._first_dispatch = dispatch
        self._talk = talk
        self._started = now()
        self.summary = ""
        """What the terminal keeps after the screen has closed; empty unless the engine ended by itself."""
        self.confirmed_host = confirmed_host
        """The remote host on which the user allowed test jobs in this run."""
        self.quitting = False
        self.killing = False
        """Whether a forced stop was requested; the next `quit` exits without waiting."""
        self._exit_process = exit_process
        self._offered: tuple[tuple[bool, int | None], ...] = ()
        self._shown_settings = DEFAULTS
        self._reading_logs: Worker[None] | None = None
        self._panels: dict[type[Widget], Widget] = {}
        self.painted: Signal[AppState] = Signal(self, "painted")
        """Published with the state after each paint."""
        self.notices: deque[Notice] = deque(maxlen=NOTICES)
        """The last notices; the status line shows the newest."""
        self._talk_stream = TalkStream(self)
        self._key_queue = KeyQueue(self, self._pass_on)
        self._ticks = 0
        self._settling = 0

    def get_driver_class(self) -> type[Driver]:
        from agent_tui.tui.terminal import Terminal

        usual = super().get_driver_class()
        return Terminal if usual in Terminal.__bases__ else usual

    def get_default_screen(self) -> "Screen[object]":
        screen = with_rows(super().get_default_screen())
        width, height = self.size
        for breakpoints, cells in ((self.HORIZONTAL_BREAKPOINTS, width), (self.VERTICAL_BREAKPOINTS, height)):
            # Textual adds them after the first layout, and then applies the styles of all widgets again.
            reached = [name for at, name in sorted(breakpoints or ()) if cells >= at]
            screen.add_class(*reached[-1:], update=False)
        return screen

    def get_css_variables(self) -> dict[str, str]:
        variables = super().get_css_variables()
        if self.no_color:  # errors would be the darkest gray: a color's brightness is all that is left of it
            variables.update(dict.fromkeys(SIGNAL_COLORS, variables["foreground"]))
        return variables

    def get_line_filters(self) -> Sequence[LineFilter]:
        return (*super().get_line_filters(), CONTROL_CHARACTERS)

    def _fatal_error(self) -> None:
        """Exit with a traceback. Textual's version would print local variables, which may hold secrets."""
        self._exit_renderables.append(Text(traceback.format_exc()))
        self._close_messages_no_wait()

    # -- start and stop --------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield Header(id="header")
        with SplitBody(id="body"):
            with Vertical(id="left"):
                yield StartPane(id="start")
                yield Processes(id="processes")
                yield Breaches(id="breaches")
                yield LogPane(id="logs")
            yield Detail(id="detail")
        yield StatusLine()
        yield FirstTurns()
        yield CommandBar(lambda text: completions(text, self.state), describe, id="command")
        yield KeyBar(self._drop_priority, footer_order)

    def on_mount(self) -> None:
        self.panel(TalkPane).limits = self.preferences.limits
        keys = {action.name: action.shown_keys for action in self.actions}
        self.panel(Processes).name_key(keys["focus_processes"])
        self.panel(Detail).name_key(keys["focus_detail"])
        self.panel(LogPane).name_key(keys["focus_logs"])
        self.show()
        if self._talk:
            self.panel(FirstTurns).open()
        else:
            self.panel(Processes).focus()
        self.ui_state.restore()
        self.set_interval(PAINT_S, self._paint)
        self.call_after_refresh(self._start)

    def _start(self) -> None:
        self._engine_task = asyncio.create_task(self._run_engine(), name="engine")

    async def _run_engine(self) -> None:
        """Run the engine until it stops, then exit the app, also if the engine fails."""
        try:
            self._engine = await self._make_engine()
            self.panel(Detail).engine = self._engine
            async with self._engine:
                await asyncio.to_thread(importlib.import_module, "agent_tui.tui.action_handlers")
                await self._engine.closed()
            self.state = self._engine.state
            self.summary = summary(self.state, self.now() - self._started)
            self.exit(ExitCode.OK)
        except Exception as error:
            # Exit here: without an engine, no key would work.
            shown = error if isinstance(error, UserError) else InternalError("screen", error)
            self.exit(shown.exit_code, return_code=shown.exit_code, message=Text(f"agent-tui: {shown}"))

    async def stop(self, reason: str, kill: bool, *, drain: bool = False) -> None:
        """Stop the engine, gracefully or with `kill` by force; the app exits when it has stopped."""
        self.quitting, self.killing = True, self.killing or kill
        if self._engine is not None and self._engine.up:
            await self._engine.send(cmd.Stop(reason, kill, drain))
        else:
            if self._engine_task is not None:
                self._engine_task.cancel()
            self.exit(ExitCode.OK)

    def exit(
        self, result: int | None = None, return_code: int = 0, message: RenderableType | None = None
    ) -> None:
        self.ui_state.close()
        super().exit(result, return_code, message)

    def leave(self, code: int) -> None:
        """Restore the terminal and exit at once, without waiting. Children end when their host is gone."""
        if self._driver is not None:
            with contextlib.suppress(Exception):
                self._driver.stop_application_mode()
                self._driver.close()
        self._exit_process(code)

    async def ended(self) -> None:
        """Wait until the engine has stopped; stop it if the screen failed before."""
        if self._engine_task is None or self._engine_task.done():
            return
        if self._engine is not None and self._engine.up:
            await self._engine.send(cmd.Stop("the screen failed"))
        else:
            self._engine_task.cancel()
        await asyncio.gather(self._engine_task, return_exceptions=True)

    # -- painting --------------------------------------------------------------------------------------

    @property
    def _is_reading_logs(self) -> bool:
        return self._reading_logs is not None and not self._reading_logs.is_finished

    async def _read_logs(self) -> None:
        """Read the log lines that the log pane does not have yet and add them to it."""
        pane = self.panel(LogPane)
        while pane.end < self.state.log_end:
            first = pane.end
            answer = await self.engine.request(ReadLogs(first, self.state.log_end))
            pane.add(answer.lines)
            if pane.end == first:
                return  # the store has evicted all of them

    def _refresh_keys(self) -> None:
        """Rebuild the footer if the actions that it offers changed; it costs a layout."""
        context = self._footer_context
        offered = tuple(
            (action.enabled(self.state), action.footer_priority(context, action.place)) for action in ACTIONS
        )
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    @property
    def _footer_context(self) -> FooterContext:
        process = self.panel(Processes).selected
        job = self.state.jobs.get(process.job_id or "") if process is not None else None
        return FooterContext(self.state, self.now(), job)

    def _paint(self) -> None:
        """Paint the engine's state if it changed since the last paint."""
        before = self.state
        if self._engine is not None:
            self.state = self._engine.state
        changed = self.state is not before
        self._ticks += 1
        self._settling = SETTLE_TICKS if changed else self._settling - 1
        if not changed and self._settling != 0 and self._ticks % CLOCK_TICKS:
            return  # nothing to paint
        self.show()
        self._refresh_keys()
        if changed:
            self._notify_lost(before)
            self._notify_tuned(before)
            self._notify_loaded(before)
        self.painted.publish(self.state)
        if self.state.sessions and self._engine is not None:
            self._talk_stream.look()
        if self._talk:
            self._expect_talk()
        if self._first_dispatch and self.state.is_ready_for_tests(self.in_force.num_idle_processes):
            count, self._first_dispatch = self._first_dispatch, 0
            self._in_background(lambda: self.action_handlers.make(cmd.Dispatch(count)))

    def _expect_talk(self) -> None:
        """Show the first session once it has started, and send it what was typed until then."""
        first = self.panel(FirstTurns)
        if self.state.sessions:
            session = next(iter(self.state.sessions.values()))
            job, processes = self.state.jobs.get(session.job_id), self.panel(Processes)
            if job is None or not job.process_id or self.focused not in (processes, first.field):
                self._end_first_turns(session)
                return
            processes.choose(job.process_id)
            if processes.chosen == job.process_id:
                self.show()
                self.action_handlers.start_typing()
                self._end_first_turns(session)
        elif unsupported(self.state) is not None:
            self._end_first_turns(None)

    def _end_first_turns(self, session: SessionView | None) -> None:
        """Close the line for first turns after the focus has moved, and send them to the session."""
        self._talk = False
        first, pane = self.panel(FirstTurns), self.panel(TalkPane)

        def end() -> None:
            if self.focused is first.field:
                self.panel(Processes).focus()
            first.close()
            if session is None:
                return
            for text in first.take():
                self.post_message(TalkPane.Said(pane, cmd.Say(session.job_id, text, session.number)))
            if pane.session is not None and pane.session.key == session.key:
                pane.input.paste(first.take_text())

        self.call_after_refresh(end)

    def _notify_lost(self, before: AppState) -> None:
        """Notify why a dispatch was lost."""
        if self.state.totals.lost == before.totals.lost:
            return
        if news := [each for each in self.state.dispatches if each.lost and each not in before.dispatches]:
            more = f" (and {len(news) - 1} more)" if len(news) > 1 else ""
            self.notify_line(f"{news[-1].lost} · no job in {news[-1].room}{more}", failed=True)

    def _notify_tuned(self, before: AppState) -> None:
        """Notify that a load or sweep finished, unless a page is open."""
        ran = before.tuning.summary
        if ran and not self.state.tuning.summary and len(self.screen_stack) == 1:
            self.notify_line(f"{ran.rpartition(' ')[0]} finished · T show results")

    def _notify_loaded(self, before: AppState) -> None:
        if notice := load_notice(before, self.state):
            self.notify_line(notice.text, failed=notice.failed, solved=notice.solved)

    @property
    def is_covered(self) -> bool:
        """Whether a page covers the dashboard."""
        return any(screen.has_class(FULL) for screen in self.screen_stack[1:])

    @property
    def _background_screens(self) -> "list[Screen[object]]":
        """The screens that are visible below the top one. Textual lays out the next one in any case."""
        return [] if self.screen.styles.background.a == 1 else super()._background_screens

    def pop_screen(self) -> AwaitComplete:
        was_covered = self.is_covered
        popped = super().pop_screen()
        if was_covered and not self.is_covered:
            self.show()
            self.refresh_bindings()
        return popped

    def show(self) -> None:
        """Pass the state to each panel and page that can be seen; each paints only what changed."""
        if not self.panel(Header).is_attached:
            return  # the app is exiting
        with self.batch_update():
            if not self.is_covered:
                self._show_dashboard()
            if self.state.log_end > self.panel(LogPane).end and not self._is_reading_logs:
                self._reading_logs = self.run_worker(self._read_logs(), group="logs")
            self._show_pages()

    def _show_dashboard(self) -> None:
        state, now, options = self.state, self.now(), self.in_force
        start, header = self.panel(StartPane), self.panel(Header)
        start.show(state, now, options)
        start.set_class(start.needed, "-shown")
        self.screen_stack[0].set_class(bool(start.found), "-problems")
        start.set_class(state.generation.current > 0, "-serving")
        header.show(state, now, options)
        self.panel(Processes).show(state, now)
        self.panel(LogPane).show(state, now)
        self.panel(Breaches).show(state, now)
        self.panel(Detail).show(state, now, self.panel(Processes).selected_entry)
        self.panel(OptionsPanel).show(state, now)
        if state.settings is not self._shown_settings:
            self._shown_settings = state.settings
            self.panel(LogPane).level = state.settings.log_level
        self.panel(StatusLine).show(current(self.notices, state, now), now)

    def _show_pages(self) -> None:
        state, now = self.state, self.now()
        notice = current(self.notices, state, now)
        for screen in self.screen_stack[1:]:
            for line in screen.children:
                if isinstance(line, StatusLine):  # it covers the keys of the page
                    line.show(notice if notice and now - notice.at < FRESH_S else None, now)
                elif isinstance(line, PageHeader):
                    line.show(state, now, self.in_force)
            if isinstance(screen, Follower):
                screen.show(state, now)

    def panel(self, kind: type[P]) -> P:
        """Return the panel of that class. Cached, because a query walks the whole screen."""
        if kind not in self._panels:
            self._panels[kind] = self.screen_stack[0].query_one(kind)
        panel = self._panels[kind]
        assert isinstance(panel, kind)
        return panel

    def _drop_priority(self, binding: Binding) -> int | None:
        """Return how soon the footer drops a key; None for keys that are about another panel."""
        action = BY_NAME.get(binding.id or "")
        if action is None:
            return WIDGET_KEY
        if isinstance(self.screen_stack[0].focused, Input) and binding.key not in SHARED_KEYS:
            return None  # there, its key is text
        return action.footer_priority(self._footer_context, self._place)

    @property
    def _place(self) -> Place:
        """The part of the dashboard that has the focus; the process table also stands for all other parts."""
        focused: dict[Place, type[Widget]] = {Place.LOGS: LogPane, Place.TALK: TalkPane}
        found = (place for place, kind in focused.items() if self.panel(kind).has_focus_within)
        return next(found, Place.PROCESSES)

    # -- actions ---------------------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            await self._key_queue.add(event)
        else:
            await super().on_event(event)

    async def _pass_on(self, event: events.Event) -> None:
        """Pass a key or pasted text to the focused widget."""
        typing = isinstance(self.focused, Input)
        if isinstance(event, events.Key) and not typing:
            other = self.moves.get(event.key)
            event = event if other is None else events.Key(other, None)
        elif isinstance(event, events.Paste) and typing and not isinstance(self.focused, TalkInput):
            lines = event.text.splitlines()
            if len(lines) > 1:  # Textual's inputs would keep only the first one
                event = events.Paste(" ".join(line.strip() for line in lines))
        await super().on_event(event)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "act" and parameters:
            named = BY_NAME[str(parameters[0])]
            if named.name == "close_trouble" and self.panel(StartPane).own:
                return True  # a problem of the screen itself, which the state does not have
            return True if named.enabled(self.state) else None
        return super().check_action(action, parameters)

    async def action_quit(self) -> None:
        """Quit from Textual's command palette as with the key, and not at once."""
        self._do("quit")

    async def action_act(self, name: str) -> None:
        """Run an action of the registry, in the background if it may wait."""
        action = BY_NAME[name]
        if action.target is not None:
            await self._guarded(lambda: self.act(name))
            return
        if action.opens_page:
            await self._open_page(name)
        else:
            self._do(name)

    async def _open_page(self, name: str) -> None:
        """Run an action, and wait until its page can take keys or the action ends; the next keys wait."""
        below, settled = self.screen, asyncio.Event()
        self.screen_change_signal.subscribe(self, lambda _: settled.set(), immediate=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OPEN_WITHIN_S):
                self._do(name, settled.set)
                await settled.wait()
                if self.screen is not below:
                    focused = asyncio.Event()
                    self.screen.call_later(focused.set)  # after it is mounted and has set the focus
                    await focused.wait()
        self.screen_change_signal.unsubscribe(self)

    async def act(self, name: str) -> None:
        """Run an action of the registry to its end."""
        action = BY_NAME[name]
        if action.target is None:
            await self.action_handlers.of(name)()
            return
        dashboard = self.screen_stack[0]
        receiver = action.receiver(dashboard.focused, self.panel(action.target))
        if self.panel(LogPane) in receiver.ancestors_with_self:
            dashboard.remove_class("-detail")  # on a narrow terminal, the tabs may be in its place
            self.panel(SplitBody).reveal(self.panel(LogPane))
        await self.run_action(name, receiver)

    def _do(self, name: str, then: Callable[[], object] = lambda: None) -> None:
        """Run an action in the background, then call `then`."""

        async def run() -> None:
            try:
                await self.act(name)
            finally:
                then()

        self._in_background(run)

    def _in_background(self, act: Callable[[], Awaitable[object]]) -> None:
        """Run what may wait for an answer; a UserError becomes a notice."""
        self.run_worker(self._guarded(act), group="actions")

    async def _guarded(self, act: Callable[[], Awaitable[object]]) -> None:
        try:
            await act()
        except UserError as error:
            self.notify_line(str(error), failed=True)

    # -- messages from panels --------------------------------------------------------------------------

    @on(ActionRequested)
    def action_requested(self, event: ActionRequested) -> None:
        self._do(event.name)

    @on(OptionsPanel.Edited)
    def edited(self, event: OptionsPanel.Edited) -> None:
        self.run_worker(self.set_option(event.name, event.value), group="actions")

    @on(Processes.RowHighlighted)
    def row_selected(self) -> None:
        self.panel(Detail).show(self.state, self.now(), self.panel(Processes).selected_entry)
        self._refresh_keys()

    @on(PageHeader.Opened)
    def page_opened(self, event: PageHeader.Opened) -> None:
        event.header.show(self.state, self.now(), self.in_force)

    @on(Detail.TabClicked)
    def tab_clicked(self, event: Detail.TabClicked) -> None:
        self.panel(Detail).tab = event.tab

    @on(CommandBar.Entered)
    def command_entered(self, event: CommandBar.Entered) -> None:
        self._in_background(lambda: self.action_handlers.run_command(event.text))

    @on(Listing.CopyRequested)
    def copy_requested(self, event: Listing.CopyRequested) -> None:
        self._in_background(lambda: self.action_handlers.copy(event.facts))

    @on(Breaches.OptionSelected, "Breaches")
    def breach_opened(self, event: Breaches.OptionSelected) -> None:
        key = self.panel(Breaches).key_at(event.option_index)
        self._in_background(lambda: self.action_handlers.breaches(key))

    @on(Processes.EndRequested)
    def end_requested(self, event: Processes.EndRequested) -> None:
        self._in_background(lambda: self.action_handlers.end_job(event.job_id))

    @on(Processes.JobRequested)
    async def job_requested(self, event: Processes.JobRequested) -> None:
        # At once: the next keys may be for the input.
        await self._guarded(lambda: self.action_handlers.talk_to(event.job_id))

    @on(Processes.DispatchRequested)
    def dispatch_requested(self, event: Processes.DispatchRequested) -> None:
        self._in_background(lambda: self.action_handlers.open_dispatch(event.key))

    @on(TalkPane.Said)
    def said(self, event: TalkPane.Said) -> None:
        self._in_background(lambda: self.action_handlers.say(event.pane, event.command))

    @on(TalkPane.InterruptRequested)
    def interrupt_requested(self, event: TalkPane.InterruptRequested) -> None:
        self._in_background(lambda: self.ask(event.command, quiet=True))

    @on(TalkPane.ContextRequested)
    def context_requested(self, event: TalkPane.ContextRequested) -> None:
        self._in_background(lambda: self.action_handlers.open_context(event.command))

    @on(TalkPane.SaveRequested)
    def save_requested(self, event: TalkPane.SaveRequested) -> None:
        self._in_background(lambda: self.action_handlers.save_talk(event.session))

    @on(TalkInput.Left)  # the conversation handles its own
    def first_turns_left(self) -> None:
        self.panel(FirstTurns).close()
        self.panel(Processes).focus()

    @on(TalkPane.Left)
    def talk_left(self) -> None:
        self.panel(Processes).focus()

    # -- helpers -----------------------------------------------------------------------------------------

    @property
    def in_force(self) -> ServerOptions:
        return self.state.settings.options

    @property
    def engine(self) -> EngineAPI:
        if self._engine is None:
            raise UserError("agent-tui is still starting")
        return self._engine

    @property
    def exports(self) -> Path:
        """The folder of screenshots and exported logs. Raises UserError for a user without a home folder."""
        try:
            return self.preferences.exports or default_exports(os.environ)
        except OSError as error:
            raise UserError(f"no folder for exports: {error.strerror} · or set screen.exports") from None

    @cached_property
    def action_handlers(self) -> "ActionHandlers":
        """The handlers of all actions; imported at first use, after the first frame."""
        from agent_tui.tui.action_handlers import ActionHandlers

        return ActionHandlers(self)

    async def host_confirmed(self, what: str) -> bool:
        """Ask whether `what` may run on the remote server; return whether it may."""
        from agent_tui.tui.screens.remote_guard import Answer, RemoteGuard

        if self.state.server is None:
            return False
        host = self.state.server.host
        answer = await self.push_screen_wait(RemoteGuard(host, what))
        if answer not in (Answer.YES, Answer.ALWAYS):
            return False
        self.confirmed_host = host
        if answer is Answer.ALWAYS:
            await self.ask(cmd.AllowRemote(host))
        return True

    async def set_option(self, name: str, value: str) -> bool:
        """Set one option and return whether it was accepted; the options panel shows the error if not."""
        result = await self.ask(cmd.SetOptions({name: value}), quiet=True)
        if not result.ok:
            self.panel(OptionsPanel).failed(name, result.text)
        return result.ok

    async def ask(self, command: cmd.Command, *, quiet: bool = False) -> cmd.CommandResult:
        """Send a command and notify the user of its result; `quiet` suppresses success."""
        result = await self.engine.send(command)
        if not result.refused and not (quiet and result.ok):
            self.notify_line(result.text, failed=not result.ok)
        return result

    def saved(self, what: str, path: Path, error: OSError | None = None) -> None:
        """Note that the screen has saved a file, or why it could not; a full disk is a problem at the top."""
        own, shown = self.panel(StartPane).own, project_path(str(path))
        own.pop(what, None)
        if error is None:
            return
        if error.errno in NO_SPACE:
            own[what] = no_space(what, shown, error)
        self.notify_line(f"{what} not saved: {error.strerror or error} · {shown}", failed=True)

    def notify_line(
        self, text: str, *, failed: bool = False, solved: Callable[[AppState], bool] | None = None
    ) -> None:
        """Show one line of plain text on the status line, until it is `solved` in a state, or for a while."""
        self._put_notice(Notice(one_line(text), self.now(), failed, solved))

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """Show the message on the status line of the dashboard, and of the page that is open."""
        self._put_notice(Notice(one_line(message), self.now(), failed=severity == "error"))

    def _put_notice(self, notice: Notice) -> None:
        self.notices.append(notice)
        for screen in {self.screen_stack[0], self.screen} if self.screen_stack else ():
            lines = screen.query(StatusLine)
            if not lines:
                screen.mount(line := StatusLine())
                line.show(notice, notice.at)
            for line in lines:
                line.show(notice, notice.at)
