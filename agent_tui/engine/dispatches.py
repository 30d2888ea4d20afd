"""Test dispatches made from here: how each is made, which job it became, or why it became none."""

import asyncio
import contextlib
import itertools
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from livekit.protocol.agent import Job
from livekit.protocol.agent_dispatch import CreateAgentDispatchRequest, RoomAgentDispatch
from livekit.protocol.room import CreateRoomRequest, DeleteRoomRequest

from agent_tui.engine.registrar import Registrar, WorkerReadiness
from agent_tui.engine.servers import server_api
from agent_tui.jobs.record import JobRecord, TestDispatch
from agent_tui.model.capacity import TARGET_LOAD
from agent_tui.model.clock import Clock
from agent_tui.model.commands import Dispatch, DispatchBy
from agent_tui.model.errors import UserError
from agent_tui.model.events import Dispatched, Event, JobLost
from agent_tui.worker.messages import PretendedParticipant
from agent_tui.worker.urls import ServerAddress

API_S = 10.0
TOLD = 1000
"""Lost jobs that are remembered, since the agent's answer and the server both tell of them."""

ROOM_TIMEOUT_S = 60
"""An empty test room goes by itself, should we not come to delete it."""


@dataclass(frozen=True, slots=True)
class DispatchTimings:
    """Seconds until a dispatch without an offer counts as lost: it is kept nowhere (worker-protocol §6.5)."""

    offer_s: float = 10.0
    look_s: float = 1.5
    """When it is first looked at whether another worker took it."""
    clean_up_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Destination:
    """Where test dispatches go, and for which agent: as the options have it."""

    address: ServerAddress
    agent_name: str
    deployment: str


@dataclass(slots=True, eq=False)
class _Dispatch:
    """One test dispatch, from when it was made until its outcome was reported."""

    test: TestDispatch
    address: ServerAddress
    simulated: bool
    made_id: str = ""
    """The API's answer, which may come after the offer."""
    job: Job | None = None
    """What it was offered as."""
    declined: str = ""
    """Why we did not take that."""
    watch: "asyncio.Task[None] | None" = None

    @property
    def dispatch_id(self) -> str:
        """Of a new room's dispatch only its job tells it."""
        return self.made_id or (self.job.dispatch_id if self.job else "")

    @property
    def is_served(self) -> bool:
        """Its job was offered, and not declined at once."""
        return self.job is not None and not self.declined

    def may_become(self, job: Job) -> bool:
        """Whether it waits for a job like this one: in its room, and with a dispatch's id or simulated."""
        waits = self.job is None and self.test.room == job.room.name
        # A dispatch whose id is known has a job with that id; a simulated job has none.
        return waits and not self.made_id and self.simulated == (not job.dispatch_id)


class Dispatches:
    """Makes test dispatches on the server in use and follows each until it has a job or is lost."""

    def __init__(
        self,
        *,
        registrar: Registrar,
        clock: Clock,
        emit: Callable[[Event], None],
        timings: DispatchTimings | None = None,
    ) -> None:
        self._registrar = registrar
        self._clock = clock
        self._emit = emit
        self._timings = timings or DispatchTimings()
        self._numbers = itertools.count(1)
        self._dispatches: dict[int, _Dispatch] = {}
        """Those without an outcome, by their numbers, oldest first."""
        self._rooms: dict[str, ServerAddress] = {}
        """Made up here, and so ours to delete."""
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._told: deque[str] = deque(maxlen=TOLD)
        self._deleting: set[asyncio.Task[None]] = set()

    async def make(self, to: Destination, room: str, command: Dispatch) -> TestDispatch:
        """One dispatch: CreateDispatch for a name, a new room without one, or a simulated job.

        The room's name is made up for an empty `room`. Raises UserError for what cannot be simulated, and
        what livekit-api and aiohttp raise.
        """
        name = room or f"test-{secrets.token_hex(4)}"
        if not room:
            self._rooms[name] = to.address
        # The offer may come before the API's answer, which brings the id. So that it is clear whose offer it
        # is, dispatches into one room are made one after the other.
        async with self._asking.setdefault(name, asyncio.Lock()):
            return await self._make(to, name, command)

    async def _make(self, to: Destination, room: str, command: Dispatch) -> TestDispatch:
        simulated = command.by is DispatchBy.SIMULATE
        test = TestDispatch(next(self._numbers), room, self._clock.time(), command.length_s)
        dispatch = self._dispatches[test.number] = _Dispatch(test, to.address, simulated)
        self._start_watch(dispatch)
        try:
            if not simulated:
                dispatch.made_id = await _ask_to_dispatch(to, room, command)
            elif not self._registrar.simulate_job(room, pretended(command)):
                raise UserError("a simulated job needs a registered worker, and this one is not registered")
        except BaseException:
            self._end(dispatch)
            raise
        self._emit(Dispatched(room, to.agent_name, dispatch.made_id or None, test.number))
        return test

    # -- which job is whose, and what became of it ----------------------------------------------------

    def claim(self, job: Job) -> TestDispatch | None:
        """Decide which dispatch an offered job comes from; None for one that was not made here.

        This happens once for each offer: from here on the job's record and its events carry the answer.
        """
        dispatch = self._of(job)
        if dispatch is None:
            return None
        dispatch.job, dispatch.declined = job, ""
        return dispatch.test

    def _of(self, job: Job) -> _Dispatch | None:
        """The dispatch of the job's dispatch id, else the one that had this very job before (a declined job
        is offered again), else the first that waits for such a job."""
        known = tuple(self._dispatches.values())
        by_id = (each for each in known if job.dispatch_id and each.dispatch_id == job.dispatch_id)
        by_job = (each for each in known if each.job is not None and each.job.id == job.id)
        waiting = (each for each in known if each.may_become(job))
        return next(itertools.chain(by_id, by_job, waiting), None)

    def over(self, record: JobRecord) -> None:
        """The offer or the job is over: report what is not reported yet, and forget its dispatch.

        Another worker may take a job that was turned away here: its dispatch gets the time of a new one.
        """
        dispatch = self._dispatches.get(record.test_dispatch)
        if record.turned_away:
            if dispatch is not None:
                dispatch.declined = record.declined or ""
                self._start_watch(dispatch)
            return
        lost = record.lost
        if record.declined is not None and dispatch is not None:
            lost = f"the offer was declined: {record.declined}"
        if lost:
            self._report_lost(record.room, lost, record.id, record.test_dispatch)
        if dispatch is not None:
            self._end(dispatch)
            self._delete_load_room(dispatch)

    def lost(self, job: Job, why: str) -> None:
        """No worker took the job, as the embedded server says."""
        dispatch = self._of(job)
        if dispatch is not None:
            why = f"{why} ({dispatch.declined})" if dispatch.declined else why
            self._end(dispatch)
        self._report_lost(job.room.name, why, job.id, dispatch.test.number if dispatch else 0)

    def _report_lost(self, room: str, why: str, job_id: str | None, number: int) -> None:
        """Once for each job: both the agent's answer and the server's say that it is lost."""
        if job_id is not None:
            if job_id in self._told:
                return
            self._told.append(job_id)
        self._emit(JobLost(room, why, job_id, number))

    def _delete_load_room(self, dispatch: _Dispatch) -> None:
        """A room of a load goes with its job; those of other test jobs stay for a look until the end."""
        length, room = dispatch.test.length_s, dispatch.test.room
        address = self._rooms.pop(room, None) if length is not None else None
        if address is not None:
            task = asyncio.create_task(self._delete_quietly(room, address), name="delete a room")
            self._deleting.add(task)
            task.add_done_callback(self._deleting.discard)

    async def close(self) -> None:
        """Stops watching and deletes the rooms that were made up here, within a short while."""
        for dispatch in tuple(self._dispatches.values()):
            self._end(dispatch)
        rooms, self._rooms = self._rooms, {}
        last = (self._delete_quietly(room, address) for room, address in rooms.items())
        await asyncio.gather(*last, *self._deleting)

    async def _delete_quietly(self, room: str, address: ServerAddress) -> None:
        with contextlib.suppress(Exception):  # the server may be gone, and with it the room
            async with asyncio.timeout(self._timings.clean_up_s):
                async with server_api(address, room, self._timings.clean_up_s) as api:
                    await api.room.delete_room(DeleteRoomRequest(room=room))

    def _start_watch(self, dispatch: _Dispatch) -> None:
        if dispatch.watch is not None:
            dispatch.watch.cancel()
        dispatch.watch = asyncio.create_task(
            self._watch(dispatch), name=f"dispatch into {dispatch.test.room}"
        )

    async def _watch(self, dispatch: _Dispatch) -> None:
        """Reports the dispatch lost, unless it has a job by then."""
        first = min(self._timings.look_s, self._timings.offer_s)
        why = ""
        for pause in (first, self._timings.offer_s - first):
            await asyncio.sleep(pause)
            why = "" if dispatch.is_served else await self._taken_elsewhere(dispatch)
            if why:
                break
        if not dispatch.is_served:
            dispatch.watch = None
            self._end(dispatch)
            job_id = dispatch.job.id if dispatch.job else None
            why = why or self._why_lost(dispatch)
            self._report_lost(dispatch.test.room, why, job_id, dispatch.test.number)

    def _why_lost(self, dispatch: _Dispatch) -> str:
        if dispatch.declined:
            return f"the offer was declined: {dispatch.declined}"
        return never_offered(self._registrar.readiness, self._timings.offer_s)

    async def _taken_elsewhere(self, dispatch: _Dispatch) -> str:
        with contextlib.suppress(Exception):  # that a server does not answer is reported elsewhere
            async with server_api(dispatch.address, dispatch.test.room, self._timings.clean_up_s) as api:
                listed = await api.agent_dispatch.list_dispatch(dispatch.test.room)
            return taken_elsewhere(
                [each for each in listed if dispatch.dispatch_id in ("", each.id)], self._registrar.readiness
            )
        return ""

    def _end(self, dispatch: _Dispatch) -> None:
        if dispatch.watch is not None:
            dispatch.watch.cancel()
        self._dispatches.pop(dispatch.test.number, None)


# -- why a dispatch became no job, as far as that can be seen from here, and what to do ---------------------


def taken_elsewhere(dispatches: Iterable[Any], ready: WorkerReadiness) -> str:
    """Which worker took the job instead of us, by its own list (worker-protocol §11.2); empty: none."""
    for dispatch in dispatches:
        for job in dispatch.state.jobs:
            worker = job.state.worker_id
            if worker and worker not in ready.ids:
                name = f"as {ready.agent_name!r}" if ready.agent_name else "without a name"
                return (
                    f"another worker took the job: {worker} is also registered {name}; "
                    "stop it, or give this worker another name with --agent-name"
                )
    return ""


def never_offered(ready: WorkerReadiness, within_s: float) -> str:
    """Why the server may have offered nothing."""
    said = f"the server offered no job within {within_s:g} s"
    if ready.trouble is not None:
        return f"{said}: {ready.trouble}"
    if ready.server_type != "room":
        return (
            f"{said}: serverType is {ready.server_type}, "
            f"so a job starts when a participant {_WHEN[ready.server_type]} the room (c copies a join link)"
        )
    if ready.load >= TARGET_LOAD:
        return (
            f"{said}: this worker reports a load of {ready.load:.2f}, and servers skip workers at "
            f"{TARGET_LOAD:g} or more; raise loadThreshold or free the CPU"
        )
    return said


_WHEN = {"publisher": "publishes in", "participant": "joins"}


# -- how a dispatch is made --------------------------------------------------------------------------------


def pretended(command: Dispatch) -> PretendedParticipant | None:
    """Whom a simulated job is about. Raises UserError for what such a job cannot carry."""
    if command.identity:
        return PretendedParticipant(command.identity, command.metadata, command.attributes)
    if command.metadata or command.attributes:
        raise UserError(
            "a simulated job carries metadata and attributes only for a participant: give an identity too"
        )
    return None


async def _ask_to_dispatch(to: Destination, room: str, command: Dispatch) -> str:
    """The dispatch's id; empty for a new room."""
    async with server_api(to.address, room, API_S) as api:
        if not to.agent_name:
            await api.room.create_room(_room_for_anyone(to, room, command))
            return ""
        made = await api.agent_dispatch.create_dispatch(
            CreateAgentDispatchRequest(
                agent_name=to.agent_name,
                room=room,
                metadata=command.metadata,
                deployment=to.deployment,
                attributes=dict(command.attributes),
            )
        )
        return made.id


def _room_for_anyone(to: Destination, room: str, command: Dispatch) -> CreateRoomRequest:
    """A new room: it asks for the agents without a name by itself (worker-protocol §11.1)."""
    request = CreateRoomRequest(name=room, empty_timeout=ROOM_TIMEOUT_S, departure_timeout=ROOM_TIMEOUT_S)
    if command.metadata or command.attributes or to.deployment:
        request.agents.append(
            RoomAgentDispatch(
                metadata=command.metadata, attributes=dict(command.attributes), deployment=to.deployment
            )
        )
    return request
