"""What all lists do: `/` filters them, a click is like Enter, `y` copies, `S` sorts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from agent_tui.model import events as ev
from agent_tui.model.child import MemoryMeasure
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.widgets.breaches import Breaches
from agent_tui.tui.widgets.jobs_table import JobsTable
from agent_tui.tui.widgets.key_bar import KeyBar
from agent_tui.tui.widgets.line_list import LineList
from agent_tui.tui.widgets.listing import FilterLine, Listing
from agent_tui.tui.widgets.load_list import LoadList
from agent_tui.tui.widgets.processes import Processes
from agent_tui.tui.widgets.table import Table
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.page_host import PageHost, page_host


@dataclass(frozen=True)
class Place:
    """A list: how to get to it, and what is in it."""

    kind: type[Listing]
    keys: tuple[str, ...]
    row: str
    """A text that only the first row contains."""
    sorts: bool = True
    app: type[AgentTuiApp] = PageHost
    copied: str = ""
    """What `y` copies first from the first row; by default `row`."""


PLACES = {
    "processes": Place(Processes, ("1",), "demo-1", app=AgentTuiApp),
    "breaches": Place(Breaches, (), "demo-2", sorts=False, app=AgentTuiApp),
    "breaches page": Place(LineList, ("B",), "demo-2"),
    "generations": Place(LoadList, ("g",), "SyntaxError", copied="2"),
    "jobs": Place(JobsTable, ("j",), "demo-2"),
}

each_place = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)


def breach(process: str, pid: int, job: str, mb: float) -> ev.MemoryWarned:
    return ev.MemoryWarned(process, pid, job, mb, MemoryMeasure.RSS, mb, None, 1000.0, 0.0, 131.0)


@asynccontextmanager
async def opened(place: Place) -> AsyncIterator[tuple[AgentTuiApp, Pilot[int], Any]]:
    """Yield the app with the focus in the list, at its first row."""
    engine = FakeEngine()
    histories.busy(engine)
    engine.publish(
        breach("p2", 8124, "AJ_Zz81kPpQ0sVb", 1_100.0),
        ev.GenerationFailed(2, "SyntaxError: expected ':'", "/home/ann/voice/agent.py", 12, ""),
    )
    async with page_host(engine, kind=place.app) as (app, pilot):
        if place.keys:
            await pilot.press(*place.keys)
        await until(lambda: bool(app.screen.query(place.kind)))
        found = app.screen.query_one(place.kind)
        found.focus()
        await until(lambda: len(rows(found)) > 1)
        await pilot.pause()
        yield app, pilot, found


def rows(found: object) -> list[str]:
    """Return the rows as text."""
    if isinstance(found, Table):
        return [" ".join(str(cell) for cell in found.get_row_at(at)) for at in range(found.row_count)]
    assert isinstance(found, OptionList)
    return [str(found.get_option_at_index(at).prompt) for at in range(found.option_count)]


@each_place
async def test_slash_filters_and_says_how_many_rows_are_shown(place: Place) -> None:
    async with opened(place) as (app, pilot, found):
        before = rows(found)
        await pilot.press("slash", *place.row.upper())
        await until(lambda: rows(found) == [row for row in before if place.row in row])
        note = app.screen.query_one(FilterLine).query_one(".filter-note", Static)
        await until(lambda: str(note.render()) == f"1 of {len(before)} · Esc show all")
        await pilot.press("enter")
        assert app.focused is found
        assert app.screen.query_one(FilterLine).query_one(Input).value == place.row.upper(), (
            "it stays visible"
        )
        depth = len(app.screen_stack)
        await pilot.press("escape")
        await until(lambda: rows(found) == before)
        assert len(app.screen_stack) == depth, "the first Esc only removes the filter"
        assert not app.screen.query(FilterLine)
        await pilot.press("slash", *"no such row")
        await until(lambda: not any(place.row in row for row in rows(found)))
        await pilot.press("escape")
        await until(lambda: rows(found) == before)
        assert app.focused is found


def outcome(app: AgentTuiApp) -> tuple[object, ...]:
    """Return what is open, and what the status line says."""
    page = app.screen
    title = str(page.query(".page-box").first().border_title) if len(app.screen_stack) > 1 else ""
    chosen = [each.chosen for each in page.query(LineList)]
    return type(page), title, app.notices[-1].text if app.notices else "", type(app.focused), chosen


@each_place
async def test_a_click_does_what_enter_does(place: Place) -> None:
    done: dict[bool, list[tuple[object, ...]]] = {False: [], True: []}
    for by_click, outcomes in done.items():
        async with opened(place) as (app, pilot, found):
            page = app.screen
            border = found.region.y != found.content_region.y
            for row in range(2):
                before = outcome(app)
                if by_click:
                    await pilot.click(found, offset=(10, row + border + isinstance(found, Table)))
                else:
                    await pilot.press(*["down"] * row, "enter")
                await until(lambda app=app, before=before: outcome(app) != before)  # type: ignore[misc]
                await pilot.pause()
                outcomes.append(outcome(app))
                while app.screen is not page:
                    await pilot.press("escape")
                app.notices.clear()
                found.focus()
                await pilot.pause()
    assert done[False] == done[True]


@each_place
async def test_y_copies_from_the_selected_row(place: Place) -> None:
    async with opened(place) as (app, pilot, _):
        await pilot.press("y")
        await until(lambda: type(app.screen).__name__ == "Pick")
        await pilot.pause()
        await pilot.press("enter")
        await until(lambda: app.clipboard == (place.copied or place.row))
        assert app.clipboard in app.notices[-1].text


@pytest.mark.parametrize("place", [each for each in PLACES.values() if each.sorts], ids=lambda each: each.row)
async def test_s_sorts_by_something_else(place: Place) -> None:
    async with opened(place) as (_, pilot, found):
        seen, press = {tuple(rows(found))}, 0
        while len(seen) < 2 and press < 12:
            await pilot.press("S")
            await pilot.pause()
            seen.add(tuple(rows(found)))
            press += 1
        assert len(seen) > 1


async def test_the_footer_of_a_list_starts_with_its_own_key() -> None:
    async with opened(PLACES["processes"]) as (app, pilot, _):
        await pilot.pause()
        words = str(app.query_one(KeyBar).render()).split()
        assert words[1] == "Talk"
        assert words.index("Dispatch") < words.index("Filter") < words.index("Quit")
