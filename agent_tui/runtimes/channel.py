"""The host's end of a Python child's channel: messages as JSON lines (`agent_tui.model.codec`).

Their names and fields are those of `agent_tui.model.child`.
"""

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass

from agent_tui.model.child import FromChild, ToChild
from agent_tui.model.codec import Codec, case_of

MAX_LINE = 32 * 1024 * 1024
"""Bytes of one message; longer ones are ignored. Children shorten their texts far below."""


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


_FROM_CHILD: Codec[FromChild | OwnMessage] = Codec(FromChild | OwnMessage, log=LogRecord)

JobView = Callable[[bytes], object]
"""Turns a serialised `livekit.Job` into what the child can read."""


def base64_job(job: bytes) -> object:
    """For children that have protobuf: the bytes themselves."""
    return base64.b64encode(job).decode("ascii")


def encode(message: ToChild, job_view: JobView = base64_job) -> bytes:
    """One message as a line."""
    return encode_line(case_of(type(message)), _plain(message, job_view))


def encode_line(case: str, value: object) -> bytes:
    """One line of any case."""
    return json.dumps({"case": case, "value": value}, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> FromChild | OwnMessage:
    """Return a line as a message. Raise CodecError."""
    return _FROM_CHILD.decode_json(line)


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
