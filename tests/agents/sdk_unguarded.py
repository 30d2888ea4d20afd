"""livekit-agents, style 3: no guard at all."""

from livekit.agents import AgentServer, JobContext, cli

server = AgentServer()


@server.rtc_session()
async def entry(ctx: JobContext):
    print("hello from", __name__)
    ctx.shutdown("done")


cli.run_app(server)
