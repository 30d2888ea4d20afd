"""Dispatches the jobs of a test load, each at its time."""

import asyncio
import contextlib

from agent_tui.engine.engine_api import EngineAPI
from agent_tui.model.clock import Clock
from agent_tui.model.commands import Dispatch
from agent_tui.model.tuning import TestLoad
from agent_tui.tuning.arrivals import offsets
from agent_tui.tuning.recorder import Recorder


class _Refused(Exception):
    """A dispatch was refused. Raised in a task group, it cancels the other dispatches."""


async def dispatch_one(engine: EngineAPI, job: Dispatch, recorder: Recorder, clock: Clock) -> str:
    """Dispatch one test job and record it. Return why it was refused; empty if it was not."""
    at = clock.time()
    result = await engine.send(job)
    if result.refused:
        return result.text
    if result.ok:
        recorder.dispatched(result.dispatches, at)
    else:
        recorder.not_dispatched(at, result.text)
    return ""


async def dispatch_all(
    engine: EngineAPI,
    job: Dispatch,
    load: TestLoad,
    recorder: Recorder,
    clock: Clock,
    stopping: asyncio.Event,
) -> str:
    """Dispatch each job of the test load at its time, even if earlier dispatches are still unanswered.

    Stops when `stopping` is set. Returns when all dispatches are answered, or as soon as one is refused, with
    the reason: the others would be refused too.
    """

    async def send() -> None:
        if refused := await dispatch_one(engine, job, recorder, clock):
            raise _Refused(refused)

    start, why = asyncio.get_running_loop().time(), ""
    try:
        async with asyncio.TaskGroup() as sends:
            for offset in offsets(load):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(start + offset):
                        await stopping.wait()
                if stopping.is_set():
                    break
                sends.create_task(send(), name="test dispatch")
    except* _Refused as refusals:
        why = str(refusals.exceptions[0])
    return why
