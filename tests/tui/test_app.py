"""The app over a fake engine: keys become commands, and the screen shows the state."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.cells import cell_len
from textual import events
from textual.pilot import Pilot

from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.tui.actions import ACTIONS, NEWS_S, Action
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.screens.confirm import QuitQuestion
from agent_tui.tui.screens.job import JobPage
from agent_tui.tui.screens.pick import Pick
from agent_tui.tui.widgets.key_bar import KeyBar
from agent_tui.tui.widgets.processes import Processes
from agent_tui.tui.widgets.start_pane import StartPane
from agent_tui.tui.widgets.status_line import KEPT_S, StatusLine
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.hostile import TEXTS
from tests.tui.page_host import PageHost, app_over, painted


@asynccontextmanager
async def screen(
    engine: FakeEngine,
    size: tuple[int, int] = (120, 40),
    dispatch: int = 0,
    kind: type[AgentTuiApp] = AgentTuiApp,
) -> AsyncIterator[tuple[AgentTuiApp, Pilot[int]]]:
    app = app_over(engine, kind, dispatch=dispatch, exit_process=lambda _: None)
    async with app.run_test(size=size) as pilot:
        await painted(app, engine, pilot)
        yield app, pilot
    await app.ended()


STATES = {**histories.ALL, "hostile": histories.hostile}
OPENERS = {"help", "worker", "job", "breaches", "generations", "tuning", "dispatch_form", "load", "sweep"}
"""Actions that open a page about the state."""


@pytest.fixture
def nothing_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep keys from opening a browser or an editor; return the folder for screenshots."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(AgentTuiApp, "open_url", lambda *_, **__: None)
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    return tmp_path


async def press_each(
    actions: list[Action], state: str, kind: type[AgentTuiApp], size: tuple[int, int]
) -> None:
    """Press each key of these actions in that state, and Escape after each."""
    engine = FakeEngine()
    engine.obedient = False  # keep running after the key that quits
    STATES[state](engine)
    app = app_over(engine, kind, exit_process=lambda _: None)
    async with app.run_test(size=size) as pilot:
        await painted(app, engine, pilot)
        for key in (key for action in actions for key in action.keys):
            await pilot.press(key)
            await pilot.pause()
            if state == "hostile":
                assert not set("\x1b\x07\u202e") & set(app.export_screenshot()), key
            while len(app.screen_stack) > 1:
                await pilot.press("escape")
            await pilot.press("escape")
        assert app._exception is None
        assert any(isinstance(command, cmd.Stop) for command in engine.commands)
        engine.bus.close()
    await app.ended()


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("state", "size"),
    [("busy", (80, 24)), ("hostile", (120, 40)), ("broken", (80, 24))],
)
async def test_every_key_on_the_dashboard(state: str, size: tuple[int, int], nothing_outside: Path) -> None:
    await press_each([each for each in ACTIONS if each.name not in OPENERS], state, AgentTuiApp, size)
    assert not list(nothing_outside.glob("agent-tui-*"))
    assert list(nothing_outside.glob("state/agent-tui/exports/agent-tui-*.svg"))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.usefixtures("nothing_outside")
async def test_every_page_in_every_state(state: str) -> None:
    openers = [each for each in ACTIONS if each.name in OPENERS | {"quit"}]
    await press_each(openers, state, PageHost, (120, 40))


async def test_keys_send_their_commands() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with screen(engine, kind=PageHost) as (_, pilot):
        await pilot.press("d", "plus", "minus", "minus", "l", "r")
        await until(lambda: len(engine.commands) == 6)
        assert engine.commands == [
            cmd.Dispatch(),
            cmd.SetOptions({"numIdleProcesses": "2"}),
            cmd.SetOptions({"numIdleProcesses": "1"}),
            cmd.SetOptions({"numIdleProcesses": "0"}),
            cmd.SetOptions({"logLevel": "warn"}),
            cmd.Reload(),
        ]


async def test_a_click_on_a_key_presses_it() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with screen(engine) as (app, pilot):
        bar = app.query_one(KeyBar)
        margin = 1
        assert await pilot.click(KeyBar, offset=(margin + str(bar.render()).index("d Dispatch"), 0))
        await until(lambda: engine.commands == [cmd.Dispatch()])


async def test_the_footer_names_the_keys_of_the_focused_panel() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with screen(engine, (160, 40)) as (app, pilot):
        bar = app.query_one(KeyBar)
        processes = str(bar.render())
        await pilot.press("3")
        await until(lambda: str(bar.render()) != processes)
        logs = str(bar.render())
        for key in ("Talk", "x End", "R Restart", "s Stacks", "j Jobs", "P Pin", "/ Filter"):
            assert key in processes
            assert key not in logs
        for key in ("f Follow", "F Filter", "z Fold", "/ Find"):
            assert key in logs
            assert key not in processes
        for key in ("d Dispatch", ": Command", "? Help", "q Quit"):
            assert key in processes
            assert key in logs


async def test_the_footer_names_swap_and_generations_where_they_apply() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with screen(engine, (80, 24)) as (app, pilot):

        def footer() -> str:
            return str(app.query_one(KeyBar).render())

        assert "g Generations" not in footer(), "nothing was loaded since the start"
        assert "U Swap now" not in footer(), "the call is on the current code"
        engine.publish(replace(histories.READY, generation=2))
        await painted(app, engine, pilot)
        await until(lambda: "U Swap now" in footer() and "g Generations" in footer())
        engine.clock.advance(NEWS_S)
        await pilot.press("end")
        await until(lambda: "U Swap now" not in footer() and "g Generations" not in footer())
        await pilot.press("home")
        await until(lambda: "g Generations" in footer())


async def test_native_files_have_no_code_to_swap() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    engine.publish(replace(histories.READY, generation=2, runtime="native"))
    async with screen(engine, (160, 40)) as (app, _):
        footer = str(app.query_one(KeyBar).render())
        assert "x End" in footer
        assert "U Swap now" not in footer
        assert "P Pin" not in footer


async def test_the_footer_names_the_context_of_the_llm_in_a_conversation() -> None:
    engine = FakeEngine()
    histories.talk(engine)
    async with screen(engine, (80, 24)) as (app, pilot):

        def footer() -> str:
            return str(app.query_one(KeyBar).render())

        assert "I LLM context" not in footer()
        await pilot.press("2")
        await until(lambda: "I LLM context" in footer())
        assert "^g Interrupt" in footer()


async def test_a_narrow_footer_keeps_the_most_important_keys() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with screen(engine, (80, 24)) as (app, pilot):
        for key in ("1", "3"):
            await pilot.press(key)
            await pilot.pause()
            shown = str(app.query_one(KeyBar).render())
            assert cell_len(shown) <= 78  # with a margin of 1 at each side
            assert shown.endswith("? Help  q Quit")
            assert "d Dispatch" in shown


async def test_the_first_test_jobs_start_once_ready_even_without_idle_processes() -> None:
    engine = FakeEngine(numIdleProcesses="0")
    histories.starting(engine)
    async with screen(engine, kind=PageHost, dispatch=3):
        assert engine.commands == []
        engine.publish(histories.READY, histories.REGISTERED)
        await until(lambda: engine.commands)
        assert engine.commands == [cmd.Dispatch(3)]


async def test_a_negative_idle_count_is_not_requested() -> None:
    engine = FakeEngine(numIdleProcesses="0")
    histories.idle(engine)
    async with screen(engine, kind=PageHost) as (_, pilot):
        await pilot.press("minus")
        await pilot.pause()
        assert engine.commands == []


async def test_ending_the_selected_job() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with screen(engine) as (app, pilot):
        table = app.query_one(Processes)
        table.focus()
        await pilot.press("home")
        await until(lambda: table.selected is not None)
        await pilot.press("x")
        await until(lambda: engine.commands)
        (command,) = engine.commands
        assert isinstance(command, cmd.EndJob)


async def test_the_requested_job_is_ended_even_if_the_selection_changes() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with screen(engine) as (app, pilot):
        table = app.query_one(Processes)
        table.focus()
        await pilot.press("home")
        await until(lambda: table.selected is not None and table.selected.job_id)
        asked = table.selected
        assert asked is not None
        assert asked.job_id is not None
        table.post_message(Processes.EndRequested(asked.job_id))
        table.move_cursor(row=1)
        await until(lambda: engine.commands)
        assert engine.commands == [cmd.EndJob(asked.job_id)]


@pytest.mark.parametrize(
    ("key", "remembered"), [("y", []), ("a", [cmd.AllowRemote("my.livekit.cloud")])], ids=["yes", "always"]
)
async def test_a_remote_server_is_asked_about_once(key: str, remembered: list[cmd.Command]) -> None:
    engine = FakeEngine()
    histories.idle(engine, histories.REMOTE)
    engine.results = [cmd.CommandResult(False, "needs its name", refused=True)]
    confirmed = cmd.Dispatch(confirmed_host="my.livekit.cloud")
    async with screen(engine, kind=PageHost) as (app, pilot):
        await pilot.press("d")
        await until(lambda: len(app.screen_stack) == 2)
        await pilot.press(key)
        await until(lambda: engine.commands[1:] == [*remembered, confirmed])
        await pilot.press("d")
        await until(lambda: engine.commands[1:] == [*remembered, confirmed, confirmed])


async def test_a_link_into_a_room_without_the_agent_dispatches_it() -> None:
    engine = FakeEngine()
    histories.idle(engine, histories.LOCAL)
    engine.rooms_without_agent = {"agent-tui"}
    async with screen(engine, kind=PageHost) as (app, pilot):
        await pilot.press("c")
        await until(lambda: app.clipboard)
        assert engine.commands == [cmd.Dispatch(room="agent-tui")]


async def test_a_link_is_not_copied_if_its_room_does_not_get_the_agent() -> None:
    engine = FakeEngine()
    histories.idle(engine, histories.REMOTE)
    engine.rooms_without_agent = {"agent-tui-ann-laptop"}
    engine.results = [cmd.CommandResult(False, "needs its name", refused=True)]
    async with screen(engine, kind=PageHost) as (app, pilot):
        await pilot.press("c")
        await until(lambda: len(app.screen_stack) == 2)
        await pilot.press("n")
        await until(lambda: len(app.screen_stack) == 1)
        assert engine.commands == [cmd.Dispatch(room="agent-tui-ann-laptop")]
        assert app.clipboard == ""


async def test_a_join_link_goes_only_to_the_clipboard(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    histories.busy(engine, histories.LOCAL)
    async with screen(engine, kind=PageHost) as (app, pilot):
        await pilot.press("c")
        await until(lambda: app.clipboard)
        assert app.clipboard.startswith("https://meet.livekit.io/custom?liveKitUrl=ws")
        await pilot.pause()
        token = app.clipboard.rpartition("token=")[2]
        assert token not in app.export_screenshot()


@pytest.mark.parametrize(
    ("server", "downs", "copied"),
    [
        (histories.EMBEDDED, 0, "demo-1"),
        (histories.EMBEDDED, 1, "AJ_k3Lm9QxTzW2a"),
        (histories.EMBEDDED, 2, "8123"),
        (histories.LOCAL, 3, "https://meet.livekit.io/custom?liveKitUrl=ws"),
    ],
)
async def test_y_copies_what_the_user_picks(server: ev.ServerChosen, downs: int, copied: str) -> None:
    engine = FakeEngine()
    histories.busy(engine, server)
    async with screen(engine) as (app, pilot):
        await pilot.press("y")
        await until(lambda: isinstance(app.screen, Pick))
        await pilot.pause()
        await pilot.press(*["down"] * downs, "enter")
        await until(lambda: app.clipboard)
        assert app.clipboard.startswith(copied)


async def test_y_without_a_choice_copies_at_once() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with screen(engine) as (app, pilot):
        await pilot.press("y")
        await until(lambda: app.clipboard == "8123")
        assert app.notices[-1].text == "copied pid: 8123"


@pytest.mark.parametrize("key", ["d", "D"])
async def test_a_dispatch_while_not_registered_says_so(key: str) -> None:
    engine = FakeEngine()
    histories.disconnected(engine)
    async with screen(engine, kind=PageHost) as (app, pilot):
        await pilot.press(key)
        await until(lambda: app.notices)
        assert app.notices[-1].text == (
            "not registered (nothing is listening on 127.0.0.1:40123): a dispatch would not reach this "
            "worker · i show why"
        )
        assert engine.commands == []


async def test_without_media_there_is_no_join_link() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with screen(engine, kind=PageHost) as (app, pilot):
        await pilot.press("c")
        await until(lambda: app.notices)
        assert app.clipboard == ""
        assert any("no media" in notice.text for notice in app.notices)


@pytest.mark.parametrize(
    ("state", "shown"),
    [("starting", True), ("idle", False), ("busy", False), ("broken", True), ("refused", True)],
)
async def test_the_start_pane_is_shown_when_needed(state: str, shown: bool) -> None:
    engine = FakeEngine()
    histories.ALL[state](engine)
    async with screen(engine) as (app, _):
        assert app.query_one(StartPane).has_class("-shown") is shown


async def test_quit_stops_the_engine_and_exits_when_it_has_stopped() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.obedient = False
    async with screen(engine, kind=PageHost) as (app, pilot):
        await pilot.press("q")
        await until(lambda: engine.commands)
        assert engine.commands == [cmd.Stop("quit", kill=False)]
        await pilot.press("q")
        await until(lambda: len(engine.commands) == 2)
        assert engine.commands[1] == cmd.Stop("quit", kill=True)
        engine.bus.close()
        await until(lambda: app.return_code is not None)
        assert app.return_value == 0


async def test_Q_drains_once_and_then_q_kills() -> None:
    engine = FakeEngine()
    engine.obedient = False
    histories.idle(engine)
    async with screen(engine, kind=PageHost) as (_, pilot):
        await pilot.press("Q")
        await pilot.pause()
        await pilot.press("Q")
        await pilot.pause()
        await pilot.press("q")
        await pilot.pause()
        stops = [each for each in engine.commands if isinstance(each, cmd.Stop)]
        assert stops == [
            cmd.Stop("quit after jobs", drain=True),
            cmd.Stop("quit", kill=True),
        ]
        engine.obedient = True


def in_a_call() -> FakeEngine:
    """Return an engine with a running call that is not a test job."""
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(
        ev.OfferReceived("AJ_c", "a call", "", 1),
        ev.JobStarted("AJ_c", "a call", "p1", 8123, 1, True, 3.0, None),
    )
    return engine


@pytest.mark.parametrize(
    ("keys", "stops"),
    [
        (("q", "q"), True),
        (("q", "y"), True),
        (("q", "escape"), False),
        (("ctrl+q", "escape"), False),
        (("ctrl+c",), True),
    ],
)
async def test_quitting_asks_while_calls_run(keys: tuple[str, ...], stops: bool) -> None:
    engine = in_a_call()
    async with screen(engine, kind=PageHost) as (app, pilot):
        await pilot.press(keys[0])
        await until(lambda: isinstance(app.screen, QuitQuestion) or engine.commands)
        await pilot.pause()
        for key in keys[1:]:
            await pilot.press(key)
        await pilot.pause()
        await until(lambda: not isinstance(app.screen, QuitQuestion))
        assert engine.commands == ([cmd.Stop("quit")] if stops else [])


async def test_the_command_quit_of_the_palette_asks_too() -> None:
    engine = in_a_call()
    async with screen(engine, kind=PageHost) as (app, _):
        await app.action_quit()
        await until(lambda: isinstance(app.screen, QuitQuestion))
        assert engine.commands == []


@pytest.mark.parametrize("when", ["while it is made", "while it is followed", "when it has ended"])
async def test_an_engine_that_fails_closes_the_screen_with_its_line(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()

    async def fails(*_: object) -> None:
        raise RuntimeError("it [/broke]")

    async def make() -> FakeEngine:
        if when == "while it is made":
            await fails()
        return engine

    if when == "while it is followed":
        monkeypatch.setattr(FakeEngine, "closed", fails)
    if when == "when it has ended":
        monkeypatch.setattr(FakeEngine, "__aexit__", fails)
    app = AgentTuiApp(make, now=engine.clock.time)
    async with app.run_test():
        if when == "when it has ended":
            await until(lambda: app.state is engine.bus.state)
            await app.stop("quit", kill=False)
        await until(lambda: app.return_code is not None)
        assert app.return_code == 1
        assert [str(line) for line in app._exit_renderables] == [
            "agent-tui: internal error (screen): RuntimeError: it [/broke]"
        ]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_outside_text_stays_text(text: str) -> None:
    engine = FakeEngine()
    histories.hostile(engine, text)
    engine.publish(ev.Stopping(text, 1, 10.0))
    async with screen(engine) as (app, pilot):
        engine.clock.advance(1)
        app.show()
        await pilot.pause()
        picture = app.export_screenshot()
        assert "\x1b" not in picture
        assert app._exception is None


def test_no_key_is_bound_twice() -> None:
    keys = [key for action in ACTIONS for key in action.keys]
    assert len(keys) == len(set(keys))


async def test_log_lines_arrive_in_the_pane() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with screen(engine) as (app, pilot):
        engine.log("hello from a job")
        await painted(app, engine, pilot)
        assert "hello" in app.export_screenshot()


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_status_line_says_why_a_dispatch_was_lost(size: tuple[int, int]) -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with screen(engine, size) as (app, pilot):
        engine.publish(
            ev.Dispatched("salon", "", None, 1),
            ev.OfferReceived("AJ_d", "salon", "", 1, 1),
            ev.OfferAnswered("AJ_d", accepted=False),
            ev.JobLost("salon", "the offer was declined", "AJ_d", 1),
        )
        await painted(app, engine, pilot)
        assert str(app.query_one(StatusLine).render()) == "✗ the offer was declined · no job in salon"
        await pilot.press("j", "enter")
        await until(lambda: isinstance(app.screen, JobPage))
        await pilot.pause()
        picture = app.export_screenshot()
        assert "declined&#160;" in picture
        assert "accepted" not in picture


async def test_keys_typed_right_after_D_are_the_name_of_the_room() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with screen(engine) as (app, pilot):
        for key in ("D", *"quick", "enter"):  # all are there before the form is
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(lambda: engine.commands)
        sent = engine.commands[0]
        assert isinstance(sent, cmd.Dispatch)
        assert (sent.room, sent.count) == ("quick", 1)
        await until(lambda: app.notices)
        await pilot.pause()
        assert len(app.screen_stack) == 1


async def test_d_uses_a_new_room_and_the_command_names_one() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with screen(engine) as (app, pilot):
        await pilot.press("D", *"lobby", "tab", "3", "tab", *"hello", "enter")
        await until(lambda: len(engine.commands) == 1)
        await pilot.press("d")
        await until(lambda: len(engine.commands) == 2)
        await pilot.press(":", *"dispatch lobby 7", "enter")
        await until(lambda: len(engine.commands) == 3)
        sent = [each for each in engine.commands if isinstance(each, cmd.Dispatch)]
        assert [(each.room, each.count, each.metadata) for each in sent] == [
            ("lobby", 3, "hello"),
            ("", 1, "hello"),
            ("lobby 7", 1, "hello"),
        ]
        await until(lambda: app.notices)
        assert app.notices[-1].text.endswith(" with metadata")


async def test_a_notice_ends_with_what_it_is_about() -> None:
    engine = FakeEngine()
    histories.disconnected(engine)
    async with screen(engine) as (app, pilot):
        await pilot.press("d")
        line = app.query_one(StatusLine)
        await until(lambda: "not registered" in str(line.render()))
        engine.clock.advance(KEPT_S + 1)
        app.show()
        assert "not registered" in str(line.render()), "it still is not"
        engine.publish(histories.REGISTERED)
        await painted(app, engine, pilot)
        assert str(line.render()) == ""
