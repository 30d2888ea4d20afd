"""A child that speaks lines over its channel, in whatever dialect: the `Child` seam over a socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from agent_tui.runtimes.channel import ChannelError, LineBuffer

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from agent_tui.model.child import ChildExit, ChildTraits, FromChild, ToChild
    from agent_tui.runtimes.spawn import SpawnedProcess

READ_SIZE = 262_144


class Dialect(Protocol):
    """How messages look on the wire of one kind of child."""

    def encode(self, message: ToChild) -> bytes:
        """The line or lines of a message; empty when this kind of child has no such message."""
        ...

    def decode(self, line: bytes) -> Iterable[FromChild]:
        """The messages of a line; what is not for the host's parts (logs) is taken care of here."""
        ...

    def complain(self, text: str) -> None:
        """Tells people that the child says what cannot be understood."""
        ...


class LineChild:
    """A live child and its channel (`agent_tui.model.child.Child`)."""

    def __init__(self, process: SpawnedProcess, traits: ChildTraits, dialect: Dialect) -> None:
        self._process = process
        self._traits = traits
        self._dialect = dialect
        self._loop = asyncio.get_running_loop()
        self._sock: socket.socket | None = process.sock
        self._lines = LineBuffer()
        self._inbox: asyncio.Queue[FromChild | None] = asyncio.Queue()
        self._outbox = bytearray()
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

    def send_line(self, line: bytes) -> None:
        """Queues a line as it is."""
        if self._sock is None:
            return
        self._outbox += line
        if len(self._outbox) == len(line):
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
            sent = self._sock.send(self._outbox)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._outbox.clear()  # the child is gone; what it still said is read to its end
            self._loop.remove_writer(self._sock)
            return
        del self._outbox[:sent]
        if self._outbox:
            self._loop.add_writer(self._sock, self._writable)
        else:
            self._loop.remove_writer(self._sock)

    def _readable(self) -> bool:
        """Reads once; returns whether there may be more."""
        if self._sock is None:
            return False
        try:
            data = self._sock.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        try:
            for line in self._lines.feed(data):
                self._take(line)
        except ChannelError as error:
            self._dialect.complain(str(error))
            data = b""
        if not data:
            self._close()
        return bool(data)

    def _take(self, line: bytes) -> None:
        for message in self._dialect.decode(line):
            self._inbox.put_nowait(message)

    def _drain(self) -> None:
        """The process has ended: what it sent is all there is."""
        while self._readable():
            pass

    def _close(self) -> None:
        if self._sock is None:
            return
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        self._sock = None
        self._outbox.clear()
        self._inbox.put_nowait(None)
