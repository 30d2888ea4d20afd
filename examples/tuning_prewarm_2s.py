"""A native agent whose processes take 2 s to prepare: something to tune.

`agent-tui tune examples/tuning_prewarm_2s.py --rate 24/m` says how many idle processes hide that.
"""

import asyncio
import time

PREWARM_S = 2


def prewarm(proc):
    """Stands for models that are loaded before a job comes."""
    time.sleep(PREWARM_S)


async def entry(ctx):
    """Stands for a call; a sweep ends it after its job length."""
    await asyncio.sleep(60)
    ctx.shutdown("the call is over")
