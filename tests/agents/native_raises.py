"""An entry function that raises."""


async def entry(ctx):
    raise ValueError(f"no idea what to do in {ctx.job.room.name}")
