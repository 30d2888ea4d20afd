"""The hosted agent: a room's name says what its job does, and each job prints which code it runs."""

from pathlib import Path

AGENT = """
import asyncio, ctypes, os, signal, time
import part_a

VERSION = {version}
FLAGS = {flags!r}


def is_set(flag):
    return os.path.exists(os.path.join(FLAGS, flag))


if is_set("slow_load"):
    time.sleep(0.2)


def prewarm(proc):
    if is_set("slow"):
        time.sleep(0.5)
    if is_set("fails"):
        raise OSError("the model server is down")


async def request_func(req):
    if req.room.name.startswith("ask-"):
        await asyncio.sleep(0.6)
    await req.accept()


async def entry(ctx):
    room = ctx.job.room.name
    what = room.split("-")[0]
    print("@", room, "start", VERSION, part_a.VERSION, flush=True)
    if what == "hog":
        hog = bytearray(300_000_000)
        await asyncio.sleep(20)
    if what == "block":
        time.sleep(0.8)
    if what == "raise":
        raise RuntimeError("on purpose")
    if what == "huge":
        raise RuntimeError("x" * 32_000_000)
    if what == "exit":
        os._exit(3)
    if what == "gil":
        ctypes.PyDLL(None).sleep(120)
    if what == "spin":
        while True:
            pass
    if what == "stubborn":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        time.sleep(120)
    if what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    await asyncio.sleep({{"long": 2, "late": 1}}.get(what, 0.1))
    import part_b
    try:
        import late
        versions = VERSION, part_a.VERSION, part_b.VERSION, late.VERSION
    except ImportError:
        versions = VERSION, part_a.VERSION, part_b.VERSION
    print("@", room, "end", *versions, flush=True)
    ctx.shutdown("done")
    if what == "race":
        await asyncio.sleep(0.4)  # it has ended by itself, and the server does not know yet
"""
PART = "VERSION = {version}\n"
PARTS = ("part_a.py", "part_b.py")


def write(folder: Path, flags: Path, version: int) -> None:
    """Save the project at a version; the agent's file comes last."""
    for name in PARTS:
        (folder / name).write_text(PART.format(version=version))
    (folder / "agent.py").write_text(AGENT.format(version=version, flags=str(flags)))
