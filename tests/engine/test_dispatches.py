"""Test dispatches on an embedded server: which room belongs to which dispatch, and each outcome reported
once.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from livekit.protocol.agent import Job
from livekit.protocol.models import Room
from livekit.protocol.room import CreateRoomRequest, ListRoomsRequest

from agent_tui.engine import dispatches
from agent_tui.engine.dispatches import Destination, Dispatches, DispatchTimings, lacks_agent
from agent_tui.engine.registrar import WorkerReadiness
from agent_tui.engine.servers import server_api
from agent_tui.jobs.record import JobRecord, TestDispatch
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
            registrar=cast("Any", self),
            clock=SystemClock(),
            emit=self.events.append,
            timings=DispatchTimings(offer_s=offer_s, first_check_s=0.05),
        )
        self.problem: str | None = None
        self.server_type = "room"
        self.load = 0.0

    # for the registrar
    @property
    def readiness(self) -> WorkerReadiness:
        return WorkerReadiness(frozenset({"AW_ours"}), self.problem, "bob", self.server_type, self.load)

    def simulate_job(self, *_: object) -> bool:
        return True

    # for the tests
    async def make(self, name: str = "", room: str = "") -> TestDispatch:
        return await self.dispatches.make(Destination(self.address, name, ""), room, Dispatch())

    async def simulate(self, room: str, length_s: float | None = None) -> TestDispatch:
        to = Destination(self.address, "bob", "")
        return await self.dispatches.make(to, room, Dispatch(by=DispatchBy.SIMULATE, length_s=length_s))

    def record(self, job: Job) -> JobRecord:
        """Return the record of an offer of that job, matched to its dispatch."""
        return JobRecord(job, cast("Any", None), 1.0, 1, math.inf, self.dispatches.claim(job))

    def ended(self, record: JobRecord, **how: Any) -> None:
        for name, value in how.items():
            setattr(record, name, value)
        self.dispatches.ended(record)

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


async def test_only_generated_rooms_are_deleted() -> None:
    async with bench_of() as bench:
        async with server_api(bench.address, "standup", 5.0) as api:
            await api.room.create_room(CreateRoomRequest(name="standup"))
        await bench.make("bob", "standup")
        made_up = {(await bench.make()).room, (await bench.make("bob")).room}
        assert await bench.rooms() == {"standup", *made_up}
        await bench.dispatches.close()
        assert await bench.rooms() == {"standup"}


async def test_two_dispatches_into_one_room_are_two() -> None:
    async with bench_of(offer_s=0.05) as bench:
        first, second = await asyncio.gather(bench.make("bob", "demo"), bench.make("bob", "demo"))
        assert bench.dispatches.claim(job(bench, 0)) == first
        await until(bench.lost)
        await asyncio.sleep(0.1)
        assert [event.test_dispatch for event in bench.lost()] == [second.number]


def of_room(room: str, number: int, dispatch_id: str = "") -> Job:
    return Job(id=f"AJ_{number}", room=Room(name=room), dispatch_id=dispatch_id)


async def test_simulated_jobs_in_one_room_are_each_their_own_dispatch() -> None:
    async with bench_of(offer_s=0.2) as bench:
        records = []
        for number in range(2):
            made = await bench.simulate("demo", length_s=float(number))
            records.append(bench.record(of_room("demo", number)))
            assert records[-1].test == made
        bench.ended(records[0])
        await bench.simulate("elsewhere")  # lost last, when the other watches have ended
        await until(bench.lost)
        assert [event.room for event in bench.lost()] == ["elsewhere"]


async def test_a_simulated_job_and_one_of_a_dispatch_in_one_room_are_told_apart() -> None:
    async with bench_of() as bench:
        simulated = await bench.simulate("demo")
        making = asyncio.create_task(bench.make("", "demo"))
        await asyncio.sleep(0)
        made = bench.dispatches.claim(of_room("demo", 1, "AD_1"))
        assert bench.dispatches.claim(of_room("demo", 2)) == simulated
        assert await making == made


async def test_an_older_job_does_not_match_a_dispatch_waiting_in_its_room() -> None:
    async with bench_of() as bench:
        old = bench.record(of_room("demo", 1))
        made = await bench.simulate("demo")
        assert old.test is None
        bench.ended(old)
        assert bench.record(of_room("demo", 2)).test == made


async def test_offers_that_overtake_the_api_answer_match_their_dispatch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[asyncio.Future[str]] = []

    async def ask(*_: object, may_exist: bool) -> str:
        answers.append(asyncio.get_running_loop().create_future())
        return await answers[-1]

    monkeypatch.setattr(dispatches, "_create_dispatch", ask)
    async with bench_of(offer_s=0.2) as bench:
        making = [asyncio.create_task(bench.make("bob", "demo")) for _ in range(2)]
        found = []
        for number in range(2):  # one after the other: an offer belongs to the dispatch being made
            await until(lambda: len(answers) == number + 1)  # noqa: B023
            found.append(bench.record(of_room("demo", number, f"AD_{number}")).test)
            answers[number].set_result(f"AD_{number}")
            assert await making[number] == found[number]
        assert bench.dispatches.claim(of_room("demo", 9, "AD_of_somebody_else")) is None
        await bench.simulate("elsewhere")
        await until(bench.lost)
        assert [event.room for event in bench.lost()] == ["elsewhere"]


async def test_dispatches_into_different_rooms_do_not_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    async def ask(_: object, room: str, *__: object, may_exist: bool) -> str:
        asked.append(room)
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(dispatches, "_create_dispatch", ask)
    async with bench_of() as bench:
        making = [asyncio.create_task(bench.make("bob")) for _ in range(3)]
        await until(lambda: len(asked) == 3)
        for each in making:
            each.cancel()
        await asyncio.gather(*making, return_exceptions=True)


STOPPING = "agent-tui is stopping"


async def test_a_dispatch_whose_offer_was_turned_away_is_lost_after_the_time_limit() -> None:
    async with bench_of(offer_s=0.2) as bench:
        await bench.simulate("demo")
        turned_away = of_room("demo", 1)
        bench.ended(bench.record(turned_away), declined=STOPPING, turned_away=True)
        assert bench.lost() == []  # another worker may take it
        await until(bench.lost)
        bench.dispatches.lost(turned_away, "no worker took the job")  # as the embedded server reports
        assert bench.lost() == [JobLost("demo", f"the offer was declined: {STOPPING}", "AJ_1", 1)]
        assert bench.dispatches.claim(turned_away) is None


async def test_a_dispatch_turned_away_is_lost_as_soon_as_the_server_reports_it() -> None:
    async with bench_of() as bench:
        await bench.simulate("demo")
        turned_away = of_room("demo", 1)
        bench.ended(bench.record(turned_away), declined=STOPPING, turned_away=True)
        bench.dispatches.lost(turned_away, "no worker took the job: AW_1 rejected")
        why = f"{STOPPING} (no worker took the job: AW_1 rejected)"
        assert bench.lost() == [JobLost("demo", why, "AJ_1", 1)]


async def test_a_job_turned_away_and_accepted_later_is_not_lost() -> None:
    async with bench_of(offer_s=0.2) as bench:
        made = await bench.simulate("demo")
        job = of_room("demo", 1)
        bench.ended(bench.record(job), declined="the agent's file has not loaded", turned_away=True)
        assert bench.record(job).test == made  # by the server's retry, to our next registration
        await bench.simulate("elsewhere")  # lost last, when the other watch has ended
        await until(bench.lost)
        assert [event.room for event in bench.lost()] == ["elsewhere"]


async def test_a_test_dispatch_that_the_agent_declines_is_lost_at_once() -> None:
    async with bench_of() as bench:
        made = await bench.make()
        bench.ended(bench.record(job(bench)), declined="busy")
        bench.ended(bench.record(of_room("theirs", 5, "AD_theirs")), declined="busy")
        assert bench.lost() == [JobLost(made.room, "the offer was declined: busy", "AJ_0", made.number)]


async def test_an_outcome_is_reported_once_and_the_room_is_forgotten() -> None:
    async with bench_of() as bench:
        made = await bench.make()
        first = job(bench)
        record = bench.record(first)
        assert record.test == made
        assert made.at == pytest.approx(SystemClock().time(), abs=5)
        bench.ended(record, lost="not assigned")
        bench.dispatches.lost(first, "no worker")
        assert bench.lost() == [JobLost(made.room, "not assigned", "AJ_0", made.number)]
        assert bench.dispatches.claim(first) is None


async def test_a_lost_job_of_another_dispatcher_is_reported_once() -> None:
    async with bench_of() as bench:
        theirs = of_room("theirs", 1, "AD_theirs")
        bench.dispatches.lost(theirs, "no worker answered")
        bench.ended(bench.record(theirs), lost="too old")
        assert bench.lost() == [JobLost("theirs", "no worker answered", "AJ_1")]


async def test_a_loss_says_first_why_this_worker_got_no_offer_or_declined_it() -> None:
    async with bench_of() as bench:
        bench.problem = "processes of generation 1 fail to start: RuntimeError: no model file"
        made = await bench.make()
        bench.dispatches.lost(job(bench), "no worker has a load below 0.7")
        bench.problem = None
        second = await bench.make()
        turned_away = job(bench, 1)
        bench.ended(bench.record(turned_away), declined="busy", turned_away=True)
        bench.dispatches.lost(turned_away, "no worker accepted the job")
        assert [each.why for each in bench.lost()] == [
            "processes of generation 1 fail to start: RuntimeError: no model file "
            "(no worker has a load below 0.7)",
            "busy (no worker accepted the job)",
        ]
        assert [each.room for each in bench.lost()] == [made.room, second.room]


async def test_a_job_that_another_worker_took_is_reported_at_once_with_that_worker() -> None:
    async with LocalServer() as server:
        bench = Bench(server, offer_s=30.0)
        async with registered(server, now=SystemClock().time(), agent_name="bob") as other:
            taking = asyncio.create_task(other.take())
            await bench.make("bob")
            await taking
            await until(bench.lost)
        await bench.dispatches.close()
        (lost,) = bench.lost()
        assert "another worker took the job: AW_" in lost.why
        assert "--agent-name" in lost.why


@pytest.mark.parametrize(
    ("problem", "server_type", "load", "said"),
    [
        ("not connected: backing off", "room", 0.0, "not connected: backing off (the server offered no job"),
        (None, "publisher", 0.0, "when a participant publishes in the room"),
        (None, "participant", 0.0, "when a participant joins the room"),
        (None, "room", 0.8, "reports a load of 0.80"),
        (None, "room", 0.0, "offered no job within 0.2 s"),
    ],
)
async def test_a_dispatch_without_an_offer_is_lost_with_the_visible_reason(
    problem: str | None, server_type: str, load: float, said: str
) -> None:
    async with bench_of(offer_s=0.2) as bench:
        bench.problem, bench.server_type, bench.load = problem, server_type, load
        await bench.make("bob")
        await until(bench.lost)
        assert said in bench.lost()[0].why


@pytest.mark.parametrize("name", ["", "bob"])
async def test_a_dispatch_names_agent_and_deployment_and_wakes_nobody_else(name: str) -> None:
    async with bench_of() as bench:
        to = Destination(bench.address, name, "ann")
        new = await bench.dispatches.make(to, "", Dispatch(metadata="m"))
        again = await bench.dispatches.make(to, new.room, Dispatch())
        assert again.room == new.room
        async with server_api(bench.address, new.room, 5.0) as client:
            found = await client.agent_dispatch.list_dispatch(new.room)
        assert [(each.agent_name, each.deployment) for each in found] == [(name, "ann")] * 2
        assert sorted(each.metadata for each in found) == ["", "m"]


async def test_a_room_lacks_the_agent_after_its_job_or_without_a_dispatch() -> None:
    async with bench_of() as bench:
        to = Destination(bench.address, "bob", "ann")
        assert not await lacks_agent(to, "none", "room")  # who joins creates it, with the agent
        room = (await bench.dispatches.make(to, "", Dispatch())).room
        assert await lacks_agent(to, room, "room")
        assert not await lacks_agent(to, room, "publisher")  # the dispatch waits for one
        assert await lacks_agent(Destination(bench.address, "bob", ""), room, "publisher")


async def test_a_dispatch_of_a_named_agent_has_an_id() -> None:
    async with bench_of() as bench:
        await bench.make("bob")
        await bench.make()
        made = [event.dispatch_id for event in bench.events if isinstance(event, Dispatched)]
        assert str(made[0]).startswith("AD_")
        assert made[1] is None
