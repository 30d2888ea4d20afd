"""Joins its room."""


async def entry(ctx):
    await ctx.connect()
