"""The log pane as its users handle it: following, reading back, filters, find, whole records, the mouse."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.pilot import Pilot
from textual.widgets import Input, Static

from agent_tui.logs.store import LogStore
from agent_tui.model.events import LogsAdded
from agent_tui.model.logs import LogLevel, LogSource, LogStream
from agent_tui.tui.screens.log_record import LogRecord
from agent_tui.tui.widgets.log_bars import LogTitle
from agent_tui.tui.widgets.log_pane import LogPane
from agent_tui.tui.widgets.log_view import LogView
from tests.fakes.clock import FakeClock
from tests.fakes.engine import FakeEngine
from tests.tui import histories

VIEW = 11
"""Rows of lines in a pane of 80×12: the title takes one."""


class Host(App[None]):
    """A pane over a small store, with the keys that the app's registry gives it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "pane('start_find')"),
        Binding("n", "pane('find_next')"),
        Binding("N", "pane('find_previous')"),
        Binding("l", "pane('cycle_level')"),
    ]

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.store = LogStore(FakeClock(), capacity)
        self.pane = LogPane(self.store.pull, level=LogLevel.DEBUG, capacity=capacity)
        self.asked: list[LogLevel] = []

    def compose(self) -> ComposeResult:
        yield self.pane
        yield Input(id="other")

    def action_pane(self, name: str) -> None:
        getattr(self.pane, name)()

    def on_log_pane_level_changed(self, event: LogPane.LevelChanged) -> None:
        self.asked.append(event.level)

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


async def test_the_level_key_asks_and_changes_nothing_by_itself() -> None:
    async with host() as (app, pilot):
        await pilot.press("l")
        assert (app.asked, app.pane.level) == ([LogLevel.INFO], LogLevel.DEBUG)


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
        assert not app.pane.has_class("-finding")
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
        assert app.view.render_line(VIEW - 4).text.startswith("▸")
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
        for text, seen in (("debug", lambda: app.asked), ("f follows", lambda: app.pane.follow)):
            await pilot.click(LogTitle, offset=(app.title_line.index(text), 0))
            await pilot.pause()
            assert seen()
        app.pane.owner = "p1"
        await pilot.pause()
        await pilot.click(LogTitle, offset=(app.title_line.index("p1"), 0))
        assert app.pane.owner is None
        await pilot.click(LogTitle, offset=(app.title_line.index("find"), 0))
        assert app.pane.has_class("-finding")
        await pilot.press("escape")
        await pilot.double_click(LogView, offset=(30, 3))
        await pilot.pause()
        assert isinstance(app.screen, LogRecord)


async def test_text_is_selected_by_dragging() -> None:
    async with host() as (app, pilot):
        app.log_lines("漢字 first", "second [/x]", "third")
        await pilot.pause()
        await pilot.mouse_down(LogView, offset=(27, 0))
        await pilot.hover(LogView, offset=(33, 1))
        await pilot.mouse_up(LogView, offset=(33, 1))
        await pilot.pause()
        text = app.screen.get_selected_text()
        assert text is not None
        first, second = text.split("\n")[:2]
        assert first == "漢字 first"
        assert second.endswith(" second")
        marked = next(segment.style for segment in app.view.render_line(0) if "first" in segment.text)
        assert marked is not None
        assert marked.color != marked.bgcolor, "what is selected can still be read"
        assert [app.view.render_line(y).cell_length for y in range(2)] == [79, 79]


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
            app.view.find("[/", False)
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
