"""Placeholder while the real one is being written."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from watchfiles import awatch


class Watch:
    def __init__(self) -> None:
        self._folders: frozenset[Path] = frozenset()
        self._event = asyncio.Event()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Watch":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        if self._task:
            await asyncio.gather(self._task, return_exceptions=True)

    def follow(self, folders: Iterable[Path]) -> None:
        folders = frozenset(folders)
        if folders != self._folders:
            self._folders = folders
            self._stop.set()
            self._stop = asyncio.Event()
            self._task = asyncio.create_task(self._run(self._stop))

    async def next(self) -> None:
        await self._event.wait()
        self._event.clear()

    async def _run(self, stop: asyncio.Event) -> None:
        self._event.set()
        async for _ in awatch(
            *self._folders, step=10, debounce=30, stop_event=stop, recursive=False, watch_filter=None
        ):
            self._event.set()
