"""Log lines as the front ends see them, and the sink that takes them from children."""

from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import Protocol

from msgspec import Struct, field


class LogLevel(IntEnum):
    """Levels in rising order; `number >= minimum` is the filter."""

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
    """The level at or just below a `logging`-style number; TRACE for anything lower."""
    return max((level for level in LogLevel if level <= number), default=LogLevel.TRACE)


class LogStream(StrEnum):
    """Which descriptor a line came by."""

    STDOUT = "stdout"
    STDERR = "stderr"
    RECORD = "record"
    HOST = "host"


class LogSource(Struct, frozen=True):
    """Who wrote a line, known by descriptor and never by parsing. The host itself has an empty id."""

    process_id: str
    stream: LogStream


class LogLine(Struct, frozen=True, gc=False):
    """One line of one source, already sanitised. `index` counts all lines ever stored, from 0.

    The garbage collector does not look at lines: there are 200 000 of them, and none can be in a cycle.
    """

    index: int
    ts: float
    """Unix seconds: the child's own stamp for records, arrival otherwise."""
    level: LogLevel
    source: LogSource
    job_id: str | None
    text: str
    """May hold several lines (a traceback); no control characters but the newline."""
    logger: str = ""
    fields: dict[str, object] = field(default_factory=dict)
    generation: int = 0
    """Of the agent's code in that process; 0 where it is of none, as with the host's lines."""


class LineRecord(Struct, frozen=True):
    """A structured record that a child printed as a line. `ts` is Unix seconds."""

    level: LogLevel
    ts: float
    text: str
    logger: str
    fields: dict[str, object]


ParseLine = Callable[[str], LineRecord | None]


class LogSink(Protocol):
    """Where a runtime puts what its children print. All calls are safe from any thread."""

    def attach(self, fd: int, source: LogSource, parse: ParseLine | None = None) -> None:
        """Takes over a pipe's read end: reads it to its end, line by line, then closes it.

        `parse` returns the record that a line is, if it is one.
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
        """Stores one structured record."""
        ...
