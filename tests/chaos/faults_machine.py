"""Faults of the machine: no file descriptors, no disk space, no CPU time."""

import asyncio
from functools import partial

import psutil

from tests.chaos.agent_source import SOURCE
from tests.chaos.kinds import Kind, saved_again, warm_again
from tests.chaos.rig import IDLE, Chaos

SUSPENDED_S = 3.5
"""Longer than the server waits for the answer to an offer (worker-protocol §6.3)."""


async def few_descriptors(under: Chaos, spare: int) -> None:
    """Lower the descriptor limit for a moment, so that nothing more can be opened."""
    process = psutil.Process(under.pid)
    usual = process.rlimit(psutil.RLIMIT_NOFILE)
    process.rlimit(psutil.RLIMIT_NOFILE, (max(process.num_fds() + spare, 3), usual[1]))
    await asyncio.sleep(0.5)
    under.save()
    await asyncio.sleep(0.5)
    process.rlimit(psutil.RLIMIT_NOFILE, usual)


async def full_disk(under: Chaos) -> None:
    """Fill the disk: an editor truncates the agent's file, and options cannot be saved."""
    process = psutil.Process(under.pid)
    usual = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (0, usual[1]))
    (under.folder / SOURCE.agent).write_text("")
    under.edit(maxRetry=under.rng.randrange(500, 900))
    under.command("save", False)
    await asyncio.sleep(0.4)
    process.rlimit(psutil.RLIMIT_FSIZE, usual)


async def suspend(under: Chaos) -> None:
    """Stop the process while offers arrive. It must not accept offers that the server has dropped."""
    process = psutil.Process(under.pid)
    process.suspend()
    stale = [await under.dispatch("stale") for _ in range(5)]
    await asyncio.sleep(SUSPENDED_S)
    process.resume()
    await asyncio.sleep(1)
    accepted = [room for room in stale if under.answer(room).get("accepted")]
    assert accepted == [], f"offers of {SUSPENDED_S:g} s ago were accepted: {accepted}"


async def save_options(under: Chaos) -> None:
    under.command("save", False)


async def edit_options(under: Chaos) -> None:
    under.edit(numIdleProcesses=under.rng.randrange(4), maxRetry=under.rng.randrange(500, 900))


async def edit_back(under: Chaos) -> None:
    under.edit(numIdleProcesses=IDLE)
    await under.warm()


KINDS = (
    Kind("few_descriptors", 2, partial(few_descriptors, spare=2), saved_again),
    Kind("no_descriptors", 2, partial(few_descriptors, spare=-20), saved_again),
    Kind("full_disk", 2, full_disk, saved_again),
    Kind("suspend", 1, suspend, warm_again),
    Kind("save_options", 2, save_options),
    Kind("edit_options", 2, edit_options, edit_back),
)
