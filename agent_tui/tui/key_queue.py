"""Passes keys on one at a time, so that each goes to where the focus is after the keys before it."""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from textual import events
from textual.dom import DOMNode

if TYPE_CHECKING:
    from textual.app import App

STUCK_S = 1.0
"""After this time, in s, the next key no longer waits for the effect of the last one."""

URGENT = "ctrl+c"
"""The key that quits; it waits for nothing."""


class KeyQueue:
    """The keys (and pasted texts) that wait for the effect of the one before.

    Textual passes each key on at once. Its binding runs later, when the key has come back up from the focused
    widget to the app, and the messages of that binding later still. By then, a key that was typed right after
    it is on its way to the widget that had the focus before.
    """

    def __init__(self, app: "App[int]", pass_on: Callable[[events.Event], Awaitable[None]]) -> None:
        self._app = app
        self._pass_on = pass_on
        self._waiting: deque[events.Event] = deque()
        self._number = 0
        """The number of the last key that was passed on."""
        self._busy_since: float | None = None
        """When that was, by the monotonic clock; None once it had its effect."""

    async def add(self, event: events.Event) -> None:
        """Pass the key on when the keys before it have had their effects; call it in the app's pump."""
        if isinstance(event, events.Key) and event.key == URGENT:
            await self._pass_on(event)
            return
        self._waiting.append(event)
        if self._busy_since is None or time.monotonic() - self._busy_since > STUCK_S:
            await self._next()

    async def _next(self) -> None:
        self._busy_since = None
        if not self._waiting:
            return
        event, target = self._waiting.popleft(), self._app.focused or self._app.screen
        self._number += 1
        self._busy_since = time.monotonic()
        await self._pass_on(event)
        # Once for the key, and once for the messages that its binding sends.
        await self._follow((*target.ancestors_with_self, *target.ancestors_with_self), self._number)

    async def _follow(self, path: Sequence[DOMNode], number: int) -> None:
        """Go the way of the key: through the queues of the nodes in `path`, from the focused widget up."""
        if number != self._number:
            return
        for at, node in enumerate(path):
            if node.call_later(self._follow, path[at + 1 :], number):
                return  # nodes that are gone are skipped
        await self._next()
