"""What the API's methods do with rooms and dispatches, and the limits that they keep."""

from collections.abc import Mapping
from typing import Any, Final

from livekit.protocol.agent_dispatch import ListAgentDispatchResponse
from livekit.protocol.room import CreateRoomRequest, DeleteRoomResponse, ListRoomsResponse

from agent_tui.local_server.rooms import Room, Rooms
from agent_tui.local_server.session import deployment_fault
from agent_tui.local_server.twirp import Method, TwirpError, refusal

_MAX_METADATA: Final = 512 * 1024
_MAX_ATTRIBUTES: Final = 64 * 1024
_MAX_ROOM_NAME: Final = 256

_NO_ROOM: Final = "requested room does not exist"


class Api:
    """RoomService and AgentDispatchService over the rooms (worker-protocol §11.2)."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    def methods(self) -> Mapping[str, Method]:
        """The served methods, each with the grant that it asks for."""
        return {
            "livekit.RoomService/CreateRoom": Method(lambda g, _: g.create_rooms, self.create_room),
            "livekit.RoomService/ListRooms": Method(lambda g, _: g.list_rooms, self.list_rooms),
            "livekit.RoomService/DeleteRoom": Method(lambda g, _: g.create_rooms, self.delete_room),
            "livekit.AgentDispatchService/CreateDispatch": Method(_administers, self.create_dispatch),
            "livekit.AgentDispatchService/ListDispatch": Method(_administers, self.list_dispatch),
            "livekit.AgentDispatchService/DeleteDispatch": Method(_administers, self.delete_dispatch),
        }

    def create_room(self, request: Any) -> Any:
        if len(request.name.encode()) > _MAX_ROOM_NAME:
            raise refusal("invalid_argument", f"room name length exceeds limits: max length {_MAX_ROOM_NAME}")
        _check_metadata(request.metadata, _MAX_METADATA)
        for entry in request.agents:
            _check_metadata(entry.metadata, _MAX_METADATA)
            _check_attributes(entry.attributes, _MAX_ATTRIBUTES)
        return self._rooms.create(request).info

    def list_rooms(self, request: Any) -> Any:
        return ListRoomsResponse(rooms=self._rooms.infos(request.names))

    def delete_room(self, request: Any) -> Any:
        self._room(request.room)
        self._rooms.delete(request.room)
        return DeleteRoomResponse()

    def create_dispatch(self, request: Any) -> Any:
        """Makes the room when it is missing, whose implicit dispatch then fires too (§14.37)."""
        fault = deployment_fault(request.deployment)
        if fault:
            raise refusal("invalid_argument", fault)
        _check_metadata(request.metadata)
        _check_attributes(request.attributes)
        return self._rooms.create(CreateRoomRequest(name=request.room), unasked=True).dispatch(request)

    def list_dispatch(self, request: Any) -> Any:
        dispatches = self._room(request.room).dispatches
        wanted = [item for item in dispatches if request.dispatch_id in ("", item.id)]
        return ListAgentDispatchResponse(agent_dispatches=wanted)

    def delete_dispatch(self, request: Any) -> Any:
        try:
            return self._room(request.room).delete_dispatch(request.dispatch_id)
        except KeyError:
            raise refusal("not_found", "dispatch ID not found") from None

    def _room(self, name: str) -> Room:
        room = self._rooms.get(name)
        if room is None:
            raise refusal("not_found", _NO_ROOM)
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
    """RoomService names the limit in its text and meta, AgentDispatchService does not."""
    if shown is None:
        return refusal("invalid_argument", what)
    return TwirpError("invalid_argument", f"{what} {shown}", {"argument": what})
