"""What calls got of a save: the status line, the process list, the job, and the generations page."""

from collections.abc import Callable

import pytest

from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model import session_events as se
from agent_tui.model.state import AppState, JobView
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.widgets.processes import Processes
from agent_tui.tui.widgets.status_line import Notice, load_notice
from agent_tui.tui.widgets.swap_text import code_cell, code_facts, note_text, session_code, took
from agent_tui.tui.widgets.text import Tone
from tests.fakes.engine import FakeEngine
from tests.tui import histories
from tests.tui.page_host import app_over, painted
from tests.tui.test_status_line import AGENT, ready

SWAP = (se.SwapReach.ALL, (), 0.5)
NONE = (se.SwapReach.NONE, ("class Desk is no longer in agent.py: its agent keeps its code",), 0.5)


def talking() -> tuple[FakeEngine, list[JobView]]:
    """Return an engine with two jobs, each with an open session on generation 1."""
    engine = FakeEngine()
    histories.busy(engine)
    jobs = list(engine.bus.state.live_jobs)
    for job in jobs:
        engine.publish(se.SessionStarted(job.id, 1, "desk", True, 1))
        engine.publish(se.TurnStarted(job.id, 1, 1, True, 1, "hi"))
    return engine, jobs


Publish = Callable[[str, str], list[ev.Event]]


@pytest.mark.parametrize(
    ("events", "says"),
    [
        (
            lambda a, b: [
                se.Swapped(each, 1, 1, 1, 2, se.SwapReach.ALL, (), 0.5, ("agent.py:1",)) for each in (a, b)
            ],
            "2 jobs swapped",
        ),
        (
            lambda a, b: [
                se.Swapped(a, 1, 1, 1, 2, se.SwapReach.ALL, ("environment (A_KEY)",), 0.5),
                se.Swapped(b, 1, 1, 1, 2, se.SwapReach.ALL, ("environment (A_KEY)",), 0.5, ("agent.py:1",)),
            ],
            "1 job keeps its environment, 1 swapped · R restarts the selected one"
            " · not swapped: environment (A_KEY)",
        ),
        (
            lambda a, b: [
                se.Swapped(
                    a, 1, 1, 1, 2, se.SwapReach.METHODS, ("agent.py:9 body of entry()", "x", "x"), 0.5
                ),
                ev.JobPinned(b, "b", 1, pinned=True),
            ],
            "1 job swapped in part, 1 pinned · R restarts the selected one"
            " · not swapped: agent.py:9 body of entry() and 1 more",
        ),
        (
            lambda a, b: [se.SwapWaiting(each, 1, 1, 2, "find_rooms") for each in (a, b)],
            "2 jobs wait for find_rooms",
        ),
        (
            lambda a, b: [se.SwapWaiting(a, 1, 1, 2, ""), se.Swapped(b, 1, 1, 1, 2, *NONE)],
            "1 job waits for its agent, 1 not swapped · R restarts the selected one"
            " · class Desk is no longer in agent.py: its agent keeps its code",
        ),
        (lambda a, b: [], "2 jobs keep generation 1 · U swaps, R restarts the selected one"),
    ],
)
def test_the_status_line_says_what_a_save_did_to_the_calls(events: Publish, says: str) -> None:
    engine, jobs = talking()
    before = engine.bus.state
    engine.publish(ready(2, AGENT), *events(jobs[0].id, jobs[1].id))
    assert load_notice(before, engine.bus.state) == Notice(f"reloaded agent.py in 41 ms · {says}")


def test_the_status_line_follows_a_swap_that_waited() -> None:
    engine, jobs = talking()
    engine.publish(ready(2, AGENT), se.SwapWaiting(jobs[0].id, 1, 1, 2, "slow"))
    before = engine.bus.state
    engine.publish(se.UserStateChanged(jobs[0].id, 1, "speaking"))
    assert load_notice(before, engine.bus.state) is None
    engine.publish(*(se.Swapped(job.id, 1, 1, 1, 2, *SWAP) for job in jobs))
    assert load_notice(before, engine.bus.state) == Notice("reloaded agent.py in 41 ms · 2 jobs swapped")
    before = engine.bus.state
    engine.clock.advance(60)
    engine.publish(ev.JobPinned(jobs[0].id, "a", 2, pinned=True), se.Swapped(jobs[0].id, 1, 2, 1, 2, *SWAP))
    notice = load_notice(before, engine.bus.state)
    assert notice == Notice("generation 2: 2 jobs swapped")  # on request
    before = engine.bus.state
    engine.publish(se.SessionEnded(jobs[0].id, 1, "done"))
    assert load_notice(before, engine.bus.state) is None
    engine.publish(se.SessionStarted(jobs[0].id, 2, "desk", True, 2))  # as after a restart of the call
    assert load_notice(before, engine.bus.state) is None


def facts(state: AppState, job: JobView) -> tuple[str, Tone, list[str]]:
    job = state.jobs[job.id]
    cell = code_cell(job, state, Tone.PLAIN)
    return cell.text, cell.tone, list(code_facts(job, state))


def test_the_code_of_a_job() -> None:
    engine, (job, *_) = talking()
    assert facts(engine.bus.state, job) == ("1", Tone.PLAIN, [])
    engine.publish(ready(2, AGENT))
    stale = "stale: generation 2 is current"
    assert facts(engine.bus.state, job) == ("1 stale", Tone.WARN, [stale])
    engine.publish(ev.JobPinned(job.id, "a", 1, pinned=True))
    assert facts(engine.bus.state, job) == ("1 pin", Tone.KEY, ["pinned: reloads do not change it", stale])
    engine.publish(ev.JobPinned(job.id, "a", 1, pinned=False), se.SwapWaiting(job.id, 1, 1, 2, "slow"))
    assert facts(engine.bus.state, job) == (
        "1 → 2",
        Tone.WARN,
        ["swap to generation 2 waits for slow", stale],
    )
    engine.publish(se.SwapWaiting(job.id, 1, 1, 0, ""))
    assert facts(engine.bus.state, job) == ("1 stale", Tone.WARN, [stale])
    engine.publish(se.Swapped(job.id, 1, 1, 1, 2, *SWAP))
    assert facts(engine.bus.state, job) == ("2", Tone.PLAIN, ["its sessions run generation 2"])
    engine.publish(ready(3, AGENT), se.Swapped(job.id, 1, 1, 2, 3, se.SwapReach.METHODS, (), 0.5))
    part = "on generation 3 in part: R restarts it on all of the code"
    assert facts(engine.bus.state, job) == ("3 part", Tone.WARN, ["its sessions run generation 3", part])


def test_the_code_of_a_session() -> None:
    engine, (job, *_) = talking()

    def shown() -> str:
        session = next(each for each in engine.bus.state.sessions.values() if each.job_id == job.id)
        return session_code(session, engine.bus.state).text

    assert shown() == "1"
    engine.publish(ready(2, AGENT), ev.JobPinned(job.id, "a", 1, pinned=True))
    assert shown() == "1 pin"
    engine.publish(ev.JobPinned(job.id, "a", 1, pinned=False))
    assert shown() == "1 stale"
    engine.publish(se.SessionEnded(job.id, 1, "done"))
    assert shown() == ""


def test_the_generations_page_lists_the_calls_that_took_a_load() -> None:
    engine, (a, b) = talking()
    engine.publish(ready(2, AGENT), se.Swapped(a.id, 1, 1, 1, 2, *SWAP), se.Swapped(b.id, 1, 1, 1, 2, *NONE))
    why = "class Desk is no longer in agent.py: its agent keeps its code"
    assert took(2, engine.bus.state) == [f"{b.room} stays on 1: {why}", f"{a.room} from 1, turn 1"]
    engine.publish(ev.JobPinned(b.id, b.room, 1, pinned=True), ready(3, AGENT))
    engine.publish(se.SwapWaiting(a.id, 1, 1, 3, "slow"))
    assert took(3, engine.bus.state) == [f"{a.room} waits for slow", f"{b.room} is pinned to 1"]
    engine.publish(se.Swapped(a.id, 1, 1, 2, 3, se.SwapReach.METHODS, (), 0.5))
    assert took(3, engine.bus.state)[0] == f"{a.room} from 2, turn 1, methods and tools only"
    assert took(1, engine.bus.state) == []


def test_notes_that_are_sentences_stay_as_they_are() -> None:
    assert note_text("agent.py:3 body of entry()") == "not swapped: agent.py:3 body of entry()"
    assert note_text("agent.py:4 bookings was re-created") == "agent.py:4 bookings was re-created"


async def test_keys_pin_unpin_and_swap_the_selected_job() -> None:
    engine, (job, *_) = talking()
    app = app_over(engine, AgentTuiApp)
    async with app.run_test(size=(120, 40)) as pilot:
        await painted(app, engine, pilot)
        assert job.process_id is not None
        app.panel(Processes).choose(job.process_id)
        await pilot.press("P", "U")
        await painted(app, engine, pilot)
        engine.publish(ev.JobPinned(job.id, job.room, 1, pinned=True))
        await painted(app, engine, pilot)
        await pilot.press("P")
        await painted(app, engine, pilot)
    pins = [each for each in engine.commands if isinstance(each, cmd.PinJob | cmd.SwapJob)]
    assert pins == [cmd.PinJob(job.id, True), cmd.SwapJob(job.id), cmd.PinJob(job.id, False)]
