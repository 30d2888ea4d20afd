"""Faults of agent-tui's child processes, caused by signals from outside or by the agent's code."""

import asyncio
import signal
from functools import partial

from tests.chaos.kinds import Kind, saved_again, warm_again
from tests.chaos.rig import Chaos


async def signal_one(under: Chaos, number: signal.Signals, kind: str, state: str) -> None:
    under.send_one(number, kind, state)


async def dispatch(under: Chaos, what: str) -> None:
    await under.dispatch(what)


async def fail(under: Chaos, what: str) -> None:
    """Make a job fail by itself. It must be reported as failed."""
    under.must_end[await under.dispatch(what)] = "failed"


async def stop_job(under: Chaos) -> None:
    if pids := under.pids("job", "job", "idle"):
        pid = under.rng.choice(pids)
        under.send(signal.SIGSTOP, pid)
        await asyncio.sleep(0.3)
        under.send(signal.SIGCONT, pid)


async def kill_guard(under: Chaos) -> None:
    for pid in under.guards():
        under.send(signal.SIGKILL, pid)


async def kill_control_while_asked(under: Chaos) -> None:
    """Kill the control process while it decides on an offer.

    Its replacement must be asked, unless it starts too slowly, or another generation took over.
    """
    await under.serves()
    generations = len(under.events["generation_ready"])
    room = await under.dispatch("ask")
    await under.until(lambda: room in under.offers, f"{room} is offered", 5)
    await asyncio.sleep(0.2)
    for pid in under.pids("control", "starting"):
        under.send(signal.SIGKILL, pid)
    await under.until(lambda: under.answer(room), f"{room} is answered", 5)
    answer = under.answer(room)
    late = "did not answer within" in (answer["error"] or "")
    assert answer["accepted"] or late or len(under.events["generation_ready"]) > generations, answer


async def kill_starting(under: Chaos) -> None:
    """Kill each process that starts, for longer than three attempts take."""
    (under.flags / "slow").touch()
    for _ in range(20):
        for pid in under.pids("job", "starting", "idle"):
            under.send(signal.SIGKILL, pid)
        await asyncio.sleep(0.1)


async def kill_bases(under: Chaos) -> None:
    """Kill each base that starts, until agent-tui pauses forking."""
    for _ in range(4):
        pids = under.pids("base", "starting")
        for pid in pids:
            under.send(signal.SIGKILL, pid)
        await asyncio.sleep(0.3)
        under.save()
        await asyncio.sleep(0.3)


async def kill_template(under: Chaos) -> None:
    """Kill the template of code that loads slowly. There is none while forking is paused."""
    (under.flags / "slow_load").touch()
    await under.saved()
    for _ in range(3):
        for pid in under.pids("template", "starting"):
            under.send(signal.SIGKILL, pid)
        await asyncio.sleep(0.4)
    await under.serves()


async def quick_load(under: Chaos) -> None:
    (under.flags / "slow_load").unlink()
    await under.saved()


async def prewarm_fails(under: Chaos) -> None:
    (under.flags / "fails").touch()
    for pid in under.pids("job", "idle"):
        under.send(signal.SIGKILL, pid)
    await asyncio.sleep(2)


async def healthy_prewarm(under: Chaos) -> None:
    """Let prewarm work again. Without a save, agent-tui must recover by retrying."""
    for flag in ("slow", "fails"):
        (under.flags / flag).unlink(missing_ok=True)
    await under.warm()


async def hold_the_gil(under: Chaos) -> None:
    """Let a job hold the GIL: it reacts neither to a termination nor to a signal that Python handles."""
    await under.serves()
    room = await under.dispatch("gil")
    assert await under.reaches(room, "start"), f"{room} did not start"
    await under.end_dispatch(room)
    under.must_end[room] = "terminated"


async def terminate_what_ends(under: Chaos) -> None:
    """Let the server terminate jobs that have just ended by themselves. Their end must stay the same."""
    await under.serves()
    for room in [await under.dispatch("race") for _ in range(3)]:
        assert await under.reaches(room, "end"), f"{room} did not end"
        await under.end_dispatch(room)
        under.must_end[room] = "success"


KILL, TERM = signal.SIGKILL, signal.SIGTERM

KINDS = (
    Kind("kill_job", 3, partial(signal_one, number=KILL, kind="job", state="job")),
    Kind("kill_idle", 3, partial(signal_one, number=KILL, kind="job", state="idle")),
    Kind("kill_control", 3, partial(signal_one, number=KILL, kind="control", state="starting")),
    Kind("terminate_job", 3, partial(signal_one, number=TERM, kind="job", state="job")),
    Kind("kill_guard", 1, kill_guard),
    Kind("stop_job", 3, stop_job),
    Kind("hog_memory", 2, partial(dispatch, what="hog")),
    Kind("block_loop", 2, partial(dispatch, what="block")),
    Kind("exit_in_entry", 2, partial(fail, what="exit")),
    Kind("raise_in_entry", 2, partial(fail, what="raise")),
    Kind("huge_exception", 1, partial(fail, what="huge")),
    Kind("long_job", 3, partial(dispatch, what="long")),
    Kind("kill_control_while_asked", 1, kill_control_while_asked, warm_again),
    Kind("kill_starting", 1, kill_starting, healthy_prewarm),
    Kind("prewarm_fails", 1, prewarm_fails, healthy_prewarm),
    Kind("hold_the_gil", 1, hold_the_gil),
    Kind("terminate_what_ends", 2, terminate_what_ends),
)

FORKING = (
    Kind("kill_base", 3, partial(signal_one, number=KILL, kind="base", state="starting")),
    Kind("kill_bases", 1, kill_bases, saved_again),
    Kind("kill_template", 1, kill_template, quick_load),
)
BLANKS = (
    Kind("kill_blank", 3, partial(signal_one, number=KILL, kind="blank", state="idle")),
    Kind("kill_starting_blank", 1, partial(signal_one, number=KILL, kind="blank", state="starting")),
)
"""Faults of the processes from which job processes come: bases in Python, blanks in Node."""
