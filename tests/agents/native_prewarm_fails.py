"""A prewarm that raises."""


async def prewarm(proc):
    raise OSError("the model is not there")


async def entry(ctx):
    pass
