"""A native agent whose processes take 0.3 s to prepare: something to tune.

`agent-tui tune examples/tuning_prewarm_300ms.py --rate 2/s` says how many idle processes hide that.
"""

import asyncio
import time

PREWARM_S = 0.3


def prewarm(proc):
    """Stands for models that are loaded before a job comes."""
    time.sleep(PREWARM_S)


async def entry(ctx):
    """Stands for a call; a sweep ends it after its job length."""
    await asyncio.sleep(60)
    ctx.shutdown("the call is over")
