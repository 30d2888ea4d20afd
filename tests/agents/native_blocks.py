"""Blocks its event loop for good."""

import time


async def entry(ctx):
    print("blocking")
    while True:
        time.sleep(0.05)
