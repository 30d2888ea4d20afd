"""Test dispatches made from here: how they are made, which job each became, and which became none."""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from livekit.protocol.agent import Job
from livekit.protocol.agent_dispatch import CreateAgentDispatchRequest, RoomAgentDispatch
from livekit.protocol.room import CreateRoomRequest, DeleteRoomRequest

from agent_tui.engine.api import server_api
from agent_tui.engine.no_job import Standing, never_offered, taken_elsewhere
from agent_tui.model.clock import Clock
from agent_tui.model.commands import Dispatch, DispatchBy
from agent_tui.model.dispatches import origin
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
    """One test dispatch, from when it was made until its outcome was told."""

    room: str
    at: float
    ours: bool
    """We made up the room's name: it is ours to delete."""
    address: ServerAddress
    length_s: float | None = None
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
    def job_id(self) -> str | None:
        return self.job.id if self.job else None

    @property
    def waits(self) -> bool:
        return self.job is None

    @property
    def is_served(self) -> bool:
        """Its job was offered, and not declined at once."""
        return self.job is not None and not self.declined


class Dispatches:
    """Makes test dispatches on the server in use and follows each until it has a job or is lost."""

    def __init__(
        self,
        *,
        clock: Clock,
        emit: Callable[[Event], None],
        standing: Callable[[], Standing],
        simulate: Callable[[str, PretendedParticipant | None], bool] = lambda *_: False,
        timings: DispatchTimings | None = None,
    ) -> None:
        """`simulate` asks the server to offer a job for a room to this worker; False: not registered."""
        self._clock = clock
        self._emit = emit
        self._standing = standing
        self._simulate = simulate
        self._timings = timings or DispatchTimings()
        self._dispatches: list[_Dispatch] = []
        self._rooms: dict[str, ServerAddress] = {}
        self._told: deque[str] = deque(maxlen=TOLD)
        self._deleting: set[asyncio.Task[None]] = set()

    async def make(self, to: Destination, room: str, command: Dispatch) -> str:
        """One dispatch: CreateDispatch for a name, a new room without one, or a simulated job.

        Returns the room's name, made up for an empty `room`. Raises UserError for what cannot be simulated,
        and what livekit-api and aiohttp raise.
        """
        name, address = room or f"test-{secrets.token_hex(4)}", to.address
        dispatch = _Dispatch(name, self._clock.time(), not room, address, command.length_s)
        self._dispatches.append(dispatch)
        self._start_watch(dispatch)
        if dispatch.ours:
            self._rooms[name] = address
        try:
            if command.by is DispatchBy.SIMULATE:
                self._ask_to_simulate(name, command)
            else:
                self._identify(dispatch, await _ask_to_dispatch(to, name, command))
        except BaseException:
            self._end(dispatch)
            raise
        self._emit(Dispatched(name, to.agent_name, dispatch.made_id or None))
        return name

    def _ask_to_simulate(self, room: str, command: Dispatch) -> None:
        participant = pretended(command)
        if not self._simulate(room, participant):
            raise UserError("a simulated job needs a registered worker: this one is not registered now")

    def dispatched_at(self, job: Job) -> float | None:
        """When the dispatch was made that this job came from; None if not from here."""
        dispatch = self._of(job)
        return dispatch.at if dispatch else None

    def is_ours(self, job: Job) -> bool:
        """Whether the job came from a dispatch made here."""
        return self._of(job) is not None

    def length_s(self, job: Job) -> float | None:
        """How long the job may last by its dispatch; None if that did not say."""
        dispatch = self._of(job)
        return dispatch.length_s if dispatch else None

    def offered(self, job: Job) -> None:
        """The server offers the job: its dispatch has arrived."""
        self._claim(job)

    def declined(self, job: Job, why: str) -> None:
        """We do not take the job. Another worker may, so that its dispatch gets the time of a new one."""
        dispatch = self._claim(job, why)
        if dispatch is not None:
            self._start_watch(dispatch)

    def over(self, job: Job) -> None:
        """The job has ended, and that was told. The room goes with it if both were for a load only."""
        dispatch = self._of(job)
        if dispatch is None:
            return
        self._end(dispatch)
        address = self._rooms.pop(dispatch.room, None) if dispatch.length_s is not None else None
        if address is not None:
            task = asyncio.create_task(self._delete_quietly(dispatch.room, address), name="delete a room")
            self._deleting.add(task)
            task.add_done_callback(self._deleting.discard)

    def lost(self, job: Job, why: str) -> None:
        """No worker took the job, and why; told once for each."""
        dispatch = origin(self._dispatches, job.room.name, job.id, job.dispatch_id)
        if dispatch is not None:
            why = f"{why} ({dispatch.declined})" if dispatch.declined else why
            self._end(dispatch)
        self._tell_lost(job.room.name, why, job.id)

    def _tell_lost(self, room: str, why: str, job_id: str | None) -> None:
        if job_id is not None:
            if job_id in self._told:
                return
            self._told.append(job_id)
        self._emit(JobLost(room, why, job_id))

    async def close(self) -> None:
        """Stops watching and deletes the rooms that were made up here, within a short while."""
        for dispatch in tuple(self._dispatches):
            self._end(dispatch)
        rooms, self._rooms = self._rooms, {}
        last = (self._delete_quietly(room, address) for room, address in rooms.items())
        await asyncio.gather(*last, *self._deleting)

    async def _delete_quietly(self, room: str, address: ServerAddress) -> None:
        with contextlib.suppress(Exception):  # the server may be gone, and with it the room
            async with asyncio.timeout(self._timings.clean_up_s):
                async with server_api(address, room, self._timings.clean_up_s) as api:
                    await api.room.delete_room(DeleteRoomRequest(room=room))

    def _of(self, job: Job) -> _Dispatch | None:
        """A dispatch that waits has no part in a job that is here: that one was offered before it."""
        arrived = (each for each in self._dispatches if not each.waits)
        return origin(arrived, job.room.name, job.id, job.dispatch_id)

    def _claim(self, job: Job, declined: str = "") -> _Dispatch | None:
        dispatch = origin(self._dispatches, job.room.name, job.id, job.dispatch_id)
        if dispatch is not None:
            dispatch.job, dispatch.declined = job, declined
        return dispatch

    def _identify(self, dispatch: _Dispatch, made_id: str) -> None:
        """Jobs that were offered before the answer went to the first that waited: now each to its own."""
        dispatch.made_id = made_id
        there = [each for each in self._dispatches if each.room == dispatch.room]
        jobs = [(each.job, each.declined) for each in there if each.job is not None]
        for each in there:
            each.job, each.declined = None, ""
        for job, declined in jobs:
            self._claim(job, declined)

    def _start_watch(self, dispatch: _Dispatch) -> None:
        if dispatch.watch is not None:
            dispatch.watch.cancel()
        dispatch.watch = asyncio.create_task(self._watch(dispatch), name=f"dispatch into {dispatch.room}")

    async def _watch(self, dispatch: _Dispatch) -> None:
        """Tells the dispatch lost, unless it has a job by then."""
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
            self._tell_lost(dispatch.room, why or self._why_lost(dispatch), dispatch.job_id)

    def _why_lost(self, dispatch: _Dispatch) -> str:
        if dispatch.declined:
            return f"the offer was declined: {dispatch.declined}"
        return never_offered(self._standing(), self._timings.offer_s)

    async def _taken_elsewhere(self, dispatch: _Dispatch) -> str:
        with contextlib.suppress(Exception):  # a server that does not answer has told of it elsewhere
            async with server_api(dispatch.address, dispatch.room, self._timings.clean_up_s) as api:
                listed = await api.agent_dispatch.list_dispatch(dispatch.room)
            return taken_elsewhere(
                [each for each in listed if dispatch.dispatch_id in ("", each.id)], self._standing()
            )
        return ""

    def _end(self, dispatch: _Dispatch) -> None:
        if dispatch.watch is not None:
            dispatch.watch.cancel()
        if dispatch in self._dispatches:
            self._dispatches.remove(dispatch)


def pretended(command: Dispatch) -> PretendedParticipant | None:
    """Whom a simulated job is about. Raises UserError for what such a job cannot carry."""
    if command.identity:
        return PretendedParticipant(command.identity, command.metadata, command.attributes)
    if command.metadata or command.attributes:
        raise UserError(
            "a simulated job carries no metadata or attributes of its own: give an identity, "
            "and they are that participant's"
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
