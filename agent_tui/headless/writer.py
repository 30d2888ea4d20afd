"""Writing to stdout in a thread: whoever reads us slowly, or not at all, holds nothing up."""

import errno
import os
import select
import threading
from collections import deque
from collections.abc import Callable

from agent_tui.options.characters import escaped

MOST = 100_000
"""Lines that wait for a slow reader; what comes beyond them is counted and dropped."""

LOOK_S = 1.0
"""How often it is looked whether anybody still reads, while there is nothing to write."""

PATIENCE_S = 0.5
"""At the end, how long no line may be taken before what is left is given up."""


class Writer:
    """Lines in, bytes out, in order, with control characters escaped.

    `failed` is called once, in the thread, when nothing can be written.
    """

    def __init__(self, fd: int, encoding: str, failed: Callable[[OSError], None], most: int = MOST) -> None:
        self._fd = fd
        self._encoding = encoding
        self._failed = failed
        self._most = most
        self._waiting: deque[str] = deque()
        self._dropped = 0
        self._written = 0
        self._closing = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="stdout", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queues a line; never waits."""
        with self._news:
            if len(self._waiting) >= self._most:
                self._dropped += 1
                return
            self._waiting.append(line)
            self._news.notify()

    def take_dropped(self) -> int:
        """Lines dropped since the last call."""
        with self._news:
            dropped, self._dropped = self._dropped, 0
        return dropped

    def close(self) -> None:
        """Waits until everything is written, or nobody has taken anything for a while."""
        with self._news:
            self._closing = True
            self._news.notify()
        before = -1
        while self._thread.is_alive() and before != self._written:
            before = self._written
            self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        try:
            while batch := self._next():
                data = (escaped("\n".join(batch)) + "\n").encode(self._encoding, "backslashreplace")
                while data:
                    data = data[os.write(self._fd, data) :]
                    self._written += 1
        except OSError as error:
            self._failed(error)

    def _next(self) -> list[str]:
        """The next lines; none at the end. Raises BrokenPipeError when nobody is left to read them."""
        with self._news:
            while not self._waiting and not self._closing:
                if not self._news.wait(LOOK_S) and _reader_has_gone(self._fd):
                    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), 256))]


def _reader_has_gone(fd: int) -> bool:
    """Whether a write would fail for want of a reader; seen without one, as there may be no news for long."""
    poll = select.poll()
    poll.register(fd, 0)
    return any(happened & (select.POLLERR | select.POLLHUP) for _, happened in poll.poll(0))
