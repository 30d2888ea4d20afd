"""Signals that end agent-tui: the first one gracefully, the second one by killing, the third one at once."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

IGNORED = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
"""Ignored signals: by default each would kill agent-tui without restoring the terminal."""


class StopSignals:
    """While entered, the signals of `STOPPING` call `stop(reason, kill)` instead of ending the process.

    The first signal passes False as `kill`, the second one True. If the kill hangs, the third one calls
    `leave`: the children end by themselves when their host is gone.
    """

    def __init__(
        self,
        stop: Callable[[str, bool], Awaitable[object]],
        leave: Callable[[int], object] = os._exit,
        ignores: Callable[[signal.Signals], bool] = lambda _: False,
    ) -> None:
        """`ignores(number)` returns whether a signal that arrives is meant for another program."""
        self._stop = stop
        self._ignores = ignores
        self._leave = leave
        self._killed = False
        self._tasks: list[asyncio.Task[object]] = []
        self.first: signal.Signals | None = None

    def __enter__(self) -> "StopSignals":
        loop = asyncio.get_running_loop()
        for number in STOPPING:
            loop.add_signal_handler(number, self._received, number)
        # A handler, because children would inherit SIG_IGN.
        self._before = {number: signal.signal(number, _nothing) for number in IGNORED}
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in STOPPING:
            loop.remove_signal_handler(number)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int | None:
        """128 plus the number of the first signal, as a shell reports it; None if no signal has come."""
        return None if self.first is None else 128 + self.first

    def _received(self, number: signal.Signals) -> None:
        if self._ignores(number):
            return
        if number is self.first is signal.SIGHUP:
            return  # a terminal that closes often sends it twice
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
