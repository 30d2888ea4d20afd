"""Upgrade, authentication, handshake, encodings, liveness (worker-protocol §1, §2, §4, §5)."""

import asyncio
import contextlib
import time
from typing import Any

import aiohttp
import pytest
from livekit.protocol.agent import (
    JobType,
    RegisterWorkerRequest,
    UpdateWorkerStatus,
    WorkerMessage,
    WorkerPing,
)
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .client import SOON, Server, Worker, connected, unique, worker
from .differences import DIFFERENCES

pytestmark = pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")

_BAD = "invalid authorization token"
_NO_PERMISSION = "no permissions to access the room"
_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


async def _refused(server: Server, header: str | None, query: str = "") -> tuple[int, str]:
    headers = {"Authorization": header} if header is not None else {}
    with pytest.raises(InvalidStatus) as refusal:
        async with connect(f"{server.url}/agent{query}", additional_headers=headers):
            pass
    return refusal.value.response.status_code, bytes(refusal.value.response.body or b"").decode()


async def _status(server: Server, method: str, path: str, **headers: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, server.http_url + path, headers=headers) as response,
    ):
        return response.status, await response.text()


def _claims(now: float) -> dict[str, tuple[dict[str, Any], str | None, bool]]:
    """Claims, secret, and whether the body is followed by the JWT library's own text."""
    return {
        _NO_PERMISSION: ({"video": {}}, None, False),
        f"{_NO_PERMISSION} (top-level agent)": ({"video": None, "agent": {"admin": True}}, None, False),
        "invalid API key": ({"iss": "nobody"}, None, False),
        f"{_BAD}: (signature)": ({}, "x" * 40, True),
        f"{_BAD}: (expired)": ({"exp": now - 90}, None, True),
        f"{_BAD}: (no exp)": ({"exp": None}, None, True),
        f"{_BAD}: (nbf)": ({"nbf": now + 90}, None, True),
    }


@pytest.mark.parametrize("case", list(_claims(0.0)))
async def test_tokens_that_are_refused(current: Server, case: str) -> None:
    claims, secret, open_end = _claims(time.time())[case]
    expected = case.partition(" (")[0]
    status, body = await _refused(current, f"Bearer {current.token(secret=secret, **claims)}")
    assert status == 401
    assert body.startswith(expected) if open_end else body == expected


async def test_other_credentials_that_are_refused(server: Server) -> None:
    good = server.token()
    must_start = (401, "invalid authorization header. Must start with Bearer ")
    assert await _refused(server, None) == (401, _NO_PERMISSION)
    assert await _refused(server, f"bearer {good}") == must_start
    assert await _refused(server, "Bearer nonsense") == (401, _BAD)
    assert await _refused(server, "Bearer nonsense", f"?access_token={good}") == (401, _BAD)


async def test_clocks_may_differ_by_less_than_a_minute(server: Server) -> None:
    token = server.token(exp=time.time() - 30, nbf=time.time() - 60)
    async with connected(server, token=token) as client:
        await client.ping()


async def test_token_in_the_query(server: Server) -> None:
    async with connect(f"{server.url}/agent?access_token={server.token()}&protocol=nonsense") as connection:
        await Worker(connection).ping()


async def test_requests_that_are_no_upgrade(server: Server) -> None:
    authorization = f"Bearer {server.token()}"
    assert (await _status(server, "GET", "/agent", Authorization=authorization))[0] == 404
    assert (await _status(server, "GET", "/agent"))[0] == 404
    assert await _status(server, "GET", "/agent", Authorization="Bearer nonsense") == (401, _BAD)
    assert (await _status(server, "POST", "/agent", Authorization=authorization, **_UPGRADE))[0] == 405
    assert (await _status(server, "GET", "/agent/", Authorization=authorization, **_UPGRADE))[0] == 404
    no_version = {**_UPGRADE, "Sec-WebSocket-Version": "12"}
    assert (await _status(server, "GET", "/agent", Authorization=authorization, **no_version))[0] == 400


async def test_health(server: Server) -> None:
    assert await _status(server, "GET", "/") == (200, "OK")


async def test_joining_as_a_participant(server: Server) -> None:
    status, text = await _status(server, "GET", "/rtc/validate")
    assert status == DIFFERENCES["joining a room over /rtc"][server.kind], text


async def test_double_slash(server: Server) -> None:
    headers = {"Authorization": f"Bearer {server.token()}"}
    async with connect(f"{server.url}//agent", additional_headers=headers) as connection:
        await Worker(connection).ping()


async def test_no_subprotocol_and_no_compression(server: Server) -> None:
    async with connected(server, subprotocols=["livekit"], compression="deflate") as client:
        response = client.connection.response
        assert response is not None
        assert "Sec-WebSocket-Protocol" not in response.headers
        assert "Sec-WebSocket-Extensions" not in response.headers


async def test_registration(server: Server) -> None:
    name = unique("agent")
    async with worker(server, name) as first, connected(server) as second:
        reply = await second.register(agent_name=name)
        assert reply.worker_id.startswith("AW_")
        assert len(reply.worker_id) == len("AW_") + 12
        assert reply.worker_id != first.worker_id
        assert reply.server_info.protocol >= 17
        assert reply.server_info.agent_protocol == 1
        assert reply.server_info.version
        assert reply.server_info.node_id.startswith("ND_")


async def test_ping_is_legal_before_registration(server: Server) -> None:
    async with connected(server) as client:
        before = int(time.time() * 1000)
        pong = await client.ping(4711)
        assert pong.last_timestamp == 4711
        assert before - 1000 <= pong.timestamp <= time.time() * 1000 + 1000


@pytest.mark.parametrize(
    "frame",
    [
        WorkerMessage(update_worker=UpdateWorkerStatus(load=0.1)).SerializeToString(),
        b"\x0a\x02\x08\x07",
        WorkerMessage(register=RegisterWorkerRequest(deployment="a_b")).SerializeToString(),
        WorkerMessage(register=RegisterWorkerRequest(deployment="a b")).SerializeToString(),
        WorkerMessage(register=RegisterWorkerRequest(deployment="a" * 65)).SerializeToString(),
        b"",
        b"\xff\xff\xff",
        b"\xfa\x07\x00",
        "not JSON",
        '{"somethingNew": {}}',
    ],
    ids=[
        "status",
        "type",
        "underscore",
        "space",
        "long",
        "empty",
        "garbage",
        "member",
        "text",
        "json-member",
    ],
)
async def test_frames_that_end_a_handshake(server: Server, frame: bytes | str) -> None:
    async with connected(server) as client:
        await client.connection.send(frame)
        assert await client.closed() == 1006


@pytest.mark.parametrize(
    "frame",
    [
        WorkerMessage(register=RegisterWorkerRequest()).SerializeToString(),
        b"",
        b"\xff\xff\xff",
        b"\xfa\x07\x00",
    ],
    ids=["register", "empty", "garbage", "member"],
)
async def test_frames_that_end_a_registered_connection(server: Server, frame: bytes) -> None:
    async with worker(server, unique("agent")) as client:
        await client.connection.send(frame)
        assert await client.closed() == 1006


async def test_what_a_registered_worker_may_send(server: Server) -> None:
    async with worker(server, unique("agent")) as client:
        await client.update_job("AJ_unknown", 2)
        await client.send(availability={"job_id": "AJ_unknown", "available": True})
        await client.send(migrate_job={"job_ids": ["AJ_unknown"]})
        await client.status(load=-3)
        await client.status(load=1e30)


async def test_time_limit_of_the_handshake_is_absolute(hurried: Server) -> None:
    async with connected(hurried) as client:
        begin = time.monotonic()
        with contextlib.suppress(ConnectionClosed):
            while time.monotonic() < begin + hurried.register_s * 3:
                await asyncio.sleep(hurried.register_s / 5)
                await client.ping()
        assert time.monotonic() - begin > hurried.register_s * 0.9
        assert client.connection.close_code == 1006


async def test_no_time_limit_after_registration(hurried: Server) -> None:
    async with worker(hurried, unique("agent")) as client:
        assert await client.silent(hurried.register_s * 1.2)
        await client.ping()


async def test_replies_follow_the_last_frame(server: Server) -> None:
    async with connected(server, text=True) as client:
        await client.register(agent_name=unique("agent"))
        assert isinstance(client.last_frame, str)
        client.text = False
        await client.ping()
        assert isinstance(client.last_frame, bytes)
        client.text = True
        await client.ping()
        assert isinstance(client.last_frame, str)


async def test_json_in_either_case_and_with_unknown_fields(server: Server) -> None:
    async with connected(server) as client:
        frame = '{"register": {"type": "JT_PUBLISHER", "agent_name": "%s", "brandNew": 1}}'
        await client.connection.send(frame % unique("agent"))
        await client.receive("register")
        assert '"workerId":' in str(client.last_frame).replace(" ", "")
        await client.connection.send('{"ping": {"timestamp": "12"}}')
        assert (await client.receive("pong")).last_timestamp == 12
        assert '"lastTimestamp":"12"' in str(client.last_frame).replace(" ", "")


async def test_message_size(current: Server) -> None:
    limit = 2 * 1024 * 1024
    async with worker(current, unique("agent")) as client:
        await client.send(update_job={"job_id": "AJ_none", "error": "x" * (limit - 100)})
        await client.ping()
        await client.send(update_job={"job_id": "AJ_none", "error": "x" * limit})
        assert await client.closed() == 1009


async def test_closing_is_answered_in_kind(server: Server) -> None:
    async with worker(server, unique("agent")) as client:
        await client.connection.close(code=4321)
        received = client.connection.protocol.close_rcvd
        assert received is not None
        assert (received.code, received.reason) == (4321, "")


async def test_websocket_pings(hurried: Server) -> None:
    """The server's pings are empty, and it does not mind missing answers."""
    headers = {"Authorization": f"Bearer {hurried.token()}"}
    register = WorkerMessage(register=RegisterWorkerRequest(agent_name=unique("agent")))
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{hurried.http_url}/agent", headers=headers, autoping=False) as socket,
    ):
        await socket.send_bytes(register.SerializeToString())
        await socket.receive_bytes(timeout=SOON)
        for _ in range(2):
            ping = await socket.receive(timeout=hurried.ping_s + 2)
            assert (ping.type, bytes(ping.data)) == (aiohttp.WSMsgType.PING, b"")
        await socket.send_bytes(WorkerMessage(ping=WorkerPing(timestamp=3)).SerializeToString())
        await socket.receive_bytes(timeout=SOON)


async def test_websocket_pings_are_answered(server: Server) -> None:
    async with worker(server, unique("agent")) as client, asyncio.timeout(SOON):
        await (await client.connection.ping("payload"))


async def test_two_keys_with_one_topic(server: Server) -> None:
    name = unique("agent")
    async with (
        worker(server, name),
        worker(server, name, type=JobType.JT_PUBLISHER),
        connected(server) as late,
    ):
        await late.send(register=RegisterWorkerRequest(namespace=name))
        await late.receive("register")
        assert await late.closed() == 1006


async def test_ping_message_is_echoed_after_registration(server: Server) -> None:
    async with worker(server, unique("agent")) as client:
        await client.send(ping=WorkerPing(timestamp=2**53 + 1))
        assert (await client.receive("pong")).last_timestamp == 2**53 + 1
