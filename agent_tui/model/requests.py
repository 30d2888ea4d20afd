"""Requests for data that is not in the state. Each returns frozen data, or raises UserError."""

from collections.abc import Mapping
from typing import Generic, TypeVar

from msgspec import Struct

from agent_tui.model.logs import LogLine

A = TypeVar("A")


class Asks(Generic[A]):
    """A request that is answered by an `A`."""

    __slots__ = ()


class LogRange(Struct, frozen=True):
    """Stored log lines, in order."""

    lines: tuple[LogLine, ...]


class JoinLink(Struct, frozen=True):
    """A link into a room. Its token grants access, so the link must not appear in logs or screenshots."""

    room: str
    url: str
    token: str
    link: str
    needs_dispatch: bool = False
    """Whether the room exists without the agent, so that the agent must be dispatched to it."""

    def __repr__(self) -> str:
        return f"JoinLink(room={self.room!r}, url={self.url!r}, …)"


class Secrets(Struct, frozen=True):
    """The unmasked values of secret options, by name.

    An option's value is its edit for the next start if there is one, else the value in effect.
    """

    values: Mapping[str, str]

    def __repr__(self) -> str:
        return "Secrets(…)"


class ReadLogs(Struct, Asks[LogRange], frozen=True):
    """Get the stored lines with first ≤ index < end. Evicted lines are missing at the start."""

    first: int
    end: int


class JoinRoom(Struct, Asks[JoinLink], frozen=True):
    """Get a link with which a person can join a room."""

    room: str


class ReadSecrets(Struct, Asks[Secrets], frozen=True):
    """Get the secrets in plain text, for a form that edits them or a screenshot that masks them."""


Request = ReadLogs | JoinRoom | ReadSecrets
Answer = LogRange | JoinLink | Secrets
