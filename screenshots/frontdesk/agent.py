"""The front desk of a hotel. For the pictures, what is said in a room depends only on its name."""

import asyncio
import logging

from livekit.agents import AgentServer, JobContext, JobProcess, cli

log = logging.getLogger("frontdesk")
server = AgentServer()

PRICES = {"single": 90, "double": 140}
CALLS = {
    "lobby": ["guest: any room on Friday?", "calling find_rooms(day='Fri')", "agent: yes, two are free"],
    "terrace": ["guest: a table for four, please", "agent: inside or on the terrace?"],
    "kitchen": ["guest: can you read me the whole menu?", "loading menu.pdf", "loading wine-list.pdf"],
    "garage": ["guest: how much is the suite?", "calling price_of(room='suite')"],
}


def prewarm(proc: JobProcess) -> None:
    proc.userdata["greeting"] = "Good evening"


server.setup_fnc = prewarm


@server.rtc_session()
async def entry(ctx: JobContext) -> None:
    log.info("%s, room %s", ctx.proc.userdata["greeting"], ctx.job.room.name)
    await ctx.connect()
    place, _, length = ctx.job.room.name.partition("-")
    pages = []
    for second in range(int(length or 600)):
        lines = CALLS[place]
        if second < len(lines):
            log.info(lines[second])
        if place == "kitchen" and second > 1:
            pages.append(b"x" * 9_000_000)
        await asyncio.sleep(1)
    if place == "garage":
        price_of("suite")
    ctx.shutdown("the guest said goodbye")


def price_of(room: str) -> int:
    return PRICES[room]


if __name__ == "__main__":
    cli.run_app(server)
