"""The API's methods on rooms and dispatches, and their limits."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from livekit.protocol.agent_dispatch import ListAgentDispatchResponse
from livekit.protocol.room import CreateRoomRequest, DeleteRoomResponse, ListRoomsResponse

from agent_tui.local_server.rooms import Room, Rooms
from agent_tui.local_server.session import deployment_fault
from agent_tui.local_server.twirp import Method, TwirpError, refusal

_MAX_METADATA: Final = 512 * 1024
_MAX_ATTRIBUTES: Final = 64 * 1024
_MAX_ROOM_NAME: Final = 256


def methods(rooms: Rooms) -> dict[str, Method]:
    """Return the served methods of RoomService and AgentDispatchService, each with the grant that it requires
    (worker-protocol §11.2).
    """
    creates, lists = (lambda grants, _: grants.create_rooms), (lambda grants, _: grants.list_rooms)
    table = {
        "livekit.RoomService/CreateRoom": (creates, _create_room),
        "livekit.RoomService/ListRooms": (lists, _list_rooms),
        "livekit.RoomService/DeleteRoom": (creates, _delete_room),
        "livekit.AgentDispatchService/CreateDispatch": (_administers, _create_dispatch),
        "livekit.AgentDispatchService/ListDispatch": (_administers, _list_dispatch),
        "livekit.AgentDispatchService/DeleteDispatch": (_administers, _delete_dispatch),
    }
    return {name: (allowed, partial(run, rooms)) for name, (allowed, run) in table.items()}


def _create_room(rooms: Rooms, request: Any) -> Any:
    if len(request.name.encode()) > _MAX_ROOM_NAME:
        raise refusal("invalid_argument", f"room name length exceeds limits: max length {_MAX_ROOM_NAME}")
    _check_metadata(request.metadata, _MAX_METADATA)
    for entry in request.agents:
        _check_metadata(entry.metadata, _MAX_METADATA)
        _check_attributes(entry.attributes, _MAX_ATTRIBUTES)
    return rooms.create(request).info


def _list_rooms(rooms: Rooms, request: Any) -> Any:
    return ListRoomsResponse(rooms=rooms.infos(request.names))


def _delete_room(rooms: Rooms, request: Any) -> Any:
    _room(rooms, request.room)
    rooms.delete(request.room)
    return DeleteRoomResponse()


def _create_dispatch(rooms: Rooms, request: Any) -> Any:
    """Create a dispatch. A missing room is created, and its implicit dispatch then fires too (§14.37)."""
    fault = deployment_fault(request.deployment)
    if fault:
        raise refusal("invalid_argument", fault)
    _check_metadata(request.metadata)
    _check_attributes(request.attributes)
    return rooms.create(CreateRoomRequest(name=request.room), unasked=True).dispatch(request)


def _list_dispatch(rooms: Rooms, request: Any) -> Any:
    dispatches = _room(rooms, request.room).dispatches
    wanted = [item for item in dispatches if request.dispatch_id in ("", item.id)]
    return ListAgentDispatchResponse(agent_dispatches=wanted)


def _delete_dispatch(rooms: Rooms, request: Any) -> Any:
    try:
        return _room(rooms, request.room).delete_dispatch(request.dispatch_id)
    except KeyError:
        raise refusal("not_found", "dispatch ID not found") from None


def _room(rooms: Rooms, name: str) -> Room:
    room = rooms.get(name)
    if room is None:
        raise refusal("not_found", "requested room does not exist")
    return room


def _administers(grants: Any, request: Any) -> bool:
    return bool(grants.administers(request.room))


def _check_metadata(metadata: str, shown: int | None = None) -> None:
    if len(metadata.encode()) > _MAX_METADATA:
        raise _exceeds("metadata size exceeds limits", shown)


def _check_attributes(attributes: Mapping[str, str], shown: int | None = None) -> None:
    if sum(len(key.encode()) + len(value.encode()) for key, value in attributes.items()) > _MAX_ATTRIBUTES:
        raise _exceeds("attribute size exceeds limits", shown)


def _exceeds(what: str, shown: int | None) -> TwirpError:
    """Return the error for a limit. RoomService names the limit (`shown`), AgentDispatchService does not."""
    if shown is None:
        return refusal("invalid_argument", what)
    return TwirpError("invalid_argument", f"{what} {shown}", {"argument": what})
