"""Worker messages in both encodings: protobuf in binary frames, protobuf-JSON in text frames."""

from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from livekit.protocol.agent import WorkerMessage


class UndecodableError(Exception):
    """A frame that is no worker message; the connection is dropped for it (worker-protocol §4.1)."""


def decode(frame: bytes | str) -> Any:
    """The WorkerMessage in a frame, whose type decides the encoding (worker-protocol §1.1).

    Raises `UndecodableError` for garbage, and for a message whose member is empty or not known here.
    """
    message = WorkerMessage()
    try:
        if isinstance(frame, bytes):
            message.ParseFromString(frame)
        else:
            json_format.Parse(frame, message, ignore_unknown_fields=True)
    except (DecodeError, json_format.ParseError) as error:
        raise UndecodableError(f"undecodable message: {error}") from None
    if message.WhichOneof("message") is None:
        raise UndecodableError("a message without a member known here")
    return message


def encode(message: Any, *, text: bool) -> bytes | str:
    """A ServerMessage as the payload of a text or a binary frame."""
    if text:
        return json_format.MessageToJson(message, indent=None)
    payload: bytes = message.SerializeToString()
    return payload
