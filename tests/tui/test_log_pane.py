"""The log pane: following, scrolling, selecting, folding, and the mouse."""

import re
from dataclasses import replace

import pytest
from textual import events
from textual.widgets import Static

from agent_tui.model.logs import LogLevel, LogSource, LogStream
from agent_tui.model.state import AppState
from agent_tui.tui.screens.log_pages import LogFilters, LogRecord
from agent_tui.tui.widgets.log_bars import LogTitle
from agent_tui.tui.widgets.log_filter import parse
from agent_tui.tui.widgets.log_view import LogView
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.log_host import TRACEBACK, VIEW, Host, host, numbered


async def test_the_newest_line_is_followed_from_the_first_batch_on() -> None:
    async with host() as (app, pilot):
        app.count(0, 50)
        await pilot.pause()
        assert app.shown() == numbered(39, 50)
        assert "● follow" in app.title_line
        app.count(50, 60)
        await pilot.pause()
        assert app.shown() == numbered(49, 60)


async def test_lines_added_before_the_first_layout_are_followed() -> None:
    app = Host(1000)
    app.count(0, 50)
    async with app.run_test(size=(80, 15)) as pilot:
        await pilot.pause()
        assert app.shown() == numbered(39, 50)


async def test_the_mouse_wheel_stops_following_and_new_lines_are_counted() -> None:
    async with host() as (app, pilot):
        app.count(0, 50)
        await pilot.pause()
        app.view.post_message(_wheel(app.view))
        await until(lambda: not app.view.follow)
        await pilot.wait_for_scheduled_animations()
        kept = app.shown()
        assert kept != numbered(39, 50)
        app.count(50, 53)
        await pilot.pause()
        assert app.shown() == kept
        assert "‖ paused +3 new" in app.title_line
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
        assert not app.view.follow
        app.view.scroll_to(y=1000, animate=False)
        assert app.view.follow


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
        row = app.view.rows.index.row_of(51) - app.view.scroll_offset.y
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


async def test_an_empty_pane_names_the_filters_that_hide_the_lines() -> None:
    async with host() as (app, pilot):
        assert app.view.render_line(0).text.strip().startswith("no log lines yet: ")
        app.count(0, 3)
        app.pane.level = LogLevel.ERROR
        await pilot.pause()
        assert "3 lines hidden by the level filter (error)" in app.view.render_line(0).text


async def test_keys_select_lines_and_down_from_the_newest_follows() -> None:
    async with host() as (app, pilot):
        app.log_lines(*numbered(0, 30), "Traceback\n  File\nError", "last")
        await pilot.pause()
        await pilot.press("up", "up")
        assert app.view.selected == 30
        assert not app.view.follow
        assert app.view.render_line(VIEW - 4).text.startswith("▌")
        await pilot.press("down", "down")
        assert app.view.follow
        await pilot.press("home")
        assert (app.view.selected, app.view.scroll_offset.y) == (0, 0)
        await pilot.press("pagedown", "pagedown")
        assert app.view.selected == 20
        await pilot.press("pageup")
        assert app.view.selected == 10
        await pilot.press("end", "pageup")
        assert not app.view.follow
        await pilot.press("right", "right", "left")
        assert app.view.rows.index.width < 80
        assert app.view.scroll_offset.x == 0, "nothing is beyond the edge"


async def test_keys_on_an_empty_pane_do_nothing() -> None:
    async with host() as (app, pilot):
        await pilot.press(
            "up", "down", "pageup", "pagedown", "home", "end", "enter", "left", "right", "escape", "n"
        )
        await pilot.press("escape")
        assert app.view.follow
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
        await pilot.click(LogTitle, offset=(app.title_line.index("f follow"), 0))
        assert app.view.follow
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
        assert "no lines selected" in [each.message for each in app._notifications][-1]


async def test_a_range_excludes_hidden_lines_and_shrinks_with_eviction() -> None:
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


async def test_too_much_text_for_the_clipboard_is_refused() -> None:
    async with host() as (app, pilot):
        app.log_lines(*["x" * 16_000] * 100)
        await pilot.press("home")
        app.view.select(99, extend=True)
        await pilot.press("y")
        assert app.clipboard == ""
        assert "too long for the clipboard" in [each.message for each in app._notifications][-1]


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
            assert not app.view.follow


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
            app.view.follow = True
            await pilot.pause()
            region = app.view.scrollable_content_region
            for x in (0, 1, 30):
                app.view.scroll_to(x=x, animate=False, force=True)
                strips = [app.view.render_line(y) for y in range(region.height)]
                assert {strip.cell_length for strip in strips} == {region.width}
                assert not any("\x1b" in strip.text or "\u202e" in strip.text for strip in strips)
            app.view.scroll_to(x=0, animate=False, force=True)
            app.view.request(replace(app.view.rows.filter, query=parse("re:[[/]"), folded=len(text) % 2 > 0))
            app.view.action_fold_all()
            app.view.action_fold()
            app.view.action_open()
            await pilot.pause()
            assert isinstance(app.screen, LogRecord)
            await app.pop_screen()


async def test_the_owner_of_the_lines_is_named_by_the_state() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    app = Host(1000)
    async with app.run_test(size=(120, 24)) as pilot:
        app.pane.show(engine.bus.state, 0.0)
        app.pane.owner = "AJ_k3Lm9QxTzW2a"
        await pilot.pause()
        assert "AJ_k3Lm9… demo-1 ×" in app.title_line


async def test_the_title_counts_dropped_lines() -> None:
    async with host() as (app, pilot):
        app.store.drop(LogSource("p1", LogStream.STDOUT), 1200)
        app.pane.show(AppState(logs_dropped=app.store.dropped), 0.0)
        await pilot.pause()
        assert "⚠ 1,200 dropped" in app.title_line


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
        await pilot.resize_terminal(44, 9)
        await pilot.pause()
        last = app.view.scrollable_content_region.height - 1
        assert re.fullmatch(r" \d\d:\d\d:\d\d I line 49 *", app.view.render_line(last).text)
        await pilot.resize_terminal(120, 30)
        await pilot.pause()
        last = app.view.scrollable_content_region.height - 1
        assert re.search(r"\.\d{3} INFO  p1 +line 49 *$", app.view.render_line(last).text)


LONG = "start " + "word " * 40 + "end"


async def test_sideways_only_the_text_scrolls() -> None:
    async with host() as (app, pilot):
        app.log_lines(LONG, "first\n    second " + "x" * 100)
        await pilot.pause()
        columns = app.view.render_line(0).text[:31]
        assert re.fullmatch(r" [\d:]{8} INFO  p1 +", columns)
        await pilot.press("right")
        await pilot.pause()
        assert app.view.render_line(0).text.startswith(columns + LONG[8:20])
        assert app.view.render_line(2).text.startswith(" " * 5 + "nd xxx"), "from the indent on"
        await pilot.press(*["shift+right"] * 9)
        await pilot.pause()
        assert app.view.render_line(0).text.startswith(columns)
        assert app.view.render_line(0).text.rstrip().endswith("end")
        await pilot.press("shift+left")
        await pilot.pause()
        assert app.view.render_line(0).text.startswith(columns + "start word")
        assert app.view.render_line(0).text.rstrip().endswith("›")


async def test_wrap_shows_the_rest_of_long_lines_in_further_rows() -> None:
    async with host() as (app, pilot):
        app.log_lines("before", LONG, "after")
        await pilot.pause()
        assert len(app.view.rows) == 3
        await pilot.press("W")
        await pilot.pause()
        assert "wrap" in app.title_line
        width = app.view.scrollable_content_region.width - 31
        assert len(app.view.rows) == 2 + -(-len(LONG) // width)
        assert "".join(text.ljust(width) for text in app.shown()[1:-1]).startswith(LONG)
        assert app.view.max_scroll_x == 0
        assert app.view.render_line(2).text[:31] == " " * 31, "further rows are aligned"
        await pilot.resize_terminal(50, 15)
        await pilot.pause()
        assert len(app.view.rows) > 2 + -(-len(LONG) // width), "wrapped again for the new width"
        app.log_lines("new " * 40)
        await pilot.pause()
        assert app.view.follow
        await pilot.press("slash", *"after", "enter")
        await pilot.pause()
        assert app.view.rows.line(app.view.selected or 0).text == "after"  # type: ignore[union-attr]
        await pilot.resize_terminal(100, 15)
        await pilot.press("escape")
        await pilot.pause()
        await pilot.click(LogTitle, offset=(app.title_line.index("wrap"), 0))
        await pilot.pause()
        assert (app.view.wrap, len(app.view.rows)) == (False, 4)


async def test_escape_is_for_the_app_unless_there_is_a_search_or_a_prompt() -> None:
    async with host() as (app, pilot):
        assert not app.pane.check_action("leave", ())
        await pilot.press("slash", "x", "enter")
        assert app.pane.check_action("leave", ())
        await pilot.press("escape")
        assert not app.pane.check_action("leave", ())
        await pilot.press("t")
        assert app.pane.check_action("leave", ())


async def test_wrap_keeps_the_place_and_folds() -> None:
    async with host() as (app, pilot):
        app.log_lines(*(f"line {number} {'x' * 100}" for number in range(50)), TRACEBACK)
        await pilot.pause()
        app.view.select(20)
        top = app.shown()[0]
        await pilot.press("W")
        await pilot.pause()
        assert app.view.selected == 20
        assert app.shown()[0].split()[:2] == top.split()[:2]
        await pilot.press("end", "z")
        await pilot.pause()
        assert app.shown()[-1] == "Boom: no"
        await pilot.press("z")
        await pilot.pause()
        assert app.shown()[-1] == "▸ 4 lines  Boom: no"
