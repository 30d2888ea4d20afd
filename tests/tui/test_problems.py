"""What does not work now, by state, and the pane that shows it."""

import errno
import os

import pytest
from msgspec.structs import replace
from textual.widgets import Static

from agent_tui.model import events as ev
from agent_tui.model import session_events as se
from agent_tui.model.child import MemoryMeasure
from agent_tui.model.logs import LogLevel
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.widgets.problems import (
    BLOCKED_AFTER_S,
    CONNECTED_WITHIN_S,
    MEMORY_SHOWN_S,
    Problem,
    all_lines,
    no_space,
    problem_lines,
    problems,
)
from agent_tui.tui.widgets.start_pane import StartPane
from agent_tui.tui.widgets.text import width_of
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.hostile import HOSTILE
from tests.tui.page_host import app_over, painted

AGENT = "/home/ann/voice/agent.py"


def found(engine: FakeEngine) -> tuple[Problem, ...]:
    return problems(engine.bus.state, engine.clock.time(), engine.resolution.options)


def only(engine: FakeEngine) -> Problem:
    [problem] = found(engine)
    return problem


def said(problem: Problem, width: int = 0) -> list[str]:
    return ["".join(span.text for span in line).rstrip() for line in problem_lines(problem, width)]


@pytest.mark.parametrize("state", ["starting", "idle", "busy"])
def test_nothing_is_wrong_while_everything_works(state: str) -> None:
    engine = FakeEngine()
    histories.ALL[state](engine)
    assert found(engine) == ()


# -- by state -----------------------------------------------------------------------------------------------


def test_a_file_that_fails_to_load() -> None:
    engine = FakeEngine()
    histories.broken(engine)
    assert said(only(engine)) == [
        "✗ SyntaxError: expected ':'",
        "  agent.py:12  async def entry(ctx)",
        "  no jobs can run",
        "→ fix it and save · e edit line · r retry",
    ]
    assert only(engine).trace.startswith("  File")


def test_after_a_failed_reload_the_old_code_still_serves() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(ev.GenerationFailed(2, "loadFunc is no function", None, None, ""))
    assert said(only(engine)) == [
        "✗ loadFunc is no function",
        "  agent.py",
        "  generation 1 still accepts new jobs",
        "→ fix it and save · e edit · g details",
    ]
    engine.publish(replace(histories.READY, generation=3))
    assert found(engine) == ()


def test_a_prewarm_that_hangs_is_a_problem_from_the_first_time_out() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    why = "prewarm still running after 10 s at agent.py:9 in load_model (initializeProcessTimeout)"
    stacks = (
        f'Thread MainThread:\n  File "{AGENT}", line 9, in load_model\n    time.sleep(600)\n\n'
        'Thread worker:\n  File "/x/other.py", line 1, in wait\n    pass\n'
    )
    timed_out = ev.StartsFailing(
        1, 1, why, 4.0, accepting=True, file=AGENT, line=9, traceback=stacks, ended_by=ev.EndedBy.INIT_TIMEOUT
    )
    engine.publish(timed_out)
    assert said(only(engine)) == [
        f"✗ {why}",
        "  agent.py:9  time.sleep(600)",
        "  processes of generation 1 fail to start · retrying in 4 s · accepted jobs wait",
        "→ load less, or raise initializeProcessTimeout (E options) · e edit line · r retry",
    ]
    assert "worker" not in only(engine).trace
    engine.publish(
        replace(timed_out, failures=3, accepting=False), ev.GenerationFailed(1, why, AGENT, 9, stacks)
    )
    assert "offers are refused until a start succeeds" in only(engine).effect  # one problem, not two
    engine.publish(ev.StartsRecovered())
    assert found(engine) == ()


def test_a_prewarm_that_raises_is_a_problem_from_the_second_time_on() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    failing = ev.StartsFailing(
        1, 1, "OSError: no model", 0.0, accepting=True, file=AGENT, line=5, ended_by=ev.EndedBy.LOADING
    )
    engine.publish(failing)
    assert found(engine) == ()  # retried at once
    engine.publish(replace(failing, failures=2, retry_in_s=0.5))
    assert said(only(engine))[:2] == ["✗ OSError: no model", "  agent.py:5"]
    engine.publish(ev.GenerationLoading(2, "agent.py"))
    assert found(engine) == ()  # the new code may start
    engine.publish(replace(failing, failures=4, ended_by=ev.EndedBy.NO_PROCESS), ev.GenerationOvertaken(2))
    assert only(engine).todo == "free memory, processes, or file descriptors on this machine"


def test_an_unreachable_server() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    todo = "start the server, or check LIVEKIT_URL in .env:1 (host and port)"
    engine.publish(ev.WorkerDisconnected("nothing is listening on localhost:7880", 4.0, 1, todo))
    engine.clock.advance(1.5)
    assert said(only(engine)) == [
        "✗ nothing is listening on localhost:7880",
        "  not registered: no new jobs; 2 running jobs continue · retrying in 3 s",
        f"→ {todo} · r retry now",
    ]
    engine.publish(ev.WorkerDisconnected("nothing is listening on localhost:7880", None, 17, todo))
    assert "no more retries (maxRetry 16)" in only(engine).effect
    engine.publish(histories.REGISTERED)
    assert found(engine) == ()


def test_refused_credentials() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(
        ev.WorkerRefused("ws://h does not know the API key 'k'", "check LIVEKIT_API_KEY in .env:2")
    )
    assert said(only(engine)) == [
        "✗ ws://h does not know the API key 'k'",
        "  not registered: no new jobs · no retry with these credentials",
        "→ check LIVEKIT_API_KEY in .env:2 · r retry",
    ]


def test_a_refusal_without_advice_is_not_about_the_log_of_the_server() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(ev.WorkerRefused("no"))
    assert only(engine).todo == "check the API key and secret"


def test_the_traceback_has_the_frames_of_the_project() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    stack = """TypeError: no seat
    at seat (/home/ann/desk/src/agent.ts:31:9)
    at load (/home/ann/desk/node_modules/@livekit/agents/dist/job.js:7:3)
    at Socket.emit (node:events:518:28)"""
    engine.publish(ev.GenerationFailed(2, "TypeError: no seat", "/home/ann/desk/src/agent.ts", 31, stack))
    assert only(engine).trace.split("\n") == stack.split("\n")[:2]
    engine.publish(
        ev.GenerationFailed(3, "TypeError: no seat", None, None, stack.replace("/src/", "/lib/python3/"))
    )
    assert only(engine).trace.count("\n") == 3, "all frames, if none is of the project"


def test_a_lost_connection_without_advice_points_to_the_server() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(ev.WorkerDisconnected("the server dropped the connection", 2.0, 1))
    assert only(engine).todo == "check the log of the server at ws://127.0.0.1:40123"


def test_parts_that_do_not_work_until_they_work_again() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    warned = ev.Notice(LogLevel.WARN, "saves are not noticed", "file watching", "press r after a save")
    engine.publish(warned, ev.Notice(LogLevel.ERROR, "the HTTP endpoint failed to start: x", "HTTP endpoint"))
    assert [(each.cause, each.is_error) for each in found(engine)] == [
        ("the HTTP endpoint failed to start: x", True),
        ("saves are not noticed", False),
    ]
    assert said(found(engine)[1]) == ["⚠ saves are not noticed", "→ press r after a save"]
    engine.publish(ev.Notice(LogLevel.INFO, "file watching works again", "file watching"))
    assert len(found(engine)) == 1


@pytest.mark.parametrize(("line", "keys"), [(3, "e edit line"), (None, "e edit")])
def test_a_notice_about_a_file_opens_it(line: int | None, keys: str) -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(ev.Notice(LogLevel.WARN, "the line is ignored", "x", file="/project/.env", line=line))
    problem = only(engine)
    assert (problem.file, problem.line, problem.keys) == ("/project/.env", line, keys)


SET = "set OPENAI_API_KEY in .env, then save"
NO_KEY = "OPENAI_API_KEY is not set: openai LLM needs it"


def failed_job(number: int) -> ev.JobEnded:
    status = ev.JobStatus.FAILED
    return ev.JobEnded(f"AJ_{number}", f"r-{number}", 1, 1, status, NO_KEY, 0.1, todo=SET)


def failed_llm(todo: str = "check the network", *, retrying: bool = False) -> se.SessionFailed:
    cause = "could not connect to api.openai.com"
    return se.SessionFailed("AJ_2", 1, "llm", cause, retrying=retrying, todo=todo)


def test_a_job_without_a_key_until_the_next_load_or_a_session() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    for number in (1, 2):
        engine.publish(ev.OfferReceived(f"AJ_{number}", f"r-{number}", "AD_1", 1))
        engine.publish(failed_job(number))
    assert said(only(engine)) == [f"✗ 2× {NO_KEY}", "  job failed: 2 jobs", f"→ {SET}"]
    before = engine.bus.state
    engine.publish(replace(histories.READY, generation=2))
    assert found(engine) == ()
    engine.bus.state = before
    engine.publish(se.SessionStarted("AJ_3", 1, "desk", True, 1))
    assert found(engine) == ()


def test_failures_of_a_component_are_counted_until_it_works() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(failed_llm(""))
    assert found(engine) == ()
    for _ in range(3):
        engine.publish(failed_llm())
    engine.publish(se.TurnEnded("AJ_2", 1, 1, True, 9.0, None, {}, "could not connect"))
    assert said(only(engine)) == [
        "✗ 3× LLM: could not connect to api.openai.com",
        "  failed in AJ_2",
        "→ check the network",
    ]
    hidden = only(engine).id
    engine.publish(se.TurnEnded("AJ_2", 1, 2, True, 9.0, 5.0, {}))
    assert found(engine) == ()
    engine.clock.advance(1)
    engine.publish(failed_llm())
    assert only(engine).id != hidden


def test_a_typed_turn_says_nothing_about_speech() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(replace(failed_llm(), component="tts"))
    engine.publish(se.TurnEnded("AJ_2", 1, 2, True, 9.0, 5.0, {}))
    assert only(engine).cause == "TTS: could not connect to api.openai.com"
    engine.publish(se.TurnEnded("AJ_2", 1, 3, False, 9.0, 5.0, {}))
    assert found(engine) == ()


def test_a_missing_plugin_says_how_to_install_it() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(ev.GenerationFailed(2, "x is not installed", None, None, "", todo="run npm install x"))
    assert "→ run npm install x · e edit · g details" in said(only(engine))
    engine.publish(ev.StartsFailing(2, 3, "y is not installed", 1.0, True, todo="run npm install y"))
    assert any(each.todo == "run npm install y" for each in found(engine))


def test_a_full_disk_says_what_to_do() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    engine.publish(ev.GenerationFailed(2, f"OSError: {full}", None, None, ""))
    assert only(engine).cause == "OSError: [Errno 28] No space left on device"
    assert only(engine).todo == "delete files on that disk, or raise the quota"
    assert said(no_space("screenshot", "~/exports", full)) == [
        "✗ no space left on device: screenshot not saved",
        "→ delete files on that disk, or raise the quota · ~/exports",
    ]


def over_limit(engine: FakeEngine) -> None:
    engine.publish(
        ev.MemoryWarned(
            "p1",
            8123,
            "AJ_k3Lm9QxTzW2a",
            1012.0,
            MemoryMeasure.USS,
            1100.0,
            1012.0,
            0.0,
            1000.0,
            131.0,
            over_limit=True,
        )
    )


def test_a_job_that_its_memory_limit_ended_is_shown_for_a_minute() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    over_limit(engine)
    assert said(only(engine)) == [
        "✗ over jobMemoryLimitMB: job in demo-1 used 1,012 MB of 1,000 MB and was ended",
        "→ find out what uses the memory, or raise the limit · B breaches",
    ]
    over_limit(engine)
    assert only(engine).effect == "1 more within a minute"
    engine.clock.advance(MEMORY_SHOWN_S)
    assert found(engine) == ()


def test_a_blocked_event_loop_after_some_seconds() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    engine.publish(ev.ProcessBlocked("p1", 8123, "AJ_k3Lm9QxTzW2a", 0.5, "agent.py:12 in entry", "…"))
    assert found(engine) == ()
    engine.clock.advance(BLOCKED_AFTER_S)
    assert said(only(engine))[0] == "⚠ event loop blocked for 3 s at agent.py:12 in entry: demo-1"
    engine.publish(ev.ProcessPinged("p1", 1.0))
    assert found(engine) == ()


def test_an_entry_function_that_does_not_connect() -> None:
    engine = FakeEngine()
    histories.busy(engine, histories.LOCAL)
    engine.publish(ev.JobConnected("AJ_Zz81kPpQ0sVb", "demo-2", 40.0))
    assert found(engine) == ()
    engine.clock.advance(CONNECTED_WITHIN_S)
    assert said(only(engine))[0] == "⚠ not connected to room demo-1, 12 s after its entry function started"
    engine.publish(ev.JobConnected("AJ_k3Lm9QxTzW2a", "demo-1", 11_000.0))
    assert found(engine) == ()


def test_a_server_that_ignores_the_deployment() -> None:
    engine = FakeEngine()
    histories.idle(engine, histories.REMOTE)
    old = ev.WorkerRegistered(
        "AW_1",
        histories.REMOTE.url,
        histories.REMOTE.kind,
        "1.11.0",
        "",
        deployment="ann-laptop",
        knows_deployments=False,
    )
    engine.publish(old)
    assert only(engine).cause == (
        "my.livekit.cloud does not support deployments: production calls can arrive here"
    )


def test_the_most_urgent_problem_comes_first_and_few_are_shown() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    over_limit(engine)
    engine.publish(
        ev.Notice(LogLevel.WARN, "saves are not noticed", "file watching"),
        ev.WorkerDisconnected("gone", 2.0, 1),
        ev.StartsFailing(1, 2, "OSError: no model", 1.0, accepting=True),
        ev.GenerationFailed(2, "SyntaxError", AGENT, 3, ""),
    )
    causes = [each.cause.split(":")[0] for each in found(engine)]
    assert causes == ["SyntaxError", "OSError", "gone", "over jobMemoryLimitMB", "saves are not noticed"]
    lines = ["".join(span.text for span in line) for line in all_lines(found(engine), 78, 8)]
    assert lines[-3:] == ["✗ OSError: no model", "✗ gone", "  2 more"]
    assert sum(line.startswith("→") for line in lines) == 1
    more = ["".join(span.text for span in line) for line in all_lines(found(engine), 78, 11)]
    assert sum(line.startswith("→") for line in more) == 2
    assert "" in more  # between two blocks
    assert len(more) <= 11
    engine.publish(ev.Stopping("quit", 0, 10.0))
    assert found(engine) == ()


@pytest.mark.parametrize("width", [30, 52, 76, 118])
def test_every_line_of_a_block_fits_or_is_a_place(width: int) -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(
        ev.WorkerDisconnected("nothing is listening on " + "a" * 20 + " " + "b c " * 30, 2.0, 1, "d e " * 60)
    )
    lines = problem_lines(only(engine), width)
    assert all(width_of(line) <= max(width, 60) for line in lines)


LONG = "could not look up my-project-abc123.livekit.cloud: " + "the name is not known to any resolver, " * 5
TIMED_OUT = ev.StartsFailing(
    1,
    1,
    "prewarm still running after 10 s at agent.py:9 in load_model (initializeProcessTimeout)",
    4.0,
    accepting=True,
    file=AGENT,
    line=9,
    traceback=f'Thread MainThread:\n  File "{AGENT}", line 9, in load_model\n    time.sleep(600)\n',
    ended_by=ev.EndedBy.INIT_TIMEOUT,
)
UNREACHABLE = ev.WorkerDisconnected(
    "nothing listens on localhost:7880", 4.0, 1, "start the server, or check LIVEKIT_URL in .env:1"
)
AT_ONCE: dict[str, tuple[ev.Event, ...]] = {
    "server unreachable": (UNREACHABLE,),
    "host name unknown": (ev.WorkerDisconnected(LONG, 4.0, 1, "check LIVEKIT_URL: " + "word " * 40),),
    "credentials refused": (ev.WorkerRefused("the server does not know key 'k'", "check LIVEKIT_API_KEY"),),
    "prewarm hangs": (TIMED_OUT,),
    "file broken": (ev.GenerationFailed(2, "SyntaxError: expected ':'", AGENT, 12, "Traceback\n" * 9),),
    "several": (
        ev.GenerationFailed(2, LONG, AGENT, 12, ""),
        UNREACHABLE,
        ev.Notice(LogLevel.WARN, "saves are not noticed", "file watching"),
        ev.Notice(LogLevel.WARN, "memory is not measured", "memory"),
    ),
}
"""What makes the problems that are shown at once."""


@pytest.mark.parametrize("about", AT_ONCE)
@pytest.mark.parametrize("rows", [2, 3, 5, 9])
def test_few_rows_keep_the_cause_and_what_to_do(about: str, rows: int) -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(*AT_ONCE[about])
    every = found(engine)
    lines = ["".join(span.text for span in line) for line in all_lines(every, 76, 8, rows)]
    assert len(lines) <= rows
    assert lines[0].startswith(f"✗ {every[0].cause[:60]}")
    [advice] = [line for line in lines if line.startswith("→")]
    assert advice.startswith(f"→ {every[0].todo[:60]}")
    if len(every) > 1 and rows > 2:
        assert lines[-1].endswith(" more")
        shown = sum(line.startswith(("✗", "⚠")) for line in lines)
        assert lines[-1] == f"  {len(every) - shown} more"


def test_two_rows_name_the_place_beside_a_short_cause() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(*AT_ONCE["file broken"])
    lines = ["".join(span.text for span in line) for line in all_lines(found(engine), 76, 8, 2)]
    assert lines[0] == "✗ SyntaxError: expected ':' · agent.py:12"


# -- the pane -----------------------------------------------------------------------------------------------


def pane_text(app: AgentTuiApp) -> str:
    pane = app.screen_stack[0].query_one(StartPane)
    return "\n".join(str(static.content) for static in pane.query(Static) if static.display)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_problems_appear_and_disappear(size: tuple[int, int]) -> None:
    engine = FakeEngine()
    histories.busy(engine)
    app = app_over(engine, AgentTuiApp)
    async with app.run_test(size=size) as pilot:
        await painted(app, engine, pilot)
        pane = app.query_one(StartPane)
        assert not pane.display
        engine.publish(ev.WorkerDisconnected("nothing is listening on h:1", 4.0, 1, "start the server"))
        await painted(app, engine, pilot)
        assert pane.display
        assert pane.has_class("-trouble")
        assert str(pane.border_title) == "✗ 1 problem"
        assert pane.region.bottom <= size[1]
        assert "✗ nothing is listening on h:1" in pane_text(app)
        assert "→ start the server · r retry now" in pane_text(app)
        engine.publish(histories.REGISTERED)
        await painted(app, engine, pilot)
        assert not pane.display


@pytest.mark.parametrize("about", AT_ONCE)
async def test_what_to_do_is_visible_in_a_small_terminal(about: str) -> None:
    engine = FakeEngine()
    histories.busy(engine)
    app = app_over(engine, AgentTuiApp)
    async with app.run_test(size=(80, 24)) as pilot:
        await painted(app, engine, pilot)
        pane = app.query_one(StartPane)
        engine.publish(*AT_ONCE[about])
        advice = found(engine)[0].todo[:40]

        def visible() -> str:
            """Return the pane's text as far as its rows reach."""
            return "\n".join(pane_text(app).splitlines()[: pane.content_size.height])

        await until(lambda: f"→ {advice}" in visible())
        await pilot.press("2")  # the tabs take most of the column
        await until(lambda: app.screen.has_class("-detail") and pane.region.height <= 4)
        await until(lambda: f"→ {advice}" in visible())
        assert visible().startswith(f"✗ {found(engine)[0].cause[:40]}")
        await pilot.press("3")
        await until(lambda: f"→ {advice}" in visible() and pane.region.height > 4)


async def test_esc_hides_problems_until_they_are_solved_or_others_happen() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    app = app_over(engine, AgentTuiApp)
    async with app.run_test(size=(80, 24)) as pilot:
        await painted(app, engine, pilot)
        pane = app.query_one(StartPane)
        gone = ev.WorkerDisconnected("nothing is listening on h:1", 4.0, 1)
        engine.publish(gone)
        await painted(app, engine, pilot)
        assert pane.display
        await pilot.press("escape")
        await until(lambda: not pane.display)
        engine.publish(replace(gone, attempt=2))
        await painted(app, engine, pilot)
        assert not pane.display  # the same problem
        engine.publish(ev.GenerationFailed(2, "SyntaxError", AGENT, 3, ""))
        await painted(app, engine, pilot)
        assert pane.display
        assert "nothing is listening" not in pane_text(app)
        engine.publish(histories.REGISTERED, gone)
        await painted(app, engine, pilot)
        engine.publish(histories.REGISTERED)
        await painted(app, engine, pilot)
        engine.publish(gone)
        await painted(app, engine, pilot)
        assert "nothing is listening" in pane_text(app)  # it happened again


async def test_a_warning_has_its_own_sign_and_outside_text_stays_text() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    app = app_over(engine, AgentTuiApp)
    async with app.run_test(size=(80, 24)) as pilot:
        engine.publish(ev.Notice(LogLevel.WARN, HOSTILE, "file watching", HOSTILE))
        await painted(app, engine, pilot)
        pane = app.query_one(StartPane)
        assert str(pane.border_title) == "⚠ 1 problem"
        assert not pane.has_class("-trouble")
        assert "[/x][bold]red 漢字" in pane_text(app)
        assert "\x1b" not in app.export_screenshot()
