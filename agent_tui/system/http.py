"""An HTTP server that clients cannot exhaust: idle and half-sent requests are limited."""

import asyncio
import logging
import socket

from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler

from agent_tui.system.descriptors import DESCRIPTORS

# aiohttp answers bad requests with an HTTP 400 and logs a traceback for each, which would spoil a terminal.
_LOGGER = logging.getLogger("agent_tui.system.http")
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False

WAITING_S = 10.0
"""Seconds within which a connection must send a request's headers: from the start, and after each answer."""

MOST_WAITING = 128
SHARE = 1 / 8
"""How many connections may be open without a request, and which share of all descriptors they may use.

Beyond that, a new connection replaces the oldest of them. In a flood, the client loses its own idle
connections, and new requests are still answered.
"""

ACCEPT_AGAIN_S = 0.5
"""Seconds to wait after descriptors ran out."""

ACCEPT_AT_ONCE = 16


class HttpServer:
    """Serves an aiohttp application, which must not have been used before.

    Bad requests are answered and not logged. An internal error of a handler is answered with 500 and goes to
    the event loop's exception handler.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        shutdown_timeout_s: float,
        waiting_s: float = WAITING_S,
        most_waiting: int = MOST_WAITING,
        share: float = SHARE,
    ) -> None:
        app.middlewares.insert(0, self._answer)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_LOGGER,
            handle_signals=False,
            keepalive_timeout=waiting_s,
            shutdown_timeout=shutdown_timeout_s,
        )
        self._waiting_s = waiting_s
        self._most_waiting = most_waiting
        self._share = share
        self._sockets: list[socket.socket] = []
        self._silent: set[RequestHandler] = set()
        """Connections that have not sent a request yet."""
        self._answering: set[RequestHandler] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._paused: dict[socket.socket, asyncio.TimerHandle] = {}

    async def start(self, sockets: list[socket.socket]) -> None:
        """Serve on these listening sockets. The server owns them from now on; `close` closes them."""
        self._sockets = sockets
        await self._runner.setup()
        for listening in sockets:
            listening.setblocking(False)
            self._resume(listening)

    async def close(self) -> None:
        """Stop listening and end open connections."""
        loop = asyncio.get_running_loop()
        for paused in self._paused.values():
            paused.cancel()
        self._paused.clear()
        for listening in self._sockets:
            loop.remove_reader(listening)
            listening.close()
        self._sockets = []
        await asyncio.gather(*self._connecting)
        await self._runner.cleanup()

    # -- accepting ------------------------------------------------------------------------------------

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPT_AT_ONCE):
            try:
                sock, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # out of descriptors or memory; the kernel keeps the client waiting
                self._pause(listening)
                return
            sock.setblocking(False)
            task = asyncio.create_task(self._connect(sock), name="http connection")
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self, sock: socket.socket) -> None:
        loop, server = asyncio.get_running_loop(), self._runner.server
        assert server is not None
        try:
            _, connection = await loop.connect_accepted_socket(server, sock)
        except OSError:
            sock.close()
            return
        # In older versions of aiohttp, `keepalive_timeout` only counts from the first answer.
        self._silent.add(connection)
        loop.call_later(self._waiting_s, self._drop_silent, connection)
        most = min(self._most_waiting, int(DESCRIPTORS.limit * self._share))
        self._drop_waiting(len(self._waiting()) - most)

    def _drop_silent(self, connection: RequestHandler) -> None:
        if connection in self._silent:
            _drop(connection)
        self._silent.discard(connection)

    def _pause(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        self._paused[listening] = loop.call_later(ACCEPT_AGAIN_S, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        self._paused.pop(listening, None)
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    # -- bounding -------------------------------------------------------------------------------------

    def _waiting(self) -> list[RequestHandler]:
        """Return the connections on which no request is being answered, oldest first."""
        server = self._runner.server
        connections = server.connections if server is not None else []
        return [each for each in connections if each not in self._answering]

    def _drop_waiting(self, count: int) -> None:
        """Drop the `count` oldest connections on which no request is being answered."""
        for connection in self._waiting()[: max(count, 0)]:
            _drop(connection)

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._silent.discard(request.protocol)
        self._answering.add(request.protocol)
        try:
            return await handler(request)
        except web.RequestPayloadError as error:
            return web.Response(status=400, text=str(error))
        except (web.HTTPException, ConnectionError):
            raise
        except Exception as error:
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"answering {request.method} {request.path} failed", "exception": error}
            )
            return web.Response(status=500, text="internal error")
        finally:
            self._answering.discard(request.protocol)


def _drop(connection: RequestHandler) -> None:
    connection.force_close()
    if isinstance(connection.transport, asyncio.Transport):
        connection.transport.abort()  # otherwise a client that does not read would keep it open
