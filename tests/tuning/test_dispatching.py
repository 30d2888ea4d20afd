"""The dispatches of a test load: when they are made, and what cancels them."""

import asyncio

from agent_tui.model import commands as cmd
from agent_tui.model.tuning import Pattern, TestLoad
from agent_tui.tuning.dispatching import dispatch_all
from agent_tui.tuning.recorder import Recorder
from tests.fakes.engine import FakeEngine
from tests.limits import PATIENCE_S

JOB = cmd.Dispatch(length_s=1.0)


class SlowEngine(FakeEngine):
    """An engine that never answers the first dispatch."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled = False

    async def send(self, command: cmd.Command) -> cmd.CommandResult:
        result = await super().send(command)
        if len(self.commands) == 1:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled = True
        return result


def recorder_of(engine: FakeEngine, load: TestLoad) -> Recorder:
    return Recorder(0, 0, load, engine.clock.time(), ())


async def test_a_refusal_cancels_the_other_dispatches() -> None:
    engine, load = SlowEngine(), TestLoad(3, pattern=Pattern.BURST)
    ok, refused = cmd.CommandResult(True, ""), cmd.CommandResult(False, "needs its name", refused=True)
    engine.results = [ok, refused]
    async with asyncio.timeout(PATIENCE_S):
        why = await dispatch_all(engine, JOB, load, recorder_of(engine, load), engine.clock, asyncio.Event())
    assert why == "needs its name"
    assert engine.cancelled


async def test_a_failed_dispatch_is_a_lost_job_and_the_others_continue() -> None:
    engine, load = FakeEngine(), TestLoad(3, pattern=Pattern.BURST)
    made = [cmd.CommandResult(True, "", dispatches={number: "a"}) for number in (1, 2)]
    engine.results = [cmd.CommandResult(False, "no answer"), *made]
    recorder = recorder_of(engine, load)
    assert await dispatch_all(engine, JOB, load, recorder, engine.clock, asyncio.Event()) == ""
    assert engine.commands == [JOB] * 3
    assert [job.lost for job in recorder.measure((), complete=True).jobs] == ["no answer"]


async def test_once_stopping_nothing_is_dispatched() -> None:
    engine, load, stopping = FakeEngine(), TestLoad(3, 0.01, Pattern.STEADY), asyncio.Event()
    stopping.set()
    async with asyncio.timeout(PATIENCE_S):
        why = await dispatch_all(engine, JOB, load, recorder_of(engine, load), engine.clock, stopping)
    assert (why, engine.commands) == ("", [])
