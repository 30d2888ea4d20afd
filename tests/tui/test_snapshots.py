"""How the screen looks in each of its states; `pytest tests/tui --snapshot-update` takes them anew."""

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from agent_tui.tui.app import AgentTuiApp
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories

SIZES = [(80, 24), (120, 40), (200, 60)]
Compare = Callable[..., bool]


def app_in(state: str) -> tuple[AgentTuiApp, Callable[[Pilot[Any]], Any]]:
    """The app over an engine with that history, and what makes it show it."""
    engine = FakeEngine()
    histories.ALL[state](engine)

    async def make() -> FakeEngine:
        return engine

    app = AgentTuiApp(make, now=engine.clock.time)

    async def shown(pilot: Pilot[Any]) -> None:
        await until(lambda: app._bridge is not None)
        app._paint()
        await pilot.pause()
        app._paint()
        await pilot.pause()

    return app, shown


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light"])
@pytest.mark.parametrize("size", SIZES, ids=[f"{width}x{height}" for width, height in SIZES])
@pytest.mark.parametrize("state", histories.ALL)
def test_every_state(snap_compare: Compare, state: str, size: tuple[int, int], theme: str) -> None:
    app, shown = app_in(state)

    async def themed(pilot: Pilot[Any]) -> None:
        app.theme = theme
        await shown(pilot)

    assert snap_compare(app, terminal_size=size, run_before=themed)


@pytest.mark.parametrize("key", ["question_mark", "D", "slash"])
def test_what_opens_over_it(snap_compare: Compare, key: str) -> None:
    app, shown = app_in("busy")

    async def opened(pilot: Pilot[Any]) -> None:
        await shown(pilot)
        await pilot.press(key)
        await until(lambda: key == "slash" or len(app.screen_stack) > 1)
        await pilot.wait_for_scheduled_animations()
        await pilot.pause()

    assert snap_compare(app, terminal_size=(120, 40), run_before=opened)


@pytest.mark.parametrize("size", SIZES[:2], ids=["80x24", "120x40"])
def test_the_generations_page(snap_compare: Compare, size: tuple[int, int]) -> None:
    app, shown = app_in("stale")

    async def opened(pilot: Pilot[Any]) -> None:
        await shown(pilot)
        await pilot.press("g")
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=opened)


def test_the_message_of_a_broken_save_can_be_closed(snap_compare: Compare) -> None:
    app, shown = app_in("stale")

    async def closed(pilot: Pilot[Any]) -> None:
        await shown(pilot)
        await pilot.press("escape")
        await pilot.pause()

    assert snap_compare(app, terminal_size=(80, 24), run_before=closed)
