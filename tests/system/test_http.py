"""How much clients may occupy of an HTTP server, and that nothing they send ends or upsets it."""

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from agent_tui.system import http
from agent_tui.system.http import HttpServer
from agent_tui.system.listening import listen
from tests.fakes.scripted_child import until
from tests.limits import PATIENCE_S

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("nothing_left")]

ASK = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def ok(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="OK")


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Clients:
    """Connections to a server, closed at the end of the test."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self, say: bytes = b"") -> Streams:
        streams = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers.append(streams[1])
        streams[1].write(say)
        return streams

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def serving(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = ok,
    sockets: list[socket.socket] | None = None,
    **limits: Any,
) -> AsyncIterator[Clients]:
    """Yield a server that answers every path, and its clients."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    server = HttpServer(app, shutdown_timeout_s=0, **limits)
    listening = sockets or await listen("127.0.0.1", 0)
    await server.start(listening)
    clients = Clients(listening[0].getsockname()[1])
    try:
        yield clients
    finally:
        await server.close()
        await clients.close()


async def status(streams: Streams) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        return (await streams[0].readline()).split(b" ")[1]


async def is_closed(streams: Streams) -> bool:
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await streams[0].read() == b""
        except ConnectionError:
            return True


@pytest.mark.parametrize("say", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "])
async def test_a_connection_without_a_whole_request_is_closed_in_time(say: bytes) -> None:
    async with serving(waiting_s=0.05) as clients:
        half = await clients.connect(say)
        assert await is_closed(half)


async def test_an_answered_connection_is_closed_when_nothing_follows() -> None:
    async with serving(waiting_s=0.05) as clients:
        kept = await clients.connect(ASK)
        assert b"OK" in await asyncio.wait_for(kept[0].read(), PATIENCE_S)  # read to its end


async def test_the_oldest_waiting_connection_makes_room_and_requests_in_hand_stay() -> None:
    go, asked = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        if request.path == "/slow":
            asked.set()
            await go.wait()
        return web.Response(text="OK")

    async with serving(slow, most_waiting=3) as clients:
        first = await clients.connect(ASK.replace(b"/ ", b"/slow ", 1))
        await asyncio.wait_for(asked.wait(), PATIENCE_S)
        halves = [await clients.connect(b"GET") for _ in range(10)]
        for half in halves[:7]:
            assert await is_closed(half)
        health = await clients.connect(ASK)
        assert await status(health) == b"200"
        go.set()
        assert await status(first) == b"200"


class Scarce(socket.socket):
    """A listening socket whose first connections find no free descriptor."""

    failures = 2

    def accept(self) -> Any:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


async def test_without_descriptors_clients_wait_and_are_served_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "ACCEPT_AGAIN_S", 0.01)
    plain = (await listen("127.0.0.1", 0))[0]
    scarce = Scarce(fileno=plain.detach())
    async with serving(sockets=[scarce]) as clients:
        waits = await clients.connect(ASK)
        assert await status(waits) == b"200"
        assert not scarce.failures


async def test_closed_while_no_descriptor_is_left() -> None:
    plain = (await listen("127.0.0.1", 0))[0]
    scarce = Scarce(fileno=plain.detach())
    async with serving(sockets=[scarce]) as clients:
        await clients.connect(ASK)
        await until(lambda: scarce.failures < 2)


async def test_an_internal_error_is_answered_and_reported() -> None:
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    async def fails(_request: web.Request) -> web.StreamResponse:
        raise KeyError("a bug")

    async with serving(fails) as clients:
        asks = await clients.connect(ASK)
        assert await status(asks) == b"500"
    assert [str(context["exception"]) for context in reported] == ["'a bug'"]


BAD = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    b"GARBAGE\r\n\r\n",
    b"GET  HTTP/1.1\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(5000)) + b"\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde",
    b"GET http://[::1/ HTTP/1.1\r\nHost: [\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: !!!\r\n\r\n",
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
async def test_a_bad_request_is_answered_and_nothing_is_logged(
    bad: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)

    async def read(request: web.Request) -> web.StreamResponse:
        if request.path == "/ws":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            return socket
        await request.read()
        return web.Response(text="OK")

    async with serving(read) as clients:
        client = await clients.connect(bad)
        assert await status(client) == b"400"
    assert [record.getMessage() for record in caplog.records if record.name != "asyncio"] == []
    assert "".join(capfd.readouterr()) == ""
