"""The process table: rows, columns, and the cursor."""

import dataclasses

import pytest
from msgspec.structs import replace
from rich.style import Style
from textual.app import App, ComposeResult
from textual.coordinate import Coordinate
from textual.widgets import DataTable

from agent_tui.model import events as ev
from agent_tui.model.child import ProcessKind
from agent_tui.model.settings import DEFAULTS
from agent_tui.model.state import AppState, ProcessView
from agent_tui.model.time_series import TimeSeries
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.widgets.endings import signal_name
from agent_tui.tui.widgets.processes import (
    COLUMNS,
    ENDED_SHOWN,
    Entry,
    Processes,
    columns_of,
    entries,
    key_of,
    memory_cell,
    ordered,
    row,
)
from agent_tui.tui.widgets.table import Order, Row, layout
from agent_tui.tui.widgets.text import Span, Tone
from tests.fakes.engine import FakeEngine
from tests.tui import histories
from tests.tui.hostile import HOSTILE
from tests.tui.loads import ready
from tests.tui.page_host import page_host

ENDED, IDLE, JOB = ev.ProcessState.ENDED, ev.ProcessState.IDLE, ev.ProcessState.JOB


def cells(engine: FakeEngine, process_id: str) -> dict[str, str]:
    state = engine.bus.state
    found = row(state.processes[process_id], state, engine.clock.time())
    return {key: span.text for key, span in found.items()}


def test_a_process_with_a_job_shows_its_room() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    assert cells(engine, "p1") == {
        "state": "● job",
        "room": "demo-1",
        "gen": "1",
        "age": "0:02",
        "mem": "█▌···   301",
        "cpu": "–",
        "ping": "1",
        "pid": "8123",
        "job": "AJ_k3Lm9QxTzW2a",
        "uss": "25",
        "pss": "170",
        "rss": "301",
        "why": "",
    }


def test_the_age_is_that_of_the_call() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.clock.advance(3600.0)  # the process has been idle for an hour before its call
    engine.publish(
        ev.OfferReceived("AJ_1", "late", "", 1, 1),
        ev.OfferAnswered("AJ_1", accepted=True),
        ev.JobAssigned("AJ_1", "late"),
        histories.process("p1", 8123, JOB, job_id="AJ_1"),
        ev.JobStarted("AJ_1", "late", "p1", 8123, 1, True, 3.9, None),
    )
    engine.clock.advance(41.5)
    assert cells(engine, "p1")["age"] == "0:41"
    engine.publish(
        histories.process("p1", 8123, ENDED, job_id="AJ_1", exit_code=0),
        ev.JobEnded("AJ_1", "late", 8123, 1, ev.JobStatus.SUCCESS, "done", 41.0),
        histories.process("p9", 9, ev.ProcessState.STARTING),
    )
    engine.clock.advance(5.0)
    assert [cells(engine, each)["age"] for each in ("p1", "p9", "c1")] == ["0:41", "0:05", "–"]


def test_calls_are_sorted_by_their_age() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    order = [each.id for each in ordered(engine.bus.state, Order("age"))]
    assert order[:2] == ["p1", "p2"]


def test_live_processes_come_first_then_the_last_ended() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    engine.clock.advance(1)
    engine.publish(histories.process("p0", 7, ENDED, reason="not needed"))
    engine.publish(histories.process("p6", 8, ENDED, reason="prewarm failed", exit_code=1))
    assert [p.id for p in ordered(engine.bus.state)] == ["p1", "p2", "p4", "c1", "p6", "p3"]
    for number in range(50):
        engine.publish(histories.process(f"x{number}", number, ENDED, exit_code=1))
    assert len(ordered(engine.bus.state)) == 4 + ENDED_SHOWN


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({"signal": 9}, "✗ SIGKILL"),
        ({"exit_code": 3}, "✗ exit 3"),
        ({"exit_code": 0}, "■ ended"),
        ({"exit_code": 0, "job_id": "AJ_r7Tt2MmN5cXd"}, "✗ failed"),
    ],
)
def test_how_a_process_ended(more: dict[str, object], shown: str) -> None:
    engine = FakeEngine()
    histories.busy(engine)
    engine.publish(histories.process("e", 5, ENDED, reason="because", **more))
    assert cells(engine, "e")["state"] == shown
    assert cells(engine, "e")["why"] == "because"
    assert signal_name(99) == "signal 99"


def test_a_successful_job_and_a_process_that_never_started() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    job = "AJ_k3Lm9QxTzW2a"
    engine.publish(
        histories.process("p1", 8123, ENDED, job_id=job, exit_code=0),
        ev.JobEnded(job, "demo-1", 8123, 1, ev.JobStatus.SUCCESS, "done", 1.0),
        replace(histories.process("n", 0, ENDED), pid=None),
    )
    assert cells(engine, "p1")["state"] == "✓ done"
    assert cells(engine, "n")["state"] == "✗ no start"
    assert cells(engine, "n")["pid"] == "–"


def test_services_are_named_and_shown_as_up() -> None:
    engine = FakeEngine()
    histories.starting(engine)
    assert cells(engine, "c1")["state"] == "◌ control"
    assert cells(engine, "c1")["room"] == ""
    assert cells(engine, "c1")["why"] == "request and load functions"
    engine.publish(
        histories.READY,
        ev.ProcessChanged("i1", 8200, ProcessKind.INFERENCE, ev.ProcessState.STARTING, 2),
    )
    assert cells(engine, "c1")["state"] == "◇ control"
    assert cells(engine, "i1")["state"] == "◌ inference"
    engine.publish(ev.ProcessPinged("i1", 0.7))
    assert cells(engine, "i1")["state"] == "◇ inference"
    engine.publish(ev.ProcessChanged("i2", 8201, ProcessKind.INFERENCE, ENDED, 2, exit_code=1, reason="no"))
    assert (cells(engine, "i2")["state"], cells(engine, "i2")["why"]) == ("✗ exit 1", "inference: no")


@pytest.mark.parametrize("width", range(20, 220, 7))
def test_columns_fit_and_the_most_important_stay(width: int) -> None:
    columns = layout(width, COLUMNS)
    assert sum(wide + 1 for _, wide in columns) <= width
    assert next(column.key for column, _ in columns) == "state"


@pytest.mark.parametrize(
    ("width", "dropped"),
    [
        (62, ["ping", "pid", "job", "uss", "rss", "why"]),
        (77, ["ping", "pid", "job", "uss", "rss"]),
        (95, ["pid", "job", "uss", "rss"]),
        (105, ["job", "uss", "rss"]),
        (125, ["uss", "rss"]),
        (160, []),
    ],
)
def test_wider_tables_have_more_columns(width: int, dropped: list[str]) -> None:
    keys = [column.key for column, _ in layout(width, COLUMNS)]
    assert [column.key for column in COLUMNS if column.key not in keys] == dropped


def test_memory_is_a_bar_that_is_full_at_the_limit() -> None:
    process = replace(
        ProcessView("p", 1, ProcessKind.JOB, JOB, 1, 0.0, 0.0), rss_mb=750.0, memory=TimeSeries()
    )
    options = dataclasses.replace(DEFAULTS.options, job_memory_warn_mb=500.0, job_memory_limit_mb=1000.0)
    assert memory_cell(process, options) == Span("███▊·   750", Tone.WARN)
    over = replace(process, rss_mb=1200.0)
    assert memory_cell(over, options) == Span("█████ 1,200", Tone.BAD)
    unlimited = dataclasses.replace(options, job_memory_warn_mb=0.0, job_memory_limit_mb=0.0)
    assert memory_cell(over, unlimited) == Span("1,200")
    assert memory_cell(replace(over, kind=ProcessKind.BASE), options) == Span("1,200")


def test_a_job_on_older_code_is_stale() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    assert [cells(engine, each)["gen"] for each in ("p1", "p5")] == ["1 stale", "2"]


def test_a_blocked_process_says_for_how_long() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    engine.publish(ev.ProcessBlocked("p1", 8123, "AJ_k3Lm9QxTzW2a", 0.5, "agent.py:3 in entry", ""))
    engine.clock.advance(4.0)
    assert cells(engine, "p1")["state"] == "⚠ blocked 4 s"
    engine.publish(ev.ProcessPinged("p1", 1.0))
    assert cells(engine, "p1")["state"] == "● job"


def test_a_process_that_was_not_ready_fades_once_newer_code_has_loaded() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    failed = ev.ProcessChanged(
        "c3", 8200, ProcessKind.CONTROL, ev.ProcessState.ENDED, 3, exit_code=1, ended_by=ev.EndedBy.LOADING
    )
    engine.publish(failed)
    shown = row(engine.bus.state.processes["c3"], engine.bus.state, 0.0)["state"]
    assert (shown.text, shown.tone) == ("✗ not ready", Tone.BAD)
    engine.publish(ready(4))
    shown = row(engine.bus.state.processes["c3"], engine.bus.state, 0.0)["state"]
    assert (shown.text, shown.tone) == ("✗ not ready", Tone.DIM)


async def test_the_left_column_is_wider_on_a_wide_terminal_and_names_pid_and_job() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp, size=(200, 60)) as (app, _):
        table = app.panel(Processes)
        assert table.outer_size.width == 124
        first = shown_rows(table)[0]
        assert (first["pid"], first["job"]) == ("8123", "AJ_k3Lm9…")
        assert "request and load functions" in [each["why"] for each in shown_rows(table)]


def test_dispatches_without_a_job_are_rows() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    engine.publish(ev.Dispatched("demo-4", "", None, 4), ev.Dispatched("demo-5", "", None, 5))
    engine.publish(ev.JobLost("demo-4", "the offer was declined", "AJ_4", 4))
    engine.clock.advance(2.0)
    shown = entries(engine.bus.state)
    assert list(shown) == ["dispatch 5", "p1", "p2", "p4", "dispatch 4", "p3", "c1"]
    found = row(shown["dispatch 4"], engine.bus.state, engine.clock.time())
    assert (found["state"].text, found["room"].text, found["why"].text) == (
        "✗ lost",
        "demo-4",
        "the offer was declined",
    )
    waiting = row(shown["dispatch 5"], engine.bus.state, engine.clock.time())
    assert (waiting["state"].text, waiting["age"].text) == ("◌ waiting", "0:02")


def test_a_blank_that_imports_the_sdk_is_starting() -> None:
    engine = FakeEngine()
    histories.agents_js(engine)
    engine.publish(ev.ProcessChanged("k9", 8190, ProcessKind.BLANK, ev.ProcessState.STARTING, 0))
    assert [cells(engine, each)["state"] for each in ("k3", "k9")] == ["○ blank", "◌ blank"]


def test_for_node_processes_rss_comes_first() -> None:
    engine = FakeEngine()
    histories.agents_js(engine)
    columns = columns_of(engine.bus.state)
    assert [column.key for column, _ in layout(130, columns)][9:11] == ["rss", "why"]
    assert [column.key for column, _ in layout(165, columns)][9:12] == ["rss", "uss", "pss"]
    assert columns_of(AppState()) == COLUMNS


class Host(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def compose(self) -> ComposeResult:
        yield Processes()

    def on_processes_end_requested(self, event: Processes.EndRequested) -> None:
        self.asked.append(event.job_id)


def shown_rows(table: Processes) -> list[dict[str, str]]:
    """The cells of each row, by column."""
    keys = [column.key.value or "" for column in table.ordered_columns]
    return [
        {key: cell.plain.strip() for key, cell in zip(keys, table.get_row_at(n), strict=True)}
        for n in range(table.row_count)
    ]


def show(table: Processes, engine: FakeEngine, later: float = 1.0) -> None:
    engine.clock.advance(later)
    table.show(engine.bus.state, engine.clock.time())


async def test_the_table_shows_and_follows_the_state() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    app = Host()
    async with app.run_test(size=(120, 24)) as pilot:
        table = app.query_one(Processes)
        show(table, engine)
        await pilot.pause()
        assert [cells["pid"] for cells in shown_rows(table)] == ["8123", "8124", "8126", "8125", "8100"]
        engine.publish(histories.process("p4", 8126, JOB, job_id="AJ_k3Lm9QxTzW2a"))
        show(table, engine)
        assert shown_rows(table)[2]["state"] == "● job"
        await pilot.resize_terminal(44, 20)
        await pilot.pause()
        assert [column.key.value for column in table.ordered_columns] == ["state", "room", "mem"]
        assert len(shown_rows(table)) == 5


async def test_the_cursor_stays_on_the_selected_process() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.query_one(Processes)
        show(table, engine)
        table.focus()
        await pilot.press("down")
        assert table.selected is not None
        assert table.selected.id == "p2"
        engine.publish(histories.process("p2", 8124, ENDED, job_id="AJ_Zz81kPpQ0sVb", signal=15))
        show(table, engine)
        assert table.selected.id == "p2"
        assert shown_rows(table)[table.cursor_row]["state"] == "✗ SIGTERM"
        engine.publish(histories.process("p9", 9000, JOB, job_id="AJ_r7Tt2MmN5cXd"))
        show(table, engine)
        assert table.selected.id == "p2"


async def test_clicks_on_a_header_sort_descending_ascending_and_not_at_all() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    app = Host()
    async with app.run_test(size=(160, 20)) as pilot:
        table = app.query_one(Processes)
        show(table, engine)
        await pilot.pause()
        table.move_cursor(row=1)
        chosen = table.selected
        usual = [line["pid"] for line in shown_rows(table)]
        orders = []
        for _ in range(3):
            table.sort_by("rss")
            orders.append([line["pid"] for line in shown_rows(table)][:4])
            assert table.selected == chosen
        assert orders[0] == ["8124", "8123", "8126", "8100"]
        assert orders[1] == ["8126", "8100", "8123", "8124"]  # the first two have no measurement yet
        assert orders[2] == usual[:4]
        table.sort_by("room")
        assert [line["pid"] for line in shown_rows(table)] == usual


async def test_hidden_rows_are_computed_when_they_scroll_into_view(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    histories.idle(engine)
    for number in range(60):
        engine.publish(histories.process(f"x{number:02}", 5000 + number, IDLE))
    app = Host()
    async with app.run_test(size=(160, 12)) as pilot:
        table = app.query_one(Processes)
        show(table, engine)
        await pilot.pause()
        for number in range(60):
            engine.publish(ev.ProcessMeasured(f"x{number:02}", 700.0))
        computed: list[str] = []
        row_of = table.row_of

        def counted(entry: Entry, state: AppState, now: float) -> Row:
            computed.append(key_of(entry))
            return row_of(entry, state, now)

        monkeypatch.setattr(table, "row_of", counted)
        show(table, engine, later=1.0)
        assert len(computed) < 20
        table.scroll_to(y=45, animate=False)
        await pilot.pause()
        await pilot.pause()
        painted = [table.render_line(y).text for y in range(1, 9)]
        assert all("  700" in line for line in painted), painted


def test_S_skips_hidden_columns() -> None:
    assert Order().chosen("rss").label("rss") == "▼rss"
    assert Order("rss").chosen("rss").label("rss") == "▲rss"
    assert Order("rss", descending=False).chosen("rss") == Order()


async def test_until_the_user_selects_one_the_cursor_is_on_the_first_job() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    app = Host()
    async with app.run_test(size=(80, 24)):
        table = app.query_one(Processes)
        assert table.selected is None
        show(table, engine)
        assert table.selected is not None
        assert table.selected.id == "p1"
        engine.publish(histories.process("p2", 9000, JOB, job_id="AJ_1"))
        show(table, engine)
        assert table.selected.id == "p2"


async def test_delete_requests_the_end_of_a_live_job() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.query_one(Processes)
        show(table, engine)
        table.focus()
        await pilot.press("delete")
        await pilot.press("down", "down", "delete", "down", "down", "delete")
        assert app.asked == ["AJ_k3Lm9QxTzW2a"]


async def test_changes_are_painted_twice_a_second() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.query_one(Processes)
        show(table, engine)
        await pilot.pause()
        engine.publish(histories.process("p1", 8123, JOB, job_id="AJ_1"))
        show(table, engine, 0.1)
        assert shown_rows(table)[0]["state"] == "○ idle"
        assert table.selected is not None
        assert table.selected.state is JOB
        show(table, engine, 0.4)
        assert shown_rows(table)[0]["state"] == "● job"


async def test_unchanged_rows_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    histories.busy(engine)
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.query_one(Processes)
        show(table, engine)
        await pilot.pause()
        painted: list[int] = []
        monkeypatch.setattr(table, "refresh_row", painted.append)
        table.show(engine.bus.state, engine.clock.time())
        assert painted == []
        engine.publish(ev.ProcessMeasured("p2", 400.0))
        table.show(engine.bus.state, engine.clock.time())
        assert painted == [table.get_row_index("p2")]


async def test_a_line_looks_as_the_base_class_would_paint_it() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    engine.publish(histories.process("dead", 9998, ENDED, reason="漢" * 40, signal=9))
    app = Host()
    async with app.run_test(size=(120, 24)) as pilot:
        table = app.query_one(Processes)
        for focused in (True, False):
            app.screen.set_focus(table if focused else None)
            for theme in ("textual-dark", "textual-light"):
                app.theme = theme
                show(table, engine)
                table.move_cursor(row=2, animate=False)
                await pilot.hover(Processes, offset=(4, 5))
                await pilot.pause()
                ours = [table.render_line(y) for y in range(table.size.height)]
                for row in range(table.row_count):
                    for column, text in enumerate(table.get_row_at(row)):
                        table.update_cell_at(Coordinate(row, column), text)
                theirs = [DataTable.render_line(table, y) for y in range(table.size.height)]
                assert [list(line) for line in ours] == [list(line) for line in theirs]


async def test_outside_text_stays_text_in_every_theme() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    engine.publish(
        ev.OfferReceived(HOSTILE, HOSTILE, "", 1),
        histories.process("h", 9999, JOB, job_id=HOSTILE),
        histories.process("g", 9998, ENDED, reason="漢" * 400 + HOSTILE, signal=9),
    )
    app = Host()
    async with app.run_test(size=(160, 24)) as pilot:
        table = app.query_one(Processes)
        show(table, engine)
        for theme in ("textual-light", "textual-dark", "ansi-dark"):
            app.theme = theme
            await pilot.pause()
            show(table, engine)
            await pilot.pause()
        hostile = next(cells for cells in shown_rows(table) if cells["pid"] == "9999")
        assert hostile["room"].startswith("[/x][bold]red 漢字")
        assert "\x1b" not in app.export_screenshot()


async def test_the_selected_row_keeps_the_colors_of_its_cells() -> None:
    engine = FakeEngine()
    histories.memory(engine)
    app = Host()
    async with app.run_test(size=(120, 24)) as pilot:
        table = app.query_one(Processes)
        table.focus()
        show(table, engine)
        await pilot.pause()
        row = table.get_row_at(table.cursor_row)
        amber = next(cell for cell in row if "1,420" in cell.plain).style
        assert isinstance(amber, Style)
        segments = list(table.render_line(1))  # below the header
        drawn, plain = (
            next(each.style for each in segments if text in each.text and each.style)
            for text in ("1,420", "demo-1")
        )
        assert drawn.color == amber.color
        assert drawn.color != plain.color
        assert drawn.bgcolor == plain.bgcolor


async def test_until_the_user_selects_one_the_cursor_is_on_the_process_that_is_not_ready() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    app = Host()
    async with app.run_test(size=(120, 24)) as pilot:
        table = app.query_one(Processes)
        show(table, engine)
        await pilot.pause()
        assert table.chosen == "p1"
        failed = ev.ProcessChanged(
            "c2", 8200, ProcessKind.CONTROL, ENDED, 2, exit_code=1, ended_by=ev.EndedBy.LOADING
        )
        engine.publish(failed, ev.GenerationFailed(2, "SyntaxError: expected ':'", "a.py", 12, ""))
        show(table, engine)
        assert table.chosen == "c2"
        assert shown_rows(table)[table.cursor_row]["state"] == "✗ not ready"
        engine.publish(replace(histories.READY, generation=3))
        show(table, engine)
        assert table.chosen == "p1"
        table.choose("p2")
        engine.publish(
            replace(failed, id="c4", generation=4), ev.GenerationFailed(4, "SyntaxError: no", None, None, "")
        )
        show(table, engine)
        assert table.chosen == "p2"


async def test_rows_that_end_leave_the_running_ones_in_view() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    for number in range(12):
        engine.publish(histories.process(f"d{number:02}", 100 + number, ENDED, exit_code=1))
    for number in range(4):
        engine.publish(histories.process(f"x{number}", 500 + number, JOB, job_id=f"AJ_{number}"))
    app = Host()
    async with app.run_test(size=(80, 10)) as pilot:
        table = app.query_one(Processes)
        show(table, engine)
        await pilot.pause()
        table.focus()
        await pilot.press("down", "down", "down")
        await pilot.pause()
        assert table.chosen == "x3"
        engine.publish(histories.process("x3", 503, ENDED, job_id="AJ_3", exit_code=1))
        show(table, engine)
        await pilot.pause()
        assert table.chosen == "x3"
        assert table.scroll_y == 0
        for number in range(4, 8):
            engine.publish(histories.process(f"x{number}", 500 + number, JOB, job_id=f"AJ_{number}"))
        show(table, engine)
        await pilot.pause()
        assert table.scroll_y == 0
