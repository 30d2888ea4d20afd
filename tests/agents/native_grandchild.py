"""Starts a program of its own that would outlive it."""

import asyncio
import subprocess


async def entry(ctx):
    print("grandchild", subprocess.Popen(["sleep", "600"]).pid)
    if ctx.job.room.name == "leave":
        return
    await asyncio.Event().wait()
