"""livekit-agents: the contract's agent. It waits to be told to end, or raises in the room of that name."""

import asyncio

from livekit.agents import AgentServer, JobContext, cli

server = AgentServer()


@server.rtc_session()
async def entry(ctx: JobContext):
    print("entered", ctx.job.room.name)
    if ctx.job.room.name == "raises":
        raise ValueError("as asked")
    await asyncio.sleep(1)  # the SDK gives an entry function 15 s to end after a shutdown


if __name__ == "__main__":
    cli.run_app(server)
