"""All jobs that are known, newest first: running ones and the last that ended."""

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import OptionList

from agent_tui.tui.screens.job import JobPage
from agent_tui.tui.screens.live_page import LivePage, Sight
from agent_tui.tui.widgets.job_text import job_row, newest_first
from agent_tui.tui.widgets.line_list import LineList
from agent_tui.tui.widgets.text import Span, Tone


class JobsPage(LivePage):
    """Enter opens a job's page."""

    def __init__(self, sight: Sight, chosen: str | None = None) -> None:
        super().__init__(sight)
        self._wanted = chosen

    def compose(self) -> ComposeResult:
        with Vertical(classes="page-box") as box:
            box.border_title = "Jobs"
            box.border_subtitle = "Enter opens · Esc closes"
            yield LineList(id="jobs-list")

    def show(self) -> None:
        state, now = self.sight.state(), self.sight.now()
        rows = self.query_one(LineList)
        jobs = newest_first(state)
        width = rows.scrollable_content_region.width
        rows.show(
            [(job.id, job_row(job, now, width)) for job in jobs]
            or [("", (Span("no job has been offered yet: d makes a test job", Tone.DIM),))]
        )
        if self._wanted is not None:
            rows.choose(self._wanted)
            self._wanted = None
        running = len(state.live_jobs)
        self.query_one(".page-box").border_title = f"Jobs {len(jobs)}, {running} running" if jobs else "Jobs"

    @on(OptionList.OptionSelected)
    def opened(self, event: OptionList.OptionSelected) -> None:
        job_id = self.query_one(LineList).key_at(event.option_index)
        if job_id:
            self.app.push_screen(JobPage(self.sight, job_id))
