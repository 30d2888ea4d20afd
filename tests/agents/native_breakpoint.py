"""Somebody left a breakpoint() in."""


async def entry(ctx):
    breakpoint()
    print("went on")
