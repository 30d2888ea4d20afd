"""Internal errors: a part that fails is restarted, with a message; if it keeps failing, the run ends.

Only the part's coroutine is restarted. Its state is in an object, which stays.
"""

import asyncio
import contextlib
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agent_tui
from agent_tui.model.clock import Clock
from agent_tui.model.errors import InternalError
from agent_tui.model.events import Event, Notice
from agent_tui.model.logs import LogLevel

PACKAGE = Path(agent_tui.__file__).parent


class InternalErrors:
    """Reports internal errors while other parts continue. The first one is raised at the end of the run."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self.first: InternalError | None = None
        """The error that the run ends with."""

    def note(self, part: str, error: BaseException) -> InternalError:
        """Report that a part failed."""
        own = InternalError(part, error)
        self.first = self.first or own
        with contextlib.suppress(Exception):  # the exit still reports the first error
            self._emit(Notice(LogLevel.ERROR, str(own)))
        return own

    @contextlib.contextmanager
    def caught(self, part: str) -> Iterator[None]:
        """Report an exception of the body as a failure of `part`, and continue."""
        try:
            yield
        except Exception as error:
            self.note(part, error)

    async def gather(self, **works: Awaitable[object]) -> None:
        """Wait for these awaitables, each under the name of its part, and report the parts that fail."""
        results = await asyncio.gather(*works.values(), return_exceptions=True)
        for part, result in zip(works, results, strict=True):
            if isinstance(result, Exception):
                self.note(part, result)


@dataclass(frozen=True, slots=True)
class Patience:
    """How often one part may fail within the window, and the pauses before restarts, in s."""

    failures: int = 5
    window_s: float = 60.0
    first_pause_s: float = 0.25
    longest_pause_s: float = 8.0

    def pause_s(self, failures: int) -> float:
        """Return the pause after that many failures (from 1), in s. Each is twice as long as the one
        before.
        """
        return min(self.first_pause_s * 2.0 ** (failures - 1), self.longest_pause_s)


class Supervision:
    """Runs the parts' loops and restarts those that fail."""

    def __init__(
        self,
        errors: InternalErrors,
        *,
        give_up: Callable[[InternalError], None],
        clock: Clock,
        emit: Callable[[Event], None],
        patience: Patience = Patience(),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`give_up` is called with the last error of a part that keeps failing; it ends the run."""
        self._errors = errors
        self._give_up = give_up
        self._clock = clock
        self._emit = emit
        self._patience = patience
        self._sleep = sleep
        self._failed_at: dict[str, deque[float]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._reported: dict[str, float] = {}

    def start(self, part: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a part's loop until `close()`."""
        self._tasks.append(asyncio.create_task(self._run_part(part, work), name=part))

    async def close(self) -> None:
        """Cancel the loops and wait for them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def failed(self, part: str, error: Exception) -> float | None:
        """Report a failure; return the pause before the restart, in s, or None if the run ends."""
        now, patience = self._clock.monotonic(), self._patience
        failed_at = self._failed_at.setdefault(part, deque())
        failed_at.append(now)
        while failed_at[0] <= now - patience.window_s:
            failed_at.popleft()
        count = len(failed_at)
        if count >= patience.failures:
            self._give_up(self._errors.note(part, error))
            return None
        pause_s = patience.pause_s(count)
        counted = f"failure {count} of {patience.failures} within {patience.window_s:g} s"
        self._notify(
            f"{InternalError(part, error)}{_place(error)}; restarting it in {pause_s:g} s ({counted})"
        )
        return pause_s

    async def _run_part(self, part: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await work()
                return
            except Exception as error:
                pause_s = self.failed(part, error)
            if pause_s is None:
                return
            await self._sleep(pause_s)

    def report_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Report an exception of a callback or an abandoned task in one line, each at most once per window.

        Replaces asyncio's exception handler, which prints a traceback each time.
        """
        error = context.get("exception")
        text = f"agent-tui: internal error: {context.get('message', '')}"
        if isinstance(error, BaseException):
            text += f": {type(error).__name__}: {error}{_place(error)}"
        now = self._clock.monotonic()
        self._reported = {
            known: at for known, at in self._reported.items() if at > now - self._patience.window_s
        }
        if text not in self._reported:
            self._reported[text] = now
            self._notify(text)

    def _notify(self, text: str) -> None:
        with contextlib.suppress(Exception):  # the bus may be what failed
            self._emit(Notice(LogLevel.ERROR, text))


def _place(error: BaseException) -> str:
    """Return the innermost line of agent-tui in the error's traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)]
    own = [frame for frame in own if frame.filename != __file__]  # this file only calls the part
    return f" ({Path(own[-1].filename).relative_to(PACKAGE)}:{own[-1].lineno})" if own else ""
