"""livekit-agents: a prewarm that raises, and says nothing."""

from livekit.agents import AgentServer, JobContext, cli


def prewarm(proc):
    raise RuntimeError


server = AgentServer(setup_fnc=prewarm)


@server.rtc_session()
async def entry(ctx: JobContext):
    pass


if __name__ == "__main__":
    cli.run_app(server)
