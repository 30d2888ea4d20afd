"""The child's end of the channel: JSON lines both ways over one inherited socket.

A message is `{"case": name, "value": {…}}`; bytes are base64. A thread reads, so that the child notices that
the host has ended even while the agent's code blocks. Sending never waits for the host to read.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import select
import socket
import threading
import time
from typing import Any, Callable

MAX_BACKLOG = 4 * 1024 * 1024
"""Bytes that may be queued for a host that does not read. Log records beyond that are dropped and counted."""

MAX_TEXT = 262_144
"""Maximum length of a text that is sent, in characters. Exceptions and log lines may be longer."""

MAX_REASON = 4_096
"""Maximum number of characters of an error or a reason."""

_LIMITS = {"error": MAX_REASON, "reason": MAX_REASON}

_OPAQUE = {"data", "code", "functions", "accept"}
"""The names of values that are never shortened, because they would be useless."""

MAX_FDS = 16
"""Maximum number of descriptors that one read receives."""

TICK_S = 1.0
"""Interval in s at which the reading thread checks for a debugger."""

Message = Callable[[str, "dict[str, Any]"], None]


def shortened(text: str, limit: int = MAX_TEXT) -> str:
    """Return a text's start and end, with the number of characters left out between them.

    The host knows the mark: a secret that is cut there is masked on both sides (`logs/redactor.py`).
    """
    if len(text) <= limit:
        return text
    return f"{text[: limit * 3 // 4]} […{len(text) - limit} characters…] {text[-limit // 4 :]}"


def _bounded(value: Any, limit: int = MAX_TEXT) -> Any:
    if isinstance(value, str):
        return shortened(value, limit)
    if isinstance(value, dict):
        return {
            key: each if key in _OPAQUE else _bounded(each, _LIMITS.get(key, MAX_TEXT))
            for key, each in value.items()
        }
    return [_bounded(each, limit) for each in value] if isinstance(value, (list, tuple)) else value


def encode(case: str, value: dict[str, Any]) -> bytes:
    """Return one line. Surrogates and non-ASCII characters are escaped, so any text is valid."""
    return json.dumps({"case": case, "value": value}, separators=(",", ":")).encode("ascii") + b"\n"


def own_thread(target: Callable[..., None], *args: Any) -> threading.Thread:
    """Start a daemon thread for agent-tui itself. Debuggers do not pause it, and stack dumps omit it."""
    thread = threading.Thread(target=target, args=args, name=f"agent-tui{target.__name__}", daemon=True)
    thread.pydev_do_not_trace = thread.is_pydev_daemon_thread = True  # type: ignore[attr-defined]
    thread.start()
    return thread


class Channel:
    """Reads and writes messages. `send` and `offer` may be called from any thread and never block."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray()
        self._fds: list[int] = []
        self._change = threading.Condition(threading.RLock())
        self._pending: collections.deque[bytes] = collections.deque()
        self._backlog = 0
        self._dropped = 0
        self._sending = False
        self.ended = False
        """True once nothing more can be written: the host has ended, or this is a forked copy."""

    def read_message(self) -> tuple[str, dict[str, Any]] | None:
        """Return the next message, waiting for it; None at the end of the channel."""
        while (end := self._buffer.find(b"\n")) < 0:
            if not self._receive():
                return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        message = json.loads(line)
        return message["case"], message.get("value") or {}

    @property
    def has_message(self) -> bool:
        """Whether `read_message` would return without reading."""
        return b"\n" in self._buffer

    def take_fds(self, count: int) -> list[int]:
        """Return the next descriptors that came with messages; the caller owns them."""
        taken, self._fds = self._fds[:count], self._fds[count:]
        return taken

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        """Close this end. For processes that never started the threads."""
        self.ended = True
        self._sock.close()

    def flush_here(self) -> None:
        """Write queued messages in this thread. For processes that never started the threads."""
        with contextlib.suppress(OSError):
            while self._pending:
                self._sock.sendall(self._pending.popleft())
            self._backlog = 0

    def send_fd(self, case: str, fd: int, **value: Any) -> None:
        """Send a message with a descriptor. For processes that never started the threads."""
        self.flush_here()
        line = encode(case, value)
        sent = socket.send_fds(self._sock, [line], [fd])
        self._sock.sendall(line[sent:])

    def _receive(self) -> bool:
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, 65_536, MAX_FDS)
        except OSError:
            return False
        for fd in fds:
            os.set_inheritable(fd, False)
        self._fds += fds
        self._buffer += data
        return bool(data)

    def start(self, on_message: Message, on_tick: Callable[[], None], on_end: Callable[[], None]) -> None:
        """Start the reading and the writing thread. The callbacks run in the reading thread."""
        os.register_at_fork(after_in_child=self._detach)
        own_thread(self._read, on_message, on_tick, on_end)
        own_thread(self._write)

    def send(self, case: str, **value: Any) -> None:
        """Send a message, with long texts shortened. It is never dropped while the host is running."""
        self._put(encode(case, _bounded(value)), droppable=False)

    def offer(self, case: str, **value: Any) -> None:
        """Send a message that is dropped, and counted, if too much is queued."""
        self._put(encode(case, value), droppable=True)

    def flush(self, timeout_s: float) -> None:
        """Wait until everything is written, the host has ended, or the time is up."""
        with self._change:
            if self._dropped:
                self._report_dropped(1)  # after the line being written, since not all may be written in time
            self._change.wait_for(lambda: self.ended or not self._pending, timeout_s)

    def _put(self, data: bytes, *, droppable: bool) -> None:
        with self._change:
            if self.ended:
                return
            if droppable and self._backlog > MAX_BACKLOG:
                self._dropped += 1
                return
            # A signal handler may call this while the thread is inside `_send_now`: then it must queue.
            if not self._pending and not self._sending:
                data = data[self._send_now(data) :]
            if data:
                self._pending.append(data)
                self._backlog += len(data)
                self._change.notify_all()

    def _send_now(self, data: bytes) -> int:
        self._sending = True
        try:
            return self._sock.send(data, socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._disconnect()
            return len(data)
        finally:
            self._sending = False

    def _write(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._pending or self.ended)
                if self.ended:
                    return
                data = self._pending[0]
            try:
                self._sock.sendall(data)
            except OSError:
                self._disconnect()
                return
            with self._change:
                self._pending.popleft()
                self._backlog -= len(data)
                if self._dropped and self._backlog < MAX_BACKLOG // 2:
                    self._report_dropped(len(self._pending))
                self._change.notify_all()

    def _report_dropped(self, place: int) -> None:
        count, self._dropped = self._dropped, 0
        text = f"{count} log records dropped: they came too fast to show"
        line = encode(
            "log", {"level": 30, "logger": "agent-tui", "ts": time.time(), "text": text, "fields": {}}
        )
        self._pending.insert(place, line)
        self._backlog += len(line)

    def _disconnect(self) -> None:
        with self._change:
            self.ended = True
            self._pending.clear()
            self._change.notify_all()

    def _detach(self) -> None:
        """Detach a process that the agent forked: the channel belongs to the job, not to the copy."""
        self._change = threading.Condition(threading.RLock())
        self.ended = True
        self._pending.clear()
        self._sock.close()

    def _read(self, on_message: Message, on_tick: Callable[[], None], on_end: Callable[[], None]) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        ticked = time.monotonic()
        while True:
            if self._buffer.find(b"\n") < 0 and not poll.poll(TICK_S * 1000):
                message: tuple[str, dict[str, Any]] = ("", {})
            else:
                message = self.read_message() or ("end", {})
            if message[0] == "end":
                self._disconnect()
                on_end()
                return
            if message[0]:
                on_message(*message)
            if time.monotonic() - ticked >= TICK_S:
                ticked = time.monotonic()
                on_tick()
