"""Successive registrations without a gap: scripted workers, then real ones on a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from livekit import api

from agent_tui.engine.registrar import Registrar
from agent_tui.local_server.server import LocalServer
from agent_tui.model import events as ev
from agent_tui.model.child import AcceptArguments
from agent_tui.model.clock import SystemClock
from agent_tui.model.errors import InternalError, ServerError, UserError
from agent_tui.model.logs import LogLevel
from agent_tui.options.declare import DefaultsContext, ServerOptions
from agent_tui.options.resolve import Layer, resolve
from agent_tui.worker.messages import (
    Assigned,
    Disconnected,
    JobProgress,
    LoadReported,
    Offer,
    Recovered,
    Refused,
    Registered,
    Suspect,
    Undecodable,
    WorkerEvent,
)
from agent_tui.worker.urls import ServerAddress
from agent_tui.worker.worker import Worker, WorkerState
from tests.fakes.scripted_child import until
from tests.worker.scene import settle

HERE = ServerAddress("ws://127.0.0.1:1", "key", "secret")
THERE = ServerAddress("ws://127.0.0.1:2", "key", "secret")
SECRET = "long enough for nobody to be warned of it"


def options(**changes: Any) -> ServerOptions:
    return replace(resolve((Layer("none"),), DefaultsContext()).options, **changes)


class FakeWorker:
    """A worker that tests control."""

    made: list["FakeWorker"]

    def __init__(self, **arguments: Any) -> None:
        self.registration = arguments["registration"]
        self.server = arguments["server"]
        self._on_event = arguments["on_event"]
        self.worker_id: str | None = None
        self.draining = False
        self.retiring = False
        self.closed = False
        self.runs = 0
        self.problem: str | None = "connecting"
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not arguments["server"].api_key:
            raise UserError("no API key")
        self.made.append(self)

    async def run(self) -> None:
        self.runs += 1
        ended = self._ended
        try:
            await ended
        finally:
            if not self.closed:
                self._ended = asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        self.worker_id, self.closed = None, True
        if not self._ended.done():
            self._ended.set_result(None)

    def says(self, event: WorkerEvent) -> None:
        self._on_event(self, event)

    def accepted(self, worker_id: str) -> None:
        self.worker_id = worker_id
        self.says(Registered(worker_id, "1.13.5", 17, "", "ND_1"))

    def fails(self, error: Exception) -> None:
        self.worker_id = None
        self._ended.set_exception(error)

    def retire(self) -> None:
        self.retiring = True

    def set_draining(self, draining: bool) -> None:
        self.draining = draining

    def retry(self) -> None: ...
    def reconfigure(self, _: Any) -> None: ...


class Scene:
    """A registrar with scripted workers."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.failures: list[str] = []
        self.pause_s: float | None = 0.0
        """Seconds before a failed worker is restarted; None to stop."""
        self.workers: list[FakeWorker] = []
        kind = type("Worker", (FakeWorker,), {"made": self.workers})
        self.registrar = Registrar(
            on_event=lambda worker, event: self.registrar.handle(worker, event),
            changed=lambda: None,
            clock=SystemClock(),
            emit=self.events.append,
            failed=self.failed,
            make_worker=kind,
        )

    async def register(self, address: ServerAddress = HERE, **changes: Any) -> None:
        await self.registrar.register(options(**changes), address, ev.ServerKind.EMBEDDED, "1", measured)

    def failed(self, part: str, error: Exception) -> float | None:
        self.failures.append(str(InternalError(part, error)))
        return self.pause_s

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


async def test_a_changed_registration_takes_over_once_accepted() -> None:
    async with scene() as s:
        await s.register(agent_name="a")
        s.workers[0].accepted("AW_1")
        await s.register(agent_name="b")
        old, new = s.workers
        assert (old.closed, old.retiring) == (False, False)  # it still accepts jobs
        assert s.registrar.worker_id == "AW_1"
        new.accepted("AW_2")
        assert s.registrar.worker_id == "AW_2"
        assert (old.closed, old.retiring, new.retiring) == (False, True, False)
        assert s.registrar.readiness.ids == {"AW_1", "AW_2"}
        assert [(e.worker_id, e.agent_name) for e in s.told(ev.WorkerRegistered)] == [
            ("AW_1", "a"),
            ("AW_2", "b"),
        ]


async def test_a_retiring_registration_reports_nothing_and_is_forgotten_once_closed() -> None:
    async with scene() as s:
        await s.register(agent_name="a")
        s.workers[0].accepted("AW_1")
        await s.register(agent_name="b")
        old, new = s.workers
        new.accepted("AW_2")
        told = len(s.events)
        for event in (
            Disconnected("gone", 1.0, 1),
            Disconnected("gone", None, 2),
            Refused("no"),
            Suspect(3.0),
            Recovered(),
            LoadReported(0.5, 0.5),
            Registered("AW_3", "", 17, "", ""),
        ):
            old.says(event)
        assert len(s.events) == told
        assert s.registrar.worker_id == "AW_2"
        await old.close()  # its last job has ended
        await settle()
        assert s.registrar.readiness.ids == {"AW_2"}
        assert not new.closed


async def test_events_of_the_current_registration_are_reported() -> None:
    async with scene() as s:
        await s.register()
        (worker,) = s.workers
        worker.accepted("AW_1")
        del s.events[:]
        for event in (
            Suspect(3.0),
            Recovered(),
            LoadReported(0.9, 0.8),
            LoadReported(0.9, 0.8, "the load function failed: x"),
            LoadReported(0.9, 0.8, "the load function failed: y"),
            LoadReported(0.9, 0.8),
            Undecodable("an empty message"),
            Disconnected("gone", 1.0, 1),
            Refused("the key is wrong"),
        ):
            worker.says(event)
        notices = [each.text for each in s.told(ev.Notice)]
        assert notices == [
            "the load function failed: x",
            "the load function works again",
            "ignored a message from the server: an empty message",
        ]
        assert [each for each in s.events if not isinstance(each, ev.Notice)] == [
            ev.ConnectionSuspect(suspect=True),
            ev.ConnectionSuspect(suspect=False),
            *[ev.WorkerLoadMeasured(0.9, 0.8)] * 4,
            ev.WorkerDisconnected("gone", 1.0, 1),
            ev.WorkerRefused("the key is wrong"),
        ]
        assert s.registrar.readiness.load == 0.8


@pytest.mark.parametrize("event", [Refused("wrong API key"), Disconnected("wrong API key", None, 1)])
async def test_a_refused_registration_leaves_the_old_one_up(event: WorkerEvent) -> None:
    async with scene() as s:
        await s.register(agent_name="a")
        s.workers[0].accepted("AW_1")
        await s.register(THERE, agent_name="a")
        waiting = asyncio.create_task(s.registrar.wait_until_accepted())
        await asyncio.sleep(0)
        s.workers[1].says(event)
        s.workers[1].fails(ServerError("wrong API key"))
        assert await waiting == "wrong API key"
        assert len(s.told(ev.Notice)) == 1
        assert not s.told(ev.WorkerRefused)
        text = s.told(ev.Notice)[0].text
        assert "wrong API key" in text
        assert "still registered as a at ws://127.0.0.1:1" in text
        assert s.told(ev.Notice)[0].about == ev.CHANGED_REGISTRATION
        assert s.registrar.worker_id == "AW_1"
        await s.register(agent_name="a")  # as the undo of an edit does
        again = s.told(ev.Notice)[-1]
        assert (again.about, again.level) == (ev.CHANGED_REGISTRATION, LogLevel.INFO)
        await until(lambda: s.workers[1].closed)
        assert not s.workers[0].retiring


async def test_a_registration_that_cannot_connect_is_reported_once_and_keeps_trying() -> None:
    async with scene() as s:
        await s.register()
        s.workers[0].accepted("AW_1")
        await s.register(THERE)
        for attempt in (1, 2, 3):
            s.workers[1].says(Disconnected("nothing is listening", 1.0, attempt))
        assert len(s.told(ev.Notice)) == 1
        s.workers[1].accepted("AW_2")
        assert s.registrar.worker_id == "AW_2"


async def test_changes_in_quick_succession() -> None:
    async with scene() as s:
        await s.register(agent_name="a")
        s.workers[0].accepted("AW_1")
        await s.register(agent_name="b")
        await s.register(agent_name="c")
        await until(lambda: s.workers[1].closed)
        assert not s.workers[2].closed
        await s.register(agent_name="c")
        assert len(s.workers) == 3
        await s.register(agent_name="a")  # back to the current one
        await until(lambda: s.workers[2].closed)
        assert not s.workers[0].closed
        assert len(s.workers) == 3


async def test_an_unregistered_worker_is_simply_replaced() -> None:
    async with scene() as s:
        await s.register(agent_name="a")
        await s.register(agent_name="b")
        await until(lambda: s.workers[0].closed)
        s.workers[1].accepted("AW_2")
        assert s.registrar.worker_id == "AW_2"


async def test_a_refused_first_registration_is_reported() -> None:
    async with scene() as s:
        await s.register()
        s.workers[0].says(Refused("wrong key"))
        s.workers[0].fails(ServerError("wrong key"))
        await settle()
        assert s.told(ev.WorkerRefused) == [ev.WorkerRefused("wrong key")]
        await s.register()
        assert len(s.workers) == 2


async def test_a_stopping_worker_never_becomes_available_again() -> None:
    async with scene() as s:
        await s.register(agent_name="a")
        s.workers[0].accepted("AW_1")
        s.registrar.drain()
        s.registrar.set_full("its processes fail to start")
        s.registrar.set_full("")  # another generation serves
        assert s.workers[0].draining
        await s.register(agent_name="b")  # it has another name
        assert s.workers[1].draining
        s.workers[1].accepted("AW_2")
        assert [worker.draining for worker in s.workers] == [True, True]


async def test_a_full_worker_stays_full_through_a_changed_registration() -> None:
    async with scene() as s:
        await s.register(agent_name="a")
        s.workers[0].accepted("AW_1")
        s.registrar.set_full("its processes fail to start")
        await s.register(agent_name="b")
        assert [worker.draining for worker in s.workers] == [True, True]
        s.workers[1].accepted("AW_2")
        s.registrar.set_full("")
        assert not s.workers[1].draining
        assert s.workers[0].retiring


@pytest.mark.parametrize("before", ["nothing", "registered", "taking over"])
async def test_an_invalid_registration_changes_nothing(before: str) -> None:
    async with scene() as s:
        if before != "nothing":
            await s.register(agent_name="a")
            s.workers[0].accepted("AW_1")
        if before == "taking over":
            await s.register(agent_name="b")
        problem = s.registrar.problem
        with pytest.raises(UserError, match="no API key"):
            await s.register(ServerAddress("ws://127.0.0.1:1", "", ""), agent_name="c")
        assert s.registrar.problem == problem
        s.registrar.set_full("for a reason")
        s.registrar.set_full("")
        if before == "taking over":
            s.workers[1].accepted("AW_2")
            assert s.registrar.worker_id == "AW_2"
        s.registrar.drain()


async def test_missing_credentials_count_as_refused() -> None:
    async with scene() as s:
        s.registrar.refuse(ServerError("no API key"))
        assert s.told(ev.WorkerRefused) == [ev.WorkerRefused("no API key")]
        assert s.registrar.problem == "no API key"
        await s.register()
        assert s.registrar.problem == "connecting"
        with pytest.raises(ServerError, match="no API key"):
            s.registrar.refuse(ServerError("no API key"))
        assert len(s.told(ev.WorkerRefused)) == 1


BUG = "internal error (worker): KeyError: 'no such thing'"


async def test_a_worker_is_restarted_after_an_internal_error() -> None:
    async with scene() as s:
        await s.register(agent_name="a")
        (worker,) = s.workers
        worker.accepted("AW_1")
        worker.fails(KeyError("no such thing"))
        await until(lambda: worker.runs == 2)
        assert s.failures == [BUG]
        assert s.told(ev.WorkerDisconnected) == [ev.WorkerDisconnected(BUG, 0.0)]
        worker.accepted("AW_2")
        assert s.registrar.worker_id == "AW_2"


async def test_a_worker_that_keeps_failing_stays_down_until_the_next_registration() -> None:
    async with scene() as s:
        s.pause_s = None
        await s.register()
        s.workers[0].accepted("AW_1")
        s.workers[0].fails(KeyError("no such thing"))
        await until(lambda: s.told(ev.WorkerDisconnected))
        assert s.told(ev.WorkerDisconnected) == [ev.WorkerDisconnected(BUG, None)]
        await s.register()
        s.workers[1].accepted("AW_2")
        assert s.registrar.worker_id == "AW_2"


async def test_a_worker_closed_before_it_is_restarted_stays_closed() -> None:
    async with scene() as s:
        s.pause_s = 3600.0
        await s.register()
        s.workers[0].fails(KeyError("no such thing"))
        await until(lambda: s.told(ev.WorkerDisconnected))
    assert len(s.workers) == 1


async def test_a_changed_registration_that_keeps_failing_leaves_the_old_one_up() -> None:
    async with scene() as s:
        s.pause_s = None
        await s.register(agent_name="a")
        s.workers[0].accepted("AW_1")
        await s.register(agent_name="b")
        waiting = asyncio.create_task(s.registrar.wait_until_accepted())
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
    workers: list[Worker] = []

    def take(worker: Worker, event: WorkerEvent) -> None:
        match event:
            case Offer():
                offered.add(event.job.room.name)
                worker.answer(event.job_id, AcceptArguments(f"agent-{event.job_id}"))
            case Assigned():
                worker.update_job(event.job_id, JobProgress.SUCCESS)
                worker.job_ended(event.job_id)
            case Registered():
                workers.append(worker)
                registrar.handle(worker, event)
            case _:
                registrar.handle(worker, event)

    registrar = Registrar(
        on_event=take,
        changed=lambda: None,
        clock=SystemClock(),
        emit=events.append,
        failed=lambda part, error: None,
    )
    async with LocalServer(keys={"devkey": SECRET}) as server:
        address = ServerAddress(server.url, "devkey", SECRET)
        await registrar.register(options(), address, ev.ServerKind.EMBEDDED, "1", measured)
        await until(lambda: registrar.worker_id)
        rooms: list[str] = []
        async with api.LiveKitAPI(f"http{server.url[2:]}", "devkey", SECRET) as client:
            for number in range(10):
                changed = options(deployment="", max_retry=number, permissions=_permissions(number))
                await registrar.register(changed, address, ev.ServerKind.EMBEDDED, "1", measured)
                registered, after = len(workers), 0
                while after < 6:  # rooms created since the server accepted the change
                    rooms.append(f"room-{len(rooms)}")
                    await client.room.create_room(api.CreateRoomRequest(name=rooms[-1]))
                    await asyncio.sleep(0.01)
                    after += len(workers) > registered
        await until(lambda: offered >= set(rooms))
        ids = [event.worker_id for event in events if isinstance(event, ev.WorkerRegistered)]
        assert len(set(ids)) == 11
        await until(lambda: all(worker.state is WorkerState.CLOSED for worker in workers[:-1]))
        assert not [event for event in events if isinstance(event, (ev.WorkerDisconnected, ev.Notice))]
        await registrar.close()


def _permissions(number: int) -> Any:
    return replace(options().permissions, hidden=number % 2 == 0)


async def test_a_deployment_is_part_of_the_registration_and_its_absence_is_reported_once() -> None:
    remote = ServerAddress("wss://my.livekit.cloud", "key", "secret")
    async with scene() as s:
        await s.register(remote, deployment="ann")
        s.workers[0].accepted("AW_1")
        assert s.told(ev.WorkerRegistered)[0].deployment == "ann"
        assert not s.told(ev.Notice)
        await s.register(remote)
        for worker_id in ("AW_2", "AW_3"):  # it reconnects
            s.workers[1].accepted(worker_id)
        notices = [each.text for each in s.told(ev.Notice)]
        assert notices == ["no deployment at my.livekit.cloud: production calls can arrive here"]
