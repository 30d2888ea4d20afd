"""What a request function may do, by the room's name; and a load function that looks at the jobs."""

import asyncio


async def entry(ctx):
    pass


async def request_func(req):
    room = req.room.name
    if room == "reject":
        await req.reject()
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
        await req.accept(name="Ann", identity="ann", metadata="meta", attributes={"mood": "good"})
        print("accepted", req.id)


def load_func(worker):
    if worker.draining:
        raise RuntimeError("no load while draining")
    return len(worker.active_jobs) / 10
