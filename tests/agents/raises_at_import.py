"""Fails while it loads, in a module of its own."""

import broken_helper


async def entry(ctx):
    print(broken_helper)
