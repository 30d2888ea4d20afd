"""Test dispatches made here: how each is made, and which job it became or why it was lost."""

import asyncio
import contextlib
import itertools
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from livekit.protocol.agent import Job
from livekit.protocol.agent_dispatch import CreateAgentDispatchRequest, RoomAgentDispatch
from livekit.protocol.room import CreateRoomRequest, DeleteRoomRequest, ListRoomsRequest

from agent_tui.engine.registrar import Registrar, WorkerReadiness
from agent_tui.engine.servers import server_api
from agent_tui.jobs.record import JobRecord, TestDispatch
from agent_tui.model.capacity import TARGET_LOAD
from agent_tui.model.clock import Clock
from agent_tui.model.commands import Dispatch, DispatchBy
from agent_tui.model.errors import UserError
from agent_tui.model.events import Dispatched, Event, JobLost
from agent_tui.worker.messages import SimulatedParticipant
from agent_tui.worker.urls import ServerAddress

if TYPE_CHECKING:
    from livekit.api import LiveKitAPI

API_S = 10.0
MOST_REPORTED = 1000
"""How many lost jobs are remembered, because this worker and the server may both report a loss."""

ROOM_TIMEOUT_S = 60
"""Seconds after which the server deletes an empty test room, in case agent-tui does not delete it."""


@dataclass(frozen=True, slots=True)
class DispatchTimings:
    """Time limits of test dispatches, in seconds.

    After `offer_s` without an offer, a dispatch counts as lost: the server does not keep dispatches for later
    (worker-protocol §6.5).
    """

    offer_s: float = 10.0
    first_check_s: float = 1.5
    """Time after the dispatch of the first check whether another worker got the job."""
    clean_up_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Destination:
    """Where test dispatches go: a server, an agent name, and a deployment, all from the options."""

    address: ServerAddress
    agent_name: str
    deployment: str


@dataclass(slots=True, eq=False)
class _Dispatch:
    """One test dispatch, until its outcome is reported."""

    test: TestDispatch
    address: ServerAddress
    simulated: bool
    made_id: str = ""
    """The id in the API's answer, which may come after the offer."""
    job: Job | None = None
    """The job that was offered for this dispatch."""
    declined: str = ""
    """Why this worker declined the offer."""
    watch: "asyncio.Task[None] | None" = None

    @property
    def dispatch_id(self) -> str:
        """The dispatch's id on the server. If the dispatch created its room, only the job has the id."""
        return self.made_id or (self.job.dispatch_id if self.job else "")

    @property
    def is_served(self) -> bool:
        """Whether a job was offered for this dispatch and not declined at once."""
        return self.job is not None and not self.declined

    def may_become(self, job: Job) -> bool:
        """Return whether this dispatch may have led to the job: it has none yet, and the room matches."""
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
        """Dispatches without an outcome by number, oldest first."""
        self._rooms: dict[str, ServerAddress] = {}
        """Rooms created here, which agent-tui deletes."""
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._reported: deque[str] = deque(maxlen=MOST_REPORTED)
        self._deleting: set[asyncio.Task[None]] = set()

    async def make(self, to: Destination, room: str, command: Dispatch) -> TestDispatch:
        """Make one dispatch: create a room with the agent, dispatch into an existing room, or simulate a job.

        An empty `room` gets a generated name. Raise UserError if the job cannot be simulated, and the errors
        of livekit-api and aiohttp if the server refuses or does not answer.
        """
        name, may_exist = room or f"test-{secrets.token_hex(4)}", bool(room)
        if not room:
            self._rooms[name] = to.address
        # The offer may come before the API's answer, which brings the id. To know whose offer it is,
        # dispatches into one room are made one after the other.
        async with self._asking.setdefault(name, asyncio.Lock()):
            return await self._make(to, name, command, may_exist=may_exist)

    async def _make(self, to: Destination, room: str, command: Dispatch, *, may_exist: bool) -> TestDispatch:
        simulated = command.by is DispatchBy.SIMULATE
        test = TestDispatch(
            next(self._numbers), room, self._clock.time(), command.length_s, command.test_load
        )
        dispatch = self._dispatches[test.number] = _Dispatch(test, to.address, simulated)
        self._start_watch(dispatch)
        try:
            if not simulated:
                dispatch.made_id = await _create_dispatch(to, room, command, may_exist=may_exist)
            elif not self._registrar.simulate_job(room, simulated_participant(command)):
                raise UserError("a simulated job needs a registered worker, and this one is not registered")
        except BaseException:
            self._end(dispatch)
            raise
        self._emit(Dispatched(room, to.agent_name, dispatch.made_id or None, test.number))
        return test

    # -- which dispatch a job belongs to, and its outcome --------------------------------------------------

    def claim(self, job: Job) -> TestDispatch | None:
        """Return the dispatch that an offered job comes from; None if it was not made here.

        This is decided once per offer. Afterwards, the job's record and its events have the dispatch's
        number.
        """
        dispatch = self._dispatch_of(job)
        if dispatch is None:
            return None
        dispatch.job, dispatch.declined = job, ""
        return dispatch.test

    def _dispatch_of(self, job: Job) -> _Dispatch | None:
        """Return the dispatch with the job's dispatch id, or else the one that had this job before.

        A declined job may be offered again. If there is neither, return the first dispatch that waits for
        such a job.
        """
        known = tuple(self._dispatches.values())
        by_id = (each for each in known if job.dispatch_id and each.dispatch_id == job.dispatch_id)
        by_job = (each for each in known if each.job is not None and each.job.id == job.id)
        waiting = (each for each in known if each.may_become(job))
        return next(itertools.chain(by_id, by_job, waiting), None)

    def ended(self, record: JobRecord) -> None:
        """Report how an offer or job ended, unless that was reported before, and forget its dispatch.

        Another worker may get a job that was turned away here, so its dispatch waits again, for as long as a
        new one.
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
        """Report a job that no worker accepted, according to the embedded server."""
        dispatch = self._dispatch_of(job)
        if dispatch is not None:
            self._end(dispatch)
        declined = dispatch.declined if dispatch is not None else ""
        if cause := declined or self._registrar.readiness.problem:
            why = f"{cause} ({why})"
        self._report_lost(job.room.name, why, job.id, dispatch.test.number if dispatch else 0)

    def _report_lost(self, room: str, why: str, job_id: str | None, number: int) -> None:
        """Report a lost job once: both the agent's answer and the server's report it."""
        if job_id is not None:
            if job_id in self._reported:
                return
            self._reported.append(job_id)
        self._emit(JobLost(room, why, job_id, number))

    def _delete_load_room(self, dispatch: _Dispatch) -> None:
        """Delete the room of a test load's job, once the job has ended.

        Rooms of other test jobs stay until agent-tui ends, so that you can inspect them.
        """
        length, room = dispatch.test.length_s, dispatch.test.room
        address = self._rooms.pop(room, None) if length is not None else None
        if address is not None:
            task = asyncio.create_task(self._delete_quietly(room, address), name="delete a room")
            self._deleting.add(task)
            task.add_done_callback(self._deleting.discard)

    async def close(self) -> None:
        """Stop watching, and delete the rooms created here, within a short time."""
        for dispatch in tuple(self._dispatches.values()):
            self._end(dispatch)
        rooms, self._rooms = self._rooms, {}
        last = (self._delete_quietly(room, address) for room, address in rooms.items())
        await asyncio.gather(*last, *self._deleting)

    async def _delete_quietly(self, room: str, address: ServerAddress) -> None:
        with contextlib.suppress(Exception):  # the server may have ended, and the room with it
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
        """Report the dispatch as lost if no job is offered for it in time."""
        first = min(self._timings.first_check_s, self._timings.offer_s)
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
        with contextlib.suppress(Exception):  # a server that does not answer is reported elsewhere
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


# -- why a dispatch became no job, as far as this side can tell, and what to do ------------------------


def taken_elsewhere(dispatches: Iterable[Any], ready: WorkerReadiness) -> str:
    """Return which other worker accepted the job; empty if none did.

    `dispatches` is the server's list for the room (worker-protocol §11.2).
    """
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
    """Return why the server may have offered no job, the cause first."""
    what = f"the server offered no job within {within_s:g} s"
    if ready.problem is not None:
        return f"{ready.problem} ({what})"
    if ready.server_type != "room":
        return (
            f"{what}: serverType is {ready.server_type}, "
            f"so a job starts when a participant {_WHEN[ready.server_type]} the room (c copies a join link)"
        )
    if ready.load >= TARGET_LOAD:
        return (
            f"{what}: this worker reports a load of {ready.load:.2f}, and servers skip workers at "
            f"{TARGET_LOAD:g} or more; raise loadThreshold or free the CPU"
        )
    return what


_WHEN = {"publisher": "publishes in", "participant": "joins"}


# -- how a dispatch is made --------------------------------------------------------------------------------


def simulated_participant(command: Dispatch) -> SimulatedParticipant | None:
    """Return the participant of a simulated job. Raise UserError for values that such a job cannot carry."""
    if command.identity:
        return SimulatedParticipant(command.identity, command.metadata, command.attributes)
    if command.metadata or command.attributes:
        raise UserError(
            "a simulated job carries metadata and attributes only for a participant: give an identity too"
        )
    return None


async def _exists(api: "LiveKitAPI", room: str) -> bool:
    return bool((await api.room.list_rooms(ListRoomsRequest(names=[room]))).rooms)


async def _own_dispatches(api: "LiveKitAPI", to: Destination, room: str) -> list[str]:
    """Return the ids of the room's dispatches of this agent. The room must exist (worker-protocol §11.2)."""
    listed = await api.agent_dispatch.list_dispatch(room)
    wanted = (to.agent_name, to.deployment)
    return [each.id for each in listed if (each.agent_name, each.deployment) == wanted]


async def lacks_agent(to: Destination, room: str, server_type: str) -> bool:
    """Return whether the room exists without the agent. No job of the agent may be running in it.

    A dispatch for room jobs starts only one job, which has ended by now. A dispatch for publisher or
    participant jobs starts one for each of them, so the room still has the agent. Raise the errors of
    livekit-api and aiohttp if the server refuses or does not answer.
    """
    async with server_api(to.address, room, API_S) as api:
        if not await _exists(api, room):
            return False
        return server_type == "room" or not await _own_dispatches(api, to, room)


async def _create_dispatch(to: Destination, room: str, command: Dispatch, *, may_exist: bool) -> str:
    """Create the dispatch and return its id; empty for a new room and an agent without a name.

    CreateDispatch into a room that does not exist would first create it without an agent, and so dispatch
    the agents without a name and a deployment: those in production (worker-protocol §11.2). In a room that
    exists, only CreateDispatch has an effect (§11.1).
    """
    async with server_api(to.address, room, API_S) as api:
        if not may_exist or not await _exists(api, room):
            await api.room.create_room(_room_request(to, room, command))
            made = await _own_dispatches(api, to, room) if to.agent_name else []
            return made[0] if made else ""
        created = await api.agent_dispatch.create_dispatch(
            CreateAgentDispatchRequest(
                agent_name=to.agent_name,
                room=room,
                metadata=command.metadata,
                deployment=to.deployment,
                attributes=dict(command.attributes),
            )
        )
        return created.id


def _room_request(to: Destination, room: str, command: Dispatch) -> CreateRoomRequest:
    """Return the request for a new room with the agent (worker-protocol §11.1)."""
    request = CreateRoomRequest(name=room, empty_timeout=ROOM_TIMEOUT_S, departure_timeout=ROOM_TIMEOUT_S)
    request.agents.append(
        RoomAgentDispatch(
            agent_name=to.agent_name,
            deployment=to.deployment,
            metadata=command.metadata,
            attributes=dict(command.attributes),
        )
    )
    return request
