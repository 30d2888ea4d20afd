"""The detail pane: tabs for the selected row of the process table, and for the options."""

from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message

from agent_tui.engine.engine_api import EngineAPI
from agent_tui.model.commands import DumpStacks
from agent_tui.model.errors import UserError
from agent_tui.model.events import ProcessState
from agent_tui.model.logs import LogLine
from agent_tui.model.state import AppState, ProcessView
from agent_tui.tui.job_log import JobLog
from agent_tui.tui.widgets.detail_text import (
    Stacks,
    Tab,
    entry_title,
    job_lines,
    job_of,
    logs_of,
    memory_of,
    no_talk,
    stacks_of,
)
from agent_tui.tui.widgets.line_text import LineText
from agent_tui.tui.widgets.memory_plot import Levels
from agent_tui.tui.widgets.options_panel import OptionsPanel
from agent_tui.tui.widgets.processes import Entry, key_of
from agent_tui.tui.widgets.source import Frame
from agent_tui.tui.widgets.stack_rows import top_frame
from agent_tui.tui.widgets.tabs import tab_title
from agent_tui.tui.widgets.talk_notes import sessions_of, why_none
from agent_tui.tui.widgets.talk_pane import TalkPane
from agent_tui.tui.widgets.text import Line, clip

PAINT_S = 0.5
"""Time between paints of the same row and tab."""

MAX_NAME = 40

RECENT = 2_000
"""How many lines of all processes are searched for the last ones of a job, in the Job tab."""


class Detail(Vertical):
    """One tab at a time, named in the border. The app passes the state and the selected row."""

    ALLOW_SELECT = False  # a drag of its border moves the split; its text can still be selected
    DEFAULT_CSS = """
    Detail {
        border: round $foreground 30%;
        border-title-color: $foreground;
        border-subtitle-color: $foreground-muted;

        &:focus-within { border: round $accent; }
        #detail-scroll { padding: 0 1; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
        #detail-text { height: auto; }
        OptionsPanel { display: none; }
        &.-options OptionsPanel { display: block; }
        &.-options #detail-scroll { display: none; }
        TalkPane { display: none; }
        &.-talking TalkPane { display: block; }
        &.-talking #detail-scroll { display: none; }
    }
    """

    @dataclass
    class TabClicked(Message):
        """The user clicked a tab."""

        tab: Tab

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.engine: EngineAPI | None = None
        """The engine's API for log lines and stacks; None until the engine runs."""
        self._key = ""
        self._tab = Tab.TALK
        self._text = LineText(id="detail-text")
        self._scroll = VerticalScroll(self._text, id="detail-scroll")
        self._state = AppState()
        self._now = 0.0
        self._entry: Entry | None = None
        self._painted_at = float("-inf")
        self._shown: tuple[Line, ...] | None = None
        self._title: tuple[Tab, str] | None = None
        self._log: JobLog | None = None
        self._recent: JobLog | None = None
        self._stacks: Stacks | None = None
        self._stacks_for = ""

    def compose(self) -> ComposeResult:
        yield self._scroll
        yield TalkPane(id="talk")
        yield OptionsPanel(id="options")

    def on_mount(self) -> None:
        self._paint()

    def on_resize(self) -> None:
        self.call_after_refresh(self._paint)

    # -- called by the app -------------------------------------------------------------------------------

    def show(self, state: AppState, now: float, entry: Entry | None) -> None:
        """Show the state; `entry` is the selected row, `now` is in Unix seconds."""
        moved = _key(entry) != _key(self._entry)
        self._state, self._now, self._entry = state, now, entry
        if moved:
            self._scroll.scroll_home(animate=False)
        self._show_talk()
        if moved or not 0 <= now - self._painted_at < PAINT_S:
            self._paint()

    def name_key(self, key: str) -> None:
        """Name the key that moves the focus here before the tabs."""
        self._key, self._title = key, None
        self._retitle()

    def _show_talk(self) -> None:
        """Show the selected row's conversation in the Talk tab, if there is one."""
        job_id = self._entry.job_id if self._entry is not None else None
        is_talking = self._tab is Tab.TALK and bool(sessions_of(job_id, self._state))
        if is_talking is not self.has_class("-talking"):
            had_focus = self.has_focus_within
            self.set_class(is_talking, "-talking")
            self.call_after_refresh(self.focus_content if had_focus else self._paint)
        if is_talking and job_id:
            self.query_one(TalkPane).show(self._state, self._now, job_id)

    @property
    def is_talking(self) -> bool:
        """Whether a conversation is shown."""
        return self.has_class("-talking")

    def type(self) -> None:
        """Move the focus to the input line. Raise UserError if there is no conversation."""
        if not self.is_talking:
            raise UserError(why_none(self._entry, self._state))
        self.query_one(TalkPane).type()

    @property
    def tab(self) -> Tab:
        """The selected tab; settable."""
        return self._tab

    @tab.setter
    def tab(self, tab: Tab) -> None:
        self._tab = tab
        self.set_class(tab is Tab.OPTIONS, "-options")
        self._stacks_for = ""
        self._show_talk()
        self._paint()
        if tab is Tab.LOGS:
            self.call_after_refresh(self._scroll.scroll_end, animate=False)
        else:
            self._scroll.scroll_home(animate=False)

    @property
    def shown_frame(self) -> Frame | None:
        """The first frame of the project's code in the shown stacks; None if no stacks are shown."""
        stacks, shown = self._stacks, self.display and self._tab is Tab.STACKS
        return top_frame(stacks.text) if shown and stacks and stacks.process_id == _key(self._entry) else None

    def step(self, by: int) -> None:
        """Select the next tab, or the previous one."""
        tabs = list(Tab)
        self.tab = tabs[(tabs.index(self._tab) + by) % len(tabs)]

    def focus_content(self) -> None:
        """Move the focus into the selected tab."""
        if self._tab is Tab.OPTIONS:
            self.query_one(OptionsPanel).focus()
        elif self.is_talking:
            self.query_one(TalkPane).view.focus()
        else:
            self._scroll.focus()

    # -- painting ----------------------------------------------------------------------------------------

    def _paint(self) -> None:
        self._retitle()
        width = self._scroll.scrollable_content_region.width
        if self._tab is Tab.OPTIONS or self.is_talking or not self.is_mounted or width <= 0:
            return
        self._painted_at = self._now
        self._read()
        lines = self._lines(width, self._scroll.size.height)
        if lines != self._shown:
            follows = self._tab is Tab.LOGS and self._scroll.is_vertical_scroll_end
            self._shown = lines
            self._text.show(lines)
            if follows:
                self.call_after_refresh(self._scroll.scroll_end, animate=False)

    def _lines(self, width: int, height: int) -> tuple[Line, ...]:
        entry, state, now = self._entry, self._state, self._now
        match self._tab:
            case Tab.TALK:
                return no_talk(entry, state, now, width, height, _lines_of(self._recent, entry))
            case Tab.LOGS:
                return logs_of(_lines_of(self._log, entry), entry, width)
            case Tab.MEMORY:
                return memory_of(entry, state, now, Levels.of(state.settings.options), width, height)
            case Tab.STACKS:
                return stacks_of(self._stacks, entry, state, now, width)
        return job_lines(entry, state, now, width, height, _lines_of(self._recent, entry))

    def _retitle(self) -> None:
        is_options = self._tab is Tab.OPTIONS and self.is_mounted
        shown = self.query_one(OptionsPanel).note if is_options else entry_title(self._entry, self._state)
        named = clip(shown, MAX_NAME)
        if (title := (self._tab, named)) == self._title:
            return
        self._title = title
        tabs = tab_title({tab.value: tab.value for tab in Tab}, self._tab.value)
        self.border_title = Content(f"{self._key} " if self._key else "") + tabs
        self.border_subtitle = Content(named)

    def on_click(self, event: events.Click) -> None:
        if name := event.style.meta.get("tab"):
            self.post_message(self.TabClicked(Tab(name)))

    # -- reading -----------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Start to read what the selected tab needs and does not have."""
        if self.engine is None:
            return
        owner = _owner(self._entry)
        if self._tab is Tab.LOGS and owner:
            if self._log is None or self._log.owner != owner:
                self._log = JobLog(self.engine, owner)
            self.run_worker(self._read_log(self._log), group="log")
        elif self._tab in (Tab.TALK, Tab.JOB) and job_of(self._entry, self._state) is not None:
            if self._recent is None or self._recent.owner != owner:
                self._recent = JobLog(self.engine, owner, self._state.log_end - RECENT)
            if self._recent.end < self._state.log_end:
                self.run_worker(self._read_log(self._recent), group="log")
        running = isinstance(self._entry, ProcessView) and self._entry.state is not ProcessState.ENDED
        if self._tab is Tab.STACKS and running and self._stacks_for != _key(self._entry):
            self._stacks_for = _key(self._entry)
            self.run_worker(self._read_stacks(self.engine, self._stacks_for), group="stacks", exclusive=True)

    async def _read_log(self, log: JobLog) -> None:
        if await log.read(self._state.log_end):
            # After the first layout: Textual would keep the height of the shorter text.
            self.call_after_refresh(self._paint)

    async def _read_stacks(self, engine: EngineAPI, process_id: str) -> None:
        result = await engine.send(DumpStacks(process_id))
        self._stacks = Stacks(process_id, result.text, self._now)
        self._paint()


def _key(entry: Entry | None) -> str:
    return "" if entry is None else key_of(entry)


def _lines_of(log: JobLog | None, entry: Entry | None) -> tuple[LogLine, ...]:
    """Return the lines that were read of the entry's log."""
    return tuple(log.lines) if log is not None and log.owner == _owner(entry) else ()


def _owner(entry: Entry | None) -> str:
    """Return the id whose log lines belong to the entry: its job's, or else its process's."""
    if isinstance(entry, ProcessView):
        return entry.job_id or entry.id
    return (entry.job_id or "") if entry is not None else ""
