"""The jobs page: rows, columns, order, hidden test loads, and the way to a job's page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot
from textual.widgets import Static

from agent_tui.model import events as ev
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.screens.job import DispatchPage, JobPage
from agent_tui.tui.screens.jobs import JobsPage
from agent_tui.tui.screens.worker import WorkerPage
from agent_tui.tui.widgets.jobs_table import COLUMNS, JobsTable, job_row, jobs_of
from agent_tui.tui.widgets.processes import Processes
from agent_tui.tui.widgets.table import Order, layout
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.hostile import TEXTS
from tests.tui.page_host import page_host, painted

ROOM = "frontdesk-europe-west-4-customer-83920-inbound-call"
REASON = "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"


def job(
    engine: FakeEngine,
    number: int,
    *,
    room: str = "",
    ends: ev.EndedBy | None = None,
    reason: str = "",
    test_load: bool = False,
    code: int | None = 0,
    signal: int | None = None,
) -> None:
    """A job that took `number` ms to its entry and used `number` MB; it ends after `number` seconds."""
    id, room = f"AJ_{number}", room or f"room-{number}"
    process = f"x{number}"
    engine.clock.advance(1.0)
    engine.publish(
        ev.Dispatched(room, "", None, number),
        ev.OfferReceived(id, room, "", 1, number, test_load=test_load),
        ev.OfferAnswered(id, accepted=True),
        ev.JobAssigned(id, room),
        histories.process(process, 9000 + number, ev.ProcessState.JOB, job_id=id),
        ev.JobStarted(id, room, process, 9000 + number, 1, number % 2 == 0, 1.0, float(number)),
        ev.ProcessMeasured(process, float(number), used_mb=float(number)),
    )
    if ends is not None:
        status = ev.JobStatus.SUCCESS if ends is ev.EndedBy.ORDER else ev.JobStatus.FAILED
        engine.publish(
            histories.process(process, 9000 + number, ev.ProcessState.ENDED, job_id=id),
            ev.JobEnded(id, room, 9000 + number, 1, status, reason, float(number), ends, code, signal),
        )


def some(engine: FakeEngine) -> None:
    histories.idle(engine)
    job(engine, 11, room=ROOM)
    job(engine, 14, ends=ev.EndedBy.ORDER, reason="all said")
    job(engine, 13, ends=ev.EndedBy.CRASH, reason=REASON)
    job(engine, 12, ends=ev.EndedBy.SIGNAL, reason="killed by SIGSEGV", code=None, signal=11)
    job(engine, 15, ends=ev.EndedBy.ORDER, test_load=True)
    job(engine, 16, test_load=True)


def cells(engine: FakeEngine, number: int) -> dict[str, str]:
    state = engine.bus.state
    return {key: span.text for key, span in job_row(state.jobs[f"AJ_{number}"], state, 0.0).items()}


def test_a_row_says_how_and_why_the_job_ended_with_exit_code_or_signal() -> None:
    engine = FakeEngine()
    some(engine)
    crashed = cells(engine, 13)
    assert (crashed["state"], crashed["exit"], crashed["why"]) == ("✗ crashed", "0", REASON)
    assert {key: crashed[key] for key in ("start", "entry", "duration", "peak", "gen")} == {
        "start": "cold",
        "entry": "13 ms",
        "duration": "0:13",
        "peak": "13",
        "gen": "1",
    }
    killed = cells(engine, 12)
    assert (killed["state"], killed["exit"], killed["why"]) == ("✗ SIGSEGV", "SIGSEGV", "killed by SIGSEGV")
    assert cells(engine, 14)["start"] == "warm"


def test_without_a_reason_a_row_says_what_ended_the_job() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    job(engine, 12, ends=ev.EndedBy.MEMORY_LIMIT, code=None, signal=9)
    assert cells(engine, 12)["why"] == "process exceeded jobMemoryLimitMB, SIGKILL"


@pytest.mark.parametrize("column", ["", "entry", "duration", "peak", "room", "state", "offered"])
@pytest.mark.parametrize("descending", [True, False])
def test_running_jobs_are_always_above_ended_ones(column: str, descending: bool) -> None:
    engine = FakeEngine()
    some(engine)
    shown = jobs_of(engine.bus.state, 0.0, Order(column, descending), test_loads=True)
    assert {*list(shown)[:2]} == {"AJ_11", "AJ_16"}
    if column == "entry":
        ended = ["AJ_15", "AJ_14", "AJ_13", "AJ_12"]
        assert list(shown)[2:] == (ended if descending else ended[::-1])


def test_a_running_job_on_old_code_is_stale() -> None:
    engine = FakeEngine()
    some(engine)
    engine.publish(replace(histories.READY, generation=2, seconds=0.1))
    assert cells(engine, 11)["gen"] == "1 stale"
    assert cells(engine, 14)["gen"] == "1"


@pytest.mark.parametrize(
    ("width", "missing"),
    [(75, {"offered", "gen", "exit", "job"}), (115, {"job"}), (195, set[str]())],
)
def test_less_important_columns_drop_in_narrow_tables(width: int, missing: set[str]) -> None:
    columns = layout(width, COLUMNS)
    assert {column.key for column in COLUMNS} - {column.key for column, _ in columns} == missing
    assert sum(cells + 1 for _, cells in columns) <= width


# -- the page ------------------------------------------------------------------------------------------


@asynccontextmanager
async def page(
    engine: FakeEngine, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[AgentTuiApp, Pilot[Any], JobsTable]]:
    async with page_host(engine, "j", size=size) as (app, pilot):
        assert isinstance(app.screen, JobsPage)
        table = app.screen.query_one(JobsTable)
        await until(lambda: bool(table.ordered_columns))
        yield app, pilot, table


def column(table: JobsTable, name: str) -> list[str]:
    at = [each.key.value for each in table.ordered_columns].index(name)
    return [table.get_row_at(row)[at].plain.strip() for row in range(table.row_count)]


def note(app: AgentTuiApp) -> str:
    return str(app.screen.query_one("#jobs-note", Static).content)


async def test_jobs_of_test_loads_are_hidden_until_h() -> None:
    engine = FakeEngine()
    some(engine)
    async with page(engine) as (app, pilot, table):
        assert column(table, "state") == ["● running", "✗ SIGSEGV", "✗ crashed", "✓ success"]
        assert note(app) == "2 test-load jobs hidden · h shows them"
        await pilot.press("h")
        assert len(column(table, "state")) == 6
        assert note(app) == "2 test-load jobs shown · h hides them"
        await pilot.press("h")
        assert len(column(table, "state")) == 4


async def test_on_a_tall_terminal_the_selected_job_is_described_below() -> None:
    engine = FakeEngine()
    some(engine)
    async with page(engine) as (app, pilot, table):
        about = app.screen.query_one("#jobs-about", Static)
        await until(lambda: "Timeline" in str(about.render()))
        assert "● running  room frontdesk-europe-west" in str(about.render())
        assert table.size.height < 10
        await pilot.press("down")
        await until(lambda: "✗ SIGSEGV  room " in str(about.render()))
        await pilot.resize_terminal(120, 24)
        await until(lambda: not about.display)
        assert table.size.height > 10


async def test_a_key_and_a_click_sort_as_in_the_process_table() -> None:
    engine = FakeEngine()
    some(engine)
    async with page(engine) as (_, pilot, table):
        await pilot.press("S", "S")
        assert [str(each.label) for each in table.ordered_columns][1].startswith("▼room")
        left = sum(each.get_render_width(table) for each in table.ordered_columns[:5])
        await pilot.click(table, offset=(left + 3, 0))
        await pilot.pause()
        assert column(table, "entry") == ["11 ms", "14 ms", "13 ms", "12 ms"]
        await pilot.click(table, offset=(left + 3, 0))
        await pilot.pause()
        assert column(table, "entry") == ["11 ms", "12 ms", "13 ms", "14 ms"]


async def test_enter_opens_a_job_and_escape_goes_back_to_its_row() -> None:
    engine = FakeEngine()
    some(engine)
    async with page(engine) as (app, pilot, table):
        await pilot.press("end", "up", "enter")
        await until(lambda: isinstance(app.screen, JobPage))
        assert isinstance(app.screen, JobPage)
        assert app.screen._job_id == "AJ_13"
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, JobsPage))
        assert table.chosen == "AJ_13"
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)


async def test_a_click_opens_a_job() -> None:
    engine = FakeEngine()
    some(engine)
    async with page(engine) as (app, pilot, table):
        await pilot.click(table, offset=(3, 2))
        await until(lambda: isinstance(app.screen, JobPage))
        assert isinstance(app.screen, JobPage)
        assert app.screen._job_id == "AJ_12"


async def test_the_page_follows_the_state() -> None:
    engine = FakeEngine()
    some(engine)
    async with page(engine) as (app, pilot, table):
        job(engine, 20)
        await painted(app, engine, pilot)
        await until(lambda: column(table, "room")[0] == "room-20")
        assert app.screen.query_one(".page-box").border_title == "Jobs · 7, 3 running"


async def test_wide_terminals_show_whole_names_and_errors() -> None:
    engine = FakeEngine()
    some(engine)
    async with page(engine, (200, 60)) as (_, _pilot, table):
        assert ROOM in column(table, "room")
        assert REASON in column(table, "why")


async def test_paging_works_with_hundreds_of_jobs() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    for number in range(10, 310):
        job(engine, number)
    async with page(engine, (80, 24)) as (_, pilot, table):
        assert table.row_count == 300
        await pilot.press("pagedown", "pagedown")
        assert 20 < table.cursor_row < 60
        assert table.chosen == f"AJ_{309 - table.cursor_row}"
        await pilot.press("end")
        assert table.chosen == "AJ_10"
        await pilot.press("home")
        assert table.chosen == "AJ_309"


async def test_it_opens_at_the_selected_processs_job() -> None:
    engine = FakeEngine()
    some(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        table = app.query_one(Processes)
        table.choose("x16")
        await pilot.press("j")
        await until(lambda: isinstance(app.screen, JobsPage))
        jobs = app.screen.query_one(JobsTable)
        await until(lambda: jobs.chosen == "AJ_16")  # it is of a test load: those are shown


async def test_without_jobs_it_says_how_to_start_one() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with page(engine) as (app, pilot, _):
        await until(lambda: "d starts one" in note(app))
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, JobsPage)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_outside_text_stays_text(text: str) -> None:
    engine = FakeEngine()
    histories.idle(engine)
    job(engine, 11, room=text, ends=ev.EndedBy.CRASH, reason=text)
    async with page(engine, (80, 24)) as (app, _, table):
        assert len(column(table, "room")) == 1
        assert "\x1b" not in app.export_screenshot()


async def test_dispatches_without_a_job_are_rows_with_the_cause_and_open_a_page() -> None:
    engine = FakeEngine()
    histories.lost(engine)
    job(engine, 11)
    job(engine, 12, ends=ev.EndedBy.ORDER)
    async with page_host(engine, "j") as (app, pilot):
        page = app.screen
        assert isinstance(page, JobsPage)
        await until(lambda: page.table.row_count == 4)
        rows = {key: span["state"].text for key, span in page.table._cells.items()}
        assert rows == {
            "dispatch 1": "✗ lost",
            "dispatch 2": "◌ waiting",
            "AJ_11": "● running",
            "AJ_12": "✓ success",
        }
        assert list(page.table._order)[2:] == ["AJ_12", "dispatch 1"], "what ended is below"
        assert "1 lost dispatch" in str(page.query_one(".page-box").border_title)
        page.table.choose("dispatch 1")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, DispatchPage))
        await until(lambda: "another worker took the job" in text_of(app))
        assert "room demo-1" in text_of(app)
        await pilot.press("i")
        await until(lambda: isinstance(app.screen, WorkerPage))
        await pilot.press("escape")
        await pilot.press("escape")
        await until(lambda: app.screen is page)
        page.table.choose("dispatch 2")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, DispatchPage))
        await until(lambda: "◌ waiting" in text_of(app))


async def test_enter_on_a_lost_dispatch_of_the_dashboard_opens_its_page() -> None:
    engine = FakeEngine()
    histories.lost(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        table = app.panel(Processes)
        table.choose("dispatch 1")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, DispatchPage))
        await until(lambda: "another worker took the job" in text_of(app))


def text_of(app: AgentTuiApp) -> str:
    return str(app.screen.query_one("#page-box Static", Static).render())
