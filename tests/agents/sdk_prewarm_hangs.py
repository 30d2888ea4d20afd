"""livekit-agents: a prewarm that never returns."""

import time

from livekit.agents import AgentServer, JobContext, cli


def load_model():
    time.sleep(600)


def prewarm(proc):
    load_model()


server = AgentServer(setup_fnc=prewarm)


@server.rtc_session()
async def entry(ctx: JobContext):
    pass


if __name__ == "__main__":
    cli.run_app(server)
