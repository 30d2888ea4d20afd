"""The log pane's filters, its prompt for a time, and saving to a file."""

import json
import re
from pathlib import Path

import pytest
from textual.widgets import Input, OptionList, Select, Static

from agent_tui.model.logs import LogLevel, LogSource, LogStream
from agent_tui.tui.screens.confirm import Confirm
from agent_tui.tui.screens.log_pages import LogExport
from agent_tui.tui.widgets.log_bars import LogTitle
from agent_tui.tui.widgets.log_filter import Chosen
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.log_host import host


async def test_filters_apply_at_once() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with host(size=(100, 30)) as (app, pilot):
        for process, generation in (("p1", 1), ("p2", 1), ("p3", 2), ("", 0)):
            app.store.set_owner(process, generation)
            app.log_lines(f"of {process}", process=process)
        app.log_lines("bad", level=LogLevel.ERROR, process="p1")
        app.pane.show(engine.bus.state, 0.0)
        await pilot.press("F")
        await pilot.pause()
        rows = app.screen.query_one(OptionList)
        assert app.screen.query_one(Select).value == "all"
        for id, shown in (("owner:p1", ["of p1", "bad"]), ("owner:p2", ["of p1", "of p2", "bad"])):
            rows.highlighted = rows.get_option_index(id)
            await pilot.press("enter")
            await pilot.pause()
            assert [line.text for line in app.view.rows.shown()] == shown
        assert "✓ p2" in str(rows.get_option("owner:p2").prompt)
        app.screen.query_one(Select).value = "error"
        await pilot.pause()
        await pilot.press("escape")
        assert [line.text for line in app.view.rows.shown()] == ["bad"]
        for chip, left in (("error+ ×", 3), ("p1 pid 8123 ×", 1), ("p2 pid 8124 ×", 5)):
            await pilot.pause()
            await pilot.click(LogTitle, offset=(app.title_line.index(chip), 0))
            assert len(app.view.rows) == left
        app.pane.chosen = Chosen(generations=frozenset({2}))
        assert [line.text for line in app.view.rows.shown()] == ["of p3"]
        await pilot.press("F", "backspace", "escape")
        assert app.pane.chosen == Chosen()


async def test_the_level_filter_is_never_below_the_option() -> None:
    async with host() as (app, _):
        app.log_lines("info")
        app.log_lines("warn", level=LogLevel.WARN)
        app.pane.chosen = Chosen(level=LogLevel.WARN)
        app.pane.level = LogLevel.ERROR
        assert len(app.view.rows) == 0
        app.pane.level = LogLevel.DEBUG
        assert len(app.view.rows) == 1
        app.pane.chosen = Chosen()
        assert len(app.view.rows) == 2


async def test_going_to_a_time() -> None:
    async with host(size=(120, 15)) as (app, pilot):
        for number in range(100):
            app.store.add(
                LogSource("p1", LogStream.RECORD), LogLevel.INFO, f"line {number}", ts=36_000.0 + 30 * number
            )
        app.log_lines()
        for typed, line in (("10:15", 30), ("10:20:01", 41), ("-30s", 40), ("+2m", 44)):
            await pilot.press("t", *typed, "enter")
            await pilot.pause()
            assert app.view.selected == line
            assert app.focused is app.view
        await pilot.press("t")
        help = app.pane.query_one("#log-time .prompt-help", Static)
        for typed, line, message in (
            ("11:30", 99, "no line at or after 11:30:00; the newest is 10:49:30"),
            ("-1h", 0, "no line at or before 09:49:30; the oldest is 10:00:00"),
            ("noon", 0, "not a time: enter 12:04:31, 10:15, -30s, or +2m"),
            ("25:00", 0, "25:00 is not a time of day"),
        ):
            await pilot.press(*typed, "enter")
            await pilot.pause()
            assert app.view.selected == line
            assert str(help.render()) == message, "and what is typed next takes the place of what was wrong"
        await pilot.press("escape")
        assert app.focused is app.view
        app.view.go_to(app.view.rows.row_at_time(36_000.0 + 30 * 20))
        assert app.shown()[0].endswith("line 20"), "it comes to the top"


async def test_saving_the_shown_lines_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with host() as (app, pilot):
        app.count(0, 20)
        app.log_lines("boom\n[/x]", level=LogLevel.ERROR)
        app.pane.chosen = Chosen(level=LogLevel.ERROR)
        await pilot.press("X")
        await pilot.pause()
        name = app.screen.query_one(Input)
        note = app.screen.query_one("#export-note", Static)
        exports = tmp_path / "state/agent-tui/exports"
        assert re.fullmatch(rf"{exports}/agent-tui-\d{{8}}-\d{{6}}\.log", name.value)
        for wrong, why in (
            ("", "enter a file name"),
            ("no/such/x.log", "not saved: No such file"),
            (".", "is not a regular file"),
        ):
            name.value = wrong
            await pilot.press("enter")
            await until(lambda: why in str(note.render()))  # noqa: B023
        name.value = "out.jsonl"
        await pilot.press("enter")
        await until(lambda: not isinstance(app.screen, LogExport))
        (text,) = (tmp_path / "out.jsonl").read_text().splitlines()
        assert json.loads(text)["text"] == "boom\n[/x]"
        for answer, left in (("n", "jsonl"), ("y", "boom")):
            (tmp_path / "there.log").write_text("jsonl")
            await pilot.press("X")
            await pilot.pause()
            app.screen.query_one(Input).value = "there.log"
            await pilot.press("enter")
            await until(lambda: isinstance(app.screen, Confirm))
            await pilot.press(answer)
            await until(lambda: not isinstance(app.screen, Confirm))
            await until(lambda: left in (tmp_path / "there.log").read_text())  # noqa: B023
            await pilot.press("escape")
            await until(lambda: len(app.screen_stack) == 1)
        assert {path.name for path in tmp_path.iterdir()} == {"out.jsonl", "there.log"}
