"""A `livekit.Job` as plain data, for children whose interpreter may have no protobuf.

Names are the proto's own (snake_case), all fields are there with their defaults, numbers stay numbers, enums
are names (`JT_ROOM`), bytes are base64, a message that is not set is None, and a map is wrapped as
`{"$map": …}` to be told from a message.
"""

import base64
from typing import Any

from google.protobuf.message import Message
from livekit.protocol.agent import Job


def job_data(job: bytes) -> dict[str, Any]:
    """The data of a serialised job; raises google.protobuf.message.DecodeError."""
    message = Job()
    message.ParseFromString(job)
    return message_data(message)


def message_data(message: Message) -> dict[str, Any]:
    """Any message as plain data."""
    return {each.name: _field(message, each) for each in message.DESCRIPTOR.fields}


def _field(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        entry = field.message_type.fields_by_name["value"]
        return {"$map": {str(key): _single(each, entry) for key, each in value.items()}}
    if field.is_repeated:
        return [_single(each, field) for each in value]
    if field.message_type is not None and not message.HasField(field.name) and field.name != "room":
        return None
    return _single(value, field)


def _single(value: Any, field: Any) -> Any:
    if field.message_type is not None:
        return message_data(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else value
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value
