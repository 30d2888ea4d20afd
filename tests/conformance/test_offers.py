"""Selection, offers, answers and the job token (worker-protocol §6, §7, §10)."""

import asyncio
import time
from typing import Any

import jwt
import pytest
from livekit import api
from livekit.protocol.agent import JobStatus, JobType, WorkerStatus
from livekit.protocol.models import ParticipantInfo, ParticipantPermission, Room

from .client import SOON, Server, Worker, unique, worker
from .differences import DIFFERENCES

pytestmark = pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")


async def _dispatch(server: Server, name: str, room: str = "", **request: Any) -> Any:
    async with server.api() as client:
        return await client.agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(agent_name=name, room=room or unique("room"), **request)
        )


async def test_the_content_of_an_offer(server: Server) -> None:
    name, room = unique("agent"), unique("room")
    async with worker(server, name) as client:
        begin = time.monotonic()
        dispatch = await _dispatch(server, name, room, metadata="about", attributes={"a": "b"})
        offer = await client.receive("availability")
        least = DIFFERENCES["seconds from a dispatch to its offer, at least"][server.kind]
        assert least <= time.monotonic() - begin < least + 5
        job = offer.job
        assert not offer.resuming
        assert job.id.startswith("AJ_")
        assert job.type == JobType.JT_ROOM
        assert (job.room.name, job.agent_name, job.dispatch_id) == (room, name, dispatch.id)
        assert (job.metadata, dict(job.attributes), job.deployment) == ("about", {"a": "b"}, "")
        assert job.room.sid.startswith("RM_")
        assert not job.HasField("participant")
        assert (job.state.status, job.state.worker_id) == (JobStatus.JS_RUNNING, client.worker_id)
        assert abs(job.state.started_at - time.time_ns()) < 10e9
        assert job.state.started_at == job.state.updated_at
        assert not job.state.participant_identity


@pytest.mark.parametrize(
    ("load", "offered"), [(0.0, True), (0.69, True), (0.7, False), (0.99, False), (1.5, False), (-3.0, True)]
)
async def test_load_gate(server: Server, load: float, offered: bool) -> None:
    name = unique("agent")
    async with worker(server, name) as client:
        await client.status(load=load)
        await _dispatch(server, name)
        if offered:
            await client.offered()
        else:
            assert await client.silent()


async def test_the_gate_is_the_group_s(server: Server) -> None:
    """One worker below the gate opens it for those above; each of 40 jobs goes to one of the two."""
    name = unique("agent")
    async with worker(server, name) as low, worker(server, name) as high:
        await low.status(load=0.69)
        await high.status(load=0.75)
        takers: list[str] = []
        all_taken = asyncio.Event()

        async def take_all(client: Worker) -> None:
            while True:
                message = await client.receive_any()
                if message.HasField("availability"):
                    await client.answer(message.availability.job)
                else:
                    takers.append(client.worker_id)
                if len(takers) == 40:
                    all_taken.set()

        tasks = [asyncio.create_task(take_all(client)) for client in (low, high)]
        room = unique("room")
        for _ in range(40):
            await _dispatch(server, name, room)
        async with asyncio.timeout(SOON):
            await all_taken.wait()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert min(takers.count(client.worker_id) for client in (low, high)) >= 5


async def test_a_full_worker_is_skipped(server: Server) -> None:
    name = unique("agent")
    async with worker(server, name) as full, worker(server, name) as free:
        await full.status(status=WorkerStatus.WS_FULL)
        for _ in range(4):
            await _dispatch(server, name)
            await free.take()
        assert await full.silent(0.1)
        await full.status(load=0.0)
        await free.status(status=WorkerStatus.WS_FULL)
        await _dispatch(server, name)
        assert await full.silent(), "a load-only update leaves a worker full"


async def test_a_status_without_load_means_load_zero(server: Server) -> None:
    name = unique("agent")
    async with worker(server, name) as client:
        await client.status(load=0.95)
        await client.send(update_worker={"status": WorkerStatus.WS_AVAILABLE})
        await client.ping()
        await _dispatch(server, name)
        await client.offered()


async def test_a_rejected_job_is_offered_to_each_worker_once(server: Server) -> None:
    name = unique("agent")
    async with worker(server, name) as first, worker(server, name) as second:
        await _dispatch(server, name)
        offers = {asyncio.create_task(client.offered()): client for client in (first, second)}
        done, pending = await asyncio.wait(offers, return_when=asyncio.FIRST_COMPLETED, timeout=SOON)
        assert len(done) == 1, "only one worker is asked at a time"
        earlier = done.pop()
        await asyncio.sleep(0.1)
        assert not next(iter(pending)).done()
        await offers[earlier].answer(earlier.result(), available=False)
        later = pending.pop()
        job = await later
        assert job.id == earlier.result().id
        assert job.state.worker_id == offers[later].worker_id
        await offers[later].answer(job, available=False)
        assert await first.silent()
        assert await second.silent(0.1)


async def test_a_lost_connection_passes_the_job_on(server: Server) -> None:
    name = unique("agent")
    async with worker(server, name) as first, worker(server, name) as second:
        await _dispatch(server, name)
        offers = {asyncio.create_task(client.offered()): client for client in (first, second)}
        done, pending = await asyncio.wait(offers, return_when=asyncio.FIRST_COMPLETED, timeout=SOON)
        asked = offers[done.pop()]
        asked.connection.transport.abort()
        job = await pending.pop()
        other = second if asked is first else first
        assert job.state.worker_id == other.worker_id
        await other.answer(job)
        await other.receive("assignment")


async def test_silence_is_the_end_of_a_job(hurried: Server) -> None:
    """No other worker is asked, and the late answer is ignored."""
    name = unique("agent")
    async with worker(hurried, name) as first, worker(hurried, name) as second:
        await _dispatch(hurried, name)
        offers = {asyncio.create_task(client.offered()): client for client in (first, second)}
        done, pending = await asyncio.wait(offers, return_when=asyncio.FIRST_COMPLETED, timeout=SOON)
        task = done.pop()
        asked, other = offers[task], pending.pop()
        await asyncio.sleep(hurried.answer_s + 0.3)
        assert not other.done()
        other.cancel()
        await asyncio.wait([other])
        await asked.answer(task.result())
        assert await asked.silent(0.3)
        await asked.ping()


async def test_the_budget_is_for_all_workers_together(hurried: Server) -> None:
    """The first refuses late: the second only has the rest, and an answer after that is too late."""
    name = unique("agent")
    async with worker(hurried, name) as first, worker(hurried, name) as second:
        await _dispatch(hurried, name)
        offers = {asyncio.create_task(client.offered()): client for client in (first, second)}
        done, pending = await asyncio.wait(offers, return_when=asyncio.FIRST_COMPLETED, timeout=SOON)
        task = done.pop()
        await asyncio.sleep(hurried.answer_s * 0.3)
        await offers[task].answer(task.result(), available=False)
        late = pending.pop()
        job = await late
        await asyncio.sleep(hurried.answer_s * 0.8)
        await offers[late].answer(job)
        assert await offers[late].silent(0.5)


async def test_an_answer_within_the_budget(server: Server) -> None:
    name = unique("agent")
    async with worker(server, name) as client:
        await _dispatch(server, name)
        job = await client.offered()
        await asyncio.sleep(server.answer_s * 0.5)
        await client.answer(job)
        await client.receive("assignment")


async def test_terminate_swallows_the_job(server: Server) -> None:
    name, room = unique("agent"), unique("room")
    async with worker(server, name) as first, worker(server, name) as second:
        dispatch = await _dispatch(server, name, room)
        offers = {asyncio.create_task(client.offered()): client for client in (first, second)}
        done, pending = await asyncio.wait(offers, return_when=asyncio.FIRST_COMPLETED, timeout=SOON)
        task = done.pop()
        await offers[task].answer(task.result(), available=True, terminate=True)
        assert await offers[task].silent()
        other = pending.pop()
        assert not other.done()
        other.cancel()
        await asyncio.wait([other])
        async with server.api() as client, asyncio.timeout(SOON):
            while True:
                found = await client.agent_dispatch.get_dispatch(dispatch.id, room)
                assert found is not None
                if found.state.jobs:
                    break
                await asyncio.sleep(0.1)
        state = found.state.jobs[0].state
        assert state.status == JobStatus.JS_SUCCESS
        assert state.ended_at >= state.started_at > 0


async def test_assignment_and_token(server: Server) -> None:
    name, room = unique("agent"), unique("room")
    async with worker(server, name) as client:
        await _dispatch(server, name, room)
        before = int(time.time()) - 1
        assignment = await client.take(
            participant_identity="me",
            participant_name="My Name",
            participant_metadata="data",
            participant_attributes={"x": "y", "lk.agent_name": "forged"},
            supports_resume=True,
        )
        assert not assignment.HasField("url")
        assert assignment.job.state.participant_identity == "me"
        claims = jwt.decode(assignment.token, server.api_secret, algorithms=["HS256"])
        assert jwt.get_unverified_header(assignment.token)["alg"] == "HS256"
        issued = claims.pop("iat")
        assert before <= issued <= time.time() + 1
        assert claims == {
            "iss": server.api_key,
            "sub": "me",
            "identity": "me",
            "name": "My Name",
            "nbf": issued,
            "exp": issued + 3600,
            "kind": "agent",
            "metadata": "data",
            "attributes": {"x": "y", "lk.agent_name": name},
            "video": {
                "roomJoin": True,
                "room": room,
                "agent": True,
                "canPublish": True,
                "canSubscribe": True,
                "canPublishData": True,
                "canUpdateOwnMetadata": True,
                "canSubscribeMetrics": False,
            },
        }


async def test_the_server_accepts_an_empty_identity(server: Server) -> None:
    name = unique("agent")
    async with worker(server, name) as client:
        await _dispatch(server, name)
        assignment = await client.take(participant_identity="")
        claims = jwt.decode(assignment.token, server.api_secret, algorithms=["HS256"])
        assert not {"sub", "identity", "name", "metadata"} & set(claims)


@pytest.mark.parametrize(
    ("permissions", "granted"),
    [
        (ParticipantPermission(), set()),
        (
            ParticipantPermission(can_subscribe=True, can_subscribe_metrics=True, hidden=True),
            {"canSubscribe", "canSubscribeMetrics", "hidden"},
        ),
        (
            ParticipantPermission(
                can_update_metadata=True, recorder=True, agent=True, can_manage_agent_session=True
            ),
            {"canUpdateOwnMetadata"},
        ),
    ],
    ids=["nothing", "some", "ignored"],
)
async def test_permissions(server: Server, permissions: Any, granted: set[str]) -> None:
    name, room = unique("agent"), unique("room")
    async with worker(server, name, allowed_permissions=permissions) as client:
        await _dispatch(server, name, room)
        token = (await client.take()).token
        video = jwt.decode(token, server.api_secret, algorithms=["HS256"])["video"]
        explicit = {
            "canPublish",
            "canSubscribe",
            "canPublishData",
            "canUpdateOwnMetadata",
            "canSubscribeMetrics",
        }
        assert video == {
            "roomJoin": True,
            "room": room,
            "agent": True,
            **dict.fromkeys(explicit | granted, False),
            **dict.fromkeys(granted, True),
        }


@pytest.mark.parametrize(
    ("participant", "job_type"), [(None, JobType.JT_ROOM), ("ann", JobType.JT_PUBLISHER)]
)
async def test_simulated_jobs(server: Server, participant: str | None, job_type: int) -> None:
    """Offered to the worker that asks, even if it is full; the requested type is ignored."""
    name, room = unique("agent"), unique("room")
    async with worker(server, name) as client, worker(server, name) as other:
        await client.status(status=WorkerStatus.WS_FULL, load=1.0)
        info = ParticipantInfo(identity=participant) if participant else None
        await client.simulate(
            type=JobType.JT_PARTICIPANT, room=Room(name=room, sid="RM_mine"), participant=info
        )
        job = await client.offered()
        assert (job.type, job.room.name, job.room.sid) == (job_type, room, "RM_mine")
        assert (job.participant.identity, job.dispatch_id, job.metadata) == (participant or "", "", "")
        await client.answer(job)
        assignment = await client.receive("assignment")
        claims = jwt.decode(assignment.token, server.api_secret, algorithms=["HS256"])
        assert claims["video"]["room"] == room
        await client.simulate(room=Room(name=room))
        await client.answer(await client.offered(), available=False)
        assert await client.silent()
        assert await other.silent(0.1)


async def test_a_simulated_job_has_its_own_time(hurried: Server) -> None:
    async with worker(hurried, unique("agent")) as client:
        await client.simulate(room=Room(name=unique("room")))
        job = await client.offered()
        await asyncio.sleep(hurried.answer_s * 1.3)
        await client.answer(job)
        await client.receive("assignment")


async def test_a_simulated_job_without_a_room(server: Server) -> None:
    if DIFFERENCES["simulate a job without a room"][server.kind] == "exits":
        pytest.skip("this request ends the real server's whole process")
    async with worker(server, unique("agent")) as client:
        await client.simulate()
        await client.simulate(type=JobType.JT_PUBLISHER, participant=ParticipantInfo(identity="ann"))
        assert await client.silent()
        await client.ping()


@pytest.mark.parametrize("request_fields", [{"agent_name": "x"}, {}], ids=["deployment", "none"])
async def test_deployments_match_exactly(server: Server, request_fields: dict[str, str]) -> None:
    name = unique("agent")
    async with worker(server, name) as plain, worker(server, name, deployment="blue") as blue:
        wanted, other = (blue, plain) if request_fields else (plain, blue)
        await _dispatch(server, name, deployment="blue" if request_fields else "")
        assert (await wanted.offered()).deployment == ("blue" if request_fields else "")
        assert await other.silent()


async def test_each_namespace_gets_its_own_job(server: Server) -> None:
    name, space = unique("agent"), unique("space")
    async with worker(server, name) as plain, worker(server, name, namespace=space) as spaced:
        await _dispatch(server, name)
        jobs = [await plain.offered(), await spaced.offered()]
        assert jobs[0].id != jobs[1].id
        assert [job.namespace for job in jobs] == ["", space]
