"""Saves of files that do not load, that cannot be scanned, or whose change is easily missed."""

import asyncio
import os
from collections.abc import Callable
from functools import partial

from tests.chaos.agent_source import SOURCE
from tests.chaos.kinds import Kind, saved_again
from tests.chaos.rig import Chaos

OLD_NS = 10**18
"""A modification time long ago: files that old are read again only if their time or size changes."""


async def save(under: Chaos) -> None:
    under.save()


async def broken_save(under: Chaos, source: str) -> None:
    (under.folder / SOURCE.agent).write_text(source)
    await asyncio.sleep(0.3)
    await under.serves()


async def odd_save(under: Chaos, change: Callable[[bytes], bytes]) -> None:
    """Save something that may not load. If it does not, the old code keeps serving."""
    path = under.folder / under.rng.choice((SOURCE.agent, SOURCE.parts[0]))
    under.save()
    path.write_bytes(change(path.read_bytes()))
    await asyncio.sleep(0.3)
    await under.serves()


async def save_with_the_same_stamp(under: Chaos) -> None:
    """Save with the same size and time; only the content shows that it is another version."""
    for _ in range(2):
        under.save()
        for name in (*SOURCE.parts, SOURCE.agent):
            os.utime(under.folder / name, ns=(OLD_NS, OLD_NS))
        await under.serves(under.version)


async def late_module(under: Chaos) -> None:
    """Create a module that was missing when the code was loaded. A running job must never see it."""
    (under.folder / SOURCE.late).unlink(missing_ok=True)
    await under.saved()
    room = await under.dispatch("late")
    assert await under.reaches(room, "start"), f"{room} did not start"
    (under.folder / SOURCE.late).write_text(SOURCE.part(under.version + 1))
    await under.saved()


async def no_late_module(under: Chaos) -> None:
    (under.folder / SOURCE.late).unlink()
    await under.saved()


KINDS = (
    Kind("save", 3, save),
    Kind("same_stamp", 1, save_with_the_same_stamp),
    Kind("late_module", 1, late_module, no_late_module),
    *(
        Kind(f"{name}_save", 1, partial(broken_save, source=text), saved_again)
        for name, text in SOURCE.broken.items()
    ),
    *(
        Kind(f"{name}_save", 1, partial(odd_save, change=change), saved_again)
        for name, change in SOURCE.odd.items()
    ),
)
