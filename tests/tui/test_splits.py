"""The splits of the dashboard: moved with keys and the mouse, within the least sizes of the panels."""

from contextlib import AbstractAsyncContextManager

import pytest
from textual.pilot import Pilot

from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.widgets.detail import Detail
from agent_tui.tui.widgets.log_pane import LogPane
from agent_tui.tui.widgets.processes import Processes
from agent_tui.tui.widgets.splits import Split, SplitBody, share_of
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.page_host import page_host


def dashboard(
    size: tuple[int, int] = (120, 40),
) -> AbstractAsyncContextManager[tuple[AgentTuiApp, Pilot[int]]]:
    engine = FakeEngine()
    histories.busy(engine)
    return page_host(engine, kind=AgentTuiApp, size=size)


async def press(pilot: Pilot[int], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.app.workers.wait_for_complete(list(pilot.app.workers))
    await pilot.pause()


def widths(app: AgentTuiApp) -> tuple[int, int]:
    return app.query_one("#left").region.width, app.panel(Detail).region.width


def heights(app: AgentTuiApp) -> tuple[int, int]:
    return app.panel(Processes).region.height, app.panel(LogPane).region.height


@pytest.mark.parametrize("total", [86, 110, 119, 120, 199, 200])
@pytest.mark.parametrize("size", [-5, 0, 40, 47, 53, 500])
def test_a_share_is_exactly_that_many_cells(size: int, total: int) -> None:
    share = share_of(size, total, (40, 46))
    assert share is not None
    assert int(share * total) == min(max(size, 40), total - 46)


def test_without_room_nothing_moves() -> None:
    assert share_of(40, 85, (40, 46)) is None


@pytest.mark.parametrize(("less", "more"), [("<", ">"), ("ctrl+left", "ctrl+right")])
async def test_keys_move_the_split_between_the_columns(less: str, more: str) -> None:
    async with dashboard() as (app, pilot):
        left, right = widths(app)
        await press(pilot, more)
        assert widths(app) == (left + 4, right - 4)
        await press(pilot, less, less, less)
        assert widths(app) == (left - 8, right + 8)
        await press(pilot, *[more] * 14)
        assert widths(app) == (120 - 46, 46)
        await press(pilot, less)
        assert widths(app) == (120 - 50, 50), "it does not have to come back from beyond the end"
        await press(pilot, *[less] * 14)
        assert widths(app) == (40, 80)


@pytest.mark.parametrize(("less", "more"), [("{", "}"), ("ctrl+up", "ctrl+down")])
@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_keys_move_the_split_between_processes_and_logs(
    less: str, more: str, size: tuple[int, int]
) -> None:
    async with dashboard(size) as (app, pilot):
        top, bottom = heights(app)
        await press(pilot, less)
        assert heights(app) == (top - 2, bottom + 2)
        await press(pilot, more, more)
        assert heights(app) == (top + 2, bottom - 2)
        await press(pilot, *[more] * 14)
        assert heights(app) == (top + bottom - 6, 6)
        await press(pilot, *[less] * 14)
        assert heights(app) == (4, top + bottom - 4)


async def test_one_column_says_why_nothing_moves() -> None:
    async with dashboard((80, 24)) as (app, pilot):
        await press(pilot, "<")
        assert app.notices[-1].text == "there is one column: a wider terminal shows two"
        await press(pilot, "2", "}")
        assert app.notices[-1].text == "the logs are hidden · 3 show them"
        assert not app.panel(SplitBody).shares


async def test_the_shares_stay_when_the_terminal_changes() -> None:
    async with dashboard() as (app, pilot):
        await press(pilot, *["<"] * 6, *["{"] * 3)
        columns, rows = widths(app), heights(app)
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert app.query_one("#left").region.width == 80
        await press(pilot, "2")
        assert app.panel(Detail).region.width == 80
        await press(pilot, "3")
        await pilot.resize_terminal(110, 24)
        await pilot.pause()
        assert widths(app) == (40, 70), "never less than the least width"
        await pilot.resize_terminal(240, 80)
        await pilot.pause()
        assert widths(app)[0] == pytest.approx(2 * columns[0], abs=1)
        await pilot.resize_terminal(120, 40)
        await pilot.pause()
        assert (widths(app), heights(app)) == (columns, rows)


async def drag(pilot: Pilot[int], start: tuple[int, int], end: tuple[int, int]) -> None:
    await pilot.mouse_down(offset=start)
    await pilot.hover(offset=end)
    await pilot.mouse_up(offset=end)
    await pilot.pause()


@pytest.mark.parametrize("side", ["left", "right"])
async def test_a_drag_moves_the_split_between_the_columns(side: str) -> None:
    async with dashboard() as (app, pilot):
        at = app.panel(Detail).region.x - (side == "left")
        y = app.panel(Processes).region.y + 2
        await drag(pilot, (at, y), (50, y))
        assert widths(app) == (50, 70)
        await drag(pilot, (50, y), (2, y))
        assert widths(app) == (40, 80)
        assert app.mouse_captured is None
        await pilot.hover(offset=(60, y))
        await pilot.pause()
        assert widths(app) == (40, 80), "the button is up"
        assert app.screen.get_selected_text() is None


async def test_a_drag_moves_the_split_between_processes_and_logs() -> None:
    async with dashboard() as (app, pilot):
        table = app.panel(Processes).region
        await drag(pilot, (9, table.bottom - 1), (9, table.y + 9))
        assert heights(app)[0] == 10
        await drag(pilot, (9, table.y + 9), (9, 39))
        assert heights(app)[1] == 6


async def test_a_drag_elsewhere_moves_nothing() -> None:
    async with dashboard() as (app, pilot):
        for panel in (Processes, Detail, LogPane):
            middle = app.panel(panel).region.center
            at = int(middle[0]), int(middle[1])
            await drag(pilot, at, (at[0] - 9, at[1] + 3))
        assert not app.panel(SplitBody).shares


async def test_a_maximized_panel_has_no_split() -> None:
    async with dashboard() as (app, pilot):
        await press(pilot, "f10", "<", "}")
        assert not app.panel(SplitBody).shares
        await press(pilot, "f10", "<")
        assert list(app.panel(SplitBody).shares) == [Split.COLUMNS]


async def test_an_input_keeps_its_keys() -> None:
    async with dashboard() as (app, pilot):
        await press(pilot, ":", *"set a", "ctrl+left", "<")
        await until(lambda: app.focused is not None)
        assert not app.panel(SplitBody).shares
