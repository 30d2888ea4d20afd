"""`[screen] keymap = "vim"`: j, k, g, and G move in lists, tables, logs, and pages; J and H open pages."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from textual.widgets import Input

from agent_tui.tui.actions import ACTIONS
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.preferences import KEYMAPS, VIM, Preferences, read_preferences, remapped
from agent_tui.tui.screens.generations import GenerationsPage
from agent_tui.tui.screens.jobs import JobsPage
from agent_tui.tui.widgets.command_bar import CommandInput
from agent_tui.tui.widgets.detail import Detail
from agent_tui.tui.widgets.detail_text import Tab
from agent_tui.tui.widgets.jobs_table import JobsTable
from agent_tui.tui.widgets.load_list import LoadList
from agent_tui.tui.widgets.log_pane import LogPane
from agent_tui.tui.widgets.log_view import LogView
from agent_tui.tui.widgets.processes import Processes
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.loads import ready
from tests.tui.page_host import PageHost, page_host


def vim(**keys: object) -> Preferences:
    return read_preferences({"keymap": VIM, "keys": keys}, "agent-tui.toml", ACTIONS)


def screen(
    *keys: str, kind: type[AgentTuiApp] = AgentTuiApp, size: tuple[int, int] = (120, 24), **more: Any
) -> AbstractAsyncContextManager[tuple[AgentTuiApp, Pilot[int]]]:
    engine = FakeEngine()
    histories.busy(engine)
    engine.publish(*(ready(number) for number in range(2, 6)))
    return page_host(engine, *keys, kind=kind, size=size, preferences=vim(), **more)


async def follows(pilot: Pilot[int], place: Callable[[], object], expected: dict[str, object]) -> None:
    for key, at in expected.items():
        await pilot.press(key)
        await pilot.pause()
        assert place() == at, key


def test_the_keymap_leaves_no_action_without_a_key() -> None:
    preferences = vim()
    by_key: dict[str, str] = {}
    for action in remapped(ACTIONS, preferences.keys):
        assert action.keys
        for key in action.keys:
            assert by_key.setdefault(key, action.name) == action.name
    assert not by_key.keys() & KEYMAPS[VIM].moves.keys()


def test_custom_keys_apply_on_top() -> None:
    assert vim(job=["f7"]).keys == {"job": ("f7",), "generations": ("H",)}
    assert vim(reload="K").keys["reload"] == ("K",)


async def test_the_process_table_and_the_logs() -> None:
    async with screen() as (app, pilot):
        table = app.panel(Processes)
        last = table.row_count - 1
        assert last >= 3
        await follows(pilot, lambda: table.cursor_row, {"j": 1, "k": 0, "G": last})
        await follows(pilot, lambda: table.cursor_row, {"g": 0})
        assert len(app.screen_stack) == 1, "neither Jobs nor Generations opened"
        await pilot.press("3")
        await until(lambda: app.panel(LogPane).has_focus_within)
        view = app.panel(LogPane).query_one(LogView)
        await follows(pilot, lambda: (view.selected, view.follow), {"g": (view.rows.first, False)})
        first = view.selected
        assert first is not None
        await follows(pilot, lambda: view.selected, {"j": first + 1, "k": first, "G": None})
        assert view.follow


async def test_the_tabs() -> None:
    async with screen(size=(120, 13)) as (app, pilot):
        detail = app.panel(Detail)
        detail.tab = Tab.JOB
        await pilot.press("2")
        scroll = detail.query_one("#detail-scroll", VerticalScroll)
        await until(lambda: scroll.has_focus)
        await until(lambda: scroll.max_scroll_y > 1)
        await follows(pilot, lambda: scroll.scroll_y, {"j": 1, "k": 0, "G": scroll.max_scroll_y, "g": 0})


async def test_jobs_is_J_and_its_table_moves() -> None:
    async with screen("J", kind=PageHost) as (app, pilot):
        assert isinstance(app.screen, JobsPage)
        table = app.screen.query_one(JobsTable)
        last = table.row_count - 1
        assert last >= 2
        await follows(pilot, lambda: table.cursor_row, {"G": last, "k": last - 1, "j": last, "g": 0})


async def test_generations_is_H_which_also_closes_it() -> None:
    async with screen("H", kind=PageHost) as (app, pilot):
        assert isinstance(app.screen, GenerationsPage)
        loads = app.screen.query_one(LoadList)
        chosen = [5, 4, 1]

        def number() -> object:
            return loads.selected.number if loads.selected else None

        assert number() == chosen[0]
        await follows(pilot, number, {"j": 4, "k": 5, "G": 1, "g": 5})
        await pilot.press("H")
        await until(lambda: len(app.screen_stack) == 1)


@pytest.mark.parametrize(("key", "scroll"), [("i", "#page-box"), ("question_mark", "#help-scroll")])
async def test_pages_of_text(key: str, scroll: str) -> None:
    async with screen(key, kind=PageHost, size=(80, 12)) as (app, pilot):
        box = app.screen.query_one(scroll)
        await until(lambda: box.max_scroll_y > 2)
        await pilot.press("G")
        await until(lambda: box.scroll_y > 0)
        await pilot.press("g")
        await until(lambda: box.scroll_y == 0)


async def test_typed_text_stays_text() -> None:
    async with screen() as (app, pilot):
        await pilot.press("colon", *"jkgG")
        await until(lambda: app.query_one(CommandInput).value == "jkgG")
        await pilot.press("escape", "3", "slash", *"Gg")
        await until(lambda: isinstance(app.focused, Input) and app.focused.value == "Gg")


async def test_the_help_shows_the_keymap() -> None:
    async with screen("question_mark", kind=PageHost) as (app, pilot):
        await pilot.press("slash", *"like home")
        await until(lambda: "Like Home, except where you type text." in shown(app))


def shown(app: AgentTuiApp) -> str:
    return str(app.screen.query_one("#help-keys").render())


async def test_without_the_keymap_these_keys_keep_their_meaning() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, "j") as (app, _):
        assert isinstance(app.screen, JobsPage)
