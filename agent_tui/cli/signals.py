"""Signals, as requests to end: the first in good order, the second at once, the third whatever hangs."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

IGNORED = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
"""Signals without a meaning here; by default each would kill agent-tui and leave the terminal in its mode."""


class StopSignals:
    """While entered, the signals of `ENDING` call `stop(reason, kill)` instead of ending the process.

    After a kill that does not come to its end the next one leaves all the same: children end by themselves
    when their host is gone.
    """

    def __init__(
        self,
        stop: Callable[[str, bool], Awaitable[object]],
        leave: Callable[[int], object] = os._exit,
        ignores: Callable[[signal.Signals], bool] = lambda _: False,
    ) -> None:
        """`ignores(number)` says of a signal, when it arrives, that it is meant for another program."""
        self._stop = stop
        self._ignores = ignores
        self._leave = leave
        self._killed = False
        self._tasks: list[asyncio.Task[object]] = []
        self.first: signal.Signals | None = None

    def __enter__(self) -> "StopSignals":
        loop = asyncio.get_running_loop()
        for number in ENDING:
            loop.add_signal_handler(number, self._received, number)
        # A handler and not SIG_IGN, which children would inherit.
        self._before = {number: signal.signal(number, _nothing) for number in IGNORED}
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in ENDING:
            loop.remove_signal_handler(number)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int | None:
        """128 plus the first signal's number, as a shell would report it; None without one."""
        return None if self.first is None else 128 + self.first

    def _received(self, number: signal.Signals) -> None:
        if self._ignores(number):
            return
        if number is self.first is signal.SIGHUP:
            return  # a terminal that goes away often says so twice
        if self._killed:
            self._leave(128 + number)
        kill = self._killed = self.first is not None
        self.first = self.first or number
        reason = f"{signal.Signals(number).name} received"
        self._tasks.append(asyncio.ensure_future(_as_task(self._stop(reason, kill))))


def _nothing(_number: int, _frame: object) -> None:
    return


async def _as_task(awaitable: Awaitable[object]) -> object:
    return await awaitable
