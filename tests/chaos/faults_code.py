"""Saves of every sort: what does not load, what cannot be analyzed, and what is easily overlooked."""

import asyncio
import os
from collections.abc import Callable
from functools import partial

from tests.chaos.agent_source import PARTS
from tests.chaos.kinds import Kind, saved_again
from tests.chaos.rig import Chaos

OLD_NS = 10**18
"""A time of saving that is long past: files that old are not read again while time and size stay."""


async def save(under: Chaos) -> None:
    under.save()


async def broken_save(under: Chaos, source: str) -> None:
    (under.folder / "agent.py").write_text(source)
    await asyncio.sleep(0.3)
    await under.serves()


async def odd_save(under: Chaos, change: Callable[[bytes], bytes]) -> None:
    """May load or not: then the old code serves."""
    path = under.folder / under.rng.choice(("agent.py", PARTS[0]))
    under.save()
    path.write_bytes(change(path.read_bytes()))
    await asyncio.sleep(0.3)
    await under.serves()


async def save_with_the_same_stamp(under: Chaos) -> None:
    """Size and time of saving stay; only the content says that it is another version."""
    for _ in range(2):
        under.save()
        for name in (*PARTS, "agent.py"):
            os.utime(under.folder / name, ns=(OLD_NS, OLD_NS))
        await under.serves(under.version)


async def late_module(under: Chaos) -> None:
    """A module that was missing at load appears while a job of that load runs; the job never sees it."""
    (under.folder / "late.py").unlink(missing_ok=True)
    await under.saved()
    room = await under.dispatch("late")
    assert await under.reaches(room, "start"), f"{room} did not start"
    (under.folder / "late.py").write_text(f"VERSION = {under.version + 1}\n")
    await under.saved()


async def no_late_module(under: Chaos) -> None:
    (under.folder / "late.py").unlink()
    await under.saved()


ODD: dict[str, Callable[[bytes], bytes]] = {
    "deep_sum": lambda source: source + b"\nx = " + b"+".join([b"1"] * 3_000),
    "deep_elif": lambda source: source + b"\nif 0: pass\n" + b"elif VERSION == 1: pass\n" * 3_000,
    "deep_attributes": lambda source: source + b"\ndef f(x):\n    return x" + b".y" * 3_000,
    "deep_lambdas": lambda source: source + b"\nx = " + b"lambda: " * 3_000 + b"0",
    "deep_parentheses": lambda source: source + b"\nx = " + b"(" * 500 + b")" * 500,
    "from_and_spaces": lambda source: source + b"\nfrom" + b" " * 20_000,
    "long_line": lambda source: source + b"\nx = '" + b"y" * 4_000_000 + b"'",
    "nul": lambda source: source + b"\nx = '\0'",
    "utf_16": lambda source: source.decode().encode("utf-16"),
    "latin_1": lambda source: b"# -*- coding: latin-1 -*-\n" + source + b"\nx = '\xe9'",
    "unknown_encoding": lambda source: b"# -*- coding: unheard-of -*-\n" + source,
    "invalid_utf_8": lambda source: source + b"\nx = '\xff\xfe'",
}

BROKEN = {
    "broken": "def entry(ctx:\n",
    "unready": "def prewarm(proc):\n    raise OSError('no model')\n\nasync def entry(ctx): ...\n",
    "empty": "",
}

KINDS = (
    Kind("save", 3, save),
    Kind("same_stamp", 1, save_with_the_same_stamp),
    Kind("late_module", 1, late_module, no_late_module),
    *(
        Kind(f"{name}_save", 1, partial(broken_save, source=text), saved_again)
        for name, text in BROKEN.items()
    ),
    *(Kind(f"{name}_save", 1, partial(odd_save, change=change), saved_again) for name, change in ODD.items()),
)
