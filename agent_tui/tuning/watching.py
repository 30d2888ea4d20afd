"""Follows the engine's stream of events, and waits for a state."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent_tui.engine.bus import LaggedError
from agent_tui.engine.engine_api import EngineAPI

if TYPE_CHECKING:
    from agent_tui.model.events import Stamped
    from agent_tui.model.state import AppState


class Watcher:
    """Holds the state after the last event that `run` has read. Calls `on_event`, if set, with each event."""

    def __init__(self, engine: EngineAPI) -> None:
        self._subscription = engine.subscribe()
        self.on_event: Callable[[Stamped], None] | None = None
        self.ended = ""
        """Why no more events will arrive; empty until then."""
        self._news = asyncio.Event()

    @property
    def state(self) -> "AppState":
        return self._subscription.state

    async def run(self) -> None:
        """Read events until the stream ends."""
        try:
            async for batch in self._subscription.batches():
                if self.on_event is not None:
                    for stamped in batch:
                        self.on_event(stamped)
                self._news.set()
            self.ended = "agent-tui is stopping"
        except LaggedError as lag:
            self.ended = f"events arrived faster than they could be read: {lag}"
        finally:
            self._news.set()

    def wake(self) -> None:
        """Make `until` check its condition now."""
        self._news.set()

    async def until(self, holds: Callable[[], bool], limit_s: float) -> bool:
        """Wait until `holds` returns True. Return False after `limit_s`, or if no more events will arrive."""
        try:
            async with asyncio.timeout(limit_s):
                while not holds():
                    if self.ended:
                        return False
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return holds()
        return True
