"""A prewarm that never returns."""

import time


def prewarm(proc):
    time.sleep(600)


async def entry(ctx):
    pass
