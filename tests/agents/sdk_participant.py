"""livekit-agents, as starter projects do: waits for its caller and looks at the attributes."""

import json

from livekit.agents import AgentServer, JobContext, cli

server = AgentServer()


@server.rtc_session()
async def entry(ctx: JobContext):
    await ctx.connect()
    caller = await ctx.wait_for_participant()
    plan = caller.attributes.get("plan", "free")
    print(json.dumps([type(caller.identity).__name__, caller.metadata, plan, dict(caller.attributes)]))
    print(len(ctx.room.remote_participants))
    ctx.shutdown("x")


if __name__ == "__main__":
    cli.run_app(server)
