"""One connection at work: the protocol machine between a link and a clock."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from agent_tui.model.clock import Clock
from agent_tui.worker.connection import Link, LinkLostError
from agent_tui.worker.messages import Dead, Event
from agent_tui.worker.protocol import WorkerProtocol
from agent_tui.worker.timings import Timings


class Session:
    """Runs one connection from its registration to its end. It closes the link in every case."""

    def __init__(
        self,
        link: Link,
        machine: WorkerProtocol,
        deliver: Callable[[Event], None],
        clock: Clock,
        timings: Timings,
    ) -> None:
        self.machine = machine
        self._link = link
        self._deliver = deliver
        self._clock = clock
        self._timings = timings
        self._outbox: deque[bytes] = deque()
        self._to_send = asyncio.Event()
        self._sooner = asyncio.Event()
        self._waking_at: float | None = None

    async def run(self) -> str:
        """Serves until the connection ends and returns why. Cancelling it says goodbye properly."""
        self.machine.register(self._clock.boottime())
        self.touch()
        parts = [asyncio.create_task(part) for part in (self._read(), self._write(), self._keep_time())]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            return next(part for part in parts if part in done).result()
        finally:
            await _to_the_end(self._wind_down(parts))

    def touch(self) -> None:
        """To be called after the machine was used: sends what it has to send and minds its deadline."""
        self._outbox.extend(self.machine.data_to_send())
        if self._outbox:
            self._to_send.set()
        deadline = self.machine.next_deadline()
        if deadline is not None and (self._waking_at is None or deadline < self._waking_at):
            self._sooner.set()

    async def _read(self) -> str:
        while True:
            try:
                frame = await self._link.receive()
            except LinkLostError as lost:
                return str(lost)
            self.machine.receive(frame, self._clock.boottime(), self._clock.time())
            self._pass_on()

    async def _write(self) -> str:
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            try:
                await self._send_outbox()
            except LinkLostError as lost:
                return str(lost)

    async def _keep_time(self) -> str:
        while True:
            await self._until_deadline()
            dead = self._tick()
            if dead is not None:
                return dead.reason

    async def _until_deadline(self) -> None:
        while True:
            self._sooner.clear()
            deadline = self._waking_at = self.machine.next_deadline()
            if deadline is None:
                await self._sooner.wait()
                continue
            late = self._clock.boottime() - deadline
            if late >= 0:
                break
            try:
                async with asyncio.timeout(-late):
                    await self._sooner.wait()
            except TimeoutError:
                late = self._clock.boottime() - deadline
                if late >= 0:
                    break
        if late > self._timings.stall_s:
            # This process or its machine stood still; the server's answers may lie unread.
            self.machine.stood_still(self._clock.boottime())

    def _tick(self) -> Dead | None:
        self.machine.tick(self._clock.boottime())
        return self._pass_on()

    def _pass_on(self) -> Dead | None:
        for event in self.machine.events_received():
            if isinstance(event, Dead):
                return event
            self._deliver(event)
        self.touch()
        return None

    async def _send_outbox(self) -> None:
        while self._outbox:
            await self._link.send(self._outbox.popleft())

    async def _wind_down(self, parts: list[asyncio.Task[str]]) -> None:
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        try:
            async with asyncio.timeout(self._timings.flush_timeout_s):
                await self._send_outbox()
        except (LinkLostError, TimeoutError):
            pass
        await self._link.close()


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Awaits `work` even if cancelled meanwhile, so that no link stays open; the cancellation comes after."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()
