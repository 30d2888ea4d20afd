"""The host's end of a Python child's channel: messages as JSON lines, one table for all of them.

A line is `{"case": name, "value": {field: …}}`, the shape that agents-js children have too (agents-js.md §8);
names and fields are those of `agent_tui.model.child`. Bytes are base64. JSON carries no infinity, so a number
that is not finite is `{"$float": "inf"}` (or `-inf`, `nan`).
"""

import base64
import functools
import json
import math
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

from agent_tui.model.child import FromChild, ToChild

MAX_LINE = 32 * 1024 * 1024
"""Bytes of one message; longer ones are ignored. Children shorten their texts far below."""


class ChannelError(ValueError):
    """A line that is no message."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A structured log record of the agent's, as the child sends it."""

    level: int
    logger: str
    ts: float
    text: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Forked:
    """A fork was made; its pidfd comes with the message."""

    fork: str
    pid: int


@dataclass(frozen=True, slots=True)
class ForkFailed:
    """A fork could not be made."""

    fork: str
    error: str


@dataclass(frozen=True, slots=True)
class ForkEnded:
    """A fork has ended and is reaped; `code` is negative for a signal."""

    fork: str
    code: int


ForkMessage = Forked | ForkFailed | ForkEnded
"""What only a `ForkServer` takes."""

OwnMessage = LogRecord | ForkMessage
"""What is for the runtime itself; no other part sees it."""


def _case(cls: type) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


_FROM_CHILD: dict[str, type] = {_case(cls): cls for cls in (*get_args(FromChild), *get_args(OwnMessage))}
_FROM_CHILD["log"] = LogRecord

JobView = Callable[[bytes], object]
"""Turns a serialised `livekit.Job` into what the child can read."""


def base64_job(job: bytes) -> object:
    """For children that have protobuf: the bytes themselves."""
    return base64.b64encode(job).decode("ascii")


def encode(message: ToChild, job_view: JobView = base64_job) -> bytes:
    """One message as a line."""
    return encode_line(_case(type(message)), _plain(message, job_view))


def encode_line(case: str, value: object) -> bytes:
    """One line of any case."""
    return json.dumps({"case": case, "value": value}, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> FromChild | OwnMessage:
    """One line as a message; raises ChannelError."""
    try:
        raw = json.loads(line)
        if b"\\ud" in line:
            raw = _without_surrogates(raw)
        cls = _FROM_CHILD[raw["case"]]
        message: FromChild | OwnMessage = _revive(cls, raw.get("value") or {})
    except (ValueError, TypeError, KeyError) as error:
        raise ChannelError(f"not a message of a child: {line[:200]!r} ({error})") from error
    return message


def _without_surrogates(value: Any) -> Any:
    """Half characters (`os.fsdecode` makes them of odd file names) fit nowhere: they become U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(name): _without_surrogates(inner) for name, inner in value.items()}
    return [_without_surrogates(inner) for inner in value] if isinstance(value, list) else value


def _plain(value: object, job_view: JobView, name: str = "") -> object:
    if isinstance(value, bytes):
        return job_view(value) if name == "job" else base64.b64encode(value).decode("ascii")
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name), job_view, f.name) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each, job_view) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each, job_view) for each in value]
    return value


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _revive(hint: Any, raw: Any) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        return hint(**{name: _revive(_hints(hint)[name], each) for name, each in raw.items()})
    if hint is object:
        return _revive_any(raw)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = next(each for each in arguments if each is not types.NoneType)
        return None if raw is None else _revive(inner, raw)
    if origin is tuple:
        return tuple(_revive(arguments[0], each) for each in raw)
    if origin is not None:
        return {key: _revive(arguments[1], each) for key, each in raw.items()}
    if hint is bytes:
        return base64.b64decode(raw, validate=True)
    if hint is float and type(raw) is int:
        return float(raw)
    if type(raw) is not hint:
        raise TypeError(f"{raw!r:.80} is not {hint.__name__}")
    return raw


def _revive_any(raw: Any) -> object:
    if isinstance(raw, dict):
        if raw.keys() == {"$float"}:
            return float(raw["$float"])
        return {key: _revive_any(each) for key, each in raw.items()}
    return [_revive_any(each) for each in raw] if isinstance(raw, list) else raw


class LineBuffer:
    """Cuts a byte stream into lines; `oversize` is called with the size in bytes of each that is too long."""

    def __init__(self, oversize: Callable[[int], None], max_line: int = MAX_LINE) -> None:
        self._oversize = oversize
        self._max_line = max_line
        self._buffer = bytearray()
        self._skipped = 0
        """Bytes of the current line that were thrown away; the rest of it goes as well."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete now, without those longer than `max_line`."""
        self._buffer += data
        lines: list[bytes] = []
        if b"\n" in data:
            *complete, self._buffer = self._buffer.split(b"\n")
            for line in complete:
                size = self._skipped + len(line)
                self._skipped = 0
                if size > self._max_line:
                    self._oversize(size)
                else:
                    lines.append(bytes(line))
        if self._skipped or len(self._buffer) > self._max_line:
            self._skipped += len(self._buffer)
            self._buffer = bytearray()
        return lines
