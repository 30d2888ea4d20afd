"""The jobs page: a table of running and recent jobs."""

from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from agent_tui.model.state import LIVE_PHASES, AppState
from agent_tui.tui.screens.job import DispatchPage, JobPage
from agent_tui.tui.screens.page import LivePage, PageContext
from agent_tui.tui.widgets.detail_text import dispatch_lines
from agent_tui.tui.widgets.job_text import overview_lines
from agent_tui.tui.widgets.jobs_table import JobsTable, jobless
from agent_tui.tui.widgets.processes import dispatch_of
from agent_tui.tui.widgets.source import traceback_lines
from agent_tui.tui.widgets.table import Order
from agent_tui.tui.widgets.text import Line, Span, Tone, counted, to_content, to_contents

ABOUT_FROM = 30
"""From this height of the terminal on, in rows, the selected job is described below the table."""


class JobsPage(LivePage):
    """A table of jobs and lost dispatches; Enter opens a row's page. Jobs of loads are hidden at first.

    On a tall terminal, the selected row's job is described below.
    """

    DEFAULT_CSS = """
    JobsPage {
        #jobs-note { height: 1; display: none; }
        #jobs-note.-shown { display: block; }
        #jobs-about { display: none; height: 1fr; border-top: solid $primary; text-wrap: nowrap; }
        &.-about #jobs-about { display: block; }
        &.-about JobsTable { height: auto; max-height: 50%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("h", "test_loads", "Test loads")]

    def __init__(self, context: PageContext, chosen: str | None = None, order: Order = Order()) -> None:  # noqa: B008
        """`chosen` is the id of the job to select at first, `order` the table's sort order."""
        super().__init__(context)
        self._first = chosen
        self._about: tuple[object, ...] = ()
        self.table = JobsTable(id="jobs-table")
        self.table.order = order

    def compose(self) -> ComposeResult:
        with Vertical(classes="page-box") as box:
            box.border_title = "Jobs"
            yield self.table
            yield Static(id="jobs-note", markup=False)
            yield Static(id="jobs-about", markup=False)
        yield self.key_bar()

    def on_mount(self) -> None:
        job = self.state.jobs.get(self._first or "")
        table = self.table
        table.test_loads = job is not None and job.test_load
        if job is not None:
            table.choose(job.id)
        table.focus()

    def drop_priority(self, binding: Binding) -> int | None:
        has_loads = any(job.test_load for job in self.state.jobs.values())
        return None if binding.action == "test_loads" and not has_loads else super().drop_priority(binding)

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.height >= ABOUT_FROM, "-about")
        super().on_resize(event)

    @on(JobsTable.RowHighlighted)
    def _show_about(self) -> None:
        """Show the selected row's job below the table, if there is room."""
        about, key = self.query_one("#jobs-about", Static), self.table.chosen or ""
        job, dispatch = self.state.jobs.get(key), dispatch_of(key, self.state)
        width = about.content_size.width
        if not self.has_class("-about") or not width:
            return
        shown = (
            job or dispatch,
            width,
            None if job is not None and job.phase not in LIVE_PHASES else self.now,
        )
        if shown == self._about:  # the traceback's file is read once
            return
        self._about, lines = shown, tuple[Line, ...]()
        if job is not None:
            crash = traceback_lines(job.traceback, width, self.state.agent)
            lines = overview_lines(job, self.state, self.now, width, crash)
        elif dispatch is not None:
            lines = dispatch_lines(dispatch, self.state, self.now, width)
        about.update(to_contents(lines))

    def paint(self) -> None:
        table = self.table
        table.show(self.state, self.now)
        note = note_line(self.state, test_loads=table.test_loads)
        shown = self.query_one("#jobs-note", Static)
        shown.update(to_content(note))
        shown.set_class(bool(note), "-shown")
        self._show_about()
        self.refresh_bindings()
        jobs, running = len(self.state.jobs), len(self.state.live_jobs)
        lost = sum(bool(each.lost) for each in jobless(self.state))
        counts = f"Jobs · {jobs}, {running} running" if jobs else "Jobs"
        self.query_one(".page-box").border_title = (
            f"{counts} · {counted(lost, 'lost dispatch', 'lost dispatches')}" if lost else counts
        )

    @on(JobsTable.Opened)
    def opened(self, event: JobsTable.Opened) -> None:
        is_job = event.key in self.state.jobs
        self.app.push_screen((JobPage if is_job else DispatchPage)(self.context, event.key))

    def action_test_loads(self) -> None:
        """Show or hide the jobs of test loads and sweeps."""
        self.table.toggle_test_loads()
        self.repaint()


def note_line(state: AppState, *, test_loads: bool) -> Line:
    """Return the line below the table: hidden jobs, or how to start the first one."""
    if not state.jobs and not jobless(state):
        return (Span("no jobs yet: each offered job appears here. Esc, then d starts one", Tone.DIM),)
    number = sum(job.test_load for job in state.jobs.values())
    if not number:
        return ()
    what = f"{counted(number, 'test-load job')} "
    return (Span(f"{what}shown · h hides them" if test_loads else f"{what}hidden · h shows them", Tone.DIM),)
