"""Test dispatches on an embedded server: which room is whose, and each outcome told once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from livekit.protocol.agent import Job
from livekit.protocol.models import Room
from livekit.protocol.room import CreateRoomRequest, ListRoomsRequest

from agent_tui.engine.api import server_api
from agent_tui.engine.dispatches import Destination, Dispatches, DispatchTimings
from agent_tui.engine.no_job import Standing
from agent_tui.local_server.server import LocalServer
from agent_tui.model.clock import SystemClock
from agent_tui.model.commands import Dispatch
from agent_tui.model.events import Dispatched, Event, JobLost
from agent_tui.worker.urls import ServerAddress
from tests.fakes.scripted_child import until
from tests.local_server.wire import registered


class Bench:
    def __init__(self, server: LocalServer, offer_s: float) -> None:
        self.address = ServerAddress(server.url, server.api_key, server.api_secret)
        self.events: list[Event] = []
        self.dispatches = Dispatches(
            clock=SystemClock(),
            emit=self.events.append,
            standing=lambda: Standing(
                frozenset({"AW_ours"}), self.trouble, "bob", self.server_type, self.load
            ),
            timings=DispatchTimings(offer_s=offer_s, look_s=0.05),
        )
        self.trouble: str | None = None
        self.server_type = "room"
        self.load = 0.0

    async def make(self, name: str = "", room: str = "") -> str:
        return await self.dispatches.make(Destination(self.address, name, ""), room, Dispatch())

    async def rooms(self) -> set[str]:
        async with server_api(self.address, "", 5.0) as api:
            return {room.name for room in (await api.room.list_rooms(ListRoomsRequest())).rooms}

    def lost(self) -> list[JobLost]:
        return [event for event in self.events if isinstance(event, JobLost)]


@asynccontextmanager
async def bench_of(offer_s: float = 30.0) -> AsyncIterator[Bench]:
    async with LocalServer() as server:
        bench = Bench(server, offer_s)
        try:
            yield bench
        finally:
            await bench.dispatches.close()


def job(bench: Bench, number: int = 0) -> Job:
    made = [event for event in bench.events if isinstance(event, Dispatched)][number]
    return Job(id=f"AJ_{number}", room=Room(name=made.room), dispatch_id=made.dispatch_id or "AD_other")


async def test_only_rooms_that_were_made_up_here_are_deleted() -> None:
    async with bench_of() as bench:
        async with server_api(bench.address, "standup", 5.0) as api:
            await api.room.create_room(CreateRoomRequest(name="standup"))
        await bench.make("bob", "standup")
        made_up = {await bench.make(), await bench.make("bob")}
        assert await bench.rooms() == {"standup", *made_up}
        await bench.dispatches.close()
        assert await bench.rooms() == {"standup"}


async def test_two_dispatches_into_one_room_are_two() -> None:
    async with bench_of(offer_s=0.05) as bench:
        await asyncio.gather(bench.make("bob", "demo"), bench.make("bob", "demo"))
        bench.dispatches.offered(job(bench, 0))
        await until(bench.lost)
        await asyncio.sleep(0.1)
        assert len(bench.lost()) == 1
        assert bench.dispatches.is_ours(job(bench, 0))
        assert not bench.dispatches.is_ours(job(bench, 1))


async def test_an_outcome_is_told_once_and_then_the_room_is_nobodys() -> None:
    async with bench_of() as bench:
        await bench.make()
        first = job(bench)
        assert bench.dispatches.dispatched_at(first) == pytest.approx(SystemClock().time(), abs=5)
        bench.dispatches.lost(first, "declined")
        bench.dispatches.lost(first, "no worker")
        assert [event.why for event in bench.lost()] == ["declined"]
        assert not bench.dispatches.is_ours(first)
        assert bench.dispatches.dispatched_at(first) is None


async def test_a_job_that_another_worker_took_is_told_at_once_with_that_worker() -> None:
    async with LocalServer() as server:
        bench = Bench(server, offer_s=30.0)
        async with registered(server, now=SystemClock().time(), agent_name="bob") as other:
            taking = asyncio.create_task(other.take())
            await bench.make("bob")
            await taking
            await until(bench.lost)
        await bench.dispatches.close()
        (lost,) = bench.lost()
        assert "another worker took it: AW_" in lost.why
        assert "--agent-name" in lost.why


@pytest.mark.parametrize(
    ("trouble", "server_type", "load", "said"),
    [
        ("not connected to livekit: backing off", "room", 0.0, "not connected to livekit"),
        (None, "publisher", 0.0, "when somebody publishes in the room"),
        (None, "participant", 0.0, "when somebody joins the room"),
        (None, "room", 0.8, "tells a load of 0.80"),
        (None, "room", 0.0, "offered no job within 0.2 s"),
    ],
)
async def test_a_dispatch_without_an_offer_is_lost_for_the_reason_that_can_be_seen(
    trouble: str | None, server_type: str, load: float, said: str
) -> None:
    async with bench_of(offer_s=0.2) as bench:
        bench.trouble, bench.server_type, bench.load = trouble, server_type, load
        await bench.make("bob")
        await until(bench.lost)
        assert said in bench.lost()[0].why
