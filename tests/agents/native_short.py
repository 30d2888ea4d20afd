"""Prewarms, says hello, ends by itself. Its helper is a module of the project."""

import asyncio
import logging

import native_helper

log = logging.getLogger("short")


def prewarm(proc):
    proc.userdata["warm"] = True


async def entry(ctx):
    log.info("in entry of %s", ctx.job.id, extra={"answer": 42})
    print("hello", ctx.job.room.name, ctx.proc.userdata["warm"], native_helper.GREETING)
    ctx.log_context_fields = {"call": "one"}
    ctx.add_shutdown_callback(lambda reason: print("callback", reason))
    await asyncio.sleep(0.01)
    log.info("leaving")
    ctx.shutdown("done")
