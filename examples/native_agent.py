"""A native agent: no SDK, only functions. Try it with `agent-tui examples/native_agent.py`, then press d.

It greets the room, works for a moment and ends by itself.
"""

import asyncio
import logging

log = logging.getLogger("native-agent")


def prewarm(proc):
    """Runs once in each process before a job comes: load models here."""
    proc.userdata["greeting"] = "Servus"


async def request_func(req):
    """Decides on each offer."""
    await req.accept(name="Native agent", attributes={"example": "native"})


async def entry(ctx):
    """Runs one job."""
    log.info("%s, room %s", ctx.proc.userdata["greeting"], ctx.job.room.name)

    async def say_goodbye(reason):
        log.info("goodbye: %s", reason)

    ctx.add_shutdown_callback(say_goodbye)
    await asyncio.sleep(2)
    ctx.shutdown("all said")
