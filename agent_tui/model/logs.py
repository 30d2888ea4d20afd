"""Log lines as front ends get them, and the sink that reads them from children."""

from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import Protocol

from msgspec import Struct, field


class LogLevel(IntEnum):
    """Log levels, comparable by severity."""

    TRACE = 5
    DEBUG = 10
    INFO = 20
    WARN = 30
    ERROR = 40
    FATAL = 50

    @property
    def label(self) -> str:
        return self.name.lower()


def nearest_level(number: int) -> LogLevel:
    """Return the highest level that is not above a level number of `logging`; TRACE if there is none."""
    return max((level for level in LogLevel if level <= number), default=LogLevel.TRACE)


class LogStream(StrEnum):
    """The stream that a line was written to."""

    STDOUT = "stdout"
    STDERR = "stderr"
    RECORD = "record"
    HOST = "host"
    EVENT = "event"
    """A line about an event of agent-tui. Front ends that print events leave it out."""


class LogSource(Struct, frozen=True):
    """The process and stream that wrote a line. They are known from its descriptor, not from its text.

    `process_id` is empty for lines of agent-tui itself.
    """

    process_id: str
    stream: LogStream


class LogLine(Struct, frozen=True, gc=False):
    """One sanitized line of a source. `index` numbers all stored lines, from 0.

    The garbage collector ignores lines: there can be 200,000, and none is in a cycle.
    """

    index: int
    ts: float
    """Unix seconds.

    For log records, the time that the child reported; for other lines, the time of their arrival.
    """
    level: LogLevel
    source: LogSource
    job_id: str | None
    text: str
    """One or several lines (a traceback), without control characters except the newline."""
    logger: str = ""
    fields: dict[str, object] = field(default_factory=dict)
    generation: int = 0
    """The generation of the process's code; 0 for processes without one, and for the host."""


class LineRecord(Struct, frozen=True):
    """A structured record that a child printed as a line. `ts` is in Unix seconds."""

    level: LogLevel
    ts: float
    text: str
    logger: str
    fields: dict[str, object]


ParseLine = Callable[[str], LineRecord | None]


class LogSink(Protocol):
    """Receives what children print. All calls are safe from any thread."""

    def attach(self, fd: int, source: LogSource, parse: ParseLine | None = None) -> None:
        """Take ownership of a pipe's read end, read it line by line, and close it at its end.

        `parse` returns the record that a line contains, or None for a line of plain text.
        """
        ...

    def write(
        self,
        source: LogSource,
        level: LogLevel,
        text: str,
        *,
        ts: float | None = None,
        logger: str = "",
        fields: dict[str, object] | None = None,
    ) -> None:
        """Store one structured record."""
        ...
