"""Makes the test jobs of a load, each at its time."""

import asyncio
import contextlib

from agent_tui.engine.engine_api import EngineAPI
from agent_tui.model.clock import Clock
from agent_tui.model.commands import Dispatch
from agent_tui.model.tuning import TestLoad
from agent_tui.tuning.arrivals import offsets
from agent_tui.tuning.recorder import Recorder


class _Refused(Exception):
    """How one dispatch ends the others."""


async def dispatch_one(engine: EngineAPI, job: Dispatch, recorder: Recorder, clock: Clock) -> str:
    """One test job, which the recorder is told of; why it was refused, empty if it was not."""
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
    """Each job of the load at its time, however long the dispatches before it take; none once `stopping`.

    Returns when all are answered, or at once with why one was refused: so would those after it be.
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
                sends.create_task(send(), name="a load's dispatch")
    except* _Refused as refusals:
        why = str(refusals.exceptions[0])
    return why
