"""Simulated participants, unassigned jobs, and the ends of rooms, on the wire with the embedded server."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from livekit import api
from livekit.protocol.agent import AvailabilityResponse, JobStatus, JobType, UpdateWorkerStatus, WorkerStatus
from livekit.protocol.models import ParticipantInfo

from agent_tui.local_server.connection import Timings
from agent_tui.local_server.dispatcher import Reason, Unassigned
from agent_tui.local_server.pool import PoolKey
from agent_tui.local_server.rooms import Room
from agent_tui.local_server.server import LocalServer

from .wire import FakeClock, registered, until


class World:
    """A server, its reports of unassigned jobs, and its clock."""

    def __init__(self) -> None:
        self.clock = FakeClock(time.time())
        self.told: list[tuple[Any, Unassigned]] = []
        timings = Timings(answer_budget_s=0.15, room_check_s=0.01)
        self.server = LocalServer(
            clock=self.clock, timings=timings, on_unassigned=lambda job, why: self.told.append((job, why))
        )

    def worker(self, **request: Any) -> Any:
        return registered(self.server, now=self.clock.now, **request)

    def api(self) -> api.LiveKitAPI:
        return api.LiveKitAPI(self.server.url, self.server.api_key, self.server.api_secret)

    async def room(self, **request: Any) -> Room:
        async with self.api() as client:
            await client.room.create_room(api.CreateRoomRequest(name="r", **request))
        room: Room = self.server.rooms["r"]
        return room

    async def dispatch(self, name: str, **request: Any) -> Any:
        async with self.api() as client:
            wanted = api.CreateAgentDispatchRequest(agent_name=name, room="r", **request)
            return await client.agent_dispatch.create_dispatch(wanted)

    async def why(self) -> Unassigned:
        await until(lambda: self.told)
        _, why = self.told.pop()
        assert not self.told
        return why


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    async with world.server:
        yield world


# -- participants --------------------------------------------------------------------------------------


async def test_participant_jobs(world: World) -> None:
    async with world.worker(agent_name="x", type=JobType.JT_PARTICIPANT) as wire:
        room = await world.room(agents=[api.RoomAgentDispatch(agent_name="x", metadata="m")])
        room.join("ann", name="Ann", metadata="hers", attributes={"k": "v"})
        job = (await wire.take()).job
        assert (job.type, job.metadata) == (JobType.JT_PARTICIPANT, "m")
        person = job.participant
        assert (person.identity, person.name, person.metadata) == ("ann", "Ann", "hers")
        assert (dict(person.attributes), person.state) == ({"k": "v"}, ParticipantInfo.JOINING)
        assert job.room.num_participants == 1
        room.join("bob")
        assert (await wire.take()).job.participant.identity == "bob"
        room.leave("ann")
        await wire.synced()
        room.join("ann")
        assert (await wire.take()).job.participant.identity == "ann"


async def test_publisher_jobs(world: World) -> None:
    """One for the first track of each session."""
    async with world.worker(agent_name="x", type=JobType.JT_PUBLISHER) as wire:
        room = await world.room(agents=[api.RoomAgentDispatch(agent_name="x")])
        room.join("ann")
        await wire.synced()
        room.publish("ann")
        room.publish("ann")
        job = (await wire.take()).job
        assert (job.type, job.participant.identity) == (JobType.JT_PUBLISHER, "ann")
        assert job.participant.is_publisher
        await wire.synced()
        room.join("ann")
        room.publish("ann")
        assert (await wire.take()).job.participant.identity == "ann"
        assert room.info.num_publishers == 1


async def test_a_late_dispatch_reaches_those_present(world: World) -> None:
    async with (
        world.worker(agent_name="x", type=JobType.JT_PARTICIPANT) as participants,
        world.worker(agent_name="x", type=JobType.JT_PUBLISHER) as publishers,
        world.worker(agent_name="x") as rooms,
    ):
        room = await world.room()
        room.join("ann")
        room.join("bob")
        room.publish("bob")
        await world.dispatch("x")
        found = {(await participants.offered()).participant.identity for _ in range(2)}
        assert found == {"ann", "bob"}
        assert (await publishers.take()).job.participant.identity == "bob"
        assert not (await rooms.take()).job.HasField("participant")
        for wire in (participants, publishers, rooms):
            await wire.synced()


async def test_agents_trigger_nothing_and_keep_nothing(world: World) -> None:
    async with world.worker(agent_name="x", type=JobType.JT_PARTICIPANT) as wire:
        room = await world.room(agents=[api.RoomAgentDispatch(agent_name="x")], empty_timeout=30)
        room.join("robot", agent=True)
        room.publish("robot")
        await wire.synced()
        assert room.info.num_participants == 0
        world.clock.now += 31
        await until(lambda: "r" not in world.server.rooms)


async def test_an_agent_that_leaves_fails_its_job(world: World) -> None:
    async with world.worker(agent_name="x") as wire:
        dispatch = await world.dispatch("x")
        job = (await wire.take()).job
        room = world.server.rooms["r"]
        identity = job.state.participant_identity
        await until(lambda: any(item.state.jobs for item in room.dispatches))
        room.join(identity, agent=True)
        assert list(world.server.workers[0].running) == [job.id]
        room.leave(identity)
        assert (await wire.receive("termination")).job_id == job.id
        assert not world.server.workers[0].running
        assert dispatch.id in {item.id for item in room.dispatches}


async def test_deleting_the_room_ends_the_jobs_of_agents_that_joined(world: World) -> None:
    async with world.worker(agent_name="x") as wire:
        await world.dispatch("x")
        first = (await wire.take()).job
        await world.dispatch("x")
        second = (await wire.take()).job
        room = world.server.rooms["r"]
        await until(lambda: sum(len(item.state.jobs) for item in room.dispatches) == 2)
        room.join(second.state.participant_identity, agent=True)
        async with world.api() as client:
            await client.room.delete_room(api.DeleteRoomRequest(room="r"))
        assert (await wire.receive("termination")).job_id == second.id
        await wire.synced()
        assert list(world.server.workers[0].running) == [first.id]


async def test_deleting_a_dispatch_takes_its_agent_out_of_the_room(world: World) -> None:
    async with world.worker(agent_name="x") as wire:
        dispatch = await world.dispatch("x")
        identity = (await wire.take()).job.state.participant_identity
        room = world.server.rooms["r"]
        await until(lambda: any(item.state.jobs for item in room.dispatches))
        room.join(identity, agent=True)
        room.join("ann")
        async with world.api() as client:
            await client.agent_dispatch.delete_dispatch(dispatch.id, "r")
        await wire.receive("termination")
        with pytest.raises(KeyError):
            room.leave(identity)
        assert room.info.num_participants == 1


async def test_a_job_still_being_offered_is_terminated_too(world: World) -> None:
    async with world.worker(agent_name="x") as wire:
        dispatch = await world.dispatch("x")
        job = await wire.offered()
        async with world.api() as client:
            await client.agent_dispatch.delete_dispatch(dispatch.id, "r")
        await wire.send(availability=AvailabilityResponse(job_id=job.id, available=True))
        await wire.receive("assignment")
        assert (await wire.receive("termination")).job_id == job.id


async def test_unknown_participants(world: World) -> None:
    room = await world.room()
    with pytest.raises(KeyError):
        room.leave("ann")
    with pytest.raises(KeyError):
        room.publish("ann")
    with pytest.raises(ValueError, match="identity cannot be empty"):
        room.join("")


async def test_rooms_end_when_everyone_has_left(world: World) -> None:
    room = await world.room(empty_timeout=100, departure_timeout=10)
    world.clock.now += 99
    room.join("ann")
    world.clock.now += 1000
    assert not room.expired
    room.leave("ann")
    world.clock.now += 9
    await asyncio.sleep(0.03)
    assert "r" in world.server.rooms
    world.clock.now += 1
    await until(lambda: "r" not in world.server.rooms)


# -- jobs that no worker accepts ----------------------------------------------------------------------


async def test_no_worker_of_that_name(world: World) -> None:
    async with world.worker(agent_name="other"):
        await world.dispatch("x", deployment="blue")
        why = await world.why()
        assert why.reason is Reason.NO_WORKER
        assert why.text == (
            "no worker 'x' (JT_ROOM, deployment 'blue') is registered; registered: 'other' (JT_ROOM)"
        )
        assert why.loads == {}


async def test_the_room_of_a_dispatch_is_not_reported(world: World) -> None:
    async with world.worker(agent_name="x") as wire:
        await world.dispatch("x")
        await wire.take()
        await wire.synced()
        assert not world.told


async def test_a_room_without_agents_and_no_unnamed_worker(world: World) -> None:
    await world.room()
    why = await world.why()
    assert why.text == "no worker without a name (JT_ROOM) is registered; registered: none at all"


async def test_a_worker_that_waits_for_participants_is_not_missing(world: World) -> None:
    async with world.worker(type=JobType.JT_PARTICIPANT) as wire:
        room = await world.room()
        room.join("ann")
        await wire.take()
        assert not world.told


async def test_all_above_the_gate(world: World) -> None:
    async with world.worker(agent_name="x") as busy, world.worker(agent_name="x") as full:
        await busy.send(update_worker=UpdateWorkerStatus(load=0.75))
        await full.send(update_worker=UpdateWorkerStatus(status=WorkerStatus.WS_FULL))
        await busy.synced()
        await full.synced()
        await world.dispatch("x")
        why = await world.why()
        first, second = (worker.worker_id for worker in world.server.workers)
        assert why.reason is Reason.OVER_LOAD_GATE
        assert why.loads == {first: 0.75, second: float("inf")}
        assert why.text == (
            f"no worker 'x' (JT_ROOM) has a load below 0.7: {first} at 0.75, {second} is full"
        )


async def test_all_rejected(world: World) -> None:
    async with world.worker(agent_name="x") as wire:
        await world.dispatch("x")
        job = await wire.offered()
        await wire.send(availability=AvailabilityResponse(job_id=job.id))
        why = await world.why()
        (worker,) = world.server.workers
        assert why.reason is Reason.REJECTED
        assert why.text == f"no worker 'x' (JT_ROOM) accepted the job: {worker.worker_id} rejected"


async def test_no_answer_in_time(world: World) -> None:
    async with world.worker(agent_name="x") as wire:
        await world.dispatch("x")
        await wire.offered()
        why = await world.why()
        assert why.reason is Reason.NO_ANSWER
        assert why.text.endswith("timed out")


async def test_a_lost_worker(world: World) -> None:
    async with world.worker(agent_name="x") as wire:
        await world.dispatch("x")
        await wire.offered()
        await wire.socket.close()
        why = await world.why()
        assert why.reason is Reason.REJECTED
        assert why.text.endswith("connection lost")


async def test_a_workers_reports_are_visible(world: World) -> None:
    async with world.worker(agent_name="x", version="9.9", namespace="n", deployment="blue") as wire:
        await wire.send(update_worker=UpdateWorkerStatus(load=0.5, status=WorkerStatus.WS_FULL))
        await wire.synced()
        (worker,) = world.server.workers
        assert worker.key == PoolKey("x", "n", JobType.JT_ROOM, "blue")
        assert worker.version == "9.9"
        assert (worker.load, worker.available) == (0.5, False)
        assert not worker.running
    await until(lambda: not world.server.workers)


async def test_a_swallowed_job_is_recorded_as_done(world: World) -> None:
    async with world.worker(agent_name="x") as wire:
        await world.dispatch("x")
        job = await wire.offered()
        await wire.send(availability=AvailabilityResponse(job_id=job.id, terminate=True))
        room = world.server.rooms["r"]
        await until(lambda: any(item.state.jobs for item in room.dispatches))
        (recorded,) = (item for dispatch in room.dispatches for item in dispatch.state.jobs)
        assert (recorded.id, recorded.state.status) == (job.id, JobStatus.JS_SUCCESS)
        assert not world.told
