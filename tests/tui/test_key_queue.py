"""Keys that are typed faster than they take effect: each goes to where the focus is after the one before."""

import asyncio

import pytest
from textual import events
from textual.widgets import Input

from agent_tui.model import commands as cmd
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.screens.dispatch_form import DispatchForm
from agent_tui.tui.screens.options import OptionsPage
from agent_tui.tui.widgets.command_bar import CommandInput
from agent_tui.tui.widgets.processes import Processes
from agent_tui.tui.widgets.talk_input import TalkInput
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.page_host import page_host


def type_at_once(app: AgentTuiApp, *keys: str) -> None:
    """Send keys without waiting in between, as a paste or a busy machine does."""
    for key in keys:
        app.post_message(events.Key(key, key if len(key) == 1 else None))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_keys_after_one_that_opens_a_form_are_its_text(size: tuple[int, int]) -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp, size=size) as (app, _):
        type_at_once(app, "D", *"xRqr")
        await until(lambda: isinstance(app.screen, DispatchForm))
        await until(lambda: isinstance(app.focused, Input) and app.focused.value == "xRqr")
        type_at_once(app, "escape", "colon", *"gen")
        await until(lambda: isinstance(app.focused, Input) and app.focused.value == "gen")
        type_at_once(app, "escape", "E", "slash", *"idle")
        await until(lambda: isinstance(app.screen, OptionsPage))
        await until(lambda: isinstance(app.focused, Input) and app.focused.value == "idle")
        assert engine.commands == []


async def test_keys_after_enter_are_typed_to_the_agent() -> None:
    engine = FakeEngine()
    histories.talk(engine)
    async with page_host(engine, kind=AgentTuiApp, size=(120, 40)) as (app, _):
        type_at_once(app, "enter", *"exit")
        field = app.query_one(TalkInput)
        await until(lambda: field.has_focus and field.value == "exit")
        type_at_once(app, "enter", *"quit", "enter")
        await until(lambda: len(engine.commands) == 2)
        assert engine.commands == [
            cmd.Say(histories.TALKING, "exit", 1),
            cmd.Say(histories.TALKING, "quit", 1),
        ]


async def test_keys_after_the_page_of_a_conversation_are_typed_to_the_agent() -> None:
    engine = FakeEngine()
    histories.talk(engine)
    async with page_host(engine, kind=AgentTuiApp, size=(80, 24)) as (app, _):
        type_at_once(app, "C", *"quiz")
        await until(lambda: isinstance(app.focused, TalkInput) and app.focused.value == "quiz")


async def test_keys_keep_their_order() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp, size=(120, 40)) as (app, _):
        first, second = [job.id for job in engine.state.live_jobs]
        assert app.query_one(Processes).selected is not None
        type_at_once(app, "down", "x", "up", "x")
        await until(lambda: len(engine.commands) == 2)
        assert engine.commands == [cmd.EndJob(second), cmd.EndJob(first)]


async def test_a_key_that_closes_its_widget_does_not_hold_the_next_ones() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp, size=(120, 40)) as (app, _):
        type_at_once(app, *("D", "escape") * 3, "l")
        await until(lambda: len(engine.commands) == 1)
        assert len(app.screen_stack) == 1
        assert engine.commands == [cmd.SetOptions({"logLevel": "warn"})]


async def test_text_pasted_into_a_conversation_goes_to_its_input() -> None:
    engine = FakeEngine()
    histories.talk(engine)
    async with page_host(engine, kind=AgentTuiApp, size=(120, 40)) as (app, pilot):
        await pilot.press("2")
        app.post_message(events.Paste("quit\nnow"))
        field = app.query_one(TalkInput)
        await until(lambda: field.has_focus and field.value == "quit↵now")
        assert engine.commands == []


async def test_lines_pasted_into_an_input_of_one_line_are_joined() -> None:
    async with page_host(FakeEngine(), kind=AgentTuiApp, size=(120, 40)) as (app, pilot):
        await pilot.press(":")
        app.post_message(events.Paste("set\r  numIdleProcesses\r\n3\n"))
        field = app.query_one(CommandInput)
        await until(lambda: field.value == "set numIdleProcesses 3")


async def test_ctrl_c_does_not_wait_for_a_key_that_hangs() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with page_host(engine, kind=AgentTuiApp, size=(120, 40)) as (app, _):
        hangs, table = asyncio.Event(), app.query_one(Processes)
        table.call_later(hangs.wait)  # as a handler that waits for something
        type_at_once(app, "down", "l", "ctrl+c")
        await until(lambda: engine.commands == [cmd.Stop("quit", False)])
        hangs.set()
