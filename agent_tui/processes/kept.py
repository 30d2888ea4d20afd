"""A process that has to be there: made anew when it ends, with growing pauses while it keeps failing."""

import asyncio
import contextlib
from collections.abc import Callable

from agent_tui.processes.process import ProcessEnd, SupervisedProcess
from agent_tui.processes.timings import BackOff


class KeptProcess:
    """Runs one process after another until it is closed. `make` gets 1, 2, … and gives the next one."""

    def __init__(
        self,
        make: Callable[[int], SupervisedProcess],
        *,
        ended: Callable[[SupervisedProcess, ProcessEnd], bool],
        back_off: BackOff | None = None,
    ) -> None:
        """`ended` hears of each end, and says whether another one is wanted."""
        self._make = make
        self._ended = ended
        self._back_off = back_off or BackOff()
        self._closing = asyncio.Event()
        self.process: SupervisedProcess | None = None

    @property
    def closing(self) -> bool:
        return self._closing.is_set()

    async def run(self) -> None:
        """Keeps a process alive; returns when it is closed and the last one is reaped."""
        failures = number = 0
        while not self.closing:
            number += 1
            process = self.process = self._make(number)
            await process.run()
            again = self._ended(process, process.ended.result())
            if self.closing or not again:
                return
            failures = failures + 1 if process.ready.exception() else 0
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._back_off.after(failures))

    def close(self, reason: str) -> None:
        """Asks the process to end in good order; no other follows."""
        self._closing.set()
        if self.process is not None:
            self.process.shutdown(reason)

    def kill(self, reason: str) -> None:
        """Ends the process now; no other follows."""
        self._closing.set()
        if self.process is not None:
            self.process.kill(reason)
