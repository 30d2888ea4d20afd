"""livekit-agents, style 2: WorkerOptions in the guard; the entry goes by the room's name."""

import asyncio
import logging
import subprocess
import time

from livekit.agents import JobContext, WorkerOptions, cli
from livekit.agents.worker import WorkerType

logging.basicConfig(level=logging.INFO)
log = logging.getLogger("options")


async def entry(ctx: JobContext):
    room = ctx.job.room.name
    log.info("entered %s", room)
    if room == "raise":
        raise ValueError("no idea what to do")
    if room == "block":
        while True:
            time.sleep(0.05)
    if room == "grandchild":
        print("grandchild", subprocess.Popen(["sleep", "600"]).pid)
    if room == "breakpoint":
        breakpoint()
    if room == "exit":
        raise SystemExit(3)
    if room in ("wait", "grandchild"):
        await asyncio.Event().wait()
    ctx.shutdown("done")


if __name__ == "__main__":
    cli.run_app(
        WorkerOptions(
            entrypoint_fnc=entry,
            agent_name="options-agent",
            worker_type=WorkerType.PUBLISHER,
            job_memory_warn_mb=300,
            drain_timeout=60,
            log_level="WARN",
        )
    )
