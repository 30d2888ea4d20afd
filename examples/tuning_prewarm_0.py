"""A native agent whose processes need no preparing: how little is enough.

Compare `agent-tui tune examples/tuning_prewarm_0.py --rate 2/s` with its two slower brothers.
"""

import asyncio
import time

PREWARM_S = 0


def prewarm(proc):
    """Stands for models that are loaded before a job comes."""
    time.sleep(PREWARM_S)


async def entry(ctx):
    """Stands for a call; a sweep ends it after its job length."""
    await asyncio.sleep(60)
    ctx.shutdown("the call is over")
