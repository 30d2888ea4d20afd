"""Telling that something may have changed in a set of folders; whoever hears it looks at the files."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from watchfiles import Change, awatch

STEP_MS = 10
"""A burst of events is told after this long without another one."""

MOST_MS = 30
LOOK_MS = 1000
"""Some file systems (network, containers) tell nothing: everything is looked at this often anyway."""


class Watch:
    """Watches while it is entered; `next()` also knows of changes from before it was called."""

    def __init__(self, *, any_name: bool = False) -> None:
        """`any_name`: files of any name matter, and not only modules and settings files."""
        self._filter: Callable[[Change, str], bool] | None = None if any_name else _matters
        self._folders: frozenset[Path] = frozenset()
        self._stirred = asyncio.Event()
        self._stop = asyncio.Event()
        self._watching: set[asyncio.Task[None]] = set()
        self._error: OSError | None = None

    async def __aenter__(self) -> "Watch":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        while self._watching:
            await asyncio.gather(*self._watching, return_exceptions=True)

    def follow(self, folders: Iterable[Path]) -> None:
        """Watches these from now on, each by itself and not what is below it."""
        there = frozenset(each for each in folders if each.is_dir())
        if there == self._folders and self._watching:
            return
        self._folders = there
        self._stop.set()
        self._stop = asyncio.Event()
        task = asyncio.create_task(self._watch(there, self._stop), name="saves")
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def next(self) -> None:
        """Returns once something may have changed since the last call.

        Raises OSError when none can be seen any more, until `follow` is called again.
        """
        await self._stirred.wait()
        self._stirred.clear()
        if (error := self._error) is not None:
            self._error = None
            raise error

    async def _watch(self, folders: frozenset[Path], stop: asyncio.Event) -> None:
        self._stirred.set()  # what came between the old watch and this one
        try:
            async for _ in awatch(
                *folders,
                watch_filter=self._filter,
                step=STEP_MS,
                debounce=MOST_MS,
                stop_event=stop,
                rust_timeout=LOOK_MS,
                yield_on_timeout=True,
                recursive=False,
                ignore_permission_denied=True,
            ):
                self._stirred.set()
        except Exception as error:  # whatever it is: saves are not seen any more, and somebody has to say so
            if stop is self._stop:
                self._error = OSError(str(error))
                self._stirred.set()


def _matters(change: Change, path: str) -> bool:
    """Modules, environment and config files, and what may be a folder."""
    name = Path(path).name
    return name.endswith((".py", ".toml")) or name.startswith(".env") or "." not in name
