"""Samples the CPU use of the machine during a run."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from agent_tui.model.clock import Clock
from agent_tui.tuning.recorder import Recorder

SAMPLE_S = 0.25

ReadCpu = Callable[[], Awaitable[float]]
"""Returns the CPU use since its previous call, from 0 to 1. Raises OSError or ValueError if it is unknown."""


@contextlib.asynccontextmanager
async def cpu_sampled(recorder: Recorder, read: ReadCpu, clock: Clock) -> AsyncIterator[None]:
    """Record the CPU use of the machine while the block runs, and at its end, since a burst may be short."""

    async def sample() -> None:
        with contextlib.suppress(OSError, ValueError):  # then there is no figure
            recorder.cpu_used(clock.time(), await read())

    async def keep_sampling() -> None:
        while True:
            await asyncio.sleep(SAMPLE_S)
            await sample()

    sampling = asyncio.create_task(keep_sampling(), name="machine's CPU")
    try:
        yield
        await sample()
    finally:
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
