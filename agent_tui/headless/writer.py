"""Writes to stdout in a thread, so that a slow reader delays nothing."""

import errno
import fcntl
import os
import select
import sys
import termios
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from agent_tui.options.characters import escaped

MAX_WAITING = 100_000
"""Maximum number of lines that wait for a slow reader. Further ones are dropped and counted."""

CHECK_READER_S = 1.0
"""Interval in s at which to check that the reader still exists, while there is nothing to write."""

PIECE = 4_096
"""Bytes of one write: the most that a pipe accepts completely or not at all (PIPE_BUF on Linux)."""

CHECK_STOP_S = 0.1
"""Interval in s at which to check whether to stop, while stdout accepts nothing."""

PATIENCE_S = 1.0
"""At the end, the remaining lines are dropped if the reader accepts nothing for this long, in s."""

LINE_PATIENCE_S = 5.0
"""Like `PATIENCE_S`, if a line is partly written, because half a line of JSON breaks its reader."""


class Writer:
    """Writes lines to a descriptor in order, with control characters escaped.

    When writing fails, it calls `failed` once, in its thread.
    """

    def __init__(
        self, fd: int, encoding: str, failed: Callable[[OSError], None], most: int = MAX_WAITING
    ) -> None:
        self._fd = fd
        self._encoding = encoding
        self._failed = failed
        self._most = most
        self._waiting: deque[str] = deque()
        self._dropped = 0
        self._written = 0
        self._left = 0
        self._closing = False
        self._stopping = False
        self._broken = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="stdout", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue a line, without waiting."""
        with self._news:
            if len(self._waiting) >= self._most:
                self._dropped += 1
                return
            self._waiting.append(line)
            self._news.notify()

    def take_dropped(self) -> int:
        """Return the number of lines dropped since the last call."""
        with self._news:
            dropped, self._dropped = self._dropped, 0
        return dropped

    def close(self) -> int:
        """Wait until everything is written, or the reader is too slow. Return how many lines are left."""
        with self._news:
            self._closing = True
            self._news.notify()
        before, idle_s = (self._written, _unread(self._fd)), 0.0
        while self._thread.is_alive() and idle_s < LINE_PATIENCE_S:
            self._thread.join(PATIENCE_S)
            now = self._written, _unread(self._fd)
            idle_s = idle_s + PATIENCE_S if now == before else 0.0
            self._stopping = self._stopping or idle_s > 0.0
            before = now
        with self._news:
            return 0 if self._broken else self._left + len(self._waiting)

    def _run(self) -> None:
        try:
            while batch := self._next():
                self._left = len(batch)
                for piece, lines in _pieces(map(self._encoded, batch)):
                    if not self._put(piece):
                        return
                    self._left -= lines
        except OSError as error:
            self._broken = True
            self._failed(error)

    def _encoded(self, line: str) -> bytes:
        return (escaped(line) + "\n").encode(self._encoding, "backslashreplace")

    def _put(self, data: bytes) -> bool:
        """Write these lines. Return False if it is time to stop, and none of them is partly written."""
        written = 0
        while written < len(data):
            while not _is_ready(self._fd):
                if self._stopping and (written == 0 or data[written - 1 : written] == b"\n"):
                    return False
            written += os.write(self._fd, data[written : written + PIECE])
            self._written += 1
        return True

    def _next(self) -> list[str]:
        """Return the next lines, none at the end. Raises BrokenPipeError if the reader has gone."""
        with self._news:
            while not self._waiting and not self._closing:
                if not self._news.wait(CHECK_READER_S) and _reader_has_gone(self._fd):
                    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), 256))]


def _pieces(lines: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield pieces to write in one call, with their number of lines: as many as fit, or one longer line."""
    piece, count = b"", 0
    for line in lines:
        if piece and len(piece) + len(line) > PIECE:
            yield piece, count
            piece, count = b"", 0
        piece += line
        count += 1
    if piece:
        yield piece, count


def _is_ready(fd: int) -> bool:
    """Return whether a write would not block; a pipe is ready when it accepts a piece."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(CHECK_STOP_S * 1000))


def _unread(fd: int) -> int:
    """Return the number of unread bytes in a pipe; 0 if that is unknown."""
    try:
        return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def _reader_has_gone(fd: int) -> bool:
    """Return whether the reader has closed the pipe. A write would show that, but may not come for long."""
    poll = select.poll()
    poll.register(fd, 0)
    return any(happened & (select.POLLERR | select.POLLHUP) for _, happened in poll.poll(0))
