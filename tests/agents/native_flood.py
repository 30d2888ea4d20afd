"""Logs far more than anybody can show."""

import logging
import time

log = logging.getLogger("flood")


async def entry(ctx):
    started = time.monotonic()
    for number in range(60_000):
        log.info("line %d %s", number, "x" * 200)
    print(f"flooded {time.monotonic() - started:.1f}")
