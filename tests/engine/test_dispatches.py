"""Test dispatches on an embedded server: which room is whose, and each outcome told once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from livekit.protocol.agent import Job
from livekit.protocol.models import Room
from livekit.protocol.room import CreateRoomRequest, ListRoomsRequest

from agent_tui.engine import dispatches
from agent_tui.engine.api import server_api
from agent_tui.engine.dispatches import Destination, Dispatches, DispatchTimings
from agent_tui.engine.no_job import Standing
from agent_tui.local_server.server import LocalServer
from agent_tui.model.clock import SystemClock
from agent_tui.model.commands import Dispatch, DispatchBy
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
            simulate=lambda *_: True,
            timings=DispatchTimings(offer_s=offer_s, look_s=0.05),
        )
        self.trouble: str | None = None
        self.server_type = "room"
        self.load = 0.0

    async def make(self, name: str = "", room: str = "") -> str:
        return await self.dispatches.make(Destination(self.address, name, ""), room, Dispatch())

    async def simulate(self, room: str, length_s: float | None = None) -> None:
        to = Destination(self.address, "bob", "")
        await self.dispatches.make(to, room, Dispatch(by=DispatchBy.SIMULATE, length_s=length_s))

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


def of_room(room: str, number: int, dispatch_id: str = "") -> Job:
    return Job(id=f"AJ_{number}", room=Room(name=room), dispatch_id=dispatch_id)


async def test_simulated_jobs_in_one_room_are_each_their_own_dispatch() -> None:
    async with bench_of(offer_s=0.2) as bench:
        of = bench.dispatches
        jobs = [of_room("demo", number) for number in range(2)]
        for number, each in enumerate(jobs):
            await bench.simulate("demo", length_s=float(number))
            of.offered(each)
        assert [of.length_s(each) for each in jobs] == [0.0, 1.0]
        of.over(jobs[0])
        assert [of.is_ours(each) for each in jobs] == [False, True]
        await bench.simulate("elsewhere")  # is lost last: the other watches are over then
        await until(bench.lost)
        assert [event.room for event in bench.lost()] == ["elsewhere"]


async def test_a_job_that_was_here_before_is_not_the_dispatch_s_that_waits_in_its_room() -> None:
    async with bench_of() as bench:
        old, own = of_room("demo", 1), of_room("demo", 2)
        bench.dispatches.offered(old)
        await bench.simulate("demo")
        assert bench.dispatches.dispatched_at(old) is None
        bench.dispatches.over(old)
        bench.dispatches.offered(own)
        assert bench.dispatches.is_ours(own)


async def test_offers_that_overtake_the_api_s_answer_find_their_dispatch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[asyncio.Future[str]] = []

    async def ask(*_: object) -> str:
        answers.append(asyncio.get_running_loop().create_future())
        return await answers[-1]

    monkeypatch.setattr(dispatches, "_ask_to_dispatch", ask)
    async with bench_of(offer_s=0.2) as bench:
        of = bench.dispatches
        to = Destination(bench.address, "bob", "")
        making = [
            asyncio.create_task(of.make(to, "demo", Dispatch(length_s=float(number)))) for number in range(2)
        ]
        await until(lambda: len(answers) == 2)
        first, second = of_room("demo", 0, "AD_0"), of_room("demo", 1, "AD_1")
        of.offered(second)  # the first dispatch waits longest
        answers[0].set_result("AD_0")
        await making[0]
        of.offered(first)
        answers[1].set_result("AD_1")
        await making[1]
        assert (of.length_s(first), of.length_s(second)) == (0.0, 1.0)
        await bench.simulate("elsewhere")
        await until(bench.lost)
        assert [event.room for event in bench.lost()] == ["elsewhere"]


async def test_a_dispatch_whose_offer_was_declined_is_lost_for_that_reason_once_nobody_else_offers() -> None:
    async with bench_of(offer_s=0.2) as bench:
        await bench.simulate("demo")
        declined = of_room("demo", 1)
        bench.dispatches.offered(declined)
        bench.dispatches.declined(declined, "agent-tui is stopping")
        assert bench.lost() == []  # another worker may take it
        await until(bench.lost)
        bench.dispatches.lost(declined, "no worker took the job")  # as the embedded server tells
        assert bench.lost() == [JobLost("demo", "the offer was declined: agent-tui is stopping", "AJ_1")]
        assert not bench.dispatches.is_ours(declined)


async def test_a_declined_dispatch_that_no_worker_takes_is_lost_as_soon_as_the_server_says() -> None:
    async with bench_of() as bench:
        await bench.simulate("demo")
        declined = of_room("demo", 1)
        bench.dispatches.offered(declined)
        bench.dispatches.declined(declined, "agent-tui is stopping")
        bench.dispatches.lost(declined, "no worker took the job: AW_1 rejected")
        why = "no worker took the job: AW_1 rejected (agent-tui is stopping)"
        assert bench.lost() == [JobLost("demo", why, "AJ_1")]


async def test_a_declined_job_that_is_offered_again_and_taken_is_not_lost() -> None:
    async with bench_of(offer_s=0.2) as bench:
        await bench.simulate("demo")
        job = of_room("demo", 1)
        bench.dispatches.offered(job)
        bench.dispatches.declined(job, "the agent's file has not loaded")
        bench.dispatches.offered(job)  # by the server's retry, to our next registration
        await bench.simulate("elsewhere")  # is lost last: the other watch is over then
        await until(bench.lost)
        assert [event.room for event in bench.lost()] == ["elsewhere"]


async def test_an_outcome_is_told_once_and_then_the_room_is_nobodys() -> None:
    async with bench_of() as bench:
        await bench.make()
        first = job(bench)
        bench.dispatches.offered(first)
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
