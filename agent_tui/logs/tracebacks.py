"""Decides which lines of a child's stderr are errors: those of an uncaught exception or a fatal dump.

Python prints these without a level. The text of an exception can be anything, so only its first line and the
indented lines after it count.
"""

import re
from enum import Enum, auto

from agent_tui.model.logs import LogLevel

_TRACEBACK = "Traceback (most recent call last):"
_GROUP = re.compile(r"\s*\+ Exception Group Traceback \(most recent call last\):")
_ANNOUNCES = (
    "Exception in thread ",
    "Exception ignored in",
    "Exception ignored while ",
    "Unhandled exception",
)
_CHAINS = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_FATAL = ("Fatal Python error: ", "Fatal error: ", "terminate called ")
_PANIC = re.compile(r"thread '[^']*' (\(\d+\) )?panicked at ")
_DUMP = (
    "Current thread",
    "Thread 0x",
    "Extension modules: ",
    "Python runtime state: ",
    "<no Python frame>",
    "note: run with `RUST_BACKTRACE",
    "stack backtrace:",
    "  what():",
)


class _Within(Enum):
    NOTHING = auto()
    FRAMES = auto()
    """In a traceback, before the line of its exception."""
    GROUP = auto()
    """In the traceback of an exception group, whose lines are all indented."""
    EXCEPTION = auto()
    """After the exception's first line; a chain may follow."""
    DUMP = auto()


class StderrLevels:
    """Gives each line of one stderr its level, in order."""

    def __init__(self) -> None:
        self._within = _Within.NOTHING

    def level(self, line: str) -> LogLevel:
        """Return ERROR for a line of a traceback or fatal dump, INFO for all others."""
        self._within = self._follow(line.rstrip("\r"))
        return LogLevel.INFO if self._within is _Within.NOTHING else LogLevel.ERROR

    def _follow(self, line: str) -> _Within:
        if line == _TRACEBACK:
            return _Within.FRAMES
        if _GROUP.match(line):
            return _Within.GROUP
        if line.startswith(_FATAL) or _PANIC.match(line):
            return _Within.DUMP
        if line.startswith(_ANNOUNCES):
            return _Within.EXCEPTION
        indented = not line or line[0].isspace()
        match self._within:
            case _Within.FRAMES:
                return _Within.FRAMES if indented else _Within.EXCEPTION
            case _Within.GROUP if indented:
                return _Within.GROUP
            case _Within.GROUP | _Within.EXCEPTION if line in _CHAINS:
                return _Within.EXCEPTION
            case _Within.EXCEPTION if indented:
                return _Within.EXCEPTION
            case _Within.DUMP if indented or line.startswith(_DUMP):
                return _Within.DUMP
        return _Within.NOTHING
