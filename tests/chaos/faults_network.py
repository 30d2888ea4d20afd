"""Faults of the server and the network: the server is down or silent, connections are cut or too many."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tests.chaos.kinds import Kind
from tests.chaos.rig import DESCRIPTORS, Chaos, start_server

HALVES = (
    b"",
    b"GET / HTTP/1.1\r\nHost: ",
    b"POST /twirp/livekit.RoomService/CreateRoom HTTP/1.1\r\nContent-Length: 9\r\n\r\n{",
)
BAD = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: -1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /agent HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: \xff\r\n\r\n",
    b"\0" * 4_096,
)


async def restart_server(under: Chaos) -> None:
    under.server.kill()
    await under.server.wait()
    under.server = await start_server(under.port, under.errors)


async def freeze_server(under: Chaos) -> None:
    under.server.send_signal(signal.SIGSTOP)
    await asyncio.sleep(0.5)
    under.server.send_signal(signal.SIGCONT)


async def cut_connection(under: Chaos) -> None:
    under.way.cut()


async def hang_connection(under: Chaos) -> None:
    await under.way.hang(0.6)


@asynccontextmanager
async def half_open(port: int, count: int) -> AsyncIterator[None]:
    """Keep `count` connections open whose requests never end."""
    writers: list[asyncio.StreamWriter] = []

    async def connect(number: int) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writers.append(writer)
                writer.write(HALVES[number % len(HALVES)])

    try:
        await asyncio.gather(*map(connect, range(count)))
        yield
    finally:
        for writer in writers:
            writer.transport.abort()


async def flood_health(under: Chaos) -> None:
    """Flood the health endpoint. Jobs must still be served."""
    async with half_open(health_port(under), DESCRIPTORS + 100):
        await asyncio.sleep(0.5)
        await under.serves()


async def flood_server(under: Chaos) -> None:
    async with half_open(under.port, DESCRIPTORS + 100):
        await asyncio.sleep(1)


async def bad_requests(under: Chaos) -> None:
    for port in (health_port(under), under.port):
        for request in BAD:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(2):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(request)
                    writer.write_eof()
                    await reader.read(65_536)
                    writer.close()


async def answers(under: Chaos) -> None:
    """Wait until the health endpoint and the server accept new connections."""
    await under.healthy()
    await under.serves()


def health_port(under: Chaos) -> int:
    return urlsplit(under.health).port or 0


KINDS = (
    Kind("restart_server", 3, restart_server),
    Kind("freeze_server", 3, freeze_server),
    Kind("cut_connection", 3, cut_connection),
    Kind("hang_connection", 3, hang_connection),
    Kind("flood_health", 1, flood_health, answers),
    Kind("flood_server", 1, flood_server, answers),
    Kind("bad_requests", 1, bad_requests, answers),
)
