"""livekit-agents, style 4: the server is built in a function, its entry is a closure."""

from livekit.agents import AgentServer, JobContext, cli


def build(greeting: str) -> AgentServer:
    server = AgentServer(max_retry=2)

    @server.rtc_session(agent_name="factory")
    async def entry(ctx: JobContext):
        print(greeting, "from", __name__)
        ctx.shutdown("done")

    return server


if __name__ == "__main__":
    cli.run_app(build("hello"))
