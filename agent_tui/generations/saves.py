"""Waiting for a save: the next change of a file that could mend one that does not load."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from watchfiles import Change, DefaultFilter, awatch

STEP_MS = 10
QUIET_MS = 30
"""A save is often several events (truncate, write, rename): what follows within this time belongs to it."""


class _SourceFilter(DefaultFilter):
    """Python sources and environment files, outside the folders that tools fill."""

    def __call__(self, change: Change, path: str) -> bool:
        name = Path(path).name
        wanted = name.endswith(".py") or name == ".env" or name.startswith(".env.")
        return wanted and super().__call__(change, path)


async def next_save(folders: Sequence[Path], stop: asyncio.Event) -> Path | None:
    """The first file that is saved in one of the folders or below; None when `stop` is set first."""
    async for changes in awatch(
        *folders,
        watch_filter=_SourceFilter(),
        step=STEP_MS,
        debounce=QUIET_MS,
        stop_event=stop,
        raise_interrupt=False,
    ):
        return Path(min(path for _, path in changes))
    return None
