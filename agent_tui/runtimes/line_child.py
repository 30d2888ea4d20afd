"""A child whose channel carries lines, in some dialect: the `Child` interface over a socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from agent_tui.runtimes.channel import Forked, ForkEnded, ForkFailed, LineBuffer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent_tui.model.child import ChildExit, ChildTraits, FromChild, ToChild
    from agent_tui.runtimes.channel import ForkMessage

READ_SIZE = 262_144
MAX_FDS = 16
LOST_FD = -1
"""Stands for a descriptor that was sent but lost, because this process could open no more."""


class Process(Protocol):
    """A started process, and the host's end of its channel."""

    @property
    def pid(self) -> int: ...
    @property
    def sock(self) -> socket.socket: ...
    @property
    def reaped(self) -> bool: ...

    def kill(self) -> None:
        """Kill the process and its process group."""
        ...

    async def wait(self) -> ChildExit:
        """Wait until the process has ended, and release its resources. Calling it more than once is safe."""
        ...


@dataclass(slots=True)
class _Chunk:
    """Bytes to send, and descriptors (copies, which this side closes) sent with the first of them."""

    data: bytearray
    fds: list[int]

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds = []


class Dialect(Protocol):
    """The wire format of one kind of child."""

    def encode(self, message: ToChild) -> bytes:
        """Return a message's line or lines; empty if this kind of child has no such message."""
        ...

    def decode(self, line: bytes) -> Iterable[FromChild | ForkMessage]:
        """Return the messages in a line. Logs are not returned: the dialect stores them itself."""
        ...

    def warn(self, text: str) -> None:
        """Log that the child sent something that cannot be understood."""
        ...


class LineChild:
    """A live child and its channel (`agent_tui.model.child.Child`)."""

    def __init__(self, process: Process, traits: ChildTraits, dialect: Dialect) -> None:
        self._process = process
        self._traits = traits
        self._dialect = dialect
        self._loop = asyncio.get_running_loop()
        self._sock: socket.socket | None = process.sock
        self._lines = LineBuffer(self._oversize)
        self._inbox: asyncio.Queue[FromChild | None] = asyncio.Queue()
        self._outbox: deque[_Chunk] = deque()
        self._received_fds: deque[int] = deque()
        self._at_end = False
        self._loop.add_reader(process.sock, self._readable)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def traits(self) -> ChildTraits:
        return self._traits

    def send(self, message: ToChild) -> None:
        self.send_line(self._dialect.encode(message))

    def send_line(self, line: bytes, fds: Sequence[int] = ()) -> None:
        """Queue a line unchanged, with copies of descriptors. Raise OSError if they cannot be copied."""
        if self._sock is None or not line:
            return
        chunk = _Chunk(bytearray(line), [])
        try:
            for fd in fds:
                chunk.fds.append(os.dup(fd))
        except OSError:
            chunk.close()
            raise
        self._outbox.append(chunk)
        if len(self._outbox) == 1:
            self._writable()

    async def receive(self) -> FromChild | None:
        if self._at_end and self._inbox.empty():
            return None
        message = await self._inbox.get()
        self._at_end = self._at_end or message is None
        return message

    def kill(self) -> None:
        self._process.kill()

    async def wait(self) -> ChildExit:
        try:
            return await self._process.wait()
        finally:
            if self._process.reaped:
                self._drain()
                self._close()

    def _writable(self) -> None:
        if self._sock is None:
            return
        try:
            while self._outbox:
                self._send(self._sock, self._outbox[0])
        except (BlockingIOError, InterruptedError):
            self._loop.add_writer(self._sock, self._writable)
            return
        except OSError:
            self._forget_outbox()  # the child is gone; what it sent before is still read
        self._loop.remove_writer(self._sock)

    def _send(self, sock: socket.socket, chunk: _Chunk) -> None:
        if chunk.fds:
            sent = socket.send_fds(sock, [chunk.data], chunk.fds)
            chunk.close()
        else:
            sent = sock.send(chunk.data)
        del chunk.data[:sent]
        if not chunk.data:
            self._outbox.popleft()

    def _forget_outbox(self) -> None:
        for chunk in self._outbox:
            chunk.close()
        self._outbox.clear()

    def _readable(self) -> bool:
        """Read once; return whether there may be more."""
        if self._sock is None:
            return False
        try:
            data, fds, flags, _ = socket.recv_fds(self._sock, READ_SIZE, MAX_FDS)
            self._received_fds += fds
            if flags & socket.MSG_CTRUNC and not fds:
                self._received_fds.append(LOST_FD)  # keeps the order: one message carries one descriptor
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        for line in self._lines.feed(data):
            self._receive_line(line)
        if not data:
            self._close()
        return bool(data)

    def _receive_line(self, line: bytes) -> None:
        for message in self._dialect.decode(line):
            if isinstance(message, (Forked, ForkFailed, ForkEnded)):
                self._fork_message(message)
            else:
                self._deliver(message)

    def _deliver(self, message: FromChild) -> None:
        self._inbox.put_nowait(message)

    def _oversize(self, size: int) -> None:
        self._dialect.warn(f"ignored a message of {size / 2**20:.0f} MB: too long")

    def _fork_message(self, message: ForkMessage) -> None:
        self._dialect.warn(f"ignored a fork message from a process that does not fork: {message}")

    def _drain(self) -> None:
        """Read the last messages of a process that has ended."""
        while self._readable():
            pass

    def _close(self) -> None:
        if self._sock is None:
            return
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        self._sock = None
        self._forget_outbox()
        for fd in self._received_fds:
            if fd != LOST_FD:
                os.close(fd)
        self._received_fds.clear()
        self._inbox.put_nowait(None)
