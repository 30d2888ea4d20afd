"""Find in the log pane: next match, only matches, regular expressions, long scans."""

from dataclasses import replace

from textual.widgets import Input, Static

from agent_tui.model.logs import LogLevel
from agent_tui.tui.widgets.log_filter import Chosen, parse
from tests.fakes.scripted_child import until
from tests.tui.log_host import TRACEBACK, host, numbered


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
        row = app.view.rows.index.row_of(85) - app.view.scroll_offset.y
        assert app.shown()[row] == "line 85 boom"
        app.log_lines("new boom")
        await pilot.pause()
        assert "/boom 5/6" in app.title_line
        await pilot.press("escape")
        await pilot.pause()
        assert app.pane.needle == ""
        assert app.view.follow


async def test_escape_in_the_field_restores_what_was_before() -> None:
    async with host() as (app, pilot):
        app.count(0, 50)
        other = app.query_one("#other")
        other.focus()
        await pilot.pause()
        app.pane.action_find()
        await pilot.pause()
        await pilot.press(*"line 7")
        await pilot.pause()
        assert not app.view.follow
        await pilot.press("escape")
        await pilot.pause()
        assert app.focused is other
        assert app.view.follow
        assert app.shown() == numbered(39, 50)


async def test_only_matching_lines() -> None:
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


async def test_a_match_in_a_folded_record_unfolds_it() -> None:
    async with host() as (app, pilot):
        app.log_lines(TRACEBACK, *numbered(0, 50))
        await pilot.press("slash", *"file 2", "enter")
        await pilot.pause()
        assert app.view.selected == 0
        row = app.view.rows.index.row_of(0) + 3 - app.view.scroll_offset.y
        assert "File 2" in app.view.render_line(row).text


async def test_a_regular_expression_is_searched_and_an_invalid_one_reported() -> None:
    async with host(size=(120, 15)) as (app, pilot):
        app.count(0, 50)
        await pilot.press("slash", *"line 4[35]", "ctrl+r")
        await pilot.pause()
        help = app.pane.query_one("#log-find .prompt-help", Static)
        assert (len(app.view.rows.index.matches), app.view.selected) == (2, 45)
        await pilot.press(*"[")
        await pilot.pause()
        assert str(help.render()).startswith("invalid regular expression: unterminated character set")
        assert len(app.view.rows.index.matches) == 2
        await pilot.press("enter")
        assert app.pane.query_one("#log-find").has_class("-open")
        await pilot.press("backspace")
        await pilot.pause()
        assert "regex" in str(help.render())
        await pilot.press("ctrl+r")
        await pilot.pause()
        assert len(app.view.rows.index.matches) == 0
        await pilot.press("ctrl+r", "enter", "m")
        assert len(app.view.rows) == 2


async def test_the_user_is_notified_of_a_cancelled_search() -> None:
    async with host() as (app, pilot):
        app.log_lines("x" * 60 + "!")
        await pilot.press("slash")
        app.pane.query_one(Input).value = "re:(x|xx)+$"
        await pilot.pause()
        assert "is too slow" in str(app.pane.query_one("#log-find .prompt-help", Static).render())
        assert app.shown()[0].startswith("xxx")


async def test_a_long_scan_runs_in_slices_and_search_keys_wait_for_it() -> None:
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
        app.pane.action_find_next()
        assert app.view.selected == 30_000
        await until(lambda: app.view.rows.scanned is None)
        await pilot.pause()
        assert (len(app.view.rows.index.matches), app.view.selected) == (111, 77)
        assert app.view._scan is None
