"""Asks the load function, which may be anybody's code, without ever being hurt by it."""

import asyncio
from collections.abc import Awaitable, Callable

from agent_tui.worker.status import Measured, judge

CLOSE_TIMEOUT_S = 0.1


class LoadGauge:
    """Keeps the last good load while the function fails or hangs; `problem` says what is wrong with it."""

    def __init__(self, measure: Callable[[], Awaitable[float]], timeout_s: float) -> None:
        self._measure = measure
        self._timeout_s = timeout_s
        self._pending: asyncio.Future[float] | None = None
        self.last = Measured()

    async def sample(self) -> Measured:
        """Measures once, within the time-out. No second call joins one that still hangs."""
        if self._pending is None or self._forgotten(self._pending):
            try:
                self._pending = asyncio.ensure_future(self._measure())
            except Exception as error:
                return self._keep(error)
        # wait() and not wait_for(): a function that ignores its cancellation must not hold up the reports.
        done, _ = await asyncio.wait({self._pending}, timeout=self._timeout_s)
        if not done:
            self._pending.cancel()
            return self._keep(TimeoutError(f"it gave no answer within {self._timeout_s:g} s"))
        finished, self._pending = self._pending, None
        if finished.cancelled():
            return self._keep(RuntimeError("it was cancelled"))
        error_raised = finished.exception()
        if error_raised is not None:
            if not isinstance(error_raised, Exception):
                raise error_raised
            return self._keep(error_raised)
        self.last = judge(self.last, finished.result())
        return self.last

    async def close(self) -> None:
        """Ends a measure that is under way, unless it resists."""
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.wait({self._pending}, timeout=CLOSE_TIMEOUT_S)

    @staticmethod
    def _forgotten(pending: asyncio.Future[float]) -> bool:
        """Whether a call that was given up on has ended since. What it returned is too old to use."""
        if pending.done() and not pending.cancelled():
            pending.exception()  # marks it as seen
        return pending.done()

    def _keep(self, error: Exception) -> Measured:
        said = str(error) or type(error).__name__
        self.last = Measured(self.last.load, f"the load function failed: {said}; the last load is kept")
        return self.last
