"""The page of a running or ended job, and that of a dispatch that has no job."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from agent_tui.logs.sanitize import sanitize
from agent_tui.model.commands import DescribeJob
from agent_tui.model.errors import UserError
from agent_tui.model.reduce import HISTORY
from agent_tui.model.state import LIVE_PHASES, AppState, JobView
from agent_tui.tui.editor import open_in_editor
from agent_tui.tui.job_log import JobLog
from agent_tui.tui.screens.page import LivePage, PageContext, TabbedPage, TextPage
from agent_tui.tui.screens.talk import TalkPage
from agent_tui.tui.widgets.detail_text import dispatch_lines
from agent_tui.tui.widgets.job_text import log_lines, log_title, overview_lines
from agent_tui.tui.widgets.processes import dispatch_of
from agent_tui.tui.widgets.source import failing_place, traceback_lines
from agent_tui.tui.widgets.talk_notes import sessions_of
from agent_tui.tui.widgets.text import Line, Span, Tone, clip, one_line, to_contents

LOG_TAIL = 8
"""Number of newest log lines that the overview shows."""

OVERVIEW, LOG, SENT = "overview", "log", "sent"
_TABS = {OVERVIEW: "Overview", LOG: "Log", SENT: "Job and token"}


class JobPage(TabbedPage, LivePage):
    """One running or ended job, in three tabs."""

    DEFAULT_CSS = """
    JobPage {
        #job-scroll { scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
        #job-text { height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", show=False),
        Binding("right", "step(1)", show=False),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
        Binding("space", "fold", "Library frames"),
        Binding("e", "edit", "Edit failing line"),
        Binding("C", "talk", "Conversation", id="talk"),
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

    def compose(self) -> ComposeResult:
        with Vertical(classes="page-box") as box:
            box.border_title = self.tab_title()
            with VerticalScroll(id="job-scroll"):
                yield Static(id="job-text", markup=False)
        yield self.key_bar()

    def tabs(self) -> Mapping[str, str]:
        return _TABS

    @property
    def tab(self) -> str:
        return self._tab

    def drop_priority(self, binding: Binding) -> int | None:
        crash = self._job.traceback if self._job is not None else ""
        unusable = {
            "fold": not crash or self._tab != OVERVIEW,
            "edit": failing_place(crash) is None,
            "talk": not sessions_of(self._job_id, self.state),
        }
        return None if unusable.get(binding.action) else super().drop_priority(binding)

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
        room = f"{clip(one_line(self._job.room), 60)} · " if self._job is not None else ""
        box = self.query_one(".page-box")
        box.border_title = self.tab_title()
        box.border_subtitle = Content(f"{room}{clip(one_line(self._job_id), 40)}")
        self.refresh_bindings()

    async def _read_log(self) -> None:
        """Read the job's new log lines and show them."""
        if await self._log.read(self.state.log_end):
            # After the first layout: Textual would keep the height of the shorter text.
            self.call_after_refresh(self.repaint)

    def _lines(self, width: int) -> tuple[Line, ...]:
        if self._tab == SENT:
            return tuple((Span(line),) for line in sanitize(self._sent, len(self._sent)).split("\n"))
        if self._tab == LOG:
            return log_lines(self._log.lines, width) or ((Span(self._no_log(), Tone.DIM),),)
        job = self._job
        if job is None:
            return ((Span(f"no details: only the last {HISTORY} ended jobs are kept", Tone.DIM),),)
        return self._overview(job, width)

    def _overview(self, job: JobView, width: int) -> tuple[Line, ...]:
        lines = overview_lines(job, self.state, self.now, width, self._crash(job.traceback, width))
        log = tuple(self._log.lines)
        tail = log[-LOG_TAIL:]
        # The traceback is above: of each record, its first row is enough.
        shown = (log_title(log, len(tail)), *log_lines(tail, width, rows=1)) if tail else ()
        return (*lines, (), *shown) if shown else lines

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

    def show_tab(self, tab: str) -> None:
        self._tab = tab
        self.repaint()
        scroll = self.query_one("#job-scroll", VerticalScroll)
        if self._tab == LOG:
            self.call_after_refresh(scroll.scroll_end, animate=False)
        else:
            scroll.scroll_home(animate=False)

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

    BINDINGS: ClassVar[list[BindingType]] = [Binding("i", "app.act('worker')", "Worker", id="worker")]

    def __init__(self, context: PageContext, key: str) -> None:
        """`key` is the key of the dispatch's row."""
        super().__init__("Dispatch", context, lambda state, now, width: _dispatch(key, state, now, width))


def _dispatch(key: str, state: AppState, now: float, width: int) -> tuple[Line, ...]:
    dispatch = dispatch_of(key, state)
    if dispatch is None:
        return ((Span("no details: only the last dispatches are kept", Tone.DIM),),)
    room = (Span("room ", Tone.DIM), Span(one_line(dispatch.room), Tone.STRONG))
    return (room, *dispatch_lines(dispatch, state, now, width))
