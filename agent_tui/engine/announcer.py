"""Tells the stream that log lines were stored: by range, in batches, whatever thread stored them."""

import asyncio
import contextlib
from collections.abc import Callable

from agent_tui.logs.store import LogStore
from agent_tui.model.events import LogsAdded

BATCH_S = 0.05


class LogAnnouncer:
    """Turns the store's calls into `LogsAdded` events on the loop that made it."""

    def __init__(self, store: LogStore, emit: Callable[[LogsAdded], None]) -> None:
        self._store = store
        self._emit = emit
        self._loop = asyncio.get_running_loop()
        self._told = store.end
        self._timer: asyncio.TimerHandle | None = None
        self._woken = False
        store.on_added(self._added)

    def close(self) -> None:
        """Tells what is not told yet, and nothing after it."""
        self._store.on_added(_nothing)
        self.tell()

    def _added(self) -> None:
        if self._woken:
            return  # a tell is on its way and will see what was added
        self._woken = True
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to be told
            self._loop.call_soon_threadsafe(self._tell_soon)

    def _tell_soon(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(BATCH_S, self.tell)

    def tell(self) -> None:
        """Tells now what is not told yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._woken = False  # before the look: what comes after it wakes anew
        end = self._store.end
        if end > self._told:
            first, self._told = self._told, end
            self._emit(LogsAdded(max(first, self._store.first), end, self._store.dropped))


def _nothing() -> None:
    return
