"""The help page: its groups, columns, filter, and what Enter runs."""

import pytest
from textual import events
from textual.widgets import Input, Static

from agent_tui.model import commands as cmd
from agent_tui.tui.actions import ACTIONS
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.page_keys import KEY_TABLES
from agent_tui.tui.preferences import Preferences
from agent_tui.tui.screens.generations import GenerationsPage
from agent_tui.tui.screens.help import Help
from agent_tui.tui.widgets.key_rows import entries_of, entry_lines, found, key_groups, key_page
from agent_tui.tui.widgets.log_view import LogView
from agent_tui.tui.widgets.text import width_of
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.loads import text
from tests.tui.page_host import page_host

FOCUS = ("Processes", "DataTable", "Widget")
GROUPS = key_groups(ACTIONS, FOCUS)


def shown(app: AgentTuiApp) -> str:
    return str(app.screen.query_one("#help-keys", Static).render())


def selected(app: AgentTuiApp) -> str:
    return str(app.screen.query_one("#help-entry", Static).render())


# -- text ------------------------------------------------------------------------------------------------


def test_every_action_and_every_inner_key_is_an_entry() -> None:
    entries = entries_of(GROUPS)
    assert {each.action for each in entries} == {"", *(action.name for action in ACTIONS)}
    rows = [row for table in KEY_TABLES for row in table.rows]
    assert len(entries) == len(ACTIONS) + len(rows)


@pytest.mark.parametrize(
    ("focus", "first"),
    [
        (FOCUS, ["Process table", "Processes"]),
        (("LogView", "ScrollView", "Widget", "LogPane"), ["Log lines", "Logs"]),
        (("LoadList", "VerticalScroll", "GenerationsPage", "Page"), ["Generations", "Every page"]),
    ],
)
def test_the_groups_about_the_focus_come_first(focus: tuple[str, ...], first: list[str]) -> None:
    groups = key_groups(ACTIONS, focus)
    assert [group.title for group in groups][:2] == first
    assert [bool(group.note) for group in groups] == [True, *(False for _ in groups[1:])]


@pytest.mark.parametrize(("width", "columns"), [(30, {0}), (76, {0}), (116, {0, 1}), (196, {0, 1, 2})])
def test_there_are_as_many_columns_as_fit_and_no_line_is_too_long(width: int, columns: set[int]) -> None:
    page = key_page(GROUPS, 3, width)
    assert {spot.column for spot in page.spots} == columns
    assert len(page.spots) == len(entries_of(GROUPS)) == len(set(page.spots))
    assert max(map(width_of, page.lines)) <= max(width, 40)
    assert text(page.lines).count("▸") == 1


def test_help_is_beside_the_title_where_there_is_room() -> None:
    assert "Start a test job" not in text(key_page(GROUPS, 0, 100).lines)
    assert "Start a test job" in text(key_page(GROUPS, 0, 196).lines)
    assert "Start a test job" in text(key_page(GROUPS, 0, 76).lines)


def test_the_filter_finds_words_of_keys_titles_texts_and_groups() -> None:
    assert [each.action for each in entries_of(found(GROUPS, "END job gracefully"))] == ["end", "quit"]
    assert {group.title for group in found(GROUPS, "pgup")} >= {"Log lines", "Generations"}
    assert found(GROUPS, "no such key") == ()
    assert "no key matches" in text(entry_lines(None, 60))


# -- page ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["question_mark", "escape", "q"])
async def test_it_closes(key: str) -> None:
    engine = FakeEngine()
    async with page_host(engine, "question_mark") as (app, pilot):
        assert isinstance(app.screen, Help)
        await pilot.press(key)
        assert len(app.screen_stack) == 1


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_each_key_moves_the_selection_which_stays_visible(size: tuple[int, int]) -> None:
    engine = FakeEngine()
    async with page_host(engine, "question_mark", size=size) as (app, pilot):
        last = entries_of(key_groups(ACTIONS, ()))[-1]
        await pilot.press("end")
        assert selected(app).startswith(last.keys)
        box = app.screen.query_one("#help-scroll")
        await until(lambda: box.scroll_offset.y == box.max_scroll_y > 0)
        before = selected(app)
        for key in ("pageup", "up", "k"):
            await pilot.press(key)
            assert selected(app) != before
            before = selected(app)
        await pilot.press("home", "down", "j")
        await until(lambda: box.scroll_offset.y == 0)
        if size[0] > 80:
            left = selected(app)
            await pilot.press("right")
            assert selected(app) != left
            await pilot.press("left")
            assert selected(app) == left


async def test_typing_after_a_slash_filters_and_enter_runs_what_is_selected() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with page_host(engine, "question_mark") as (app, pilot):
        await pilot.press("slash", *"reload", "space", *"now")
        await until(lambda: "Reload" in selected(app))
        await pilot.press("enter")
        await until(lambda: engine.commands == [cmd.Reload()])
        assert len(app.screen_stack) == 1


async def test_what_is_typed_at_once_after_the_slash_is_text() -> None:
    engine = FakeEngine()
    async with page_host(engine, "question_mark") as (app, _):
        for name, character in (("slash", "/"), ("j", "j"), ("q", "q"), ("slash", "/")):
            app.post_message(events.Key(name, character))
        await until(lambda: app.screen.query_one(Input).value == "jq/")


async def test_escape_first_shows_all_keys_again() -> None:
    engine = FakeEngine()
    async with page_host(engine, "question_mark") as (app, pilot):
        await pilot.press("slash", *"jqz?")
        await until(lambda: "no key matches" in selected(app))
        await pilot.press("enter", "down", "pagedown")
        assert isinstance(app.screen, Help), "nothing is selected"
        assert app.screen.query_one(Input).value == "jqz?", "in the filter, letters are text"
        await pilot.press("escape")
        await until(lambda: "Dispatch" in shown(app))
        await pilot.press("escape")
        assert len(app.screen_stack) == 1


async def test_a_click_runs_the_action() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with page_host(engine, "question_mark") as (app, pilot):
        row = next(n for n, line in enumerate(shown(app).split("\n")) if " Reload" in line)
        column = shown(app).split("\n")[row].index(" Reload")
        await pilot.click("#help-keys", offset=(column, row))
        await until(lambda: engine.commands == [cmd.Reload()])


async def test_an_inner_key_is_explained_but_not_run() -> None:
    engine = FakeEngine()
    async with page_host(engine, "question_mark") as (app, pilot):
        await pilot.press("end", "enter")
        assert isinstance(app.screen, Help)


async def test_an_action_that_is_not_available_says_so() -> None:
    engine = FakeEngine()
    async with page_host(engine, "question_mark") as (app, pilot):
        await pilot.press("slash", *"stacks", "enter")
        await until(lambda: app.notices)
        assert app.notices[-1].text == "Show stacks is not available now"


async def test_it_has_the_keys_of_the_user_also_to_open_and_on_pages() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    preferences = Preferences(keys={"help": ("f1",), "dispatch": ("W",)})
    async with page_host(engine, "f1", preferences=preferences) as (app, pilot):
        assert any(line.split()[:2] == ["W", "Dispatch"] for line in shown(app).split("\n"))
        await pilot.press("q", "g")
        await until(lambda: isinstance(app.screen, GenerationsPage))
        await pilot.press("f1")
        await until(lambda: isinstance(app.screen, Help))
        assert shown(app).startswith("Generations  ● has the focus")
        await pilot.press("slash", *"pause", "enter")
        await until(lambda: isinstance(app.screen, GenerationsPage))
        await until(lambda: app.notices)
        assert app.notices[-1].text == "Pause reload works on the dashboard: close this page first"
        assert not any(isinstance(command, cmd.PauseWatching) for command in engine.commands)


async def test_on_the_dashboard_the_focused_panel_comes_first() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        await pilot.press("question_mark")
        await until(lambda: isinstance(app.screen, Help))
        assert shown(app).startswith("Process table  ● has the focus")
        await pilot.press("escape", "3")
        await until(lambda: isinstance(app.focused, LogView))
        await pilot.press("question_mark")
        await until(lambda: isinstance(app.screen, Help))
        assert shown(app).startswith("Log lines  ● has the focus")
