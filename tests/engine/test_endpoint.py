"""Health and information over HTTP."""

import asyncio
import math
import socket

import aiohttp
import pytest

from agent_tui.engine.endpoint import WorkerInfo
from agent_tui.engine.info_server import InfoServer
from agent_tui.model.errors import ExitCode, PortBusyError, UserError

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("nothing_left")]


def info(load: float = 0.25) -> WorkerInfo:
    return WorkerInfo(
        agent_name="bot",
        worker_type="JT_ROOM",
        active_jobs=0,
        sdk_version="1.8.9",
        worker_load=load,
        agent_name_is_env=False,
        deployment="",
        project_type="python",
    )


def make(
    host: str = "127.0.0.1", port: int = 0, problem: str | None = None, load: float = 0.25
) -> InfoServer:
    return InfoServer(host=host, port=port, health=lambda: problem, info=lambda: info(load))


async def get(server: InfoServer, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{host}:{server.port}{path}") as response,
    ):
        return response.status, await response.text()


@pytest.mark.parametrize(
    ("problem", "wanted"), [(None, (200, "OK")), ("not connected", (503, "not connected"))]
)
async def test_health(problem: str | None, wanted: tuple[int, str]) -> None:
    server = make(problem=problem)
    await server.start()
    try:
        assert server.port > 0
        assert await get(server, "/") == wanted
        assert await get(server, "/?probe=1") == wanted
        assert (await get(server, "/nothing"))[0] == 404
    finally:
        await server.close()


@pytest.mark.parametrize(("load", "shown"), [(0.25, 0.25), (math.inf, None)])
async def test_worker_answers_every_field_of_both_sdks(load: float, shown: float | None) -> None:
    server = make(load=load)
    await server.start()
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{server.port}/worker") as response,
        ):
            assert response.content_type == "application/json"
            assert await response.json() == {
                "agent_name": "bot",
                "worker_type": "JT_ROOM",
                "active_jobs": 0,
                "sdk_version": "1.8.9",
                "worker_load": shown,
                "protocol_version": 1,
                "agent_name_is_env": False,
                "deployment": "",
                "project_type": "python",
            }
    finally:
        await server.close()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:1", 200),
        ("[::1]", 200),
        ("10.1.2.3:80", 200),
        ("evil.example", 403),
        ("evil.example:8081", 403),
        ("[", 403),
    ],
)
async def test_unknown_host_names_are_refused(host: str, status: int) -> None:
    server = make()
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"GET /worker HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    finally:
        await server.close()


async def test_a_busy_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = make(port=port)
        with pytest.raises(PortBusyError) as raised:
            await server.start()
        assert f"127.0.0.1:{port}" in str(raised.value)
        assert "--port" in str(raised.value)
        assert raised.value.exit_code is ExitCode.USAGE
        await server.close()


async def test_a_port_that_another_worker_has_says_so() -> None:
    first = make()
    await first.start()
    try:
        with pytest.raises(PortBusyError, match=r"is in use by another worker \('bot'\)"):
            await make(port=first.port).start()
    finally:
        await first.close()


@pytest.mark.parametrize("host", ["192.0.2.77", "nowhere.invalid"])
async def test_an_address_of_another_machine_is_one_line(host: str) -> None:
    with pytest.raises(UserError, match=r"--host") as raised:
        await make(host=host).start()
    assert host in str(raised.value)


@pytest.mark.parametrize("port", [-1, 65536])
async def test_a_port_that_does_not_exist_is_one_line(port: int) -> None:
    with pytest.raises(UserError, match=f"port {port} "):
        await make(port=port).start()


@pytest.mark.parametrize("host", ["", "0.0.0.0", "localhost"])
async def test_one_port_on_every_address_of_a_host(host: str) -> None:
    server = make(host=host)
    await server.start()
    try:
        assert (await get(server, "/"))[0] == 200
        assert (await get(server, "/", host="localhost"))[0] == 200
    finally:
        await server.close()


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every host two addresses of this machine."""

    async def getaddrinfo(_loop: object, _host: str, port: int, **_: object) -> list[object]:
        inet = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*inet, ("127.0.0.1", port)), (*inet, ("127.0.0.2", port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


async def listens(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@pytest.mark.usefixtures("two_addresses")
async def test_a_random_port_is_the_same_on_all_addresses() -> None:
    server = make(host="two")
    await server.start()
    try:
        assert await listens("127.0.0.1", server.port)
        assert await listens("127.0.0.2", server.port)
    finally:
        await server.close()
    assert not await listens("127.0.0.2", server.port)


@pytest.mark.usefixtures("two_addresses")
async def test_a_port_must_be_free_on_all_addresses() -> None:
    with socket.create_server(("127.0.0.2", 0)) as other, pytest.raises(PortBusyError):
        await make(host="two", port=other.getsockname()[1]).start()


async def test_closing_does_not_wait_for_idle_clients_and_frees_the_port() -> None:
    server = make()
    await server.start()
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{server.port}/") as response:
            await response.text()
        await server.close()
        await server.close()
        again = make(port=server.port)
        await again.start()
        await again.close()
