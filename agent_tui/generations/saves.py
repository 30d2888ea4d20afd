"""Seeing saves: of files that could mend one that does not load."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

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


class Saves:
    """Watches folders while it is entered; `next()` also knows of saves that came before it was called."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._saved: asyncio.Queue[Path] = asyncio.Queue()
        self._stop = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Saves":
        self._watching = asyncio.create_task(self._watch(), name="saves")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._watching is not None:
            await asyncio.gather(self._watching, return_exceptions=True)

    async def next(self) -> Path:
        """The next file that is saved. Raises OSError when the folders cannot be watched."""
        assert self._watching is not None
        getting = asyncio.create_task(self._saved.get())
        try:
            await asyncio.wait({getting, self._watching}, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                return getting.result()
        finally:
            getting.cancel()
            await asyncio.gather(getting, return_exceptions=True)
        raise OSError(str(self._watching.exception() or "the watcher has ended"))

    def forget(self) -> None:
        """What was saved until now is what is being loaded."""
        while not self._saved.empty():
            self._saved.get_nowait()

    async def _watch(self) -> None:
        async for changes in awatch(
            *self._folders,
            watch_filter=_SourceFilter(),
            step=STEP_MS,
            debounce=QUIET_MS,
            stop_event=self._stop,
            raise_interrupt=False,
            ignore_permission_denied=True,
        ):
            self._saved.put_nowait(Path(min(path for _, path in changes)))
