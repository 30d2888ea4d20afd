"""Test dispatches made from here: how they are made, which job each became, and which became none."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from livekit.protocol.agent import Job
from livekit.protocol.agent_dispatch import CreateAgentDispatchRequest, RoomAgentDispatch
from livekit.protocol.room import CreateRoomRequest, DeleteRoomRequest

from agent_tui.engine.api import server_api
from agent_tui.model.clock import Clock
from agent_tui.model.events import Dispatched, Event, JobLost
from agent_tui.worker.urls import ServerAddress

API_S = 10.0
ROOM_TIMEOUT_S = 60
"""An empty test room goes by itself, should we not come to delete it."""


@dataclass(frozen=True, slots=True)
class DispatchTimings:
    """Seconds until a dispatch without an offer counts as lost: it is kept nowhere (worker-protocol §6.5)."""

    offer_s: float = 10.0
    clean_up_s: float = 1.0


@dataclass(slots=True)
class _Pending:
    room: str
    at: float
    watch: asyncio.Task[None]


class Dispatches:
    """Makes test dispatches on the server in use and follows each until it has a job or is lost."""

    def __init__(
        self,
        *,
        clock: Clock,
        emit: Callable[[Event], None],
        timings: DispatchTimings | None = None,
    ) -> None:
        self._clock = clock
        self._emit = emit
        self._timings = timings or DispatchTimings()
        self._pending: dict[str, _Pending] = {}
        self._times: dict[str, float] = {}
        self._made: dict[str, ServerAddress] = {}

    async def make(
        self, address: ServerAddress, agent_name: str, deployment: str, room: str, metadata: str
    ) -> str:
        """One dispatch: CreateDispatch for a name, a new room without one. Returns the room's name.

        Raises what livekit-api and aiohttp raise.
        """
        name = room or f"test-{secrets.token_hex(4)}"
        at = self._clock.time()
        watch = asyncio.create_task(self._watch(name))
        self._pending[name] = _Pending(name, at, watch)
        self._times[name] = at
        try:
            async with server_api(address, name, API_S) as api:
                if agent_name:
                    made = await api.agent_dispatch.create_dispatch(
                        CreateAgentDispatchRequest(
                            agent_name=agent_name, room=name, metadata=metadata, deployment=deployment
                        )
                    )
                    dispatch_id = made.id
                else:
                    await api.room.create_room(_room_for_anyone(name, metadata, deployment))
                    dispatch_id = None
        except BaseException:
            self._settle(name)
            raise
        self._made[name] = address
        self._emit(Dispatched(name, agent_name, dispatch_id))
        return name

    def dispatched_at(self, job: Job) -> float | None:
        """When the dispatch was made that this job came from; None if not from here."""
        return self._times.get(job.room.name)

    def is_ours(self, room: str) -> bool:
        return room in self._times

    def offered(self, room: str) -> None:
        """The server offers a job for that room: its dispatch has arrived."""
        pending = self._pending.get(room)
        if pending is not None:
            pending.watch.cancel()

    def settled(self, room: str) -> None:
        """The room's job ended or was told to be lost: nothing is pending for it any more."""
        self._settle(room)

    def lost(self, room: str, why: str, job_id: str | None = None) -> None:
        """The dispatch got no job, and why; told once for each."""
        if self._settle(room):
            self._emit(JobLost(room, why, job_id))

    async def close(self) -> None:
        """Stops watching and deletes the rooms made here, within a short while."""
        for room in tuple(self._pending):
            self._settle(room)
        rooms, self._made = self._made, {}
        with contextlib.suppress(Exception):  # the server may be gone, and with it the rooms
            async with asyncio.timeout(self._timings.clean_up_s):
                await asyncio.gather(*(self._delete(room, at) for room, at in rooms.items()))

    async def _delete(self, room: str, address: ServerAddress) -> None:
        async with server_api(address, room, self._timings.clean_up_s) as api:
            await api.room.delete_room(DeleteRoomRequest(room=room))

    async def _watch(self, room: str) -> None:
        await asyncio.sleep(self._timings.offer_s)
        self.lost(room, f"the server offered no job within {self._timings.offer_s:g} s")

    def _settle(self, room: str) -> bool:
        pending = self._pending.pop(room, None)
        if pending is None:
            return False
        if pending.watch is not asyncio.current_task():
            pending.watch.cancel()
        return True


def _room_for_anyone(name: str, metadata: str, deployment: str) -> CreateRoomRequest:
    """A new room: it asks for the agents without a name by itself (worker-protocol §11.1)."""
    request = CreateRoomRequest(name=name, empty_timeout=ROOM_TIMEOUT_S, departure_timeout=ROOM_TIMEOUT_S)
    if metadata or deployment:
        request.agents.append(RoomAgentDispatch(metadata=metadata, deployment=deployment))
    return request
