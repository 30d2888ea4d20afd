"""Snapshots of the screen; `pytest tests/tui --snapshot-update` updates them."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input

from agent_tui.model import commands as cmd
from agent_tui.tui import screens
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.screens.breaches import BreachesPage
from agent_tui.tui.screens.confirm import QuitQuestion
from agent_tui.tui.screens.dispatch_form import DispatchForm
from agent_tui.tui.screens.export import ExportPage
from agent_tui.tui.screens.generations import GenerationsPage
from agent_tui.tui.screens.help import Help
from agent_tui.tui.screens.job import DispatchPage, JobPage
from agent_tui.tui.screens.jobs import JobsPage
from agent_tui.tui.screens.log_pages import LogExport, LogFilters, LogRecord
from agent_tui.tui.screens.options import OptionsPage
from agent_tui.tui.screens.page import Page
from agent_tui.tui.screens.pick import Pick
from agent_tui.tui.screens.remote_guard import RemoteGuard
from agent_tui.tui.screens.talk import ContextPage, TalkPage
from agent_tui.tui.screens.tuning import TuningPage
from agent_tui.tui.screens.tuning_forms import SweepForm, TestLoadForm
from agent_tui.tui.screens.worker import WorkerPage
from agent_tui.tui.widgets.detail import Detail
from agent_tui.tui.widgets.detail_text import Tab
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.page_host import PageHost, app_over, painted

STACKS = """Thread MainThread:
  File "/usr/lib/python3.12/asyncio/base_events.py", line 640, in run_until_complete
    self.run_forever()

Task entry:
  File "/home/ann/voice/agent.py", line 12, in entry
    await listen(ctx.room)
  File "/home/ann/voice/agent.py", line 30, in listen
    text = await queue.get()
  File "/usr/lib/python3.12/asyncio/queues.py", line 158, in get
    await getter
"""
DIFF = """generation 3 compared with 2: 1 file, +1 -1 lines
--- tools/search.py
+++ tools/search.py
@@ -6,3 +6,3 @@
 # The key of the search service.
-KEY = "demo"
+KEY = os.environ["SEARCH_KEY"]
 LIMIT = 20"""

SIZES = [(80, 24), (120, 40), (200, 60)]
Compare = Callable[..., bool]


def app_in(
    state: str, kind: type[AgentTuiApp] = AgentTuiApp
) -> tuple[AgentTuiApp, Callable[[Pilot[Any]], Any]]:
    """Return an app over an engine with that history, and a function that waits until it is painted."""
    engine = FakeEngine()
    histories.ALL[state](engine)
    engine.answers = {cmd.DumpStacks: STACKS, cmd.DiffGeneration: DIFF}
    app = app_over(engine, kind)

    async def shown(pilot: Pilot[Any]) -> None:
        await painted(app, engine, pilot)
        app.show()  # texts that depend on the size
        await pilot.pause()

    return app, shown


def _opened(app: AgentTuiApp, key: str, depth: int) -> bool:
    return key in ("3", "slash", "colon") or len(app.screen_stack) > depth


async def settled(app: AgentTuiApp, pilot: Pilot[Any]) -> None:
    """Wait until all requested data is painted."""
    await pilot.pause()
    await pilot.wait_for_scheduled_animations()
    for field in app.screen.query(Input):
        field.cursor_blink = False  # it would be invisible half of the time
    app.show()
    await pilot.pause()
    await until(lambda: not any(each.group == "log" and not each.is_finished for each in app.workers))
    await pilot.pause()


@pytest.mark.parametrize("state", histories.ALL)
def test_every_state(snap_compare: Compare, state: str) -> None:
    app, shown = app_in(state)
    assert snap_compare(app, terminal_size=(120, 40), run_before=shown)


@pytest.mark.parametrize(
    ("size", "theme"),
    [((80, 24), "light"), ((120, 40), "high-contrast"), ((200, 60), "textual-dark")],
    ids=["80x24-light", "120x40-high-contrast", "200x60-textual-dark"],
)
def test_the_dashboard_at_every_size_and_theme(
    snap_compare: Compare, size: tuple[int, int], theme: str
) -> None:
    app, shown = app_in("busy")

    async def themed(pilot: Pilot[Any]) -> None:
        app.theme = theme
        await shown(pilot)

    assert snap_compare(app, terminal_size=size, run_before=themed)


DETAILS = {
    "job of a crash": ("busy", ["end", "up", "right_square_bracket"], Tab.JOB),
    "logs": ("busy", ["right_square_bracket"] * 2, Tab.LOGS),
    "memory": ("memory", ["right_square_bracket"] * 3, Tab.MEMORY),
    "stacks": ("busy", ["s"], Tab.STACKS),
    "options": ("busy", ["O"], Tab.OPTIONS),
    "lost dispatch": ("lost", ["end", "up"], Tab.TALK),
}
"""A state, the keys that select a row and a tab, and that tab."""


@pytest.mark.parametrize("size", SIZES[:2], ids=["80x24", "120x40"])
@pytest.mark.parametrize("detail", DETAILS, ids=lambda name: name.replace(" ", "-"))
def test_every_tab(snap_compare: Compare, detail: str, size: tuple[int, int]) -> None:
    state, keys, tab = DETAILS[detail]
    app, shown = app_in(state)

    async def selected(pilot: Pilot[Any]) -> None:
        await shown(pilot)
        await pilot.press(*keys, "2")
        await settled(app, pilot)
        assert app.panel(Detail).tab is tab

    assert snap_compare(app, terminal_size=size, run_before=selected)


@pytest.mark.parametrize("state", ["broken", "disconnected", "stale"])
def test_trouble_has_room_on_a_small_terminal(snap_compare: Compare, state: str) -> None:
    app, shown = app_in(state)
    assert snap_compare(app, terminal_size=(80, 24), run_before=shown)


PAGES: dict[str, tuple[str, list[str], type[Screen[Any]]]] = {
    "help": ("busy", ["question_mark"], Help),
    "dispatch form": ("busy", ["D"], DispatchForm),
    "burst form": ("busy", ["b"], TestLoadForm),
    "sweep form": ("busy", ["w"], SweepForm),
    "tuning": ("busy", ["T"], TuningPage),
    "find": ("busy", ["3", "slash"], Screen),
    "filter": ("busy", ["slash"], Screen),
    "command": ("busy", ["colon"], Screen),
    "copy": ("busy", ["y"], Pick),
    "log filters": ("busy", ["F"], LogFilters),
    "worker": ("busy", ["i"], WorkerPage),
    "worker of an agents-js file": ("agents-js", ["i"], WorkerPage),
    "jobs": ("busy", ["j"], JobsPage),
    "job": ("busy", ["j", "enter"], JobPage),
    "talk": ("talk", ["C"], TalkPage),
    "breaches": ("busy", ["B"], BreachesPage),
    "generations": ("stale", ["g"], GenerationsPage),
    "options": ("busy", ["E"], OptionsPage),
    "export": ("busy", ["E", "ctrl+x"], ExportPage),
}
"""A state, the keys that open the page, and the page's class."""

OF_PANELS = ("find", "filter", "command", "copy", "log filters", "talk")
SMALL = ("job", "generations", "tuning", "options")
ELSEWHERE = {QuitQuestion, RemoteGuard, LogRecord, LogExport, ContextPage, DispatchPage}
"""Questions, and pages that show a time or a path; other tests cover them."""


def test_every_page_has_a_snapshot() -> None:
    for module in pkgutil.iter_modules(screens.__path__, f"{screens.__name__}."):
        importlib.import_module(module.name)
    taken = {page for _, _, page in PAGES.values()} | ELSEWHERE
    assert {each for each in _kinds_of(Page) if not each.__subclasses__()} - taken == set()


def _kinds_of(page: type[Any]) -> Iterator[type[Any]]:
    for each in page.__subclasses__():
        yield from (each, *_kinds_of(each))


@pytest.mark.parametrize(
    ("page", "size"),
    [*((page, SIZES[1]) for page in PAGES), *((page, SIZES[0]) for page in SMALL)],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else f"{value[0]}x{value[1]}",
)
def test_every_page(snap_compare: Compare, page: str, size: tuple[int, int]) -> None:
    state, keys, kind = PAGES[page]
    # What a page covers need not be laid out, except where its action is about a panel.
    app, shown = app_in(state, AgentTuiApp if page in OF_PANELS else PageHost)

    async def opened(pilot: Pilot[Any]) -> None:
        await shown(pilot)
        for key in keys:
            depth = len(app.screen_stack)
            await pilot.press(key)
            await until(partial(_opened, app, key, depth))
            await settled(app, pilot)
        assert isinstance(app.screen, kind)

    assert snap_compare(app, terminal_size=size, run_before=opened)


def test_the_error_of_a_broken_save_can_be_hidden(snap_compare: Compare) -> None:
    app, shown = app_in("stale")

    async def closed(pilot: Pilot[Any]) -> None:
        await shown(pilot)
        await pilot.press("escape")
        await pilot.pause()

    assert snap_compare(app, terminal_size=(80, 24), run_before=closed)
