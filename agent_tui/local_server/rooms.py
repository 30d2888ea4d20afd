"""Rooms without media: participants are simulated, their effects on dispatches are real."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from livekit.protocol.agent import JobType
from livekit.protocol.agent_dispatch import AgentDispatch, RoomAgentDispatch
from livekit.protocol.models import ParticipantInfo, TrackInfo, TrackSource, TrackType
from livekit.protocol.models import Room as RoomInfo

from agent_tui.local_server.dispatcher import Dispatcher, DispatchRecord
from agent_tui.local_server.session import (
    DISPATCH_ID,
    PARTICIPANT_ID,
    ROOM_ID,
    TRACK_ID,
    deployment_fault,
    nanoseconds,
    new_id,
)


class Room:
    """One room. Participants are simulated by calls: `join`, `publish`, `leave`."""

    def __init__(self, dispatcher: Dispatcher, request: Any, *, unasked: bool) -> None:
        self._dispatcher = dispatcher
        now = dispatcher.clock.time()
        self._info = RoomInfo(
            sid=new_id(ROOM_ID, dispatcher.rng),
            name=request.name,
            empty_timeout=request.empty_timeout or round(dispatcher.timings.empty_room_s),
            departure_timeout=request.departure_timeout or round(dispatcher.timings.departed_room_s),
            max_participants=request.max_participants,
            creation_time=int(now),
            creation_time_ms=int(now * 1000),
            turn_password=new_id("", dispatcher.rng) + new_id("", dispatcher.rng),
            metadata=request.metadata,
        )
        self._participants: dict[str, Any] = {}
        self._records: dict[str, DispatchRecord] = {}
        self._quiet_since = dispatcher.clock.monotonic()
        self._somebody_came = False
        for entry in request.agents or [RoomAgentDispatch()]:
            if deployment_fault(entry.deployment) is None:
                self._start(entry, expected=not unasked)

    @property
    def name(self) -> str:
        return str(self._info.name)

    @property
    def info(self) -> Any:
        """A copy of the livekit.Room, with the current counts."""
        people = self._people()
        info = RoomInfo()
        info.CopyFrom(self._info)
        info.num_participants = len(people)
        info.num_publishers = sum(person.is_publisher for person in people)
        return info

    def update(self, request: Any) -> None:
        """Apply a CreateRoom to an existing room; its agents are ignored (worker-protocol §11.1)."""
        for name in ("empty_timeout", "departure_timeout", "max_participants", "metadata"):
            if value := getattr(request, name):
                setattr(self._info, name, value)

    # -- dispatches ------------------------------------------------------------------------------------

    @property
    def dispatches(self) -> tuple[Any, ...]:
        """Copies of the room's AgentDispatches, with the jobs that workers accepted."""
        return tuple(_copy(record.dispatch) for record in self._records.values())

    def dispatch(self, request: Any) -> Any:
        """Add an AgentDispatch made from a CreateAgentDispatchRequest, and create its jobs.

        There is also a participant job for each participant in the room, and a publisher job for each that
        publishes (§11.1).
        """
        record = self._start(request)
        for person in self._people():
            self._dispatcher.launch(record, self.info, JobType.JT_PARTICIPANT, person)
            if person.is_publisher:
                self._dispatcher.launch(record, self.info, JobType.JT_PUBLISHER, person)
        return _copy(record.dispatch)

    def delete_dispatch(self, dispatch_id: str) -> Any:
        """Remove a dispatch and end its jobs. Raise KeyError for an unknown id."""
        record = self._records.pop(dispatch_id)
        self._dispatcher.delete(record)
        for job in record.dispatch.state.jobs:
            agent = self._participants.get(job.state.participant_identity)
            if agent is not None and agent.kind == ParticipantInfo.AGENT:
                del self._participants[agent.identity]
        return _copy(record.dispatch)

    def _start(self, wanted: Any, *, expected: bool = True) -> DispatchRecord:
        dispatch = AgentDispatch(
            id=new_id(DISPATCH_ID, self._dispatcher.rng),
            agent_name=wanted.agent_name,
            room=self.name,
            metadata=wanted.metadata,
            restart_policy=wanted.restart_policy,
            deployment=wanted.deployment,
            attributes=dict(wanted.attributes),
        )
        dispatch.state.created_at = nanoseconds(self._dispatcher.clock)
        record = self._records[dispatch.id] = DispatchRecord(dispatch, expected)
        self._dispatcher.launch(record, self.info, JobType.JT_ROOM)
        return record

    # -- simulated participants ----------------------------------------------------------------------

    def join(
        self,
        identity: str,
        *,
        name: str = "",
        metadata: str = "",
        attributes: Mapping[str, str] | None = None,
        agent: bool = False,
    ) -> Any:
        """Let a participant join, and return the ParticipantInfo. Remove an earlier one with that identity.

        With `agent` it is an agent's participant, which triggers no jobs and does not keep the room open
        (§7). Raise ValueError for an empty identity.
        """
        if not identity:
            raise ValueError("identity cannot be empty")
        if identity in self._participants:
            self.leave(identity)
        now = self._dispatcher.clock.time()
        person = ParticipantInfo(
            sid=new_id(PARTICIPANT_ID, self._dispatcher.rng),
            identity=identity,
            name=name,
            metadata=metadata,
            attributes=attributes or {},
            state=ParticipantInfo.JOINING,
            joined_at=int(now),
            joined_at_ms=int(now * 1000),
            kind=ParticipantInfo.AGENT if agent else ParticipantInfo.STANDARD,
        )
        self._participants[identity] = person
        if not agent:
            self._somebody_came = True
            self._launch_all(JobType.JT_PARTICIPANT, person)
        result = _copy(person)
        person.state = ParticipantInfo.ACTIVE
        return result

    def publish(self, identity: str) -> None:
        """Let a participant publish a track; only its first triggers publisher jobs (§11.1).

        Raise KeyError if it is not in the room.
        """
        person = self._participants[identity]
        first = not person.tracks
        track = TrackInfo(
            sid=new_id(TRACK_ID, self._dispatcher.rng), type=TrackType.AUDIO, source=TrackSource.MICROPHONE
        )
        person.tracks.append(track)
        person.is_publisher = True
        if first and person.kind != ParticipantInfo.AGENT:
            self._launch_all(JobType.JT_PUBLISHER, person)

    def leave(self, identity: str) -> None:
        """Let a participant leave. If it is the agent of a running job, that job ends as FAILED (§9).

        Raise KeyError if it is not in the room.
        """
        person = self._participants.pop(identity)
        if person.kind == ParticipantInfo.AGENT:
            if job := self._job_of(identity):
                self._dispatcher.agent_left(job)
        elif not self._people():
            self._quiet_since = self._dispatcher.clock.monotonic()

    def close(self) -> None:
        """Remove everyone. A worker whose agent never joined gets no message (§9)."""
        for identity in tuple(self._participants):
            self.leave(identity)

    @property
    def expired(self) -> bool:
        """Whether the room has had no participants except agents for its empty or departure time."""
        if self._people():
            return False
        limit = self._info.departure_timeout if self._somebody_came else self._info.empty_timeout
        return bool(self._dispatcher.clock.monotonic() - self._quiet_since >= limit)

    def _people(self) -> list[Any]:
        return [person for person in self._participants.values() if person.kind != ParticipantInfo.AGENT]

    def _launch_all(self, job_type: Any, person: Any) -> None:
        for record in self._records.values():
            self._dispatcher.launch(record, self.info, job_type, _copy(person))

    def _job_of(self, identity: str) -> Any | None:
        """Return the latest job that was accepted with this identity, as on the real server (§11.4)."""
        jobs = (job for record in self._records.values() for job in record.dispatch.state.jobs)
        mine = [job for job in jobs if job.state.participant_identity == identity]
        return max(mine, key=lambda job: job.state.started_at, default=None)


class Rooms(Mapping[str, Room]):
    """All open rooms, by name. Other code may only read the mapping."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._rooms: dict[str, Room] = {}

    def __getitem__(self, name: str) -> Room:
        return self._rooms[name]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._rooms))

    def __len__(self) -> int:
        return len(self._rooms)

    def create(self, request: Any, *, unasked: bool = False) -> Room:
        """Return the room of a CreateRoomRequest, created or updated.

        `unasked`: no client asked for the room's implicit dispatch, so it is not reported if there is no
        worker for it.
        """
        room = self._rooms.get(request.name)
        if room is None:
            room = self._rooms[request.name] = Room(self._dispatcher, request, unasked=unasked)
        else:
            room.update(request)
        return room

    def delete(self, name: str) -> None:
        """Close a room. Raise KeyError for an unknown name."""
        self._rooms.pop(name).close()

    def close_expired(self) -> None:
        for name in [name for name, room in self._rooms.items() if room.expired]:
            self.delete(name)

    def infos(self, names: Iterable[str] = ()) -> list[Any]:
        """Return the livekit.Rooms of these names, or all."""
        wanted = frozenset(names)
        return [room.info for name, room in self._rooms.items() if not wanted or name in wanted]


def _copy(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
