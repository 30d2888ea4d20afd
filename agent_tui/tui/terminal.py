"""The terminal that the screen is on: it may go away or stop reading, and no control characters reach it."""

import contextlib
import os
import select
import signal
import time
from typing import Any

from rich.segment import Segment
from textual.color import Color
from textual.drivers import linux_driver
from textual.filter import LineFilter

from agent_tui.options.characters import UNSAFE

STDOUT, STDERR = 1, 2

DEFAULT_SIZE = (80, 24)
"""Of a terminal that does not know its own, as serial lines."""

MAX_BEHIND = 20
"""Writes that may wait for the terminal. Textual's queue blocks the event loop, and so the worker, at 30."""

LEAVE_S = 1.0
"""A terminal that has not read what is written by then does not hold up the end."""


class _Output:
    """The terminal's file. What it does not take anymore is dropped, and counts as its end.

    The thread that writes would end with the first error, and then whatever paints would wait forever.
    """

    def __init__(self) -> None:
        self.written = 0
        """How many writes are done. Only the writing thread changes it."""
        self._gone = False

    def write(self, text: str) -> int:
        # Not `sys.stdout`: in a locale that is not UTF-8 it would raise at the first line of a frame, and a
        # thread that hangs in it would stop the interpreter's exit.
        data = text.encode("utf-8", "replace")
        try:
            while data and not self._gone:
                try:
                    data = data[os.write(STDOUT, data) :]
                except BlockingIOError:  # another program on this terminal made it so
                    select.select([], [STDOUT], [], LEAVE_S)
        except OSError:
            self.let_go()
            # The kernel sends it only to programs whose controlling terminal this is.
            os.kill(os.getpid(), signal.SIGHUP)
        self.written += 1
        return len(text)

    def let_go(self) -> None:
        """Write to the terminal no more. What is still printed at the end must neither fail nor hang."""
        self._gone = True
        null = os.open(os.devnull, os.O_WRONLY)
        device = os.fstat(STDOUT).st_rdev
        for fd in (STDOUT, STDERR):
            if os.fstat(fd).st_rdev == device:  # stderr may be a file instead
                os.dup2(null, fd)
        os.close(null)

    def flush(self) -> None:
        """Everything is written at once."""

    def fileno(self) -> int:
        return STDOUT

    def isatty(self) -> bool:
        return os.isatty(STDOUT)


class Terminal(linux_driver.LinuxDriver):
    """Textual's driver on a terminal that may end, stop reading, or be lent to an editor.

    It draws on stdout, which is a terminal whenever there is a screen. Textual itself draws on stderr, which
    may be redirected or closed. Frames for a terminal that does not read are dropped, so that it cannot block
    the event loop; when it reads again, everything is drawn. When the terminal ends, SIGHUP ends agent-tui.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._file: Any = _Output()
        self._queued = 0
        self._drawing = False
        """Between start and stop; not while an editor has the terminal."""
        self._switching = False
        """While modes are set, which must not be dropped."""
        self._dropped = False
        """Frames were, so that the terminal shows something else than what was drawn."""
        self._hung = False

    def _get_terminal_size(self) -> tuple[int, int]:
        """Return the terminal's own size: COLUMNS and LINES may be those of another window."""
        with contextlib.suppress(OSError):
            width, height = os.get_terminal_size(STDOUT)
            if width and height:
                return width, height
        return DEFAULT_SIZE

    @property
    def _behind(self) -> int:
        """How many writes wait for the terminal."""
        return self._queued - int(self._file.written)

    def write(self, data: str) -> None:
        if not self._drawing:
            return
        if not self._switching:
            if self._behind >= (1 if self._dropped else MAX_BEHIND):
                self._dropped = True
                return
            if self._dropped:
                self._dropped = False
                self._app.call_later(self._app.refresh, layout=True)
        self._queued += 1
        super().write(data)

    def start_application_mode(self) -> None:
        self._drawing = self._switching = True
        super().start_application_mode()  # type: ignore[no-untyped-call]
        self._switching = False

    def stop_application_mode(self) -> None:
        self._switching = True
        self._await_terminal()
        super().stop_application_mode()
        self._await_terminal()
        self._drawing = self._switching = False

    def close(self) -> None:
        if not self._hung:  # otherwise the writing thread never ends
            super().close()

    def _await_terminal(self) -> None:
        """Wait until everything is written, but not for a terminal that hangs."""
        until = time.monotonic() + LEAVE_S
        while self._behind and not self._hung:
            if time.monotonic() > until:
                self._hung, self._drawing = True, False
                self._file.let_go()
            time.sleep(0.002)


class ControlCharacters(LineFilter):
    """Removes control characters from painted lines; they have no width, so that nothing moves."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        if all(text.isprintable() for text, _, _ in segments):
            return segments  # as nearly every line is
        return [Segment(UNSAFE.sub("", text), style, control) for text, style, control in segments]
