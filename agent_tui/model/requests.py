"""What a front end may ask for that is not in the state. Each request gets frozen data, or a UserError."""

from collections.abc import Mapping
from typing import Generic, TypeVar

from msgspec import Struct

from agent_tui.model.logs import LogLine

A = TypeVar("A")


class Asks(Generic[A]):
    """A request that is answered with an `A`."""

    __slots__ = ()


class LogRange(Struct, frozen=True):
    """Stored log lines, in order."""

    lines: tuple[LogLine, ...]


class JoinLink(Struct, frozen=True):
    """A way into one room. The token opens it: it belongs on the clipboard, never in a log or picture."""

    room: str
    url: str
    token: str
    link: str

    def __repr__(self) -> str:
        return f"JoinLink(room={self.room!r}, url={self.url!r}, …)"


class Secrets(Struct, frozen=True):
    """Values of the secret options in clear, by name: those that wait for the next start, else in force."""

    values: Mapping[str, str]

    def __repr__(self) -> str:
        return "Secrets(…)"


class ReadLogs(Struct, Asks[LogRange], frozen=True):
    """The stored lines with first ≤ index < end; those that were evicted are missing at the front."""

    first: int
    end: int


class JoinRoom(Struct, Asks[JoinLink], frozen=True):
    """A way for a person into a room."""

    room: str


class ReadSecrets(Struct, Asks[Secrets], frozen=True):
    """The secrets that a form may edit and a screenshot must mask: the state has them masked."""


Request = ReadLogs | JoinRoom | ReadSecrets
Answer = LogRange | JoinLink | Secrets
