"""Special files in place of regular ones, for a while."""

import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.chaos.agent_source import SOURCE
from tests.chaos.kinds import Kind
from tests.chaos.rig import Chaos

FIFO: dict[str, Callable[[Path], None]] = {"fifo": os.mkfifo}
"""Secret managers mount `.env` like this."""

OTHERS: dict[str, Callable[[Path], None]] = {
    "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
    "loop": lambda path: path.symlink_to(path),
}

MODULES = {"agent": SOURCE.agent, "module": SOURCE.parts[0]}
SETTINGS = {"env": ".env", "env_example": ".env.example", "config": "agent-tui.toml"}


def put(path: Path, make: Callable[[Path], None]) -> None:
    """Replace the file, if there is one, with a special file."""
    remove(path)
    make(path)


def remove(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


async def special_module(under: Chaos, name: str, makers: dict[str, Callable[[Path], None]]) -> None:
    """Replace a module with a special file, which cannot be imported: the old code must keep serving."""
    put(under.folder / name, makers[under.rng.choice(list(makers))])
    await under.serves()


async def special_settings(under: Chaos, name: str, makers: dict[str, Callable[[Path], None]]) -> None:
    """Replace a settings file with a special file, which cannot be read: saves must still be loaded."""
    put(under.folder / name, makers[under.rng.choice(list(makers))])
    await under.saved()


async def nul_in_settings(under: Chaos, name: str) -> None:
    (under.folder / name).write_bytes(b"A = 'b\0c'\n")
    await under.serves()


async def remove_and_save(under: Chaos, name: str) -> None:
    remove(under.folder / name)
    await under.saved()


KINDS = (
    *(
        Kind(
            f"{special}_as_{kind}",
            1,
            partial(act, name=name, makers=makers),
            partial(remove_and_save, name=name),
        )
        for special, makers in (("fifo", FIFO), ("special_file", OTHERS))
        for act, files in ((special_module, MODULES), (special_settings, SETTINGS))
        for kind, name in files.items()
    ),
    *(
        Kind(f"nul_in_{kind}", 1, partial(nul_in_settings, name=name), partial(remove_and_save, name=name))
        for kind, name in SETTINGS.items()
    ),
)
