"""The log pane as its users handle it: following, reading back, filters, find, whole records, the mouse."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Select, Static

from agent_tui.logs.store import LogStore
from agent_tui.model.events import LogsAdded
from agent_tui.model.logs import LogLevel, LogSource, LogStream
from agent_tui.tui.screens.confirm import Confirm
from agent_tui.tui.screens.log_export import LogExport
from agent_tui.tui.screens.log_filters import LogFilters
from agent_tui.tui.screens.log_record import LogRecord
from agent_tui.tui.widgets.log_bars import LogTitle
from agent_tui.tui.widgets.log_choices import Chosen
from agent_tui.tui.widgets.log_pane import LogPane
from agent_tui.tui.widgets.log_query import parse
from agent_tui.tui.widgets.log_view import LogView
from tests.fakes.clock import FakeClock
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories

VIEW = 11
"""Rows of lines in a pane of 80×12: the title takes one."""


class Host(App[None]):
    """A pane over a small store, with the keys that the app's registry gives it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "pane('start_find')"),
        Binding("n", "pane('find_next')"),
        Binding("N", "pane('find_previous')"),
        Binding("m", "pane('toggle_only_found')"),
        Binding("F", "pane('choose_filters')"),
        Binding("t", "pane('start_time')"),
        Binding("z", "pane('fold')"),
        Binding("Z", "pane('fold_all')"),
        Binding("y", "pane('copy')"),
        Binding("X", "pane('export')"),
    ]

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.store = LogStore(FakeClock(), capacity)
        self.pane = LogPane(self.store.pull, level=LogLevel.DEBUG, capacity=capacity)

    def compose(self) -> ComposeResult:
        yield self.pane
        yield Input(id="other")

    def action_pane(self, name: str) -> None:
        getattr(self.pane, name)()

    @property
    def view(self) -> LogView:
        return self.pane.query_one(LogView)

    @property
    def title_line(self) -> str:
        return str(self.pane.query_one(LogTitle).render())

    def log_lines(self, *lines: str, level: LogLevel = LogLevel.INFO, process: str = "p1") -> None:
        first = self.store.end
        for text in lines:
            self.store.add(LogSource(process, LogStream.STDOUT), level, text)
        self.pane.added(LogsAdded(first, self.store.end, self.store.dropped))

    def count(self, first: int, end: int) -> None:
        self.log_lines(*(f"line {number}" for number in range(first, end)))

    def shown(self) -> list[str]:
        """The rows in view, as painted, without columns and blanks."""
        height = self.view.scrollable_content_region.height
        return [self.view.render_line(y).text.rstrip()[27:] for y in range(height)]


@asynccontextmanager
async def host(
    capacity: int = 1000, size: tuple[int, int] = (80, 15)
) -> AsyncIterator[tuple[Host, Pilot[None]]]:
    app = Host(capacity)
    async with app.run_test(size=size) as pilot:
        app.view.focus()
        await pilot.pause()
        assert app.view.scrollable_content_region.height == size[1] - 4
        yield app, pilot


def numbered(first: int, end: int) -> list[str]:
    return [f"line {number}" for number in range(first, end)]


async def test_the_end_is_followed_from_the_first_batch_on() -> None:
    async with host() as (app, pilot):
        app.count(0, 50)
        await pilot.pause()
        assert app.shown() == numbered(39, 50)
        assert "● follow" in app.title_line
        app.count(50, 60)
        await pilot.pause()
        assert app.shown() == numbered(49, 60)


async def test_lines_from_before_the_pane_had_a_size_are_followed_too() -> None:
    app = Host(1000)
    app.count(0, 50)
    async with app.run_test(size=(80, 15)) as pilot:
        await pilot.pause()
        assert app.shown() == numbered(39, 50)


async def test_a_wheel_up_leaves_following_and_says_what_is_new() -> None:
    async with host() as (app, pilot):
        app.count(0, 50)
        await pilot.pause()
        app.view.post_message(_wheel(app.view))
        await pilot.pause(0.1)
        assert not app.pane.follow
        kept = app.shown()
        assert kept != numbered(39, 50)
        app.count(50, 53)
        await pilot.pause()
        assert app.shown() == kept
        assert "‖ held +3 new" in app.title_line
        await pilot.press("end")
        await pilot.pause()
        assert app.shown() == numbered(42, 53)
        assert "● follow" in app.title_line


def _wheel(view: LogView) -> events.MouseScrollUp:
    x, y = view.region.offset
    return events.MouseScrollUp(view, x + 1, y + 1, 0, 0, 0, False, False, False)


async def test_scrolling_back_to_the_end_follows_again() -> None:
    async with host() as (app, pilot):
        app.count(0, 50)
        await pilot.pause()
        app.view.scroll_to(y=10, animate=False)
        assert not app.pane.follow
        app.view.scroll_to(y=1000, animate=False)
        assert app.pane.follow


async def test_eviction_keeps_the_line_under_the_eye() -> None:
    async with host(capacity=100) as (app, pilot):
        app.count(0, 100)
        await pilot.pause()
        app.view.scroll_to(y=60, animate=False)
        assert app.shown() == numbered(60, 71)
        for start in range(100, 150, 10):
            app.count(start, start + 10)
            await pilot.pause()
            assert app.shown() == numbered(60, 71)
        app.count(150, 240)
        await pilot.pause()
        assert app.shown() == numbered(140, 151), "the oldest that are left, once those were evicted"


async def test_the_selected_line_stays_when_filters_change() -> None:
    async with host() as (app, pilot):
        for number in range(100):
            level = LogLevel.INFO if number % 2 else LogLevel.DEBUG
            app.log_lines(f"line {number}", level=level, process=f"p{number % 4}")
        await pilot.pause()
        app.view.select(51)
        row = app.view.rows.row_of(51) - app.view.scroll_offset.y
        app.pane.level = LogLevel.INFO
        await pilot.pause()
        assert app.shown()[row] == "line 51"
        app.pane.owner = "p3"
        await pilot.pause()
        assert app.shown()[row] == "line 51"
        assert all(int(text.split()[1]) % 4 == 3 for text in app.shown())
        app.pane.level, app.pane.owner = LogLevel.DEBUG, None
        await pilot.pause()
        assert app.shown()[row] == "line 51"


async def test_filters_that_show_nothing_say_so() -> None:
    async with host() as (app, pilot):
        assert app.view.render_line(0).text.strip() == "no log lines yet"
        app.count(0, 3)
        app.pane.level = LogLevel.ERROR
        await pilot.pause()
        assert "none of 3 lines is shown" in app.view.render_line(0).text


async def test_find_goes_to_the_latest_match_and_on_from_there() -> None:
    async with host() as (app, pilot):
        app.log_lines(*(f"line {n}" + (" boom" if n % 20 == 5 else "") for n in range(100)))
        await pilot.pause()
        await pilot.press("slash", *"boom")
        await pilot.pause()
        assert app.view.selected == 85
        assert "/boom 5/5" in app.title_line
        await pilot.press("up")
        assert app.view.selected == 65
        await pilot.press("enter")
        assert app.focused is app.view
        assert not app.pane.query_one("#log-find").has_class("-open")
        for key, line in (("N", 45), ("n", 65), ("n", 85), ("n", 5), ("N", 85)):
            await pilot.press(key)
            assert app.view.selected == line
        await pilot.pause()
        row = app.view.rows.row_of(85) - app.view.scroll_offset.y
        assert app.shown()[row] == "line 85 boom"
        app.log_lines("new boom")
        await pilot.pause()
        assert "/boom 5/6" in app.title_line
        await pilot.press("escape")
        await pilot.pause()
        assert app.pane.needle == ""
        assert app.pane.follow


async def test_escape_in_the_field_restores_what_was_before() -> None:
    async with host() as (app, pilot):
        app.count(0, 50)
        other = app.query_one("#other")
        other.focus()
        await pilot.pause()
        app.pane.start_find()
        await pilot.pause()
        await pilot.press(*"line 7")
        await pilot.pause()
        assert not app.pane.follow
        await pilot.press("escape")
        await pilot.pause()
        assert app.focused is other
        assert app.pane.follow
        assert app.shown() == numbered(39, 50)


async def test_only_found_lines() -> None:
    async with host() as (app, pilot):
        app.count(0, 50)
        await pilot.press("slash", *"line 1", "ctrl+o")
        await pilot.pause()
        assert len(app.view.rows) == 11
        app.log_lines("line 1 again", "other")
        assert len(app.view.rows) == 12
        await pilot.press("escape")
        assert len(app.view.rows) == 52


async def test_a_match_beyond_the_edge_comes_into_view() -> None:
    async with host() as (app, pilot):
        app.log_lines("x" * 300 + " boom", "short boom")
        await pilot.pause()
        assert app.view.render_line(0).text.endswith("›")
        await pilot.press("slash", *"boom", "enter", "N")
        await pilot.pause()
        assert "boom" in app.view.render_line(0).text
        await pilot.press("n")
        await pilot.pause()
        assert app.view.scroll_offset.x == 0


async def test_keys_select_lines_and_down_from_the_newest_follows() -> None:
    async with host() as (app, pilot):
        app.log_lines(*numbered(0, 30), "Traceback\n  File\nError", "last")
        await pilot.pause()
        await pilot.press("up", "up")
        assert app.view.selected == 30
        assert not app.pane.follow
        assert app.view.render_line(VIEW - 4).text.startswith("▌")
        await pilot.press("down", "down")
        assert app.pane.follow
        await pilot.press("home")
        assert (app.view.selected, app.view.scroll_offset.y) == (0, 0)
        await pilot.press("pagedown", "pagedown")
        assert app.view.selected == 20
        await pilot.press("pageup")
        assert app.view.selected == 10
        await pilot.press("end", "pageup")
        assert not app.pane.follow
        await pilot.press("right", "right", "left")
        assert app.view.rows.width < 80
        assert app.view.scroll_offset.x == 0, "nothing is beyond the edge"


async def test_keys_on_an_empty_pane_do_nothing() -> None:
    async with host() as (app, pilot):
        await pilot.press(
            "up", "down", "pageup", "pagedown", "home", "end", "enter", "left", "right", "escape", "n"
        )
        await pilot.press("escape")
        assert app.pane.follow
        assert len(app.screen_stack) == 1


@pytest.mark.parametrize("close", ["escape", "enter", "q"])
async def test_enter_opens_the_whole_record(close: str) -> None:
    text = "[/x] [bold]" + "word " * 1000
    async with host() as (app, pilot):
        app.log_lines("before", text)
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        record = app.screen
        assert isinstance(record, LogRecord)
        assert str(record.query_one("#record-text", Static).render()) == text
        assert "process p1" in str(record.query_one("#record-head", Static).render())
        await pilot.press("c")
        assert app.clipboard == text
        await pilot.press(close)
        await pilot.pause()
        assert len(app.screen_stack) == 1


async def test_the_mouse_selects_opens_and_works_the_title() -> None:
    async with host() as (app, pilot):
        app.count(0, 50)
        await pilot.pause()
        await pilot.click(LogView, offset=(30, 3))
        assert app.view.selected == 42
        await pilot.click(LogTitle, offset=(app.title_line.index("f follows"), 0))
        assert app.pane.follow
        for text in ("debug", "all"):
            await pilot.click(LogTitle, offset=(app.title_line.index(text), 0))
            await pilot.pause()
            assert isinstance(app.screen, LogFilters)
            await pilot.press("escape")
        app.pane.owner = "p1"
        await pilot.pause()
        await pilot.click(LogTitle, offset=(app.title_line.index("p1"), 0))
        assert app.pane.owner is None
        await pilot.click(LogTitle, offset=(app.title_line.index("find"), 0))
        assert app.pane.query_one("#log-find").has_class("-open")
        await pilot.press("escape")
        await pilot.double_click(LogView, offset=(30, 3))
        await pilot.pause()
        assert isinstance(app.screen, LogRecord)


async def test_dragging_and_shift_select_ranges_that_y_copies() -> None:
    async with host() as (app, pilot):
        app.count(0, 50)
        await pilot.pause()
        await pilot.mouse_down(LogView, offset=(30, 2))
        await pilot.hover(LogView, offset=(30, 3))
        await pilot.hover(LogView, offset=(20, 5))
        await pilot.mouse_up(LogView, offset=(20, 5))
        await pilot.pause()
        assert (app.view.picked, app.mouse_captured) == ((41, 44), None)
        assert "4 selected y" in app.title_line
        await pilot.hover(LogView, offset=(20, 8))
        assert app.view.picked == (41, 44), "the button is no longer down"
        await pilot.press("y")
        copied = app.clipboard.split("\n")
        assert [each.rpartition(" p1 ")[2] for each in copied] == numbered(41, 45)
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO  p1 line 41", copied[0])
        await pilot.press("shift+up", "shift+up", "shift+down")
        assert app.view.picked == (41, 43)
        marks = [app.view.render_line(y).text[0] for y in range(VIEW)]
        assert marks.count("▌") == 3
        await pilot.press("up")
        assert app.view.picked == (42, 42)
        await pilot.press("end", "y")
        assert "select lines first" in [each.message for each in app._notifications][-1]


async def test_a_range_leaves_out_what_is_not_shown_and_shrinks_as_lines_go() -> None:
    async with host(capacity=20) as (app, pilot):
        app.log_lines(*(f"line {n}" + (" boom" if n % 2 else "") for n in range(20)))
        await pilot.press("home", *["shift+down"] * 9)
        assert app.view.picked == (0, 9)
        await pilot.press("slash", *"boom", "ctrl+o", "enter")
        app.view.select(1)
        app.view.select(9, extend=True)
        await pilot.press("y")
        assert [each.split()[-2] for each in app.clipboard.split("\n")] == ["1", "3", "5", "7", "9"]
        app.log_lines(*["new"] * 5)
        assert app.view.picked == (5, 9)
        app.log_lines(*["new"] * 5)
        assert app.view.picked is None


async def test_too_much_for_a_clipboard_is_told() -> None:
    async with host() as (app, pilot):
        app.log_lines(*["x" * 16_000] * 100)
        await pilot.press("home")
        app.view.select(99, extend=True)
        await pilot.press("y")
        assert app.clipboard == ""
        assert "too much for a clipboard" in [each.message for each in app._notifications][-1]


TRACEBACK = "Traceback (most recent call last):\n  File 1\n    code\n  File 2\n    more\nBoom: no"


async def test_tracebacks_are_folded_and_unfold_by_keys_and_mouse() -> None:
    async with host() as (app, pilot):
        app.log_lines("before", TRACEBACK, "after", TRACEBACK)
        await pilot.pause()
        seen = " ".join(app.view.render_line(y).text for y in range(6)).split()
        folded = ["Traceback", "(most", "recent", "call", "last):", "▸", "4", "lines", "Boom:", "no"]
        assert [word for word in seen if word in {"before", "after", *folded}] == [
            "before",
            *folded,
            "after",
            *folded,
        ]
        await pilot.press("z")
        assert len(app.view.rows) == 10
        assert app.view.render_line(5).text.split() == ["▾", "File", "1"]
        await pilot.click(LogView, offset=(7, 2))
        assert len(app.view.rows) == 14
        await pilot.press("space")
        assert len(app.view.rows) == 10, "the one that was clicked is selected"
        await pilot.press("Z")
        assert len(app.view.rows) == 14, "all of them"
        await pilot.press("Z")
        assert len(app.view.rows) == 6
        app.view.select(0)
        await pilot.press("z")
        assert len(app.view.rows) == 6, "one line is not folded"


async def test_what_is_found_in_a_fold_unfolds_it() -> None:
    async with host() as (app, pilot):
        app.log_lines(TRACEBACK, *numbered(0, 50))
        await pilot.press("slash", *"file 2", "enter")
        await pilot.pause()
        assert app.view.selected == 0
        row = app.view.rows.row_of(0) + 3 - app.view.scroll_offset.y
        assert "File 2" in app.view.render_line(row).text


async def test_a_regular_expression_is_looked_for_and_a_bad_one_only_told() -> None:
    async with host(size=(120, 15)) as (app, pilot):
        app.count(0, 50)
        help = app.pane.query_one("#log-find .prompt-help", Static)
        await pilot.press("slash", *"line 4[35]", "ctrl+r")
        await pilot.pause()
        assert (app.view.rows.found, app.view.selected) == (2, 45)
        await pilot.press(*"[")
        await pilot.pause()
        assert str(help.render()).startswith("no regular expression: unterminated character set")
        assert app.view.rows.found == 2
        await pilot.press("enter")
        assert app.pane.query_one("#log-find").has_class("-open")
        await pilot.press("backspace")
        await pilot.pause()
        assert "regex" in str(help.render())
        await pilot.press("ctrl+r")
        await pilot.pause()
        assert app.view.rows.found == 0
        await pilot.press("ctrl+r", "enter", "m")
        assert len(app.view.rows) == 2


async def test_a_regular_expression_that_takes_forever_is_told() -> None:
    async with host() as (app, pilot):
        app.log_lines("x" * 40)
        await pilot.press("slash")
        app.pane.query_one(Input).value = "re:(x+x+)+y"
        await pilot.pause()
        assert "takes too long" in str(app.pane.query_one("#log-find .prompt-help", Static).render())
        assert app.shown()[0].startswith("xxx")


async def test_a_long_scan_goes_in_slices_and_keys_wait_for_it() -> None:
    async with host(capacity=100_000) as (app, pilot):
        app.log_lines(*(f"line {n}" for n in range(60_000)))
        await until(lambda: app.view.rows.scanned is None)
        assert len(app.view.rows) == 60_000
        app.view.select(30_000)
        await pilot.pause()
        kept = app.shown()
        app.pane.chosen = Chosen(level=LogLevel.ERROR)
        assert app.shown() == kept, "what was shown stays until the scan is done"
        app.pane._retitle()
        assert "filtering… " in app.title_line
        app.pane.chosen = Chosen()
        app.view.request(replace(app.view.rows.filter, query=parse("line 77")))
        app.pane.find_next()
        assert app.view.selected == 30_000
        await until(lambda: app.view.rows.scanned is None)
        await pilot.pause()
        assert (app.view.rows.found, app.view.selected) == (111, 77)
        assert app.view._scan is None


async def test_the_choice_of_filters_narrows_this_view_at_once() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with host(size=(100, 30)) as (app, pilot):
        for process, generation in (("p1", 1), ("p2", 1), ("p3", 2), ("", 0)):
            app.store.introduce(process, generation)
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


async def test_the_option_bounds_what_the_view_was_narrowed_to() -> None:
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
        help = app.pane.query_one("#log-time .prompt-help", Static)
        for typed, line in (("10:15", 30), ("10:20:01", 41), ("-30s", 40), ("+2m", 44)):
            await pilot.press("t", *typed, "enter")
            await pilot.pause()
            assert app.view.selected == line
            assert app.focused is app.view
        await pilot.press("t")
        for typed, line, told in (
            ("11:30", 99, "nothing is so new: the newest line shown is of 10:49:30"),
            ("-1h", 0, "nothing is so old: the oldest line shown is of 10:00:00"),
            ("noon", 0, "not a time: give 12:04:31, 10:15, -30s or +2m"),
            ("25:00", 0, "there is no 25:00 on a clock"),
        ):
            await pilot.press(*typed, "enter")
            await pilot.pause()
            assert app.view.selected == line
            assert str(help.render()) == told, "and what is typed next takes the place of what was wrong"
        await pilot.press("escape")
        assert app.focused is app.view
        app.view.go_to(app.view.rows.row_at_time(36_000.0 + 30 * 20))
        assert app.shown()[0].endswith("line 20"), "it comes to the top"


async def test_writing_what_is_shown_into_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with host() as (app, pilot):
        app.count(0, 20)
        app.log_lines("boom\n[/x]", level=LogLevel.ERROR)
        app.pane.chosen = Chosen(level=LogLevel.ERROR)
        await pilot.press("X")
        await pilot.pause()
        name = app.screen.query_one(Input)
        told = app.screen.query_one("#export-told", Static)
        assert re.fullmatch(r"agent-tui-\d{8}-\d{6}\.log", name.value)
        for wrong, why in (
            ("", "give the file a name"),
            ("no/such/x.log", "not written: No such file"),
            (".", "is no file"),
        ):
            name.value = wrong
            await pilot.press("enter")
            await until(lambda: why in str(told.render()))  # noqa: B023
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


async def test_resizing_keeps_the_line_at_the_top() -> None:
    async with host() as (app, pilot):
        app.count(0, 100)
        await pilot.pause()
        app.view.scroll_to(y=40, animate=False)
        for size in ((50, 9), (120, 30), (200, 50), (80, 15)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            row = app.view.render_line(0).text.rstrip()
            assert row.endswith("line 40")
            assert not app.pane.follow


HOSTILE = [
    "[/x] [red]no[/red] [@click=app.quit]x[/] {0} %s \\[",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b]8;;http://x\x1b\\link \x9b2J",
    "汉字漢字 かな 한국어 " * 40,
    "emoji 👩‍👩‍👧 🇩🇪 ✈️ é 🎉" * 20,
    "\u202eabc\u2066 שלום \u200f",
    "x" * 1_000_000,
    "\n" * 5000,
    "a\n" * 5000,
    "\t\t\r\x00\x07 bell",
    "",
]


@pytest.mark.parametrize("size", [(20, 8), (80, 24), (200, 60)])
async def test_hostile_text_neither_crashes_nor_styles_nor_overflows(size: tuple[int, int]) -> None:
    async with host(size=size) as (app, pilot):
        for text in HOSTILE:
            app.log_lines(text, process="[/p]")
            app.pane.follow = True
            await pilot.pause()
            region = app.view.scrollable_content_region
            for x in (0, 1, 30):
                app.view.scroll_to(x=x, animate=False, force=True)
                strips = [app.view.render_line(y) for y in range(region.height)]
                assert {strip.cell_length for strip in strips} == {region.width}
                assert not any("\x1b" in strip.text or "\u202e" in strip.text for strip in strips)
            app.view.scroll_to(x=0, animate=False, force=True)
            app.view.request(replace(app.view.rows.filter, query=parse("re:[[/]"), folded=len(text) % 2 > 0))
            app.view.fold_all()
            app.view.action_fold()
            app.view.action_open()
            await pilot.pause()
            assert isinstance(app.screen, LogRecord)
            await app.pop_screen()


async def test_lines_that_were_never_announced_come_with_the_state() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    app = Host(1000)
    app.store = engine.store
    app.pane = LogPane(engine.logs)
    async with app.run_test(size=(120, 24)) as pilot:
        app.pane.show(engine.bus.state, 0.0)
        app.pane.owner = "AJ_k3Lm9QxTzW2a"
        await pilot.pause()
        assert app.view.rows.end == engine.store.end
        assert "AJ_k3Lm9… demo-1 ×" in app.title_line


async def test_what_was_dropped_is_in_the_title() -> None:
    async with host() as (app, pilot):
        app.store.drop(LogSource("p1", LogStream.STDOUT), 1200)
        app.pane.added(LogsAdded(0, app.store.end, app.store.dropped))
        await pilot.pause()
        assert "⚠ 1 200 dropped" in app.title_line


@pytest.mark.parametrize("theme", ["textual-light", "ansi-dark"])
async def test_a_change_of_theme_repaints_the_lines(theme: str) -> None:
    async with host() as (app, pilot):
        app.count(0, 5)
        await pilot.pause()
        before = app.view.render_line(0)
        app.theme = theme
        await pilot.pause()
        after = app.view.render_line(0)
        assert before.text == after.text
        assert [segment.style for segment in before] != [segment.style for segment in after]


async def test_a_resize_keeps_following_and_drops_columns() -> None:
    async with host() as (app, pilot):
        app.count(0, 50)
        await pilot.pause()
        await pilot.resize_terminal(50, 9)
        await pilot.pause()
        last = app.view.scrollable_content_region.height - 1
        assert re.fullmatch(r" \d\d:\d\d:\d\d INFO  line 49 *", app.view.render_line(last).text)
        await pilot.resize_terminal(120, 30)
        await pilot.pause()
        last = app.view.scrollable_content_region.height - 1
        assert re.search(r"\.\d{3} INFO  p1 +line 49 *$", app.view.render_line(last).text)
