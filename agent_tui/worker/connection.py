"""One websocket to the server, behind a seam that tests replace."""

import logging
from collections.abc import Mapping
from typing import Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from agent_tui import __version__
from agent_tui.system.descriptors import DESCRIPTORS
from agent_tui.worker.refusals import explain_unreachable, lacks_descriptors
from agent_tui.worker.urls import is_loopback

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""An offer alone may exceed 1 MiB, the library's own limit (worker-protocol §14, 12)."""

CLOSE_TIMEOUT_S = 0.5

# The library's remarks are repeated in our own events; on a terminal they would spoil the screen.
_LOGGER = logging.getLogger("agent_tui.worker.websockets")
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False


class LinkRefusedError(Exception):
    """The server answered the upgrade with something else: HTTP status and body, and its time (`Date`)."""

    def __init__(self, status: int, body: str, date: str = "") -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body
        self.date = date


class LinkFailedError(Exception):
    """No HTTP answer at all; the text says why and where to look.

    `is_local`: it is for want of descriptors here, and says nothing about the server.
    """

    def __init__(self, why: str, *, is_local: bool = False) -> None:
        super().__init__(why)
        self.is_local = is_local


class LinkLostError(Exception):
    """The connection is over; the text says how."""


class Link(Protocol):
    """An open connection."""

    async def send(self, frame: bytes) -> None:
        """Sends one binary message. Raises `LinkLostError`."""
        ...

    async def receive(self) -> bytes | str:
        """The next message. Raises `LinkLostError`."""
        ...

    async def close(self) -> None:
        """Closes with code 1000, soon, whatever the server does. Can be called again; never raises."""
        ...


class Connect(Protocol):
    """Opens a connection."""

    async def __call__(self, url: str, headers: Mapping[str, str]) -> Link:
        """Raises `LinkRefusedError` or `LinkFailedError`. The caller limits the time by cancelling."""
        ...


class _WebsocketLink:
    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket

    async def send(self, frame: bytes) -> None:
        try:
            await self._websocket.send(frame)
        except ConnectionClosed as closed:
            raise LinkLostError(_describe(closed)) from None

    async def receive(self) -> bytes | str:
        try:
            return await self._websocket.recv()
        except ConnectionClosed as closed:
            raise LinkLostError(_describe(closed)) from None

    async def close(self) -> None:
        await self._websocket.close()


async def websocket_connect(url: str, headers: Mapping[str, str]) -> Link:
    """The real `Connect`. A proxy from the environment is used, but never for a server on this machine."""
    try:
        with DESCRIPTORS.reserve():
            websocket = await connect(
                url,
                additional_headers=headers,
                user_agent_header=f"agent-tui/{__version__}",
                compression=None,
                max_size=MAX_MESSAGE_BYTES,
                open_timeout=None,
                ping_interval=None,  # our own pings judge the link
                close_timeout=CLOSE_TIMEOUT_S,
                proxy=None if is_loopback(url) else True,
                logger=_LOGGER,
            )
    except InvalidStatus as refused:
        answer = refused.response
        body = bytes(answer.body or b"").decode(errors="replace")
        raise LinkRefusedError(answer.status_code, body, answer.headers.get("Date", "")) from None
    except (
        OSError,
        WebSocketException,
        ImportError,
    ) as error:  # ImportError: a SOCKS proxy without its library
        raise LinkFailedError(explain_unreachable(error, url), is_local=lacks_descriptors(error)) from error
    return _WebsocketLink(websocket)


def _describe(closed: ConnectionClosed) -> str:
    """How a connection ended. LiveKit gives no reason: it just hangs up (worker-protocol §1.2)."""
    if closed.sent is not None and not closed.rcvd_then_sent:
        return f"the connection was closed by this side: {closed.sent.code} {closed.sent.reason}".rstrip()
    if closed.rcvd is not None:
        return f"the server closed the connection: {closed.rcvd.code} {closed.rcvd.reason}".rstrip()
    return "the server hung up"
