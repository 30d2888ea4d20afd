"""The contract's agent. It waits to be told to end, or raises in the room of that name."""

import asyncio


async def entry(ctx):
    print("entered", ctx.job.room.name)
    if ctx.job.room.name == "raises":
        raise ValueError("as asked")
    await asyncio.Event().wait()
