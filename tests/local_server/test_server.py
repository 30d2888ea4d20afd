"""The server's life: where it listens, who may connect, and that nothing of it is left."""

import asyncio
import gc
import socket
import time
import warnings
from pathlib import Path

import aiohttp
import jwt
import pytest
from livekit.protocol.agent import RegisterWorkerRequest

from agent_tui.local_server.server import LocalServer
from agent_tui.model.errors import PortBusyError, UserError

from .wire import Wire, registered, until


async def test_random_port_key_and_secret() -> None:
    async with LocalServer() as one, LocalServer() as other:
        assert one.url == f"ws://127.0.0.1:{one.port}"
        assert one.port != other.port
        assert one.api_key != other.api_key
        assert one.api_secret != other.api_secret
        assert len(one.api_secret) >= 32
        async with registered(other, now=time.time()):
            assert len(other.workers) == 1
            assert not one.workers


async def test_a_busy_port() -> None:
    async with LocalServer() as one:
        with pytest.raises(PortBusyError) as busy:
            await LocalServer(port=one.port).start()
        assert str(busy.value) == (
            f"127.0.0.1:{one.port} is in use: choose another port with --port, or 0 to pick a free port"
        )


async def test_an_address_of_another_machine() -> None:
    with pytest.raises(UserError, match=r"^cannot listen on 192\.0\.2\.1:0: .*--host"):
        await LocalServer(host="192.0.2.1").start()


async def test_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 loopback here")
    async with LocalServer(host="::1") as server:
        assert server.url == f"ws://[::1]:{server.port}"
        async with registered(server, now=time.time()):
            assert len(server.workers) == 1


async def test_several_keys_each_worker_s_jobs_are_signed_with_its_own() -> None:
    keys = {"devkey": "secret", "second": "the second key's own secret, long"}
    async with LocalServer(keys=keys) as server:
        assert (server.api_key, server.api_secret) == ("devkey", "secret")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
            tokens = {
                key: jwt.encode({"iss": key, "exp": time.time() + 9, "video": {"agent": True}}, secret)
                for key, secret in keys.items()
            }
        async with aiohttp.ClientSession() as session:
            for key, secret in keys.items():
                headers = {"Authorization": f"Bearer {tokens[key]}"}
                url = f"http{server.url.removeprefix('ws')}/agent"
                async with session.ws_connect(url, headers=headers) as websocket:
                    wire = Wire(websocket)
                    await wire.send(register=RegisterWorkerRequest(agent_name=key))
                    await wire.receive("register")
                    await wire.send(simulate_job={"room": {"name": "r"}})
                    token = (await wire.take()).token
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
                        claims = jwt.decode(token, secret, algorithms=["HS256"])
                    assert claims["iss"] == key


async def test_closing_drops_workers_and_leaves_nothing() -> None:
    """In the middle of an offer, with rooms open; the second close does nothing."""
    await _one_life()
    gc.collect()
    tasks, files = asyncio.all_tasks(), _open_files()
    for _ in range(3):
        await _one_life()
    gc.collect()
    await until(lambda: asyncio.all_tasks() == tasks)
    assert _open_files() == files


async def _one_life() -> None:
    server = LocalServer()
    await server.start()
    async with registered(server, now=time.time(), agent_name="x") as wire:
        await wire.send(simulate_job={"room": {"name": "r"}})
        await wire.offered()
        await server.close()
        message = await wire.socket.receive(timeout=5)
        assert message.type is aiohttp.WSMsgType.CLOSED
        assert wire.socket.close_code == 1006
    assert not server.workers
    await server.close()
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection("127.0.0.1", server.port)


def _open_files() -> int:
    descriptors = Path("/proc/self/fd")
    return sum(1 for _ in descriptors.iterdir()) if descriptors.is_dir() else 0


async def test_an_unfinished_request_does_not_hold_the_server() -> None:
    async with LocalServer() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /agent HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ")
        await writer.drain()
        async with asyncio.timeout(1):
            await server.close()
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
