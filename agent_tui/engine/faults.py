"""What goes wrong by a fault of our own: told, kept for the exit, and in nobody's way."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

from agent_tui.model.errors import OwnError
from agent_tui.model.events import Event, Notice
from agent_tui.model.logs import LogLevel


class Faults:
    """No part of the engine may fail in silence, and none may keep the others from their end."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self.first: OwnError | None = None
        """What the run ends with."""

    def note(self, part: str, error: BaseException) -> OwnError:
        """Tells that a part failed."""
        own = OwnError(part, error)
        self.first = self.first or own
        with contextlib.suppress(Exception):  # if even that fails, the exit still tells the first one
            self._emit(Notice(LogLevel.ERROR, str(own)))
        return own

    @contextlib.contextmanager
    def of(self, part: str) -> Iterator[None]:
        """What is raised within is noted, and what comes after it goes on."""
        try:
            yield
        except Exception as error:
            self.note(part, error)

    async def all(self, **works: Awaitable[object]) -> None:
        """Waits for all of these parts, each under its name."""
        results = await asyncio.gather(*works.values(), return_exceptions=True)
        for part, result in zip(works, results, strict=True):
            if isinstance(result, Exception):
                self.note(part, result)
