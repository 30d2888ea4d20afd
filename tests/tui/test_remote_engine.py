"""The app over an engine behind the codec that answers after 50 ms."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from agent_tui.model import commands as cmd
from agent_tui.options.kinds import MASK
from agent_tui.tui.actions import ACTIONS
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.screens.options import OptionsPage
from agent_tui.tui.widgets.log_pane import LogPane
from agent_tui.tui.widgets.log_view import LogView
from agent_tui.tui.widgets.option_row import DraftRow
from tests.fakes.engine import FakeEngine
from tests.fakes.remote_engine import RemoteEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.page_host import PageHost

PAGES = {"help", "worker", "job", "breaches", "generations", "tuning", "dispatch_form", "all_options"}
"""Actions that open a full-screen page."""

ANSWERED_S = 0.15
"""Time after which a request is answered and its changes are in the state."""

SECRET = "a-secret-of-the-fake-engine"


@asynccontextmanager
async def screen(
    engine: FakeEngine, kind: type[AgentTuiApp] = AgentTuiApp
) -> AsyncIterator[tuple[AgentTuiApp, Pilot[Any]]]:
    """An app that has painted the engine's state."""

    async def make() -> RemoteEngine:
        return RemoteEngine(engine)

    app = kind(make, now=engine.clock.time, exit_process=lambda _: None)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: app.state == engine.state)
        await pilot.pause()
        yield app, pilot
        engine.bus.close()
    await app.ended()


async def test_the_dashboard_shows_the_engines_state() -> None:
    engine = FakeEngine(numIdleProcesses="3")
    histories.busy(engine)
    async with screen(engine) as (app, pilot):
        await until(lambda: app.panel(LogPane).end == engine.store.end)
        await pilot.pause()
        picture = app.export_screenshot()
        for expected in ("prewarm", "registered", "demo-1"):
            assert expected in picture
        assert SECRET not in repr(app.state)
        engine.log("a line after the first paint")
        await until(lambda: app.panel(LogPane).end == engine.store.end)
        await pilot.pause()
        assert "after" in app.export_screenshot()


async def test_edits_dispatches_and_reloads() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with screen(engine) as (app, pilot):
        for key in ("plus", "plus", "minus"):  # each counts from what the one before asked for
            app.simulate_key(key)
        await until(lambda: len(engine.commands) == 3)
        await until(lambda: app.state.settings.options.num_idle_processes == 2)
        await pilot.press("d", "r", "l")
        await until(lambda: len(engine.commands) == 6)
        counts = [each for each in engine.commands if isinstance(each, cmd.SetOptions)]
        assert [each.values["numIdleProcesses"] for each in counts if "logLevel" not in each.values] == [
            "2",
            "3",
            "2",
        ]
        assert cmd.Dispatch() in engine.commands
        assert cmd.Reload() in engine.commands
        await until(lambda: app.state.settings.options.log_level == "warn")
        await until(lambda: app.panel(LogPane).level.label == "warn")


async def test_the_options_form_can_be_edited_and_hides_secrets() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with screen(engine, PageHost) as (app, pilot):
        await pilot.press("E")
        await until(lambda: isinstance(app.screen, OptionsPage))
        await pilot.pause()
        page = app.screen
        assert page.query_one("#draft-apiSecret", DraftRow).text == SECRET
        row = page.query_one("#draft-numIdleProcesses", DraftRow)
        row.focus_control()
        await pilot.press("right", "right", "right")
        await pilot.press("ctrl+s")
        await until(lambda: row.before == "4" and not row.edited)
        assert engine.commands == [cmd.SetOptions({"numIdleProcesses": "4"})]
        assert app.state.settings.options.api_secret == MASK


@pytest.mark.parametrize("opens_page", [True, False], ids=["pages", "dashboard"])
async def test_every_key(opens_page: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Pages open, show answers when they arrive, and close."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(AgentTuiApp, "open_url", lambda *_, **__: None)
    monkeypatch.setenv("PATH", "/nowhere")
    engine = FakeEngine()
    histories.busy(engine)
    actions = [each for each in ACTIONS if (each.name in PAGES) is opens_page]
    async with screen(engine, PageHost if opens_page else AgentTuiApp) as (app, pilot):
        for action in actions:
            if action.name in ("quit", "quit_at_once", "drain"):
                continue
            await pilot.press(action.keys[0])
            await pilot.pause(ANSWERED_S)
            assert not opens_page or len(app.screen_stack) > 1, action.name
            while len(app.screen_stack) > 1:
                await pilot.press("escape")
            await pilot.press("escape")
        assert app._exception is None


async def test_log_lines_are_scrolled_and_searched_while_ranges_are_read() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    for number in range(300):
        engine.log(f"line number {number}")
    async with screen(engine) as (app, pilot):
        pane = app.panel(LogPane)
        await until(lambda: pane.end == engine.store.end)
        await pilot.pause()
        pane.query_one("LogView").focus()
        await pilot.press("pageup", "pageup")
        assert not app.panel(LogView).follow
        engine.log("it came while one read")
        await until(lambda: pane.end == engine.store.end)
        assert not app.panel(LogView).follow
        await pilot.press("slash", *"came while", "enter")
        await pilot.pause()
        assert pane.needle == "came while"
        await pilot.press("f")
        await until(lambda: app.panel(LogView).follow)
