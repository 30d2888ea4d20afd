"""One connection to the server: the websocket, behind an interface for tests, and the protocol on it."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from agent_tui import __version__
from agent_tui.model.clock import Clock
from agent_tui.options.urls import is_loopback
from agent_tui.system.descriptors import DESCRIPTORS
from agent_tui.worker.messages import Dead, WorkerEvent
from agent_tui.worker.protocol import Timings, WorkerProtocol

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Maximum size of a message, in bytes. An offer may exceed the usual 1 MiB (worker-protocol §14, 12)."""

CLOSE_TIMEOUT_S = 0.5

# Events report the same as the library's log lines, which would spoil the screen.
_LOGGER = logging.getLogger("agent_tui.worker.websockets")
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False


class UpgradeRefusedError(Exception):
    """The server refused the websocket upgrade. Has the HTTP status, the body, and the header `Date`."""

    def __init__(self, status: int, body: str, date: str = "") -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body
        self.date = date


class ConnectFailedError(Exception):
    """There was no HTTP answer; `error` says why (`explain_unreachable`)."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class TransportLostError(Exception):
    """The connection has ended; the text says how."""


class Transport(Protocol):
    """An open connection."""

    async def send(self, frame: bytes) -> None:
        """Send one binary message. Raise `TransportLostError` if the connection has ended."""
        ...

    async def receive(self) -> bytes | str:
        """Return the next message. Raise `TransportLostError` if the connection has ended."""
        ...

    async def close(self) -> None:
        """Close with code 1000, without waiting long for the server.

        Never raises. Calling it more than once is safe.
        """
        ...


Connect = Callable[[str, Mapping[str, str]], Awaitable[Transport]]
"""Opens a connection to a URL, with headers. The caller limits the time by cancelling it.

Raises `UpgradeRefusedError` if the server answers with another status than 101, and `ConnectFailedError` if
it does not answer.
"""


class _WebsocketTransport:
    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket

    async def send(self, frame: bytes) -> None:
        try:
            await self._websocket.send(frame)
        except ConnectionClosed as closed:
            raise TransportLostError(_describe(closed)) from None

    async def receive(self) -> bytes | str:
        try:
            return await self._websocket.recv()
        except ConnectionClosed as closed:
            raise TransportLostError(_describe(closed)) from None

    async def close(self) -> None:
        await self._websocket.close()


async def websocket_connect(url: str, headers: Mapping[str, str]) -> Transport:
    """Open a websocket. A proxy from the environment is used, but never for a server on this machine."""
    try:
        with DESCRIPTORS.reserve():
            websocket = await connect(
                url,
                additional_headers=headers,
                user_agent_header=f"agent-tui/{__version__}",
                compression=None,
                max_size=MAX_MESSAGE_BYTES,
                open_timeout=None,
                ping_interval=None,  # the worker's own pings judge the connection
                close_timeout=CLOSE_TIMEOUT_S,
                proxy=None if is_loopback(url) else True,
                logger=_LOGGER,
            )
    except InvalidStatus as refused:
        answer = refused.response
        body = bytes(answer.body or b"").decode(errors="replace")
        raise UpgradeRefusedError(answer.status_code, body, answer.headers.get("Date", "")) from None
    except (
        OSError,
        WebSocketException,
        ImportError,
    ) as error:  # ImportError: a SOCKS proxy without its library
        raise ConnectFailedError(error) from error
    return _WebsocketTransport(websocket)


def _describe(closed: ConnectionClosed) -> str:
    """Return how a connection ended. LiveKit gives no reason: it just closes (worker-protocol §1.2)."""
    if closed.sent is not None and not closed.rcvd_then_sent:
        return f"agent-tui closed the connection: {closed.sent.code} {closed.sent.reason}".rstrip()
    if closed.rcvd is not None:
        return f"the server closed the connection: {closed.rcvd.code} {closed.rcvd.reason}".rstrip()
    return "the server dropped the connection"


class Session:
    """Runs one connection from its registration to its end, and always closes it."""

    def __init__(
        self,
        transport: Transport,
        machine: WorkerProtocol,
        deliver: Callable[[WorkerEvent], None],
        clock: Clock,
        timings: Timings,
    ) -> None:
        self.machine = machine
        self._transport = transport
        self._deliver = deliver
        self._clock = clock
        self._timings = timings
        self._outbox: deque[bytes] = deque()
        self._to_send = asyncio.Event()
        self._sooner = asyncio.Event()
        self._waking_at: float | None = None

    async def run(self) -> str:
        """Serve until the connection ends; return why. When cancelled, close it properly."""
        self.machine.register(self._clock.boottime())
        self.touch()
        parts = [asyncio.create_task(part) for part in (self._read(), self._write(), self._keep_time())]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            return next(part for part in parts if part in done).result()
        finally:
            await _complete_even_if_cancelled(self._wind_down(parts))

    def touch(self) -> None:
        """Send the machine's messages, and read its deadline. Call this after each use of the machine."""
        self._outbox.extend(self.machine.data_to_send())
        if self._outbox:
            self._to_send.set()
        deadline = self.machine.next_deadline()
        if deadline is not None and (self._waking_at is None or deadline < self._waking_at):
            self._sooner.set()

    async def _read(self) -> str:
        while True:
            try:
                frame = await self._transport.receive()
            except TransportLostError as lost:
                return str(lost)
            self.machine.receive(frame, self._clock.boottime(), self._clock.time())
            self._pass_on()

    async def _write(self) -> str:
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            try:
                await self._send_outbox()
            except TransportLostError as lost:
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
            # This process or its machine stalled; the server's answers may be unread.
            self.machine.note_stall(self._clock.boottime())

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
            await self._transport.send(self._outbox.popleft())

    async def _wind_down(self, parts: list[asyncio.Task[str]]) -> None:
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        try:
            async with asyncio.timeout(self._timings.flush_timeout_s):
                await self._send_outbox()
        except (TransportLostError, TimeoutError):
            pass
        await self._transport.close()


async def _complete_even_if_cancelled(work: Coroutine[Any, Any, None]) -> None:
    """Await `work` even if cancelled, so that no connection stays open; then raise the cancellation."""
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
