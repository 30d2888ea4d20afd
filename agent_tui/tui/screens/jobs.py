"""The jobs page: a table of running and recent jobs."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from agent_tui.model.state import AppState
from agent_tui.tui.screens.job import DispatchPage, JobPage
from agent_tui.tui.screens.page import LivePage, PageContext
from agent_tui.tui.widgets.jobs_table import JobsTable, jobless
from agent_tui.tui.widgets.table import Order
from agent_tui.tui.widgets.text import Line, Span, Tone, counted, to_content


class JobsPage(LivePage):
    """A table of jobs and lost dispatches; Enter opens a row's page. Jobs of loads are hidden at first."""

    DEFAULT_CSS = """
    JobsPage {
        #jobs-note { height: 1; display: none; }
        #jobs-note.-shown { display: block; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("h", "test_loads", "Test loads")]

    def __init__(self, context: PageContext, chosen: str | None = None, order: Order = Order()) -> None:  # noqa: B008
        """`chosen` is the id of the job to select at first, `order` the table's sort order."""
        super().__init__(context)
        self._first = chosen
        self.table = JobsTable(id="jobs-table")
        self.table.order = order

    def compose(self) -> ComposeResult:
        with Vertical(classes="page-box") as box:
            box.border_title = "Jobs"
            yield self.table
            yield Static(id="jobs-note", markup=False)
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

    def paint(self) -> None:
        table = self.table
        table.show(self.state, self.now)
        note = note_line(self.state, test_loads=table.test_loads)
        shown = self.query_one("#jobs-note", Static)
        shown.update(to_content(note))
        shown.set_class(bool(note), "-shown")
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
