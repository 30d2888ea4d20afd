"""Registrations that follow each other without a gap: scripted workers, then real ones on a real socket."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from livekit import api
from livekit.protocol.agent import Job

from agent_tui.engine.registrar import Registrar
from agent_tui.local_server.server import LocalServer
from agent_tui.model import events as ev
from agent_tui.model.child import AcceptArguments
from agent_tui.model.clock import SystemClock
from agent_tui.model.errors import OwnError, ServerError, UserError
from agent_tui.options.declare import Basis, ServerOptions
from agent_tui.options.resolve import Layer, resolve
from agent_tui.worker.messages import JobProgress, Offer, Registered, Reject
from agent_tui.worker.urls import ServerAddress
from agent_tui.worker.worker import Worker
from tests.fakes.scripted_child import until

HERE = ServerAddress("ws://here", "key", "secret")
THERE = ServerAddress("ws://there", "key", "secret")
SECRET = "long enough for nobody to be warned of it"
YES = AcceptArguments("agent-1")


def options(**changes: Any) -> ServerOptions:
    return replace(resolve((Layer("none"),), Basis()).options, **changes)


class FakeWorker:
    """Does what tests tell it; `told` is what it was asked."""

    made: list["FakeWorker"]

    def __init__(self, **arguments: Any) -> None:
        self.registration = arguments["registration"]
        self.listener = arguments["listener"]
        self.worker_id: str | None = None
        self.told: list[Any] = []
        self.draining = False
        self.trouble: str | None = "connecting"
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not arguments["server"].api_key:
            raise UserError("no API key")
        self.made.append(self)

    async def run(self) -> None:
        await self._ended

    async def close(self) -> None:
        self.worker_id = None
        if not self._ended.done():
            self._ended.set_result(None)

    @property
    def closed(self) -> bool:
        return self._ended.done()

    def accepted(self, worker_id: str) -> None:
        self.worker_id = worker_id
        self.listener.registered(Registered(worker_id, "1.13.5", 17, "", "ND_1"))

    def fails(self, error: Exception) -> None:
        self._ended.set_exception(error)

    def offers(self, job_id: str) -> None:
        self.listener.offer(Offer(Job(id=job_id), False, time.time()))

    def set_draining(self, draining: bool) -> None:
        self.draining = draining

    def retry(self) -> None: ...
    def reconfigure(self, **_: Any) -> None: ...

    def answer(self, job_id: str, answer: Any) -> bool:
        self.told.append((job_id, "no" if isinstance(answer, Reject) else "yes"))
        return True

    def update_job(self, job_id: str, progress: JobProgress, error: str = "") -> bool:
        self.told.append((job_id, progress))
        return True


class Scene:
    """A registrar with scripted workers; also its `Jobs`."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.failures: list[str] = []
        self.pause_s: float | None = 0.0
        """Before a worker that failed is restarted; None when it is given up."""
        self.offered: list[str] = []
        self.ended: list[str] = []
        self.workers: list[FakeWorker] = []
        kind = type("Worker", (FakeWorker,), {"made": self.workers})
        self.registrar = Registrar(
            jobs=lambda: self,
            measure_load=measured,
            job_count=lambda: 0,
            live_changed=lambda: None,
            clock=SystemClock(),
            emit=self.events.append,
            failed=self.failed,
            make_worker=kind,
        )

    async def present(self, address: ServerAddress = HERE, **changes: Any) -> None:
        await self.registrar.present(options(**changes), address, ev.ServerKind.EMBEDDED, "1")

    def failed(self, part: str, error: Exception) -> float | None:
        self.failures.append(str(OwnError(part, error)))
        return self.pause_s

    def offer(self, job: Job, received_at: float, answer_by: float) -> None:
        self.offered.append(job.id)
        self.registrar.answer(job.id, YES)

    def assigned(self, job_id: str, url: str | None, token: str) -> None: ...

    def terminated(self, job_id: str) -> None:
        self.ended.append(job_id)

    def told(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


async def measured() -> float:
    return 0.0


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    try:
        yield made
    finally:
        await made.registrar.close()
        assert all(worker.closed for worker in made.workers)
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_new_one_takes_over_once_it_is_accepted() -> None:
    async with scene() as s:
        await s.present(agent_name="a")
        s.workers[0].accepted("AW_1")
        await s.present(agent_name="b")
        old, new = s.workers
        assert not old.closed
        assert s.registrar.worker_id == "AW_1"
        old.offers("AJ_1")
        assert s.offered == ["AJ_1"]  # it still takes what comes
        new.accepted("AW_2")
        assert s.registrar.worker_id == "AW_2"
        assert old.draining
        assert not new.draining
        assert [(e.worker_id, e.agent_name) for e in s.told(ev.WorkerRegistered)] == [
            ("AW_1", "a"),
            ("AW_2", "b"),
        ]
        old.offers("AJ_2")
        assert old.told[-1] == ("AJ_2", "no")
        assert s.offered == ["AJ_1"]


async def test_it_lives_as_long_as_its_jobs_and_they_stay_with_it() -> None:
    async with scene() as s:
        await s.present(agent_name="a")
        s.workers[0].accepted("AW_1")
        s.workers[0].offers("AJ_1")
        await s.present(agent_name="b")
        old, new = s.workers
        new.accepted("AW_2")
        new.offers("AJ_2")
        assert s.registrar.worker_id_for("AJ_1") == "AW_1"
        assert s.registrar.worker_id_for("AJ_2") == "AW_2"
        s.registrar.update_job("AJ_1", JobProgress.SUCCESS)
        s.registrar.update_job("AJ_2", JobProgress.RUNNING)
        assert old.told[-1] == ("AJ_1", JobProgress.SUCCESS)
        assert new.told[-1] == ("AJ_2", JobProgress.RUNNING)
        old.listener.terminated("AJ_1")
        assert s.ended == ["AJ_1"]
        old.listener.disconnected("gone", 1.0, 1)
        assert not s.told(ev.WorkerDisconnected)
        await asyncio.sleep(0)
        assert not old.closed
        s.registrar.job_over("AJ_1")
        s.registrar.job_over("AJ_1")
        await until(lambda: old.closed)
        assert not new.closed


@pytest.mark.parametrize("how", ["refused", "gives up"])
async def test_one_that_is_not_accepted_leaves_the_old_one_up(how: str) -> None:
    async with scene() as s:
        await s.present(agent_name="a")
        s.workers[0].accepted("AW_1")
        await s.present(THERE, agent_name="a")
        if how == "refused":
            s.workers[1].listener.refused("the API key is wrong")
        else:
            s.workers[1].fails(ServerError("the API key is wrong"))
        await until(lambda: s.told(ev.Notice))
        assert not s.told(ev.WorkerRefused)
        text = s.told(ev.Notice)[0].text
        assert "the API key is wrong" in text
        assert "still registered as a at ws://here" in text
        assert s.registrar.worker_id == "AW_1"
        await until(lambda: s.workers[1].closed)
        s.workers[0].offers("AJ_1")
        assert s.offered == ["AJ_1"]


async def test_one_that_cannot_connect_is_told_once_and_goes_on_trying() -> None:
    async with scene() as s:
        await s.present()
        s.workers[0].accepted("AW_1")
        await s.present(THERE)
        for attempt in (1, 2, 3):
            s.workers[1].listener.disconnected("nothing listens", 1.0, attempt)
        assert len(s.told(ev.Notice)) == 1
        s.workers[1].accepted("AW_2")
        assert s.registrar.worker_id == "AW_2"


async def test_changes_in_quick_succession() -> None:
    async with scene() as s:
        await s.present(agent_name="a")
        s.workers[0].accepted("AW_1")
        await s.present(agent_name="b")
        await s.present(agent_name="c")
        await until(lambda: s.workers[1].closed)
        assert not s.workers[2].closed
        await s.present(agent_name="c")
        assert len(s.workers) == 3
        await s.present(agent_name="a")  # back to what stands
        await until(lambda: s.workers[2].closed)
        assert not s.workers[0].closed
        assert len(s.workers) == 3


async def test_one_that_is_not_registered_is_simply_replaced() -> None:
    async with scene() as s:
        await s.present(agent_name="a")
        await s.present(agent_name="b")
        await until(lambda: s.workers[0].closed)
        s.workers[1].accepted("AW_2")
        assert s.registrar.worker_id == "AW_2"


async def test_the_first_that_is_refused_is_told() -> None:
    async with scene() as s:
        await s.present()
        s.workers[0].fails(ServerError("wrong key"))
        await until(lambda: s.told(ev.WorkerRefused))
        await s.present()
        assert len(s.workers) == 2


async def test_nothing_that_happens_during_a_stop_makes_it_available_again() -> None:
    async with scene() as s:
        await s.present(agent_name="a")
        s.workers[0].accepted("AW_1")
        s.registrar.drain()
        s.registrar.set_full("its processes do not become ready")
        s.registrar.set_full("")  # a generation took over
        assert s.workers[0].draining
        await s.present(agent_name="b")  # which has another name
        assert s.workers[1].draining
        s.workers[1].accepted("AW_2")
        assert [worker.draining for worker in s.workers] == [True, True]


async def test_one_that_is_full_is_so_through_a_change_of_its_registration() -> None:
    async with scene() as s:
        await s.present(agent_name="a")
        s.workers[0].accepted("AW_1")
        s.registrar.set_full("its processes do not become ready")
        await s.present(agent_name="b")
        assert [worker.draining for worker in s.workers] == [True, True]
        s.workers[0].offers("AJ_1")
        s.workers[1].accepted("AW_2")
        s.registrar.set_full("")
        assert [worker.draining for worker in s.workers] == [True, False]  # the old one only has its job


@pytest.mark.parametrize("before", ["nothing", "registered", "taking over"])
async def test_one_that_cannot_be_made_changes_nothing(before: str) -> None:
    async with scene() as s:
        if before != "nothing":
            await s.present(agent_name="a")
            s.workers[0].accepted("AW_1")
        if before == "taking over":
            await s.present(agent_name="b")
        trouble = s.registrar.trouble
        with pytest.raises(UserError, match="no API key"):
            await s.present(ServerAddress("ws://here", "", ""), agent_name="c")
        assert s.registrar.trouble == trouble
        s.registrar.set_full("for a reason")
        s.registrar.set_full("")
        if before == "taking over":
            s.workers[1].accepted("AW_2")
            assert s.registrar.worker_id == "AW_2"
        s.registrar.drain()


async def test_without_credentials_it_is_as_if_the_server_had_refused_them() -> None:
    async with scene() as s:
        s.registrar.refuse(ServerError("no API key"))
        assert s.told(ev.WorkerRefused) == [ev.WorkerRefused("no API key")]
        assert s.registrar.trouble == "no API key"
        await s.present()
        assert s.registrar.trouble == "connecting"
        with pytest.raises(ServerError, match="no API key"):
            s.registrar.refuse(ServerError("no API key"))
        assert len(s.told(ev.WorkerRefused)) == 1


BUG = "agent-tui's own worker failed: KeyError: 'no such thing'"


async def test_a_worker_that_an_internal_error_ended_is_restarted_with_its_jobs() -> None:
    async with scene() as s:
        await s.present(agent_name="a")
        s.workers[0].accepted("AW_1")
        s.workers[0].offers("AJ_1")
        s.registrar.set_full("for a reason")
        s.workers[0].fails(KeyError("no such thing"))
        await until(lambda: len(s.workers) == 2)
        assert s.failures == [BUG]
        assert s.told(ev.WorkerDisconnected) == [ev.WorkerDisconnected(BUG, 0.0)]
        assert s.workers[1].registration == s.workers[0].registration
        assert s.workers[1].draining
        s.workers[1].accepted("AW_2")
        assert s.registrar.worker_id == "AW_2"
        assert s.registrar.update_job("AJ_1", JobProgress.RUNNING)
        assert s.workers[1].told == [("AJ_1", JobProgress.RUNNING)]


async def test_a_worker_that_is_given_up_stays_away_until_it_is_presented_again() -> None:
    async with scene() as s:
        s.pause_s = None
        await s.present()
        s.workers[0].accepted("AW_1")
        s.workers[0].fails(KeyError("no such thing"))
        await until(lambda: s.told(ev.WorkerDisconnected))
        assert s.told(ev.WorkerDisconnected) == [ev.WorkerDisconnected(BUG, None)]
        await s.present()
        s.workers[1].accepted("AW_2")
        assert s.registrar.worker_id == "AW_2"


async def test_a_worker_closed_before_it_is_restarted_stays_closed() -> None:
    async with scene() as s:
        s.pause_s = 3600.0
        await s.present()
        s.workers[0].fails(KeyError("no such thing"))
        await until(lambda: s.told(ev.WorkerDisconnected))
    assert len(s.workers) == 1


async def test_one_that_takes_over_and_is_given_up_leaves_the_old_one_up() -> None:
    async with scene() as s:
        s.pause_s = None
        await s.present(agent_name="a")
        s.workers[0].accepted("AW_1")
        await s.present(agent_name="b")
        waiting = asyncio.create_task(s.registrar.taken_over())
        await asyncio.sleep(0)
        s.workers[1].fails(KeyError("no such thing"))
        assert await waiting == BUG
        assert "still registered as a" in s.told(ev.Notice)[0].text
        assert not s.told(ev.WorkerDisconnected)
        assert s.registrar.worker_id == "AW_1"


@pytest.mark.real
async def test_no_dispatch_is_lost_while_registrations_follow_each_other() -> None:
    events: list[Any] = []
    offered: set[str] = set()

    class Takes:
        def offer(self, job: Job, received_at: float, answer_by: float) -> None:
            offered.add(job.room.name)
            registrar.answer(job.id, AcceptArguments(f"agent-{job.id}"))

        def assigned(self, job_id: str, url: str | None, token: str) -> None:
            registrar.update_job(job_id, JobProgress.SUCCESS)
            registrar.job_over(job_id)

        def terminated(self, job_id: str) -> None: ...

    registrar = Registrar(
        jobs=Takes,
        measure_load=measured,
        job_count=lambda: 0,
        live_changed=lambda: None,
        clock=SystemClock(),
        emit=events.append,
        failed=lambda part, error: None,
        make_worker=Worker,
    )
    async with LocalServer(keys={"devkey": SECRET}) as server:
        address = ServerAddress(server.url, "devkey", SECRET)
        await registrar.present(options(), address, ev.ServerKind.EMBEDDED, "1")
        await until(lambda: registrar.worker_id)
        rooms = []
        async with api.LiveKitAPI(f"http{server.url[2:]}", "devkey", SECRET) as client:
            for number in range(120):
                if number % 12 == 6:
                    changed = options(deployment="", max_retry=number, permissions=_permissions(number))
                    await registrar.present(changed, address, ev.ServerKind.EMBEDDED, "1")
                rooms.append(f"room-{number}")
                await client.room.create_room(api.CreateRoomRequest(name=rooms[-1]))
                await asyncio.sleep(0.01)
        await until(lambda: offered >= set(rooms))
        ids = [event.worker_id for event in events if isinstance(event, ev.WorkerRegistered)]
        assert len(set(ids)) == 11
        assert not [event for event in events if isinstance(event, (ev.WorkerDisconnected, ev.Notice))]
        await registrar.close()


def _permissions(number: int) -> Any:
    return replace(options().permissions, hidden=number % 24 == 6)
