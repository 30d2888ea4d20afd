"""The worker over real sockets, against a small scripted websocket server."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import pytest
from livekit.protocol import agent
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from agent_tui.model.child import AcceptArguments
from agent_tui.model.clock import SystemClock
from agent_tui.model.errors import ServerError
from agent_tui.worker.connection import websocket_connect
from agent_tui.worker.messages import Disconnected, LoadReported, Offer, Registered, Suspect
from agent_tui.worker.protocol import Timings
from agent_tui.worker.urls import ServerAddress
from agent_tui.worker.worker import Worker, WorkerState

from .support import Recorder, make_worker, offer, registered

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("nothing_left")]

QUICK = Timings(
    ping_interval_s=0.05,
    suspect_after_s=0.15,
    dead_after_s=0.4,
    backoff_step_s=0.02,
    backoff_limit_s=0.1,
    open_timeout_s=1.0,
    register_timeout_s=1.0,
)

Handler = Callable[[ServerConnection], Awaitable[None]]


def quick_worker(url: str, told: Recorder, **changes: Any) -> Worker:
    arguments: dict[str, Any] = {
        "server": ServerAddress(url, "devkey", "secret"),
        "clock": SystemClock(),
        "timings": QUICK,
        "rng": random.Random(),
    }
    return make_worker(websocket_connect, told, **(arguments | changes))


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(worker.run())
    try:
        yield task
    finally:
        await worker.close()
        if not task.done():
            await task


@asynccontextmanager
async def scripted(handler: Handler, port: int = 0, **options: Any) -> AsyncIterator[tuple[Server, str]]:
    async with serve(
        handler, "127.0.0.1", port, compression=None, ping_interval=None, close_timeout=0.2, **options
    ) as server:
        host, found = next(iter(server.sockets)).getsockname()
        yield server, f"ws://{host}:{found}"


async def take_registration(connection: ServerConnection) -> agent.WorkerMessage:
    message = agent.WorkerMessage.FromString(await connection.recv(decode=False))
    await connection.send(registered().SerializeToString())
    return message


async def behave(connection: ServerConnection, *first: agent.ServerMessage) -> None:
    """Behave like a real server: register, send what is queued for this worker, answer pings."""
    await take_registration(connection)
    for message in first:
        await connection.send(message.SerializeToString())
    async for frame in connection:
        assert isinstance(frame, bytes)
        got = agent.WorkerMessage.FromString(frame)
        if got.HasField("ping"):
            pong = agent.WorkerPong(last_timestamp=got.ping.timestamp)
            await connection.send(agent.ServerMessage(pong=pong).SerializeToString())


def refuses(status: int, body: str) -> Callable[[ServerConnection, Request], Response]:
    def answer(_connection: ServerConnection, _request: Request) -> Response:
        raw = body.encode()
        headers = Headers({"Content-Length": str(len(raw)), "Connection": "close"})
        return Response(status, HTTPStatus(status).phrase, headers, raw)

    return answer


@pytest.mark.parametrize(
    ("status", "body", "look_at"),
    [
        (401, "invalid API key", "--api-key"),
        (
            401,
            "invalid token: eyJhbGciOiJIUzI1NiJ9.e30.c2ln, error: token signature is invalid",
            "--api-secret",
        ),
        (401, "invalid authorization token: token is expired (exp)", "clock"),
        (401, "no permissions to access the room", "Authorization"),
        (403, "", "--api-secret"),
    ],
)
async def test_refused_credentials_end_it_after_one_request(status: int, body: str, look_at: str) -> None:
    requests = 0
    refuse = refuses(status, body)

    def count(connection: ServerConnection, request: Request) -> Response:
        nonlocal requests
        requests += 1
        return refuse(connection, request)

    async with scripted(behave, process_request=count) as (_, url):
        with pytest.raises(ServerError, match=look_at):
            await quick_worker(url, Recorder()).run()
    assert requests == 1


async def test_a_wrong_path_is_retried_and_explained() -> None:
    async with scripted(behave, process_request=refuses(404, "404 page not found")) as (_, url):
        told = Recorder()
        with pytest.raises(ServerError, match=r"after 3 attempts: .* no worker endpoint at this path"):
            await quick_worker(url, told, max_retry=2).run()
        assert len(told.all(Disconnected)) == 3


async def test_trap_12_offers_of_several_mebibytes_arrive() -> None:
    huge = "m" * (4 * 1024 * 1024)

    async def handler(connection: ServerConnection) -> None:
        await behave(connection, offer("AJ_big", metadata=huge))

    told = Recorder()
    async with scripted(handler) as (_, url):
        worker = quick_worker(url, told)
        async with running(worker):
            got = await told.until(Offer, timeout_s=5)
            assert got.job.metadata == huge
            assert worker.answer("AJ_big", AcceptArguments("agent-1"))
    assert told.all(Disconnected) == []


async def test_trap_14_and_19_what_the_server_sees_of_the_upgrade() -> None:
    seen: list[Request] = []

    def look(_connection: ServerConnection, request: Request) -> None:
        seen.append(request)

    told = Recorder()
    async with scripted(behave, process_request=look) as (_, url):
        server = ServerAddress(url.replace("ws:", "http:") + "/base/?x=1", "devkey", "secret", "t0k3n")
        async with running(quick_worker(url, told, server=server)):
            await told.until(Registered, timeout_s=5)
    assert seen[0].path == "/base/agent?x=1&worker_token=t0k3n"
    assert seen[0].headers["Authorization"].startswith("Bearer ")
    assert "Sec-WebSocket-Extensions" not in seen[0].headers
    assert seen[0].headers["User-Agent"].startswith("agent-tui/")


async def test_a_server_that_stops_answering_is_noticed_and_left() -> None:
    connections = 0

    async def handler(connection: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        if connections > 1:
            await behave(connection)
        await take_registration(connection)
        async for _ in connection:
            pass

    told = Recorder()
    async with scripted(handler) as (_, url):
        async with running(quick_worker(url, told)):
            await told.until(Registered, 2, timeout_s=5)
        kinds = [type(event) for event in told.events if not isinstance(event, LoadReported)]
        assert kinds == [Registered, Suspect, Disconnected, Registered]
        assert "not answered" in told.all(Disconnected)[0].reason


async def test_retries_end_for_a_server_that_registers_and_disconnects() -> None:
    async def handler(connection: ServerConnection) -> None:
        await take_registration(connection)
        connection.transport.abort()

    told = Recorder()
    async with scripted(handler) as (_, url):
        with pytest.raises(ServerError, match="after 4 attempts: the server dropped the connection"):
            await quick_worker(url, told, max_retry=3).run()
    assert len(told.all(Registered)) == 4


async def test_a_restarted_server_is_found_again() -> None:
    told = Recorder()
    async with scripted(behave) as (_, url):
        worker = quick_worker(url, told, max_retry=1000)
        task = asyncio.create_task(worker.run())
        await told.until(Registered, timeout_s=5)
    await told.until(Disconnected, 3, timeout_s=5)
    assert "nothing is listening" in told.all(Disconnected)[-1].reason
    async with scripted(behave, port=int(url.rsplit(":", 1)[1])):
        await told.until(Registered, 2, timeout_s=5)
        assert worker.state is WorkerState.REGISTERED
        await worker.close()
        await task


async def test_closing_says_1000_after_what_was_to_be_sent() -> None:
    kinds: list[str | None] = []
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def handler(connection: ServerConnection) -> None:
        await take_registration(connection)
        async for frame in connection:
            assert isinstance(frame, bytes)
            kinds.append(agent.WorkerMessage.FromString(frame).WhichOneof("message"))
        codes.put_nowait(connection.close_code)

    told = Recorder()
    async with scripted(handler) as (_, url):
        worker = quick_worker(url, told)
        async with running(worker):
            await told.until(Registered, timeout_s=5)
            worker.set_draining(True)
            worker.simulate_job("last")
        assert await asyncio.wait_for(codes.get(), 5) == 1000
    assert kinds[-1] == "simulate_job"


async def test_closing_does_not_wait_for_a_dead_server() -> None:
    async def handler(connection: ServerConnection) -> None:
        await take_registration(connection)
        connection.transport.pause_reading()
        await connection.wait_closed()

    told = Recorder()
    async with scripted(handler) as (_, url):
        worker = quick_worker(url, told, timings=Timings())
        task = asyncio.create_task(worker.run())
        await told.until(Registered, timeout_s=5)
        started = time.perf_counter()
        await worker.close()
        await task
        assert time.perf_counter() - started < 5  # websockets would wait for 10 s


@asynccontextmanager
async def bare(answer: bytes | None) -> AsyncIterator[str]:
    """Yield a server on a plain socket that sends one text, or nothing, to each client."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(64)
        if answer is not None:
            writer.write(answer)
        else:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("scheme", "answer", "said"),
    [
        ("wss", b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS"),
        ("ws", b"SSH-2.0-OpenSSH_9.6\r\n", "does not speak websocket"),
        ("ws", b"", "does not speak websocket|closed the connection before it answered"),
        ("ws", None, "did not answer in time"),
    ],
)
async def test_a_server_that_is_not_livekit_is_explained(
    scheme: str, answer: bytes | None, said: str
) -> None:
    async with bare(answer) as address:
        worker = quick_worker(f"{scheme}://{address}", Recorder(), max_retry=0)
        with pytest.raises(ServerError, match=said):
            await worker.run()


async def test_an_unknown_host_is_explained() -> None:
    worker = quick_worker("ws://nowhere.invalid", Recorder(), max_retry=0)
    with pytest.raises(ServerError, match=r"unknown host name 'nowhere.invalid'"):
        await worker.run()


async def test_a_proxy_is_not_asked_about_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    told = Recorder()
    async with scripted(behave) as (_, url), running(quick_worker(url, told)):
        await told.until(Registered, timeout_s=5)
