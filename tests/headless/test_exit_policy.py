"""When a headless run exits, and with which exit code."""

import asyncio

import pytest

from agent_tui.headless.run import ExitPolicy, Headless, HeadlessOptions
from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model.errors import ExitCode
from agent_tui.model.reduce import reduce
from agent_tui.model.state import AppState
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until

REGISTERED = ev.WorkerRegistered("AW_1", "ws://x", ev.ServerKind.EMBEDDED, "1.13.5", "")


def number(room: str) -> int:
    """Return the number of the test dispatch into that room; room a has the first one."""
    return ord(room) - ord("a") + 1


def dispatched(room: str) -> ev.Dispatched:
    return ev.Dispatched(room, "", None, number(room))


def ended(room: str, status: ev.JobStatus = ev.JobStatus.SUCCESS) -> ev.JobEnded:
    return ev.JobEnded(f"AJ_{room}", room, 1, 1, status, "", 1.0, test_dispatch=number(room))


def offered(room: str) -> ev.OfferReceived:
    return ev.OfferReceived(f"AJ_{room}", room, "", 1, number(room))


def decide(options: HeadlessOptions, *events: ev.Event) -> ExitCode | None:
    exit_policy = ExitPolicy(options)
    for event in events:
        code = exit_policy.observe(event)
        if code is not None:
            return code
    return None


TWO = HeadlessOptions(dispatch=2, exit_when_idle=True, watch=False)


def test_it_exits_when_all_test_jobs_have_ended() -> None:
    stream = (dispatched("a"), offered("a"), dispatched("b"), offered("b"), ended("a"))
    assert decide(TWO, *stream) is None
    assert decide(TWO, *stream, ended("b")) is ExitCode.OK


def test_it_waits_for_test_jobs_that_are_not_dispatched_yet() -> None:
    assert decide(TWO, dispatched("a"), offered("a"), ended("a")) is None


def test_a_loss_reported_before_its_dispatch_returned_counts() -> None:
    lost = ev.JobLost("a", "no worker", "AJ_a", number("a"))
    assert (
        decide(TWO, lost, dispatched("a"), dispatched("b"), offered("b"), ended("b")) is ExitCode.JOB_FAILED
    )


def test_after_a_declined_offer_it_waits_for_the_loss() -> None:
    declined = ev.OfferAnswered("AJ_a", accepted=False, error="stopping")
    lost = ev.JobLost("a", "the offer was declined: stopping", "AJ_a", number("a"))
    stream = (dispatched("a"), dispatched("b"), offered("b"), ended("b"), offered("a"), declined)
    assert decide(TWO, *stream) is None
    assert decide(TWO, *stream, lost) is ExitCode.JOB_FAILED


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (ev.JobStatus.SUCCESS, ExitCode.OK),
        (ev.JobStatus.TERMINATED, ExitCode.OK),
        (ev.JobStatus.FAILED, ExitCode.JOB_FAILED),
    ],
)
def test_a_failed_job_decides_the_exit_code(status: ev.JobStatus, code: ExitCode) -> None:
    options = HeadlessOptions(dispatch=1, exit_when_idle=True)
    assert decide(options, dispatched("a"), offered("a"), ended("a", status)) is code


def test_without_exit_when_idle_it_keeps_running() -> None:
    assert decide(HeadlessOptions(dispatch=1), dispatched("a"), offered("a"), ended("a")) is None


def test_without_test_jobs_it_exits_after_other_jobs() -> None:
    options = HeadlessOptions(exit_when_idle=True)
    assert decide(options, REGISTERED, offered("a"), offered("b"), ended("a")) is None
    assert decide(options, REGISTERED, offered("a"), offered("b"), ended("a"), ended("b")) is ExitCode.OK


@pytest.mark.parametrize("options", [HeadlessOptions(watch=False), HeadlessOptions(exit_when_idle=True)])
def test_a_file_that_does_not_load_exits_a_run_without_watch(options: HeadlessOptions) -> None:
    failed = ev.GenerationFailed(1, "SyntaxError", None, None, "")
    assert decide(options, failed) is ExitCode.JOB_FAILED
    assert decide(HeadlessOptions(), failed) is None


def test_a_lost_server_exits_unless_jobs_run() -> None:
    gone = ev.WorkerDisconnected("gone", None, 16)
    assert decide(HeadlessOptions(), REGISTERED, gone) is ExitCode.SERVER
    assert decide(HeadlessOptions(), REGISTERED, ev.WorkerRefused("no")) is ExitCode.SERVER
    assert decide(HeadlessOptions(), REGISTERED, ev.WorkerDisconnected("gone", 2.0, 1)) is None
    assert decide(HeadlessOptions(), REGISTERED, offered("a"), gone) is None
    assert decide(HeadlessOptions(), REGISTERED, offered("a"), gone, ended("a")) is ExitCode.SERVER


def test_missed_events_are_made_up_from_the_state() -> None:
    state = AppState()
    stream: list[ev.Event] = [offered("a"), ended("a", ev.JobStatus.FAILED), offered("b")]
    for seq, event in enumerate(stream, 1):
        state = reduce(state, ev.Stamped(seq, 1.0, event))
    exit_policy = ExitPolicy(HeadlessOptions(exit_when_idle=True))
    assert exit_policy.catch_up(state) is None
    assert (exit_policy.running, exit_policy.settled, exit_policy.failed) == ({"AJ_b"}, {1}, True)
    assert exit_policy.observe(ended("b")) is ExitCode.JOB_FAILED


async def test_test_jobs_are_dispatched_once_the_agent_is_ready(capfd: pytest.CaptureFixture[str]) -> None:
    engine = FakeEngine(numIdleProcesses="0")
    running = asyncio.create_task(Headless(engine, HeadlessOptions(dispatch=2)).run())
    await asyncio.sleep(0)  # now it has subscribed
    engine.publish(ev.GenerationReady(1, None, "start", "native", None, ev.StartMethod.SPAWN))
    assert engine.commands == []
    engine.publish(REGISTERED)
    await until(lambda: engine.commands)
    engine.bus.close()
    assert await running is ExitCode.OK
    assert engine.commands == [cmd.Dispatch(2)]
