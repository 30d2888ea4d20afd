"""Follows the engine's stream: the state as it is now, and waiting until it is as one wants it."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent_tui.engine.bus import LaggedError
from agent_tui.engine.engine_api import EngineAPI

if TYPE_CHECKING:
    from agent_tui.model.events import Stamped
    from agent_tui.model.state import AppState


class Watcher:
    """The state as of the last event that `run` has read. `hear`, where set, gets every event."""

    def __init__(self, engine: EngineAPI) -> None:
        self._subscription = engine.subscribe()
        self.hear: Callable[[Stamped], None] | None = None
        self.trouble = ""
        """Why nothing more will come; empty while something may."""
        self._news = asyncio.Event()

    @property
    def state(self) -> "AppState":
        return self._subscription.state

    async def run(self) -> None:
        """Reads until the stream ends."""
        try:
            async for batch in self._subscription.batches():
                if self.hear is not None:
                    for stamped in batch:
                        self.hear(stamped)
                self._news.set()
            self.trouble = "agent-tui is ending"
        except LaggedError as lag:
            self.trouble = f"the events came faster than they could be read: {lag}"
        finally:
            self._news.set()

    def wake(self) -> None:
        """Whoever waits looks again."""
        self._news.set()

    async def until(self, holds: Callable[[], bool], limit_s: float) -> bool:
        """Waits until that holds; False when it does not within the limit, or nothing more will come."""
        try:
            async with asyncio.timeout(limit_s):
                while not holds():
                    if self.trouble:
                        return False
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return holds()
        return True
