"""What a front end may ask for that is not in the state. Each request gets frozen data, or a UserError."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from agent_tui.model.logs import LogLine

A = TypeVar("A")


class Asks(Generic[A]):
    """A request that is answered with an `A`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class LogRange:
    """Stored log lines, in order."""

    lines: tuple[LogLine, ...]


@dataclass(frozen=True, slots=True)
class JoinLink:
    """A way into one room. The token opens it: it belongs on the clipboard, never in a log or picture."""

    room: str
    url: str
    token: str = field(repr=False)
    link: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Secrets:
    """Values of the secret options in clear, by name: those that wait for the next start, else in force."""

    values: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReadLogs(Asks[LogRange]):
    """The stored lines with first ≤ index < end; those that were evicted are missing at the front."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class JoinRoom(Asks[JoinLink]):
    """A way for a person into a room."""

    room: str


@dataclass(frozen=True, slots=True)
class ReadSecrets(Asks[Secrets]):
    """The secrets that a form may edit and a screenshot must mask: the state has them masked."""


Request = ReadLogs | JoinRoom | ReadSecrets
Answer = LogRange | JoinLink | Secrets
