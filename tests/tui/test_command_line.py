"""Commands after `:`, and the filter of the process table."""

import pytest
from textual import events
from textual.widgets import Input, Static

from agent_tui.model import commands as cmd
from agent_tui.model.errors import UserError
from agent_tui.tui.actions import ACTIONS
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.command_line import VERBS, Typed, completions, describe, find_job, option_name, parse
from agent_tui.tui.screens.generations import GenerationsPage
from agent_tui.tui.screens.job import JobPage
from agent_tui.tui.screens.worker import WorkerPage
from agent_tui.tui.widgets.command_bar import CommandBar, CommandInput
from agent_tui.tui.widgets.key_bar import KeyBar
from agent_tui.tui.widgets.listing import FilterLine
from agent_tui.tui.widgets.load_list import LoadList
from agent_tui.tui.widgets.processes import Processes
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.hostile import HOSTILE
from tests.tui.page_host import page_host

# -- what is typed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("gen 5", Typed("gen", ("5",))),
        ("  rollback   5 ", Typed("rollback", ("5",))),
        ("job a room with blanks", Typed("job", ("a room with blanks",))),
        ("set loadThreshold 0.7", Typed("set", ("loadThreshold", "0.7"))),
        ("set deployment my own", Typed("set", ("deployment", "my own"))),
        ("level debug", Typed("level", ("debug",))),
        ("reload", Typed("reload")),
        ("dispatch-form", Typed("dispatch_form")),
        ("Reload", Typed("reload")),
    ],
)
def test_commands_are_read(text: str, typed: Typed) -> None:
    assert parse(text) == typed


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", ": is unknown: Tab lists the commands"),
        ("frobnicate", ":frobnicate is unknown: Tab lists the commands"),
        ("gen", "type :gen NUMBER"),
        ("set port", "type :set OPTION VALUE"),
        ("reload now", ":reload has no arguments"),
        ("x\x1b[31my", ":xy is unknown: Tab lists the commands"),
    ],
)
def test_bad_commands_say_what_to_do(text: str, why: str) -> None:
    with pytest.raises(UserError) as error:
        parse(text)
    assert str(error.value) == why


def test_bad_arguments_say_what_to_do() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    with pytest.raises(UserError, match=":gen x is not a number, such as :gen 5"):
        assert parse("gen x").number
    with pytest.raises(UserError, match="nope is not an option: Tab lists them after :set"):
        option_name("nope")
    with pytest.raises(UserError, match="no job in a room named salon"):
        find_job("salon", engine.bus.state.jobs)
    assert option_name("NUMIDLEPROCESSES") == "numIdleProcesses"
    assert find_job("demo-2", engine.bus.state.jobs).id == "AJ_Zz81kPpQ0sVb"
    assert find_job("AJ_Zz81kPpQ0sVb", engine.bus.state.jobs).room == "demo-2"


def test_completions_are_what_exists() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    state = engine.bus.state
    names = [action.name for action in ACTIONS if action.enabled(state)]
    assert {*completions("", state)} == {*names, *VERBS}
    assert completions("", state)[: len(VERBS)] == tuple(VERBS), "first what takes arguments"
    assert completions("re", state)[:2] == ("restart", "reload"), "then what the footer has"
    assert len(completions("", state)) == len({*completions("", state)})
    histories.starting(starts := FakeEngine())
    assert "dispatch_form" not in completions("", starts.bus.state), "it cannot run yet"
    assert completions("rel", state) == ("reload",)
    assert completions("gen ", state) == ("gen 3", "gen 2", "gen 1")
    assert completions("rollback ", state) == ("rollback 1",)
    assert completions("job ", state)[0].startswith("job demo-")
    assert completions("level d", state) == ("level debug",)
    assert completions("set numidle", state) == ("set numIdleProcesses",)
    assert completions("set numIdleProcesses ", state) == ("set numIdleProcesses 1",)
    assert completions("set apiSecret ", state) == ()
    assert completions("reload ", state) == ()


def test_commands_are_described() -> None:
    assert describe("reload") == "Reload the agent file now."
    assert describe("set numIdleProcesses 3") == ":set OPTION VALUE: Set an option of the running worker."
    assert describe("dispatch") == (
        "Start a test job in a new room, with the metadata and attributes last entered in the form (D). "
        ":dispatch ROOM: Start a test job in that room."
    )
    assert describe("dispatch lobby") == ":dispatch ROOM: Start a test job in that room."
    assert describe("relo") == ""
    assert all(describe(action.name) for action in ACTIONS)


def test_every_completed_action_is_a_command() -> None:
    for action in ACTIONS:
        assert parse(action.name) == Typed(action.name)


# -- on the screen ---------------------------------------------------------------------------------------


async def test_a_command_is_completed_and_run() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        await pilot.press("colon", *"lev", "tab", "space", "d", "tab", "enter")
        await until(lambda: engine.commands == [cmd.SetOptions({"logLevel": "debug"})])
        await until(lambda: app.notices and app.notices[-1].text == "logLevel = debug")
        assert isinstance(app.focused, Processes)
        assert not app.query_one(CommandBar).display
        await pilot.press("colon", "up")
        assert app.query_one(CommandInput).value == "level debug"
        await pilot.press("escape")
        assert isinstance(app.focused, Processes)


async def test_the_line_describes_what_was_completed_and_the_footer_has_its_keys() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        await pilot.press("colon", *"rel")
        note, footer = app.query_one("#command-note", Static), app.query_one(KeyBar)
        await until(lambda: str(note.render()) == "reload")
        await until(lambda: "Complete" in str(footer.render()))
        assert "Reload" not in str(footer.render()), "r is text here"
        await pilot.press("tab")
        await until(lambda: str(note.render()) == "Reload the agent file now.")
        await pilot.press("escape", "slash")
        await until(lambda: "Show all" in str(footer.render()))
        assert "Dispatch" not in str(footer.render())
        await pilot.press("escape")
        await until(lambda: "Dispatch" in str(footer.render()))


async def test_a_dispatch_into_a_room_is_made() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, _):
        app.query_one(CommandBar).post_message(CommandBar.Entered("dispatch lobby 2"))
        await until(lambda: engine.commands)
        assert isinstance(made := engine.commands[0], cmd.Dispatch)
        assert (made.room, made.count) == ("lobby 2", 1)


@pytest.mark.parametrize(
    ("typed", "page"), [("gen 2", GenerationsPage), ("job demo-1", JobPage), ("worker", WorkerPage)]
)
async def test_commands_open_pages(typed: str, page: type) -> None:
    engine = FakeEngine()
    histories.stale(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        app.query_one(CommandBar).post_message(CommandBar.Entered(typed))
        await until(lambda: isinstance(app.screen, page))
        await pilot.pause()
        if page is GenerationsPage:
            selected = app.screen.query_one(LoadList).selected
            assert selected is not None
            assert selected.number == 2


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("gen 99", "generation 99 is not listed: Tab lists them after :gen"),
        ("nonsense", ":nonsense is unknown: Tab lists the commands"),
        ("close_trouble", ":close_trouble is not available now"),
        (HOSTILE, "is unknown"),
    ],
)
async def test_errors_are_on_the_status_line(typed: str, why: str) -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        app.query_one(CommandBar).post_message(CommandBar.Entered(typed))
        await until(lambda: app.notices)
        await pilot.pause()
        assert why in app.notices[-1].text
        assert app.notices[-1].failed
        assert "\x1b" not in app.export_screenshot()


async def test_a_roll_back_and_an_option_are_sent() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, _):
        for typed in ("rollback 1", "set numidleprocesses 3"):
            app.query_one(CommandBar).post_message(CommandBar.Entered(typed))
        await until(lambda: len(engine.commands) == 2)
        assert engine.commands == [cmd.RollBack(1), cmd.SetOptions({"numIdleProcesses": "3"})]


async def test_slash_filters_the_process_table() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        table = app.query_one(Processes)
        assert table.row_count == 5
        await pilot.press("slash", *"DEMO-3")
        await until(lambda: table.row_count == 1)
        note = app.query_one(FilterLine).query_one(".filter-note", Static)
        await until(lambda: str(note.render()) == "1 of 5 · Esc show all")
        await pilot.press("enter")
        assert app.focused is table
        assert table.row_count == 1
        assert app.query_one(FilterLine).display, "what is filtered stays visible"
        await pilot.press("escape")
        await until(lambda: table.row_count == 5 and not app.query(FilterLine))


@pytest.mark.parametrize(("key", "sign"), [("colon", ":"), ("slash", "/")])
async def test_keys_typed_ahead_are_text(key: str, sign: str) -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        await until(lambda: app._engine is not None)
        for name, character in ((key, sign), *((each, each) for each in "sed")):
            app.post_message(events.Key(name, character))
        await until(lambda: isinstance(app.focused, Input) and app.focused.value == "sed")
        await pilot.pause()
        assert engine.commands == []


async def test_in_an_input_the_keys_of_the_command_line_are_text() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        await pilot.press("3", "slash", *"12", "colon", "slash")
        await until(lambda: isinstance(app.focused, Input) and app.focused.value == "12:/")
        assert not app.query_one(CommandBar).display


async def test_escape_in_the_filter_shows_all_rows() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        table = app.query_one(Processes)
        await pilot.press("slash", *"crashed")
        await until(lambda: table.row_count == 1)
        await pilot.press("escape")
        await until(lambda: table.row_count == 5 and not app.query(FilterLine))
        assert app.focused is table


async def test_slash_in_the_logs_finds() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        await pilot.press("3", "slash")
        await until(lambda: isinstance(app.focused, Input))
        assert not app.query_one(CommandBar).display
