"""How the screen looks in each of its states; `pytest tests/tui --snapshot-update` takes them anew."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

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


def _opened(app: AgentTuiApp, key: str, depth: int) -> bool:
    return key == "slash" or len(app.screen_stack) > depth


async def settled(app: AgentTuiApp, pilot: Pilot[Any]) -> None:
    """All that was asked for is on the screen."""
    await pilot.pause()
    await pilot.wait_for_scheduled_animations()
    for field in app.screen.query(Input):
        field.cursor_blink = False  # half of the time it could not be seen
    app._paint()
    await pilot.pause()


@pytest.mark.parametrize("state", histories.ALL)
def test_every_state(snap_compare: Compare, state: str) -> None:
    app, shown = app_in(state)
    assert snap_compare(app, terminal_size=(120, 40), run_before=shown)


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light", "high-contrast"])
@pytest.mark.parametrize("size", SIZES, ids=[f"{width}x{height}" for width, height in SIZES])
def test_the_dashboard_at_every_size_and_theme(
    snap_compare: Compare, size: tuple[int, int], theme: str
) -> None:
    app, shown = app_in("busy")

    async def themed(pilot: Pilot[Any]) -> None:
        app.theme = theme
        await shown(pilot)

    assert snap_compare(app, terminal_size=size, run_before=themed)


@pytest.mark.parametrize("state", ["broken", "disconnected", "stale"])
def test_trouble_has_room_on_a_small_terminal(snap_compare: Compare, state: str) -> None:
    app, shown = app_in(state)
    assert snap_compare(app, terminal_size=(80, 24), run_before=shown)


PAGES = {
    "help": ("busy", ["question_mark"]),
    "dispatch form": ("busy", ["D"]),
    "burst form": ("busy", ["b"]),
    "sweep form": ("busy", ["w"]),
    "tuning": ("busy", ["T"]),
    "find": ("busy", ["slash"]),
    "log filters": ("busy", ["F"]),
    "worker": ("busy", ["i"]),
    "jobs": ("busy", ["j"]),
    "job": ("busy", ["j", "enter"]),
    "breaches": ("busy", ["B"]),
    "generations": ("stale", ["g"]),
    "options": ("busy", ["E"]),
}
"""A state, and the keys that open the page from there."""

SMALL = ("job", "generations", "tuning", "options")


@pytest.mark.parametrize(
    ("page", "size"),
    [*((page, SIZES[1]) for page in PAGES), *((page, SIZES[0]) for page in SMALL)],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else f"{value[0]}x{value[1]}",
)
def test_every_page(snap_compare: Compare, page: str, size: tuple[int, int]) -> None:
    state, keys = PAGES[page]
    app, shown = app_in(state)

    async def opened(pilot: Pilot[Any]) -> None:
        await shown(pilot)
        for key in keys:
            depth = len(app.screen_stack)
            await pilot.press(key)
            await until(partial(_opened, app, key, depth))
            await settled(app, pilot)

    assert snap_compare(app, terminal_size=size, run_before=opened)


def test_the_message_of_a_broken_save_can_be_closed(snap_compare: Compare) -> None:
    app, shown = app_in("stale")

    async def closed(pilot: Pilot[Any]) -> None:
        await shown(pilot)
        await pilot.press("escape")
        await pilot.pause()

    assert snap_compare(app, terminal_size=(80, 24), run_before=closed)
