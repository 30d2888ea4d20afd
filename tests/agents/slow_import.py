"""Takes its time to load."""

import time

time.sleep(1.0)


async def entry(ctx):
    pass
