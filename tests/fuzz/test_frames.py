"""2,000 mutated frames at each place where foreign bytes come in (AGENT_TUI_FUZZ_FRAMES, …_SEED)."""

import asyncio
import types
import typing
from collections import Counter
from enum import Enum
from typing import Any, get_args

import aiohttp
import msgspec
import pytest
from livekit.protocol import agent, models

from agent_tui.engine.endpoint import WorkerInfo
from agent_tui.engine.info_server import InfoServer
from agent_tui.local_server.server import LocalServer
from agent_tui.model import child as ch
from agent_tui.model.clock import SystemClock
from agent_tui.model.codec import CodecError
from agent_tui.model.errors import UserError
from agent_tui.runtimes.channel import MAX_LINE, LineBuffer, decode, encode_line
from agent_tui.worker.messages import Registration, Reject
from agent_tui.worker.protocol import Timings, WorkerProtocol
from tests.fuzz.mutate import FRAMES, mutated, tell
from tests.local_server.wire import worker_token

JOB = agent.Job(
    id="AJ_1",
    dispatch_id="AD_1",
    type=agent.JobType.JT_ROOM,
    room=models.Room(sid="RM_1", name="room", metadata="{}"),
    metadata="some",
    agent_name="bob",
    participant=models.ParticipantInfo(identity="alice"),
)


# -- the worker's connection ---------------------------------------------------------------------------

INFO = models.ServerInfo(version="1.13.5", protocol=16, node_id="n")
SERVER_SAYS = [
    message.SerializeToString()
    for message in (
        agent.ServerMessage(register=agent.RegisterWorkerResponse(worker_id="AW_1", server_info=INFO)),
        agent.ServerMessage(availability=agent.AvailabilityRequest(job=JOB)),
        agent.ServerMessage(assignment=agent.JobAssignment(job=JOB, token="t.t.t", url="ws://h")),
        agent.ServerMessage(termination=agent.JobTermination(job_id="AJ_1")),
        agent.ServerMessage(pong=agent.WorkerPong(last_timestamp=1, timestamp=2)),
    )
]


def test_at_the_workers_connection() -> None:
    seen: Counter[str] = Counter()
    protocol = worker()
    for number, frame in enumerate(mutated(SERVER_SAYS)):
        now = number * 0.01
        protocol.receive(frame if number % 50 else frame.decode("utf-8", "replace"), now, 1e9 + now)
        events = protocol.events_received()
        seen.update(type(event).__name__ for event in events)
        for job_id in list(protocol.open_offers):
            protocol.answer(job_id, Reject())
        protocol.data_to_send()
        if number % 11 == 0:
            protocol.tick(now + 60)
            seen.update(type(event).__name__ for event in protocol.events_received())
        if number % 7 == 0 or protocol.next_deadline() is None:
            protocol = worker(registered=number % 2 == 0)
    tell("worker's connection", seen)
    assert {"Registered", "Offer", "Assigned", "Terminated", "Undecodable", "Dead"} <= set(seen)


def worker(*, registered: bool = True) -> WorkerProtocol:
    protocol = WorkerProtocol(Registration("bob"), Timings())
    protocol.register(0.0)
    if registered:
        protocol.receive(SERVER_SAYS[0], 0.0, 1e9)
        protocol.events_received()
    return protocol


# -- the local server ----------------------------------------------------------------------------------

MAY = models.ParticipantPermission(can_publish=True, agent=True)
DONE = agent.JobStatus.JS_SUCCESS
WORKER_SAYS = [
    message.SerializeToString()
    for message in (
        agent.WorkerMessage(register=agent.RegisterWorkerRequest(version="1.0", allowed_permissions=MAY)),
        agent.WorkerMessage(availability=agent.AvailabilityResponse(job_id="AJ_1", available=True)),
        agent.WorkerMessage(update_worker=agent.UpdateWorkerStatus(load=0.5, job_count=1)),
        agent.WorkerMessage(update_job=agent.UpdateJobStatus(job_id="AJ_1", status=DONE)),
        agent.WorkerMessage(ping=agent.WorkerPing(timestamp=1)),
        agent.WorkerMessage(simulate_job=agent.SimulateJobRequest(room=models.Room(name="room"))),
        agent.WorkerMessage(migrate_job=agent.MigrateJobRequest(job_ids=["AJ_1"])),
    )
]


@pytest.mark.real
@pytest.mark.timeout(120)
async def test_at_the_local_server() -> None:
    seen: Counter[str] = Counter()
    clock = SystemClock()
    async with LocalServer(port=0, clock=clock) as server, aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {worker_token(server, clock.time())}"}
        url = server.url.replace("ws", "http", 1) + "/agent"
        socket: Any = None
        for frame in mutated(WORKER_SAYS):
            if socket is None or socket.closed:
                socket = await session.ws_connect(url, headers=headers)
                seen["connected"] += 1
                if seen["connected"] % 2:
                    await socket.send_bytes(WORKER_SAYS[0])
            try:
                await socket.send_bytes(frame)
                await socket.send_bytes(agent.WorkerMessage(ping=agent.WorkerPing()).SerializeToString())
            except (aiohttp.ClientError, ConnectionError):
                socket = None
                continue
            while True:
                answer = await socket.receive(timeout=10)
                if answer.type is not aiohttp.WSMsgType.BINARY:
                    seen[f"dropped ({answer.type.name})"] += 1
                    await socket.close()
                    break
                kind = agent.ServerMessage.FromString(answer.data).WhichOneof("message") or ""
                seen[kind] += 1
                if kind == "pong":
                    break
        tell("local server", seen)
        assert {"register", "pong", "availability"} <= set(seen)
        assert any(kind.startswith("dropped") for kind in seen)
        async with session.ws_connect(url, headers=headers) as last:
            await last.send_bytes(WORKER_SAYS[0])
            assert agent.ServerMessage.FromString((await last.receive()).data).HasField("register")


# -- the child's channel -------------------------------------------------------------------------------


def example(hint: Any) -> Any:
    """A plain value of that type, as a child would write it."""
    origin, arguments = typing.get_origin(hint), get_args(hint)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        hints = typing.get_type_hints(hint)
        return {name: example(hints[name]) for name in hint.__struct_fields__}
    if origin in (types.UnionType, typing.Union):
        return example(arguments[0])
    if isinstance(hint, type) and issubclass(hint, Enum):
        return next(iter(hint)).value
    if origin is tuple:
        return [example(arguments[0])]
    if origin is not None:
        return {"key": example(arguments[1])}
    return {str: "text", int: 7, float: 1.5, bool: True, bytes: "AA=="}.get(hint)


def case(cls: type) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in cls.__name__).lstrip("_")


CHILD_SAYS = [encode_line(case(each), example(each)) for each in get_args(ch.FromChild)]


def test_at_the_childs_channel() -> None:
    seen: Counter[str] = Counter()
    buffer = LineBuffer(lambda size: pytest.fail(f"a line of {size} bytes"))
    for frame in mutated(CHILD_SAYS):
        for line in buffer.feed(frame + b"\n"):
            try:
                seen[type(decode(line)).__name__] += 1
            except CodecError as error:
                seen["refused" if "\n" not in str(error) else "more than a line"] += 1
    tell("child's channel", seen)
    assert {each.__name__ for each in get_args(ch.FromChild)} <= set(seen)
    assert seen["refused"] > FRAMES / 4
    assert "more than a line" not in seen


def test_an_endless_line_is_not_kept() -> None:
    oversize: list[int] = []
    buffer = LineBuffer(oversize.append)
    for _ in range(MAX_LINE // 65_536 * 2):
        assert buffer.feed(b"x" * 65_536) == []
        assert len(buffer._buffer) <= MAX_LINE + 65_536
    assert buffer.feed(b"\nnext\n") == [b"next"]
    assert oversize == [MAX_LINE * 2]


# -- the HTTP port ---------------------------------------------------------------------------------------

REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /worker HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"POST /worker HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody",
    b"GET /no?x=%00 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    b"HEAD / HTTP/1.0\r\n\r\n",
]


@pytest.mark.real
@pytest.mark.timeout(180)
async def test_at_the_http_port() -> None:
    seen: Counter[str] = Counter()
    info = WorkerInfo(
        "", "JT_ROOM", 0, "", 0.0, agent_name_is_env=False, deployment="", project_type="python"
    )
    server = InfoServer(host="127.0.0.1", port=0, health=lambda: None, info=lambda: info)
    await server.start()
    limit = asyncio.Semaphore(32)

    async def request(frame: bytes) -> None:
        async with limit:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            try:
                writer.write(frame)
                try:
                    answer = await asyncio.wait_for(reader.read(65_536), 0.1)
                except TimeoutError:  # it is not a whole request: only the end of the connection follows
                    writer.write_eof()
                    answer = await asyncio.wait_for(reader.read(65_536), 30)
                seen[answer[9:12].decode() if answer.startswith(b"HTTP/") else "closed"] += 1
            except ConnectionError:
                seen["reset"] += 1
            finally:
                writer.close()

    try:
        frames = list(mutated(REQUESTS))
        for begin in range(0, len(frames), 500):
            await asyncio.gather(*map(request, frames[begin : begin + 500]))
        tell("HTTP port", seen)
        assert {"200", "400", "404", "405"} <= set(seen)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(REQUESTS[0])
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
        writer.close()
    finally:
        await server.close()


def test_an_invalid_registration_is_refused_before_it_is_sent() -> None:
    with pytest.raises(UserError):
        Registration(deployment="a b")
