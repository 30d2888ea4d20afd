"""The terminal driver: survives a terminal that closes or stops reading, and a process that is stopped.

It also filters control characters.
"""

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
"""Columns and rows if the terminal reports none, as serial lines do."""

MAX_BEHIND = 20
"""Pending writes before frames are dropped. Textual's queue blocks the event loop, and the worker, at 30."""

LEAVE_S = 1.0
"""How long the exit waits for the terminal to read pending writes."""


class _Output:
    """The terminal's file. After the first write error it drops everything and sends SIGHUP.

    An exception would end Textual's writer thread, and then painting would block forever.
    """

    def __init__(self) -> None:
        self.written = 0
        """Number of finished writes. Only the writer thread changes it."""
        self._gone = False

    def write(self, text: str) -> int:
        # Not `sys.stdout`: without a UTF-8 locale it raises at the first line of a frame, and a thread that
        # blocks in it would stop the interpreter from exiting.
        data = text.encode("utf-8", "replace")
        try:
            while data and not self._gone:
                try:
                    data = data[os.write(STDOUT, data) :]
                except BlockingIOError:  # another program set this terminal to non-blocking
                    select.select([], [STDOUT], [], LEAVE_S)
        except OSError:
            self.let_go()
            # The kernel sends SIGHUP only to programs whose controlling terminal this is.
            os.kill(os.getpid(), signal.SIGHUP)
        self.written += 1
        return len(text)

    def let_go(self) -> None:
        """Stop writing to the terminal, and redirect stdout and stderr so that no print fails or blocks."""
        self._gone = True
        null = os.open(os.devnull, os.O_WRONLY)
        device = os.fstat(STDOUT).st_rdev
        for fd in (STDOUT, STDERR):
            if os.fstat(fd).st_rdev == device:  # stderr may be a file instead
                os.dup2(null, fd)
        os.close(null)

    def flush(self) -> None:
        """Do nothing: `write` does not buffer."""

    def fileno(self) -> int:
        return STDOUT

    def isatty(self) -> bool:
        return os.isatty(STDOUT)


class Terminal(linux_driver.LinuxDriver):
    """Textual's driver for a terminal that may close, stop reading, or be used by an editor.

    It draws on stdout, which is always a terminal here; Textual draws on stderr, which may be redirected or
    closed. If the terminal stops reading, frames are dropped, so that it cannot block the event loop; when it
    reads again, the whole screen is drawn. If the terminal closes, SIGHUP ends agent-tui.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._file: Any = _Output()
        self._queued = 0
        self._drawing = False
        """Whether the driver may draw: between start and stop, except while an editor uses the terminal."""
        self._switching = False
        """Whether terminal modes are being set or reset. These writes must not be dropped."""
        self._dropped = False
        """Whether frames were dropped, so that the terminal shows an old frame."""
        self._hung = False

    def _get_terminal_size(self) -> tuple[int, int]:
        """Return the terminal's size in cells. Ignores COLUMNS and LINES: they may be another window's."""
        with contextlib.suppress(OSError):
            width, height = os.get_terminal_size(STDOUT)
            if width and height:
                return width, height
        return DEFAULT_SIZE

    @property
    def _behind(self) -> int:
        """Number of pending writes."""
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
        if not self._hung:  # the writer thread would never end
            super().close()

    def _sigcont_application(self, *_: object) -> None:
        """Handle SIGCONT. It also comes without a suspension: after SIGSTOP, or from `timeout` after SIGTERM.

        Textual would start a second time then: at the end it would restore the modes that it had set itself,
        and a second thread would read keys.
        """
        if self._must_signal_resume:  # suspended by SIGTSTP
            super()._sigcont_application()
            self._app.call_later(self._app.refresh, layout=True)
        elif self._drawing:
            self._loop.call_soon_threadsafe(self._restart)

    def _restart(self) -> None:
        """Set all modes again and draw the whole screen, as after SIGSTOP a shell has used the terminal."""
        if not self._drawing:
            return
        before = self.attrs_before
        self.suspend_application_mode()
        self.resume_application_mode()
        self.attrs_before = before
        self._app.call_later(self._app.refresh, layout=True)

    def _await_terminal(self) -> None:
        """Wait until everything is written, at most `LEAVE_S` seconds."""
        until = time.monotonic() + LEAVE_S
        while self._behind and not self._hung:
            if time.monotonic() > until:
                self._hung, self._drawing = True, False
                self._file.let_go()
            time.sleep(0.002)


class ControlCharacters(LineFilter):
    """Remove control characters from painted lines. They have zero width, so the layout does not change."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        if all(text.isprintable() for text, _, _ in segments):
            return segments  # true for nearly every line
        return [Segment(UNSAFE.sub("", text), style, control) for text, style, control in segments]
