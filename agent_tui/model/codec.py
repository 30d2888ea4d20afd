"""The codec of all data between processes: events, commands, requests, answers, and messages of children.

Members of a union are distinguished by their case, the class's name in snake case. Processes of agent-tui
exchange MessagePack, which has infinities and bytes. Children write JSON, `{"case": …, "value": {…}}` on a
line, as agents-js children do (agents-js.md §8), with bytes in base64. JSON has no infinity, so a number that
is not finite is written as `{"$float": "inf"}` (or `-inf`, `nan`).
"""

import functools
import json
import re
from collections.abc import Iterable
from typing import Any, Generic, TypeVar, get_args

import msgspec

from agent_tui.model.commands import Command, CommandResult
from agent_tui.model.events import Event
from agent_tui.model.requests import Answer, Request
from agent_tui.model.state import AppState

M = TypeVar("M")

Data = Event | Command | CommandResult | Request | Answer | AppState
"""What front ends and the engine exchange."""


class CodecError(ValueError):
    """The bytes are not a message."""


def case_of(cls: type) -> str:
    """Return a class's name in messages, such as `job_started`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


class Codec(Generic[M]):
    """Encodes and decodes the members of a union.

    Decoding raises CodecError for bytes that are not a member.
    """

    def __init__(self, union: Any, **renamed: type) -> None:
        """`renamed` maps cases to members whose case differs from their class's name."""
        usual = {case_of(cls): cls for cls in _members(union) if cls not in renamed.values()}
        self._classes: dict[str, type] = {**usual, **renamed}
        self._cases = {cls: case for case, cls in self._classes.items()}

    def encode(self, message: M) -> bytes:
        """Return the message in MessagePack."""
        return _TO_MSGPACK.encode((self._cases[type(message)], message))

    def decode(self, data: bytes) -> M:
        """Return a message from MessagePack."""
        try:
            case, value = _CASE_AND_VALUE.decode(data)
            return self.decode_value(case, value)
        except (msgspec.DecodeError, KeyError) as error:
            raise CodecError(f"not a message: {data[:200]!r} ({error})") from error

    def decode_value(self, case: str, value: msgspec.Raw) -> M:
        """Return the message of that case, from MessagePack.

        Raise KeyError if the case is unknown, and msgspec.DecodeError if the value does not fit its class.
        """
        message: M = _from_msgpack(self._classes[case]).decode(value)
        return message

    def case(self, message: M) -> str:
        return self._cases[type(message)]

    def decode_json(self, line: bytes) -> M:
        """Return a message from a JSON line. Fields that its class does not have are ignored."""
        try:
            # msgspec refuses some texts and numbers that Python writes, such as NaN in a log record.
            if any(mark in line for mark in (b"$float", b"\\ud", b"NaN", b"Infinity")):
                raw = json.loads(line, object_hook=_finite_or_not)
                if b"\\ud" in line:
                    raw = _without_surrogates(raw)
                message: M = msgspec.convert(raw.get("value") or {}, self._classes[raw["case"]])
            else:
                envelope = _FROM_JSON.decode(line)
                message = _from_json(self._classes[envelope.case]).decode(envelope.value)
        except _NO_MESSAGE as error:
            raise CodecError(f"not a message of a child: {line[:200]!r} ({error})") from error
        return message


_NO_MESSAGE = (msgspec.MsgspecError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


class _Line(msgspec.Struct):
    case: str
    value: msgspec.Raw = msgspec.Raw(b"{}")


_TO_MSGPACK = msgspec.msgpack.Encoder()
_CASE_AND_VALUE = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
_FROM_JSON = msgspec.json.Decoder(_Line)


@functools.cache  # created at the first such message: creating all would delay the start by 20 ms
def _from_msgpack(cls: type) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(cls)


@functools.cache
def _from_json(cls: type) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cls)


def _members(union: Any) -> Iterable[type]:
    return get_args(union) or (union,)


def _finite_or_not(raw: dict[str, Any]) -> Any:
    return float(raw["$float"]) if raw.keys() == {"$float"} else raw


def _without_surrogates(value: Any) -> Any:
    """Replace lone surrogates by U+FFFD: `os.fsdecode` creates them, and UTF-8 cannot encode them."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(name): _without_surrogates(inner) for name, inner in value.items()}
    return [_without_surrogates(inner) for inner in value] if isinstance(value, list) else value


DATA: Codec[Data] = Codec(Data)
