"""The terminal that the screen is on, which may go away while it is written to."""

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any, TextIO

from textual.drivers import linux_driver

STDOUT, STDERR = 1, 2

DEFAULT_SIZE = (80, 24)
"""Of a terminal that does not know its own, as serial lines."""


class _Forgiving:
    """A terminal's file; what it does not take any more is dropped, and counts as its end.

    The thread that writes would end with the first error, and then whoever paints waits for it for ever.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._gone = False

    def write(self, text: str) -> int:
        self._try(lambda: self._file.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._file.flush)

    def _try(self, act: Callable[[], object]) -> None:
        if self._gone:
            return
        try:
            act()
        except OSError:
            self._gone = True
            self._let_go()
            os.kill(
                os.getpid(), signal.SIGHUP
            )  # who has it as controlling terminal is told by the kernel too

    def _let_go(self) -> None:
        """What is still said at the very end must not fail, or it would be the exit code."""
        null = os.open(os.devnull, os.O_WRONLY)
        device = os.fstat(STDOUT).st_rdev
        for fd in (STDOUT, STDERR):
            if os.fstat(fd).st_rdev == device:  # stderr may be a file instead
                os.dup2(null, fd)
        os.close(null)

    def fileno(self) -> int:
        return self._file.fileno()

    def isatty(self) -> bool:
        return self._file.isatty()


class Terminal(linux_driver.LinuxDriver):
    """Textual's driver on a file that survives the terminal's end: SIGHUP then ends everything in order.

    It draws on stdout, which is a terminal whenever there is a screen. Textual itself draws on stderr, which
    may be redirected or closed.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Not `sys.stdout`: in a locale that is not UTF-8 it would raise at the first line of a frame.
        file = open(STDOUT, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
        self._file: Any = _Forgiving(file)

    def _get_terminal_size(self) -> tuple[int, int]:
        """Return the terminal's own size: COLUMNS and LINES may be those of another window."""
        with contextlib.suppress(OSError):
            width, height = os.get_terminal_size(STDOUT)
            if width and height:
                return width, height
        return DEFAULT_SIZE
