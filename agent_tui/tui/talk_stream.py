"""Paints a shown conversation as soon as it changes; everything else waits for the next tick."""

import asyncio
from typing import TYPE_CHECKING

from agent_tui.engine.bus import LaggedError
from agent_tui.model.session_events import SessionEvent
from agent_tui.tui.widgets.talk_pane import TalkPane

if TYPE_CHECKING:
    from textual.worker import Worker

    from agent_tui.tui.app import AgentTuiApp

STREAM_S = 1 / 30
"""Least time between paints of streamed text. The first change after a pause is painted at once."""


class TalkStream:
    """Follows the engine's events while a session is open, so that nothing wakes up for it at other times."""

    def __init__(self, app: "AgentTuiApp") -> None:
        self._app = app
        self._following: Worker[None] | None = None

    def look(self) -> None:
        """Start to follow the events if a session is open."""
        if self._is_open and (self._following is None or self._following.is_finished):
            self._following = self._app.run_worker(self._follow(), group="talk stream")

    @property
    def _is_open(self) -> bool:
        return any(session.ended_at is None for session in self._app.engine.state.sessions.values())

    async def _follow(self) -> None:
        """Paint each change, until no session is open."""
        subscription = self._app.engine.subscribe()
        try:
            async for batch in subscription.batches():
                if any(isinstance(stamped.event, SessionEvent) for stamped in batch):
                    self._paint()
                    await asyncio.sleep(STREAM_S)  # later changes are painted together
                if not self._is_open:
                    return
        except LaggedError:
            pass  # the next tick follows again
        finally:
            subscription.close()

    def _paint(self) -> None:
        state, now = self._app.engine.state, self._app.now()
        with self._app.batch_update():
            for pane in self._app.screen.query(TalkPane):
                if pane.display:
                    pane.show_again(state, now)
