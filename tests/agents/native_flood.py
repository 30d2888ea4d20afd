"""Logs far more than anybody can show."""

import logging

log = logging.getLogger("flood")


async def entry(ctx):
    for number in range(20_000):
        log.info("line %d %s", number, "x" * 200)
    print("flooded")
