"""One supervised process over a scripted child: stages, timeouts, shutdown, and its end."""

import asyncio
import time
from dataclasses import dataclass, field, replace

import pytest

from agent_tui.model import child as ch
from agent_tui.model.clock import SystemClock
from agent_tui.model.events import EndedBy, Event, Notice, ProcessChanged, ProcessState
from agent_tui.processes import process as process_module
from agent_tui.processes.kernel import OomWatch
from agent_tui.processes.process import (
    JobExiting,
    JobMessage,
    ProcessEnd,
    ProcessFailed,
    SupervisedProcess,
    Supervisor,
)
from agent_tui.processes.timings import ProcessTimings
from tests.fakes.scripted_child import Nursery, ScriptedChild, _obliging, until
from tests.limits import PATIENCE_S

QUICK = ProcessTimings(
    import_s=0.05,
    initialize_s=0.05,
    shutdown_s=0.05,
    session_end_s=0.05,
    ping_interval_s=0.01,
    slow_ping_s=0.008,
    stacks_s=0.05,
    ping_timeout_s=0.05,
    debug_poll_s=0.01,
)
"""For tests in which a limit passes."""

STALL_S = 0.1
SHORT = replace(QUICK, import_s=0.3, initialize_s=0.3, ping_timeout_s=0.3)
"""For tests in which the host stalls. A pause of the machine that is as long as a limit is a stall too."""


@dataclass
class Run:
    """A process and its end."""

    nursery: Nursery
    timings: ProcessTimings = field(default_factory=ProcessTimings)
    paused: bool = False
    events: list[Event] = field(default_factory=list)
    relayed: list[ch.FromChild] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.process = SupervisedProcess(
            Supervisor(lambda: self.timings, SystemClock(), self.events.append),
            "p1",
            ch.ProcessKind.JOB,
            1,
            launch=self.nursery,
            relay=lambda _, message: self.relayed.append(message),
            paused=lambda _: self.paused,
        )
        self.task = asyncio.create_task(self.process.run())

    @property
    def child(self) -> ScriptedChild:
        return self.nursery.children[0]

    @property
    def states(self) -> list[ProcessState]:
        return [event.state for event in self.events if isinstance(event, ProcessChanged)]

    async def end(self) -> ProcessEnd:
        await asyncio.wait_for(self.task, PATIENCE_S)
        return self.process.ended.result()


def start_job() -> ch.StartJob:
    return ch.StartJob(b"", ch.AcceptArguments("a"), "ws://x", "token", "AW_1", True, 1.0, 2.0, 3.0, 4.0)


async def test_a_job_process_lives_from_starting_to_ended() -> None:
    run = Run(Nursery())
    await run.process.ready
    said: list[JobMessage] = []
    run.process.start_job(start_job(), "AJ_1", said.append)
    run.child.say(ch.EntryStarted(5.0), ch.ShuttingDown(), ch.Exiting("all said"))
    await until(lambda: len(said) == 2)
    run.child.end()
    end = await run.end()
    assert run.states == ["starting", "idle", "job", "ending", "ended"]
    assert said == [ch.EntryStarted(5.0), JobExiting("all said", asked=False), end]
    assert end == ProcessEnd("all said", 0, None, killed=False)


@pytest.mark.parametrize(("reason", "asked"), [("all said", False), ("terminated by the server", True)])
async def test_a_job_ends_with_the_first_reason_in_its_process(reason: str, asked: bool) -> None:
    run = Run(Nursery())
    await run.process.ready
    said: list[JobMessage] = []
    run.process.start_job(start_job(), "AJ_1", said.append)
    run.child.answers = lambda child, message: None
    run.process.shutdown("terminated by the server")
    run.child.say(ch.ShutdownAck(), ch.Exiting(reason), ch.ShuttingDown())
    run.child.end()
    end = await run.end()
    assert said == [JobExiting(reason, asked), end]
    assert end == ProcessEnd(reason, 0, None, killed=False)


async def test_a_process_that_is_not_idle_refuses_a_job() -> None:
    run = Run(Nursery(prepare=lambda child: None))
    await until(lambda: run.nursery.children)
    with pytest.raises(RuntimeError, match="cannot run a job"):
        run.process.start_job(start_job(), "AJ_1", lambda _: None)
    run.process.kill("test over")
    await run.end()


async def test_sdk_import_and_initialization_have_separate_limits() -> None:
    importing = Run(Nursery(prepare=lambda child: None), QUICK)
    prewarming = Run(Nursery(prepare=lambda child: child.say(ch.Loading())), QUICK)
    assert "importing the SDK" in (await importing.end()).reason
    end = await prewarming.end()
    assert "initializeProcessTimeout" in end.reason
    assert end.killed
    assert prewarming.child.killed


def stand_still() -> None:
    """Stall as a stopped host does: its timers pass, and messages stay unread."""
    time.sleep(0.5)


async def test_no_start_times_out_while_the_host_stalls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_module, "STALL_S", STALL_S)
    run = Run(Nursery(prepare=lambda child: child.say(ch.Loading())), SHORT)
    await until(lambda: run.nursery.children)
    run.child.traits = ch.ChildTraits(stacks=False, reports_loading=True)
    await until(lambda: run.process.loading_at)
    stand_still()
    for _ in range(5):
        await asyncio.sleep(0)
    run.child.say(ch.Ready())
    await run.process.ready
    run.process.shutdown("done")
    assert not (await run.end()).killed


async def test_no_pong_is_missed_while_the_host_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "STALL_S", STALL_S)
    run = Run(Nursery(), SHORT)
    await run.process.ready
    run.child.answers = lambda child, message: None
    pings = len(run.child.told(ch.Ping))
    await until(lambda: len(run.child.told(ch.Ping)) > pings)
    stand_still()
    run.child.answers = _obliging
    await until(lambda: len(run.child.told(ch.Ping)) > pings + 10 or run.child.killed)
    assert not run.child.killed
    run.process.shutdown("done")
    assert not (await run.end()).killed


async def test_a_failed_load_has_the_childs_report() -> None:
    failure = ch.Failed("ValueError: no", "Traceback…", "agent.py", 3)

    def prepare(child: ScriptedChild) -> None:
        child.say(ch.Loading(), failure)
        child.end(1)

    run = Run(Nursery(prepare))
    with pytest.raises(ProcessFailed, match="ValueError: no") as raised:
        await run.process.ready
    assert raised.value.failure == failure
    assert (await run.end()).exit_code == 1


@pytest.mark.parametrize(
    ("error", "why"),
    [(OSError("no such interpreter"), "no such interpreter"), (KeyError("kind"), "KeyError: 'kind'")],
)
async def test_a_launch_that_fails_is_an_end_with_a_reason(error: Exception, why: str) -> None:
    class Broken(Nursery):
        async def __call__(self, kind: ch.ProcessKind, process_id: str) -> ScriptedChild:
            raise error

    run = Run(Broken())
    end = await run.end()
    assert (end.reason, end.by) == (f"failed to start: {why}", EndedBy.NO_PROCESS)
    assert run.states == ["ended"]
    with pytest.raises(ProcessFailed, match="failed to start"):
        await run.process.ready


@pytest.mark.parametrize(
    ("says", "what"),
    [
        ((), "answer"),
        ((ch.ShutdownAck(),), "end its job"),
        ((ch.ShutdownAck(), ch.ShuttingDown()), "exit"),
    ],
)
async def test_each_missed_shutdown_step_ends_in_sigkill(says: tuple[ch.FromChild, ...], what: str) -> None:
    run = Run(Nursery(), timings=ProcessTimings(shutdown_s=0.03, session_end_s=-74.97, stacks_s=0.05))
    await run.process.ready
    run.child.answers = lambda child, message: child.say(*says) if isinstance(message, ch.Shutdown) else None
    run.process.shutdown("quit")
    end = await run.end()
    assert end.killed
    assert f"did not {what}" in end.reason


@pytest.mark.parametrize(("exits", "limit_s"), [(True, PATIENCE_S), (False, 0.01)])
async def test_a_process_may_exit_by_itself_after_it_closed_its_channel(
    exits: bool, limit_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(child: ScriptedChild, message: ch.ToChild) -> None:
        if isinstance(message, ch.Shutdown):
            child.say(ch.ShutdownAck(), ch.Exiting(message.reason), ch.ShuttingDown())
            child.close_channel()
            if exits:
                asyncio.get_running_loop().call_later(0.02, child.end, 0)

    monkeypatch.setattr("agent_tui.processes.process.EXIT_S", limit_s)
    run = Run(Nursery())
    await run.process.ready
    run.child.answers = answer
    run.process.shutdown("asked to")
    end = await run.end()
    assert end.reason == "asked to"
    assert (end.exit_code, end.signal) == ((0, None) if exits else (None, 9))


async def test_a_blocked_loop_is_killed_for_its_missing_pongs() -> None:
    run = Run(Nursery(), QUICK)
    await run.process.ready
    run.child.answers = lambda child, message: None
    end = await run.end()
    assert end.killed
    assert "did not answer a ping" in end.reason


@pytest.mark.parametrize("how", ["stopped by a signal", "debugger"])
async def test_a_process_under_a_debugger_is_never_killed(how: str) -> None:
    run = Run(Nursery(), QUICK, paused=how == "stopped by a signal")
    await run.process.ready
    if how == "debugger":
        run.child.say(ch.Debugging(attached=True))
        await until(lambda: run.process.held)
    run.child.answers = lambda child, message: None
    run.process.shutdown("quit")
    await asyncio.sleep(4 * QUICK.ping_timeout_s)
    assert not run.child.killed
    told = [event.text for event in run.events if isinstance(event, Notice)]
    assert len(told) == (how != "debugger")
    assert all(f"kill -CONT {run.child.pid}" in each for each in told)
    run.paused = False
    run.child.say(ch.Debugging(attached=False))
    assert (await run.end()).killed


async def test_a_process_that_dies_by_itself_says_how() -> None:
    run = Run(Nursery())
    await run.process.ready
    run.child.end(None, 11)
    end = await run.end()
    assert end == ProcessEnd("killed by SIGSEGV", None, 11, killed=False, by=EndedBy.SIGNAL, unasked=True)


@pytest.mark.parametrize(("happened", "says"), [(True, "out of memory"), (False, "killed by SIGKILL")])
async def test_a_kill_by_the_kernel_is_recognized(happened: bool, says: str) -> None:
    run = Run(Nursery())
    run.process._out_of_memory = lambda: happened
    await run.process.ready
    run.child.end(None, 9)
    assert says in (await run.end()).reason


def test_each_kill_by_the_kernel_is_reported_once() -> None:
    count = iter([4, 4, 6, 6, 6])
    watch = OomWatch(lambda: next(count))
    assert [watch.happened() for _ in range(4)] == [False, True, True, False]


async def test_other_messages_are_relayed() -> None:
    run = Run(Nursery())
    request = ch.InferenceRequest("r1", "eot", b"x")
    await run.process.ready
    run.child.say(request)
    await until(lambda: run.relayed)
    run.process.shutdown("done")
    await run.end()
    assert run.relayed == [request]


async def test_a_message_that_cannot_be_handled_ends_the_process() -> None:
    def broken(signal: JobMessage) -> None:
        if isinstance(signal, ch.EntryStarted):
            raise UnicodeEncodeError("utf-8", "x", 0, 1, "surrogates not allowed")

    run = Run(Nursery())
    await run.process.ready
    run.process.start_job(start_job(), "AJ_1", broken)
    run.child.say(ch.EntryStarted(5.0))
    end = await run.end()
    assert end.killed
    assert "while handling its message: UnicodeEncodeError" in end.reason


async def test_a_kill_gets_through_while_something_is_waited_for() -> None:
    run = Run(Nursery(), paused=True)
    await run.process.ready
    run.child.answers = lambda child, message: None
    run.process.shutdown("quit")
    await asyncio.sleep(0)
    run.process.kill("at once")
    assert (await asyncio.wait_for(run.end(), 1)).killed
