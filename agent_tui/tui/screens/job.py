"""The page of a running or ended job, and that of a dispatch that has no job."""

from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static, Tab, Tabs

from agent_tui.logs.sanitise import sanitise
from agent_tui.model.commands import DescribeJob
from agent_tui.model.errors import UserError
from agent_tui.model.reduce import HISTORY
from agent_tui.model.state import LIVE_PHASES, AppState, JobView
from agent_tui.tui.editor import open_in_editor
from agent_tui.tui.job_log import JobLog
from agent_tui.tui.screens.page import LivePage, PageContext, TextPage
from agent_tui.tui.screens.talk import TalkPage
from agent_tui.tui.widgets.detail_text import dispatch_lines
from agent_tui.tui.widgets.job_text import (
    TIME_LINE_WIDTH,
    job_memory,
    log_lines,
    log_title,
    summary_lines,
    time_line,
)
from agent_tui.tui.widgets.plot import beside
from agent_tui.tui.widgets.processes import dispatch_of
from agent_tui.tui.widgets.source import failing_place, traceback_lines
from agent_tui.tui.widgets.talk_notes import sessions_of
from agent_tui.tui.widgets.text import Line, Span, Tone, clip, one_line, to_contents

LOG_TAIL = 8
"""Number of newest log lines that the overview shows."""

OVERVIEW, LOG, SENT = "overview", "log", "sent"
_TABS = {OVERVIEW: "1 Overview", LOG: "2 Log", SENT: "3 Job and token"}


class JobPage(LivePage):
    """One running or ended job, in three tabs."""

    DEFAULT_CSS = """
    JobPage {
        Tabs { height: 2; }
        Tab { color: $foreground-muted; }
        #job-scroll { scrollbar-size-vertical: 1; }
        #job-text { height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"tab({name!r})", show=False) for number, name in enumerate(_TABS, 1)),
        Binding("left", "step(-1)", show=False),
        Binding("right", "step(1)", show=False),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
        Binding("space", "fold", "Library frames", show=False),
        Binding("e", "edit", "Edit", show=False),
        Binding("C", "talk", "Conversation", show=False, id="talk"),
    ]

    def __init__(self, context: PageContext, job_id: str) -> None:
        super().__init__(context)
        self._job_id = job_id
        self._tab = OVERVIEW
        self._sent = "loading…"
        self._log = JobLog(context.engine, job_id)
        self._shown: tuple[Line, ...] | None = None
        self._folded = True
        """Whether the traceback hides the frames of libraries."""
        self._crash_of: tuple[object, ...] = ()
        self._crash_shown: tuple[Line, ...] = ()
        self._subtitle = ""

    def compose(self) -> ComposeResult:
        with Vertical(classes="page-box") as box:
            box.border_title = Content(f"Job {clip(one_line(self._job_id), 40)}")
            tabs = Tabs(*(Tab(title, id=name) for name, title in _TABS.items()))
            tabs.can_focus = False
            yield tabs
            with VerticalScroll(id="job-scroll"):
                yield Static(id="job-text", markup=False)

    def on_mount(self) -> None:
        self.query_one("#job-scroll").focus()
        self.run_worker(self._ask(), group="describe", exclusive=True)

    async def _ask(self) -> None:
        result = await self.context.engine.send(DescribeJob(self._job_id))
        self._sent = result.text
        self.repaint()

    # -- painting ----------------------------------------------------------------------------------------

    def paint(self) -> None:
        self.run_worker(self._read_log(), group="log", exclusive=False)
        text = self.query_one("#job-text", Static)
        width = self.query_one("#job-scroll", VerticalScroll).scrollable_content_region.width
        if width == 0:
            return  # not laid out yet
        lines = self._lines(width)
        if lines != self._shown:
            self._shown = lines
            text.update(to_contents(lines))
        job = self._job
        edit = "e edit failing line · " if job is not None and failing_place(job.traceback) else ""
        talk = "C conversation · " if sessions_of(self._job_id, self.state) else ""
        subtitle = f"1 2 3 tabs · {edit}{talk}Esc close"
        if subtitle != self._subtitle:
            self._subtitle = self.query_one(".page-box").border_subtitle = subtitle

    async def _read_log(self) -> None:
        """Read the job's new log lines and show them."""
        if await self._log.read(self.state.log_end):
            # After the first layout: Textual would keep the height of the shorter text.
            self.call_after_refresh(self.repaint)

    def _lines(self, width: int) -> tuple[Line, ...]:
        if self._tab == SENT:
            return tuple((Span(line),) for line in sanitise(self._sent, len(self._sent)).split("\n"))
        if self._tab == LOG:
            return log_lines(self._log.lines, width) or ((Span(self._no_log(), Tone.DIM),),)
        job = self._job
        if job is None:
            return ((Span(f"no details: only the last {HISTORY} ended jobs are kept", Tone.DIM),),)
        return self._overview(job, width)

    def _overview(self, job: JobView, width: int) -> tuple[Line, ...]:
        room = max(width - TIME_LINE_WIDTH - 3, 20)
        memory = job_memory(job, self.state, self.now, room)
        figures = beside(time_line(job), memory, TIME_LINE_WIDTH, gap=3)
        crash = self._crash(job.traceback, width)
        log = tuple(self._log.lines)
        tail = log[-LOG_TAIL:]
        # The traceback is above: of each record, its first row is enough.
        shown = (log_title(log, len(tail)), *log_lines(tail, width, rows=1)) if tail else ()
        blocks = (summary_lines(job, self.state, width), crash, figures, shown)
        return tuple(line for block in blocks if block for line in (*block, ()))[:-1]

    def _no_log(self) -> str:
        if self._job is not None and self._job.phase in LIVE_PHASES:
            return "no log lines yet: the job's output and log records appear here"
        return "no log lines: the job wrote none, or they are no longer kept"

    def _crash(self, traceback: str, width: int) -> tuple[Line, ...]:
        """Return the traceback with the failing line. The file is read once per traceback and width."""
        wanted = (traceback, width, self._folded)
        if self._crash_of != wanted:
            self._crash_of = wanted
            hint = "space shows library frames" if self._folded else "space hides library frames"
            self._crash_shown = traceback_lines(
                traceback, width, self.state.agent, folded=self._folded, hint=hint
            )
        return self._crash_shown

    @property
    def _job(self) -> JobView | None:
        return self.state.jobs.get(self._job_id)

    # -- keys --------------------------------------------------------------------------------------------

    @on(Tabs.TabActivated)
    def switched(self, event: Tabs.TabActivated) -> None:
        event.stop()
        self._tab = event.tab.id or OVERVIEW
        self.repaint()
        scroll = self.query_one("#job-scroll", VerticalScroll)
        if self._tab == LOG:
            self.call_after_refresh(scroll.scroll_end, animate=False)
        else:
            scroll.scroll_home(animate=False)

    def action_tab(self, name: str) -> None:
        self.query_one(Tabs).active = name

    def action_step(self, by: int) -> None:
        names = list(_TABS)
        self.action_tab(names[(names.index(self._tab) + by) % len(names)])

    def action_scroll(self, lines: int) -> None:
        self.query_one("#job-scroll").scroll_relative(y=lines, animate=False)

    def action_fold(self) -> None:
        """Show or hide the frames of libraries."""
        self._folded = not self._folded
        self.repaint()

    def action_talk(self) -> None:
        """Show the conversation with the job's agent."""
        self.app.push_screen(TalkPage(self.context, self._job_id))

    def action_edit(self) -> None:
        """Open the line of the project's code that raised the error."""
        job = self._job
        place = failing_place(job.traceback) if job is not None else None
        try:
            if place is None:
                raise UserError("no failing line: this job has no traceback")
            open_in_editor(self.app, Path(place.file), place.line)
        except UserError as error:
            self.notify(str(error), severity="error", markup=False)


class DispatchPage(TextPage):
    """Shows why a test dispatch has no job (yet), or once it has one, the job's timeline."""

    def __init__(self, context: PageContext, key: str) -> None:
        """`key` is the key of the dispatch's row."""
        super().__init__("Dispatch", context, lambda state, now, width: _dispatch(key, state, now, width))


def _dispatch(key: str, state: AppState, now: float, width: int) -> tuple[Line, ...]:
    dispatch = dispatch_of(key, state)
    if dispatch is None:
        return ((Span("no details: only the last dispatches are kept", Tone.DIM),),)
    room = (Span("room ", Tone.DIM), Span(one_line(dispatch.room), Tone.STRONG))
    return (room, *dispatch_lines(dispatch, state, now, width))
