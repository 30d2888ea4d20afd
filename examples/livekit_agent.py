"""A livekit-agents agent (pip install livekit-agents). Run it with `agent-tui examples/livekit_agent.py`.

It joins the room, waits a moment and leaves; put an AgentSession where it sleeps.
"""

import asyncio
import logging

from livekit.agents import AgentServer, JobContext, JobProcess, JobRequest, cli

log = logging.getLogger("livekit-agent")
server = AgentServer()


def prewarm(proc: JobProcess) -> None:
    """Runs once in each process before a job comes: load models here."""
    proc.userdata["greeting"] = "Hello"


server.setup_fnc = prewarm


async def on_request(req: JobRequest) -> None:
    """Decides on each offer."""
    await req.accept(name="Example agent", attributes={"example": "livekit"})


@server.rtc_session(on_request=on_request)
async def entry(ctx: JobContext) -> None:
    """Runs one job."""
    log.info("%s, room %s", ctx.proc.userdata["greeting"], ctx.job.room.name)

    async def say_goodbye(reason: str) -> None:
        log.info("goodbye: %s", reason)

    ctx.add_shutdown_callback(say_goodbye)
    await ctx.connect()
    await asyncio.sleep(2)
    ctx.shutdown("call finished")


if __name__ == "__main__":
    cli.run_app(server)
