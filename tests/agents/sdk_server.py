"""livekit-agents, style 1: a module-level AgentServer behind the guard; requests by the room's name."""

import asyncio
import logging
import math

from livekit.agents import AgentServer, JobContext, JobProcess, JobRequest, cli
from livekit.agents.worker import ServerEnvOption, WorkerPermissions

log = logging.getLogger("sdk")


def prewarm(proc: JobProcess):
    proc.userdata["warm"] = True


def load(worker: AgentServer):
    if worker.draining:
        raise RuntimeError("no load while draining")
    assert worker is server
    return len(worker.active_jobs) / 10


server = AgentServer(
    setup_fnc=prewarm,
    load_fnc=load,
    load_threshold=math.inf,
    num_idle_processes=ServerEnvOption(dev_default=3, prod_default=9),
    shutdown_process_timeout=5.5,
    permissions=WorkerPermissions(hidden=True),
)


async def on_request(req: JobRequest):
    room = req.room.name
    if room == "reject":
        await req.reject()
    elif room == "reject-kindly":
        await req.reject(terminate=False)
    elif room == "raise":
        raise KeyError("what room")
    elif room == "silent":
        return
    elif room == "hang":
        await asyncio.Event().wait()
    elif room == "twice":
        await req.accept()
        await req.accept()
    else:
        await req.accept(name="Ann", identity="ann", metadata=server.id, attributes={"mood": "good"})


@server.rtc_session(agent_name="sdk-agent", on_request=on_request)
async def entry(ctx: JobContext):
    log.info("in entry", extra={"answer": 42})
    print("hello", ctx.room.name, ctx.proc.userdata["warm"], __name__)

    async def farewell(reason: str):
        print("callback", reason)

    ctx.add_shutdown_callback(farewell)
    await ctx.connect()
    ctx.shutdown("done")


if __name__ == "__main__":
    cli.run_app(server)
