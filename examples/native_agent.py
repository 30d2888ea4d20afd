"""A native agent: plain functions, no SDK. agent-tui runs this file as it is; press d for a test job.

Each job greets its room, works for two seconds, and ends. Change a line and save while agent-tui runs: the
next job runs the new code.
"""

import asyncio
import logging

log = logging.getLogger("native-agent")


def prewarm(proc):
    """Run once in each process before it gets a job: load models here."""
    proc.userdata["greeting"] = "Hello"


async def request_func(req):
    """Accept or reject a job offer."""
    await req.accept(name="Native agent", attributes={"example": "native"})


async def entry(ctx):
    """Run one job."""
    log.info("%s, room %s", ctx.proc.userdata["greeting"], ctx.job.room.name)

    async def say_goodbye(reason):
        log.info("goodbye: %s", reason)

    ctx.add_shutdown_callback(say_goodbye)
    await asyncio.sleep(2)
    ctx.shutdown("call finished")
