"""What the command prints: all that goes to stdout and stderr passes here."""

import sys
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from agent_tui.logs.redactor import Redactor
from agent_tui.options.characters import escaped

REDACTOR = Redactor()
"""Masks the secrets that this process has read, in what it prints and in all that its engine shows."""


def guard_streams() -> None:
    """Let stdout and stderr write control characters as escape sequences, and secrets masked.

    Usage errors, tracebacks, warnings and what libraries log go through `sys.stderr` too. Not for the
    screen, whose driver writes to the terminal itself (`tui.terminal`).
    """
    sys.stdout = _Guarded(sys.stdout, _shown)
    sys.stderr = _Guarded(sys.stderr, _shown)


def _shown(text: str) -> str:
    return escaped(REDACTOR.masked(text))


class _Guarded:
    """A text stream that changes what is written to it."""

    def __init__(self, stream: TextIO, shown: Callable[[str], str]) -> None:
        self._stream = stream
        self._shown = shown

    def write(self, text: str) -> int:
        self._stream.write(self._shown(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
