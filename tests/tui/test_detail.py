"""The tabs about the selected row."""

from pathlib import Path

import pytest
from textual.widgets import Static

from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model.child import ProcessKind
from agent_tui.model.logs import LogLevel, LogLine, LogSource, LogStream
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.widgets.detail import Detail
from agent_tui.tui.widgets.detail_text import (
    Stacks,
    Tab,
    entry_title,
    job_lines,
    logs_of,
    memory_of,
    stacks_of,
)
from agent_tui.tui.widgets.header import Header
from agent_tui.tui.widgets.key_bar import KeyBar
from agent_tui.tui.widgets.log_pane import LogPane
from agent_tui.tui.widgets.log_view import LogView
from agent_tui.tui.widgets.memory_plot import Levels
from agent_tui.tui.widgets.options_panel import OptionsPanel
from agent_tui.tui.widgets.processes import Processes, entries
from agent_tui.tui.widgets.splits import SplitBody
from agent_tui.tui.widgets.text import Line
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.page_host import page_host

LEVELS = Levels(1000.0, 0.0)


def plain(lines: tuple[Line, ...]) -> list[str]:
    return ["".join(span.text for span in line).rstrip() for line in lines]


def job_tab(engine: FakeEngine, key: str, height: int = 20) -> list[str]:
    state = engine.bus.state
    return plain(job_lines(entries(state)[key], state, engine.clock.time(), 54, height))


def shown(app: AgentTuiApp) -> str:
    return str(app.query_one("#detail-text", Static).render())


# -- texts -----------------------------------------------------------------------------------------------


def test_a_running_job_has_a_timeline_and_with_enough_height_its_memory() -> None:
    engine = FakeEngine()
    histories.memory(engine)
    low, high = job_tab(engine, "p1"), job_tab(engine, "p1", height=40)
    assert low[0] == "● running  room demo-1"
    assert low[1] == "process  p1 pid 8123, generation 1, warm"
    assert low[3].startswith("Timeline")
    assert high[: len(low)] == low
    assert high[len(low) + 1].startswith("Memory  1,420 MB, peak 1,420 MB")


def test_a_crashed_job_shows_its_error_before_its_timeline() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    job = "AJ_r7Tt2MmN5cXd"
    trace = 'Traceback (most recent call last):\n  File "agent.py", line 3, in entry\nValueError: no\n'
    engine.publish(
        ev.JobEnded(job, "demo-3", 8125, 1, ev.JobStatus.FAILED, "ValueError: no", 1.0, traceback=trace)
    )
    lines = job_tab(engine, "p3")
    assert lines.index("Traceback") < next(n for n, line in enumerate(lines) if line.startswith("Timeline"))


@pytest.mark.parametrize(
    ("state", "key", "first"),
    [
        (histories.idle, "p1", "○ idle: waits for a job"),
        (histories.idle, "c1", "control: runs the agent's request and load functions"),
        (histories.lost, "dispatch 2", "◌ waiting for 3 s"),
        (histories.lost, "dispatch 1", "✗ lost · your test dispatch, sent at 08:00:00"),
    ],
)
def test_other_rows_say_what_they_are(state: object, key: str, first: str) -> None:
    engine = FakeEngine()
    state(engine)  # type: ignore[operator]
    assert job_tab(engine, key)[0] == first


def test_without_a_row_each_tab_says_what_will_appear() -> None:
    state = FakeEngine().bus.state
    for lines in (
        job_lines(None, state, 0.0, 54, 20),
        logs_of((), None, 54),
        memory_of(None, state, 0.0, LEVELS, 54, 20),
        stacks_of(None, None, state, 0.0, 54),
    ):
        assert "Select a" in " ".join(plain(lines))
    assert entry_title(None, state) == ""


def test_the_title_of_an_idle_process_does_not_call_it_a_job() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    rows = entries(engine.bus.state)
    assert [entry_title(rows[key], engine.bus.state) for key in ("p1", "c1")] == ["idle 8123", "control 8100"]


def test_the_memory_tab_has_a_graph_and_all_measures() -> None:
    engine = FakeEngine()
    histories.memory(engine)
    state = engine.bus.state
    lines = plain(memory_of(entries(state)["p1"], state, engine.clock.time(), LEVELS, 54, 20))
    assert lines[0].startswith("Memory  1,420 MB, peak 1,420 MB")
    assert any("warn 1,000 MB" in line for line in lines)
    assert lines[-1] == "rss 1,420 MB   uss 1,380 MB   pss 1,400 MB"
    assert plain(memory_of(entries(state)["c1"], state, 0.0, LEVELS, 54, 20)) == ["Not measured yet."]


def test_stacks_are_those_of_the_selected_process() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    state = engine.bus.state
    stacks = Stacks("p1", "Thread MainThread:\n  x\x1b[31m", 0.0)

    def tab(key: str) -> list[str]:
        return plain(stacks_of(stacks, entries(state)[key], state, 0.0, 54))

    assert tab("p1")[2:] == ["Threads  1", "  ○ main thread  x"]
    assert tab("p2") == ["Reading the stacks…"]
    assert "Select a running process" in tab("p3")[0]


# -- the pane --------------------------------------------------------------------------------------------


async def test_the_tabs_follow_the_cursor() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        assert app.focused is app.query_one(Processes)
        assert "room demo-1" in shown(app)
        await pilot.press("down")
        await until(lambda: "room demo-2" in shown(app))
        assert str(app.query_one(Detail).border_subtitle) == "demo-2"


async def test_brackets_and_clicks_select_tabs() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        detail = app.query_one(Detail)
        seen = []
        for _ in Tab:
            seen.append(detail.tab)
            await pilot.press("right_square_bracket")
            await pilot.pause()
        assert seen == list(Tab)
        assert detail.tab is Tab.TALK
        await pilot.press("left_square_bracket")
        await until(lambda: detail.tab is Tab.OPTIONS)
        assert app.query_one(OptionsPanel).display
        assert await pilot.click(Detail, offset=(28, 0))
        await until(lambda: detail.tab is Tab.MEMORY)
        assert not app.query_one(OptionsPanel).display


async def test_the_logs_of_the_selected_job_arrive_in_its_tab() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        await pilot.press("right_square_bracket", "right_square_bracket")
        await until(lambda: "user said hello in demo-1" in shown(app))
        assert "demo-2" not in shown(app)
        engine.log("and goodbye", process="p1")
        engine.clock.advance(1.0)
        await until(lambda: "and goodbye" in shown(app))
        await pilot.press("down")
        await until(lambda: "user said hello in demo-2" in shown(app))
        assert "goodbye" not in shown(app)


async def test_s_shows_the_stacks_of_the_selected_process_and_reads_them_again() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        engine.results.append(cmd.CommandResult(True, "Thread MainThread:\n  [bold]x[/] \x1b[31m"))
        await pilot.press("s")
        await until(lambda: "main thread  [bold]x[/]" in shown(app))
        engine.results.append(cmd.CommandResult(True, "Thread MainThread:\n  y"))
        await pilot.press("s")
        await until(lambda: "main thread  y" in shown(app))
        assert engine.commands == [cmd.DumpStacks("p1"), cmd.DumpStacks("p1")]


async def test_an_ended_process_has_no_stacks() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        await pilot.press("end", "up", "s")
        await until(lambda: app.notices)
        assert [each.text for each in app.notices] == ["select a running process first"]


async def test_digits_move_the_focus() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        await pilot.press("3")
        await until(lambda: isinstance(app.focused, LogView))
        await pilot.press("2")
        await until(lambda: app.focused is app.query_one("#detail-scroll"))
        await pilot.press("1")
        await until(lambda: isinstance(app.focused, Processes))


async def test_F10_maximizes_the_focused_panel_and_keeps_header_and_keys() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        table, logs, body = app.panel(Processes), app.panel(LogPane), app.panel(SplitBody)
        before = table.size
        await pilot.press("f10")
        await pilot.pause()
        assert table.outer_size == body.size
        assert not logs.display
        assert (app.query_one(Header).region.height, app.query_one(KeyBar).region.height) == (2, 1)
        await pilot.press("f10")
        await pilot.pause()
        assert (table.size, logs.display) == (before, True)
        await pilot.press("f10", "escape")
        await pilot.pause()
        assert table.size == before
        await pilot.press("f10", "3")  # the key of another panel shows all again
        await until(lambda: isinstance(app.focused, LogView))
        await pilot.press("f10")
        await pilot.pause()
        assert (logs.outer_size, table.display) == (body.size, False)


async def test_Enter_on_a_row_without_a_job_shows_what_it_is() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        assert app.panel(Processes).chosen == "p1"
        await pilot.press("enter")
        await until(lambda: app.notices)
        assert app.panel(Detail).tab is Tab.JOB
        assert app.notices[-1].text == "idle: it has no call yet · d starts a test job"
        assert not app.notices[-1].failed
        await pilot.press("down", "enter")
        await until(lambda: len(app.notices) > 1)
        assert app.notices[-1].text == "control: runs the agent's request and load functions"


async def test_the_tab_of_a_process_that_is_not_ready_shows_the_failing_lines(tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text("import os\n\nKEY = os.environ['SEARCH_KEY']\n")
    trace = f"""Traceback (most recent call last):
  File "{agent}", line 3, in <module>
    KEY = os.environ['SEARCH_KEY']
KeyError: 'SEARCH_KEY'
"""
    engine = FakeEngine()
    histories.idle(engine)
    failed = ev.ProcessChanged(
        "c2",
        8200,
        ProcessKind.CONTROL,
        ev.ProcessState.ENDED,
        2,
        exit_code=1,
        ended_by=ev.EndedBy.LOADING,
        reason="KeyError: 'SEARCH_KEY'",
    )
    engine.publish(failed, ev.GenerationFailed(2, "KeyError: 'SEARCH_KEY'", str(agent), 3, trace))
    async with page_host(engine, kind=AgentTuiApp) as (app, _):
        assert app.panel(Processes).chosen == "c2"
        await until(lambda: "▸ 3  KEY = os.environ['SEARCH_KEY']" in shown(app))
        assert "  1  import os" in shown(app)


async def test_the_last_log_lines_fill_the_tab_of_a_job() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        await until(lambda: "user said hello in demo-1" in shown(app))
        await pilot.press("down")
        await until(lambda: "user said hello in demo-2" in shown(app))
        assert "demo-1" not in shown(app)
    engine = FakeEngine()  # the first one has ended with its app
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp, size=(120, 24)) as (app, pilot):
        await until(lambda: "Timeline" in shown(app))
        await pilot.pause()
        assert "user said" not in shown(app)


def test_in_the_tab_of_a_job_a_log_line_has_at_most_two_rows() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    text, source = "the event loop was blocked " * 9, LogSource("p1", LogStream.STDOUT)
    log = [
        LogLine(0, 0.0, LogLevel.DEBUG, source, None, "quiet"),
        LogLine(1, 0.0, LogLevel.WARN, source, None, text),
        LogLine(2, 0.0, LogLevel.INFO, source, None, "hello"),
    ]
    state = engine.bus.state
    shown = plain(job_lines(entries(state)["p1"], state, 0.0, 54, 40, log))
    warning, more, hello = shown[shown.index("Log  last lines") + 1 :]
    assert warning.startswith("00:00:00 WARN  the event loop")
    assert more.startswith(f"{'':15}loop was blocked")
    assert more.endswith("…")
    assert hello == "00:00:00 INFO  hello"
    assert max(map(len, shown)) <= 54


async def test_on_a_narrow_terminal_tabs_and_logs_share_their_place() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp, size=(80, 24)) as (app, pilot):
        detail, logs = app.query_one(Detail), app.query_one("#logs")
        assert (detail.display, logs.display) == (False, True)
        for key, visible in (
            ("2", True),
            ("3", False),
            ("O", True),
            ("O", False),
            ("s", True),
            ("t", False),
        ):
            await pilot.press(key)
            await pilot.pause()
            assert (detail.display, logs.display) == (visible, not visible), key
        assert app.query_one(Processes).display
