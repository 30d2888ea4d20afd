"""livekit-agents, style 4 again: `asyncio.run(server.run())` without the command line."""

import asyncio

from livekit.agents import AgentServer, JobContext


async def entry(ctx: JobContext):
    print("hello from", __name__)
    ctx.shutdown("done")


def build() -> AgentServer:
    server = AgentServer(host="127.0.0.1")
    server.rtc_session(entry, agent_name="runs")
    return server


if __name__ == "__main__":
    asyncio.run(build().run(devmode=True))
