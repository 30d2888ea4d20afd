"""Guards stdout and stderr: everything that the command prints is escaped and masked here."""

import sys
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from agent_tui.logs.redactor import Redactor
from agent_tui.options.characters import escaped

REDACTOR = Redactor()
"""Masks the secrets that this process has read, in its output and in everything that its engine publishes."""


def guard_streams() -> None:
    """Escape control characters and mask secrets in stdout and stderr.

    This covers usage errors, tracebacks, warnings, and the logs of libraries. It does not cover the screen,
    whose driver writes to the terminal (`tui.terminal`).
    """
    sys.stdout = _Guarded(sys.stdout, _shown)
    sys.stderr = _Guarded(sys.stderr, _shown)


def _shown(text: str) -> str:
    return escaped(REDACTOR.masked(text))


class _Guarded:
    """A text stream that transforms the text written to it."""

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
