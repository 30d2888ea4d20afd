"""The host's end of a Python child's channel: messages as JSON lines (`agent_tui.model.codec`).

Their names and fields are those of `agent_tui.model.child`.
"""

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msgspec import Struct

from agent_tui.model.child import FromChild, ToChild
from agent_tui.model.codec import Codec, case_of

MAX_LINE = 32 * 1024 * 1024
"""Maximum size of one message, in bytes. Longer ones are ignored; children keep their texts far shorter."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A structured log record of the agent, as the child sends it."""

    level: int
    logger: str
    ts: float
    text: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Forked:
    """A fork was created; its pidfd comes with the message."""

    fork: str
    pid: int


@dataclass(frozen=True, slots=True)
class ForkFailed:
    """A fork could not be created."""

    fork: str
    error: str


@dataclass(frozen=True, slots=True)
class ForkEnded:
    """A fork has ended and is reaped; `code` is negative for a signal."""

    fork: str
    code: int


ForkMessage = Forked | ForkFailed | ForkEnded
"""Messages that only a `ForkServer` handles."""

RuntimeMessage = LogRecord | ForkMessage
"""Messages for the runtime itself; no other part sees them."""


_FROM_CHILD: Codec[FromChild | RuntimeMessage] = Codec(FromChild | RuntimeMessage, log=LogRecord)

JobView = Callable[[bytes], object]
"""Turns a serialized `livekit.Job` into data that the child can read."""


def base64_job(job: bytes) -> object:
    """Return the serialized job in base64, for children that have protobuf."""
    return base64.b64encode(job).decode("ascii")


def encode(message: ToChild, job_view: JobView = base64_job) -> bytes:
    """Return a message as one line."""
    return encode_line(case_of(type(message)), _plain(message, job_view))


def encode_line(case: str, value: object) -> bytes:
    """Return one line with this case and value."""
    return json.dumps({"case": case, "value": value}, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> FromChild | RuntimeMessage:
    """Return a line as a message. Raise CodecError if it is not one."""
    return _FROM_CHILD.decode_json(line)


def _plain(value: object, job_view: JobView, name: str = "") -> object:
    if isinstance(value, bytes):
        return job_view(value) if name == "job" else base64.b64encode(value).decode("ascii")
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if isinstance(value, Struct):
        return {name: _plain(getattr(value, name), job_view, name) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(key): _plain(each, job_view) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each, job_view) for each in value]
    return value


class LineBuffer:
    """Splits a byte stream into lines; `oversize` is called with the size in bytes of each line that is too
    long.
    """

    def __init__(self, oversize: Callable[[int], None], max_line: int = MAX_LINE) -> None:
        self._oversize = oversize
        self._max_line = max_line
        self._buffer = bytearray()
        self._skipped = 0
        """Bytes of the current line that were discarded; the rest of the line is discarded too."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete now, except those longer than `max_line`."""
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
