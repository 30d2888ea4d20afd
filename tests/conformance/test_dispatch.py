"""Rooms, dispatches, the ends of jobs, and the API over HTTP (worker-protocol §8, §9, §11)."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from livekit import api
from livekit.protocol.agent import JobStatus, JobType

from .client import SOON, Server, unique, worker
from .differences import DIFFERENCES

pytestmark = pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")

_UNKNOWN = "twirp error unknown: "
"""What the server puts before the words of a service behind its API."""


@asynccontextmanager
async def _failing(code: str, status: int, msg: str | None = None) -> AsyncIterator[None]:
    with pytest.raises(api.TwirpError) as failure:
        yield
    assert (failure.value.code, failure.value.status) == (code, status), failure.value
    assert msg is None or failure.value.message == msg


async def _post(
    server: Server, method: str, body: Any, *, kind: str = "application/json", token: str | None = None
) -> tuple[int, Any]:
    headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.http_url}/twirp/livekit.{method}", data=data, headers=headers) as response,
    ):
        text = await response.text()
        if text.startswith("{"):
            assert response.headers["Content-Type"] == "application/json"
        return response.status, json.loads(text) if text.startswith("{") else text


def _token(server: Server, **video: Any) -> str:
    return server.token(video=video)


async def _create(client: api.LiveKitAPI, name: str, room: str, **request: Any) -> Any:
    return await client.agent_dispatch.create_dispatch(
        api.CreateAgentDispatchRequest(agent_name=name, room=room, **request)
    )


async def _jobs(client: api.LiveKitAPI, dispatch_id: str, room: str) -> Any:
    """Return the dispatch's jobs, once there are some."""
    async with asyncio.timeout(SOON):
        while True:
            found = await client.agent_dispatch.get_dispatch(dispatch_id, room)
            assert found is not None
            if found.state.jobs:
                return found.state.jobs
            await asyncio.sleep(0.1)


# -- which jobs a room makes ---------------------------------------------------------------------------


@pytest.mark.parametrize("agents", [[], [{}]], ids=["none", "an empty entry"])
async def test_implicit_dispatch(server: Server, agents: list[Any]) -> None:
    room = unique("room")
    async with server.api() as client, worker(server, "") as unnamed, worker(server, unique("a")) as named:
        await client.room.create_room(
            api.CreateRoomRequest(name=room, agents=[api.RoomAgentDispatch(**agent) for agent in agents])
        )
        job = await unnamed.offered()
        assert (job.room.name, job.agent_name) == (room, "")
        await unnamed.answer(job)
        await unnamed.receive("assignment")
        assert await named.silent()


async def test_explicit_dispatch_in_the_room(server: Server) -> None:
    """No implicit dispatch beside it, and an entry with a bad deployment is ignored."""
    room, name = unique("room"), unique("agent")
    async with server.api() as client, worker(server, "") as unnamed, worker(server, name) as named:
        entries = [
            api.RoomAgentDispatch(agent_name=name, metadata="m", attributes={"k": "v"}),
            api.RoomAgentDispatch(agent_name=name, deployment="not_allowed"),
        ]
        await client.room.create_room(api.CreateRoomRequest(name=room, agents=entries))
        assignment = await named.take()
        assert (assignment.job.metadata, dict(assignment.job.attributes)) == ("m", {"k": "v"})
        assert await unnamed.silent()
        assert await named.silent(0.1)
        assert len(await client.agent_dispatch.list_dispatch(room)) == 1


async def test_only_the_creator_s_agents_count(server: Server) -> None:
    room, name = unique("room"), unique("agent")
    async with server.api() as client, worker(server, name) as named:
        first = await client.room.create_room(api.CreateRoomRequest(name=room))
        entries = [api.RoomAgentDispatch(agent_name=name)]
        again = await client.room.create_room(api.CreateRoomRequest(name=room, agents=entries))
        assert again.sid == first.sid
        assert await named.silent()


async def test_create_dispatch_makes_the_room_and_fires_the_implicit_one(server: Server) -> None:
    room, name = unique("room"), unique("agent")
    async with server.api() as client, worker(server, "") as unnamed, worker(server, name) as named:
        dispatch = await _create(client, name, room)
        assert (await named.take()).job.dispatch_id == dispatch.id
        implicit = (await unnamed.take()).job
        assert implicit.room.name == room
        found = await client.agent_dispatch.list_dispatch(room)
        assert {item.id for item in found} == {dispatch.id, implicit.dispatch_id}


async def test_a_worker_that_comes_late_gets_nothing(server: Server) -> None:
    room, name = unique("room"), unique("agent")
    async with server.api() as client:
        dispatch = await _create(client, name, room)
        await asyncio.sleep(0.5)
        async with worker(server, name) as late:
            assert await late.silent()
            found = await client.agent_dispatch.get_dispatch(dispatch.id, room)
            assert found is not None
            assert not found.state.jobs


async def test_each_type_gets_its_own_kind(server: Server) -> None:
    """A room without participants has only room jobs."""
    name = unique("agent")
    async with (
        server.api() as client,
        worker(server, name, type=JobType.JT_ROOM) as for_room,
        worker(server, name, type=JobType.JT_PARTICIPANT) as for_participant,
        worker(server, name, type=JobType.JT_PUBLISHER) as for_publisher,
    ):
        await _create(client, name, unique("room"))
        assert (await for_room.take()).job.type == JobType.JT_ROOM
        assert await for_participant.silent()
        assert await for_publisher.silent(0.1)


# -- how jobs end --------------------------------------------------------------------------------------


async def test_deleting_a_dispatch_terminates_its_jobs(server: Server) -> None:
    room, name = unique("room"), unique("agent")
    async with server.api() as client, worker(server, name) as named:
        dispatch = await _create(client, name, room)
        job = (await named.take()).job
        jobs = await _jobs(client, dispatch.id, room)
        assert [(item.id, item.state.status) for item in jobs] == [(job.id, JobStatus.JS_RUNNING)]
        deleted = await client.agent_dispatch.delete_dispatch(dispatch.id, room)
        assert deleted.id == dispatch.id
        assert (await named.receive("termination")).job_id == job.id
        assert await client.agent_dispatch.get_dispatch(dispatch.id, room) is None
        await named.update_job(job.id, JobStatus.JS_SUCCESS)
        async with _failing("not_found", 404, f"{_UNKNOWN}dispatch ID not found"):
            await client.agent_dispatch.delete_dispatch(dispatch.id, room)


@pytest.mark.parametrize("status", [JobStatus.JS_SUCCESS, JobStatus.JS_FAILED])
async def test_a_job_that_ended_is_not_terminated(server: Server, status: int) -> None:
    """The worker's own update does not appear in the dispatch."""
    room, name = unique("room"), unique("agent")
    async with server.api() as client, worker(server, name) as named:
        dispatch = await _create(client, name, room)
        job = (await named.take()).job
        await named.update_job(job.id, status, "why")
        jobs = await _jobs(client, dispatch.id, room)
        assert (jobs[0].state.status, jobs[0].state.error) == (JobStatus.JS_RUNNING, "")
        await client.agent_dispatch.delete_dispatch(dispatch.id, room)
        assert await named.silent()


async def test_a_job_update_that_is_not_final_ends_nothing(server: Server) -> None:
    room, name = unique("room"), unique("agent")
    async with server.api() as client, worker(server, name) as named:
        dispatch = await _create(client, name, room)
        job = (await named.take()).job
        await named.update_job(job.id, JobStatus.JS_PENDING)
        await named.update_job(job.id, JobStatus.JS_RUNNING)
        await _jobs(client, dispatch.id, room)
        await client.agent_dispatch.delete_dispatch(dispatch.id, room)
        assert (await named.receive("termination")).job_id == job.id


async def test_a_dead_worker_s_job_stays(server: Server) -> None:
    """It is not offered again, and deleting its dispatch sends no message."""
    room, name = unique("room"), unique("agent")
    async with server.api() as client, worker(server, name) as other:
        await other.status(load=0.6999)
        async with worker(server, name) as dying:
            dispatch = await _create(client, name, room)
            offers = {asyncio.create_task(item.offered()): item for item in (dying, other)}
            done, pending = await asyncio.wait(offers, return_when=asyncio.FIRST_COMPLETED, timeout=SOON)
            task = done.pop()
            await offers[task].answer(task.result())
            await offers[task].receive("assignment")
            await _jobs(client, dispatch.id, room)
            survivor = offers[waiting := pending.pop()]
            waiting.cancel()
            await asyncio.wait([waiting])
            await offers[task].connection.close()
            assert await survivor.silent()
            jobs = await _jobs(client, dispatch.id, room)
            assert jobs[0].state.worker_id == offers[task].worker_id
            assert jobs[0].state.status == JobStatus.JS_RUNNING
            await client.agent_dispatch.delete_dispatch(dispatch.id, room)
            assert await survivor.silent()


async def test_deleting_a_room_says_nothing_to_an_agent_that_never_joined(server: Server) -> None:
    room, name = unique("room"), unique("agent")
    async with server.api() as client, worker(server, name) as named:
        dispatch = await _create(client, name, room)
        await named.take()
        await _jobs(client, dispatch.id, room)
        await client.room.delete_room(api.DeleteRoomRequest(room=room))
        assert await named.silent()
        found = await client.room.list_rooms(api.ListRoomsRequest(names=[room]))
        assert not found.rooms


# -- the API over HTTP ---------------------------------------------------------------------------------


async def test_rooms(server: Server) -> None:
    room, other = unique("room"), unique("room")
    async with server.api() as client:
        made = await client.room.create_room(
            api.CreateRoomRequest(name=room, metadata="m", empty_timeout=70, max_participants=3)
        )
        assert made.sid.startswith("RM_")
        assert (made.name, made.metadata, made.empty_timeout, made.max_participants) == (room, "m", 70, 3)
        assert made.departure_timeout == 20
        assert abs(made.creation_time_ms - made.creation_time * 1000) < 1000
        await client.room.create_room(api.CreateRoomRequest(name=other))
        listed = await client.room.list_rooms(api.ListRoomsRequest(names=[room]))
        assert [item.sid for item in listed.rooms] == [made.sid]
        everything = await client.room.list_rooms(api.ListRoomsRequest())
        assert {room, other} <= {item.name for item in everything.rooms}
        for name in (room, other):
            await client.room.delete_room(api.DeleteRoomRequest(room=name))
        async with _failing("not_found", 404, f"{_UNKNOWN}requested room does not exist"):
            await client.room.delete_room(api.DeleteRoomRequest(room=room))


async def test_dispatch_records(server: Server) -> None:
    room = unique("room")
    async with server.api() as client:
        made = await _create(client, "x", room, metadata="m", deployment="blue", attributes={"k": "v"})
        assert made.id.startswith("AD_")
        assert (made.agent_name, made.room, made.metadata, made.deployment) == ("x", room, "m", "blue")
        assert dict(made.attributes) == {"k": "v"}
        assert made.state.created_at > 10**18
        assert not made.state.jobs
        found = await client.agent_dispatch.get_dispatch(made.id, room)
        assert found is not None
        assert found.id == made.id
        assert await client.agent_dispatch.get_dispatch("AD_unknown", room) is None
        async with _failing("not_found", 404):
            await client.agent_dispatch.delete_dispatch("AD_unknown", room)


async def test_dispatches_of_an_unknown_room(server: Server) -> None:
    code, status = DIFFERENCES["list dispatches of an unknown room"][server.kind]
    async with server.api() as client:
        async with _failing(code, status):
            await client.agent_dispatch.list_dispatch(unique("room"))
        async with _failing(code, status):
            await client.agent_dispatch.delete_dispatch("AD_unknown", unique("room"))


@pytest.mark.parametrize(
    ("request_fields", "msg"),
    [
        ({"deployment": "a_b"}, "deployment contains reserved character '_'"),
        ({"deployment": "a" * 65}, "deployment exceeds 64 bytes"),
        ({"deployment": "a b"}, "deployment contains whitespace or control byte at position 1"),
        ({"metadata": "x" * (512 * 1024 + 1)}, "metadata size exceeds limits"),
        ({"attributes": {"k": "x" * 64 * 1024}}, "attribute size exceeds limits"),
    ],
    ids=["underscore", "long", "space", "metadata", "attributes"],
)
async def test_dispatch_limits(server: Server, request_fields: Mapping[str, Any], msg: str) -> None:
    async with server.api() as client, _failing("invalid_argument", 400, _UNKNOWN + msg):
        await _create(client, "x", unique("room"), **request_fields)


async def test_room_limits(server: Server) -> None:
    async with server.api() as client:
        async with _failing(
            "invalid_argument", 400, f"{_UNKNOWN}room name length exceeds limits: max length 256"
        ):
            await client.room.create_room(api.CreateRoomRequest(name="r" * 257))
        async with _failing("invalid_argument", 400, "metadata size exceeds limits 524288"):
            await client.room.create_room(
                api.CreateRoomRequest(name=unique("room"), metadata="x" * (512 * 1024 + 1))
            )


async def test_json(server: Server) -> None:
    """Names in snake case, defaults included, 64-bit numbers as text; input in either case."""
    room = unique("room")
    token = _token(server, roomAdmin=True, room=room)
    body = {"agentName": "x", "room": room, "brandNew": 1}
    status, made = await _post(server, "AgentDispatchService/CreateDispatch", body, token=token)
    assert status == 200
    assert (made["agent_name"], made["room"], made["metadata"], made["deployment"]) == ("x", room, "", "")
    assert made["attributes"] == {}
    assert made["state"]["jobs"] == []
    assert isinstance(made["state"]["created_at"], str)
    body = {"room": room, "dispatch_id": made["id"]}
    status, listed = await _post(server, "AgentDispatchService/ListDispatch", body, token=token)
    assert [item["id"] for item in listed["agent_dispatches"]] == [made["id"]]


@pytest.mark.parametrize(
    ("method", "video"),
    [
        ("AgentDispatchService/CreateDispatch", {}),
        ("AgentDispatchService/CreateDispatch", {"roomAdmin": True}),
        ("AgentDispatchService/CreateDispatch", {"roomAdmin": True, "room": "other"}),
        ("AgentDispatchService/CreateDispatch", {"room": "here"}),
        ("AgentDispatchService/ListDispatch", {"roomAdmin": True, "room": "other"}),
        ("AgentDispatchService/DeleteDispatch", {"agent": True}),
        ("RoomService/CreateRoom", {"roomAdmin": True, "room": "here"}),
        ("RoomService/ListRooms", {"roomCreate": True}),
        ("RoomService/DeleteRoom", {"roomList": True}),
    ],
)
async def test_grants(server: Server, method: str, video: dict[str, Any]) -> None:
    denied = (401, {"code": "unauthenticated", "msg": "permissions denied"})
    assert await _post(server, method, {"room": "here"}, token=_token(server, **video)) == denied
    assert await _post(server, method, {"room": "here"}) == denied


async def test_a_bad_token_is_refused_before_the_method_is_checked(server: Server) -> None:
    expected = (401, "invalid authorization token")
    assert await _post(server, "RoomService/ListRooms", {}, token="nonsense") == expected


@pytest.mark.parametrize(
    ("method", "body", "kind", "status", "code", "msg"),
    [
        ("RoomService/NoSuch", {}, "application/json", 404, "bad_route", None),
        (
            "RoomService/ListRooms",
            {},
            "text/plain",
            404,
            "bad_route",
            'unexpected Content-Type: "text/plain"',
        ),
        (
            "RoomService/ListRooms",
            b"{",
            "application/json",
            400,
            "malformed",
            "the json request could not be decoded",
        ),
        (
            "RoomService/ListRooms",
            b"\xff\xff",
            "application/protobuf",
            400,
            "malformed",
            "the protobuf request could not be decoded",
        ),
    ],
    ids=["method", "type", "json", "protobuf"],
)
async def test_twirp_errors(
    server: Server, method: str, body: Any, kind: str, status: int, code: str, msg: str | None
) -> None:
    token = _token(server, roomList=True)
    got, answer = await _post(server, method, body, kind=kind, token=token)
    assert (got, answer["code"]) == (status, code)
    assert msg is None or answer["msg"] == msg


async def test_services_that_need_media(server: Server) -> None:
    code, status = DIFFERENCES["method of another service"][server.kind]
    token = _token(server, roomRecord=True)
    got, answer = await _post(server, "Egress/ListEgress", {}, token=token)
    assert (got, answer["code"]) == (status, code)


async def test_only_post(server: Server) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.http_url}/twirp/livekit.RoomService/ListRooms") as response,
    ):
        answer = await response.json()
        assert (response.status, answer["code"]) == (404, "bad_route")
        assert answer["meta"] == {"twirp_invalid_route": "GET /twirp/livekit.RoomService/ListRooms"}


AT_ONCE = 20
"""A dispatch to a real server takes 0.2 s."""


@pytest.mark.parametrize("named", [True, False])
async def test_a_deployment_separates_two_workers_of_one_agent(server: Server, named: bool) -> None:
    """200 dispatches each: half by creating the room, half by CreateDispatch into a room that exists."""
    name, deployment = unique("agent") if named else "", unique("dev")
    async with (
        server.api() as client,
        worker(server, name) as production,
        worker(server, name, deployment=deployment) as development,
    ):

        async def dispatch(key: str) -> str:
            room = unique("room")
            entries = [api.RoomAgentDispatch(agent_name=name, deployment=key)]
            await client.room.create_room(api.CreateRoomRequest(name=room, agents=entries))
            await _create(client, name, room, deployment=key)
            return room

        for wanted, key in ((production, ""), (development, deployment)):
            for _ in range(100 // AT_ONCE):
                making = [asyncio.create_task(dispatch(key)) for _ in range(AT_ONCE)]
                taken: list[str] = []
                while len(taken) < 2 * AT_ONCE:
                    message = await wanted.receive_any()
                    if message.WhichOneof("message") == "availability":
                        job = message.availability.job
                        assert job.deployment == key
                        taken.append(job.room.name)
                        await wanted.answer(job)
                assert sorted(taken) == sorted([await each for each in making] * 2)
        for each in (production, development):
            async with asyncio.timeout(SOON):
                while not await each.silent(0.3):
                    pass  # the last assignments
