"""A Node child: a blank that becomes a process of the agent once it is ready.

Until it gets its spec, the blank is only claimed. If the child is ended before that, the blank returns to the
stock, because importing the SDK again would take time. Nothing may be sent while the SDK's job main takes
over the channel (agents-js.md §8.4).
"""

import asyncio
import contextlib
import signal
import socket
from collections import deque

from agent_tui.model.child import (
    ChildExit,
    ChildTraits,
    DumpStacks,
    Failed,
    FromChild,
    Loading,
    Manifest,
    Ready,
    Shutdown,
    StartJob,
    ToChild,
)
from agent_tui.model.logs import LogSink
from agent_tui.runtimes.channel import LineBuffer
from agent_tui.runtimes.line_child import READ_SIZE, LineChild, Process
from agent_tui.runtimes.node.blanks import Blank, Blanks
from agent_tui.runtimes.node.dialect import NodeDialect
from agent_tui.runtimes.node.pino import parse


class NodeChild:
    """A live child and its channel (`agent_tui.model.child.Child`)."""

    def __init__(
        self,
        blank: Blank,
        blanks: Blanks,
        traits: ChildTraits,
        dialect: NodeDialect,
        sink: LogSink,
        process_id: str,
        spec: bytes,
        initialize: bytes,
    ) -> None:
        """`initialize` is the line that starts the SDK's main; empty if there is none."""
        self._blank = blank
        self._blanks = blanks
        self._traits = traits
        self._dialect = dialect
        self._sink = sink
        self._process_id = process_id
        self._spec = spec
        self._initialize = initialize
        self._lines: asyncio.Future[_Lines | None] = asyncio.get_running_loop().create_future()
        """The channel, once the blank has its spec; None if the blank went back to the stock."""
        blank.ready.add_done_callback(lambda _: self._begin())

    @property
    def pid(self) -> int:
        return self._blank.process.pid

    @property
    def traits(self) -> ChildTraits:
        return self._traits

    def send(self, message: ToChild) -> None:
        # Before it has its spec, nothing reads messages. Callers wait until it is ready.
        if self._lines.done() and (lines := self._lines.result()) is not None:
            lines.send(message)

    async def receive(self) -> FromChild | None:
        lines = await asyncio.shield(self._lines)
        return None if lines is None else await lines.receive()

    def kill(self) -> None:
        if not self._lines.done():
            self._lines.set_result(None)
            self._blanks.give_back(self._blank)
        elif (lines := self._lines.result()) is not None:
            lines.kill()

    async def wait(self) -> ChildExit:
        lines = await asyncio.shield(self._lines)
        return ChildExit(None, signal.SIGKILL) if lines is None else await lines.wait()

    def _begin(self) -> None:
        if self._lines.done():
            return
        self._blanks.hand_over(self._blank)
        self._blank.started.ends.attach(self._process_id, self._sink, parse)
        side = self._blank.started.ends.side
        lines = _Lines(
            self._blank.process, self._traits, self._dialect, self._initialize, side[0] if side else None
        )
        lines.send_line(self._spec)
        self._lines.set_result(lines)


class _Lines(LineChild):
    """The channel of a blank that has its spec. Messages are held back until the child is ready.

    Messages that must arrive even while the child's main thread is blocked use a side channel.
    """

    def __init__(
        self,
        process: Process,
        traits: ChildTraits,
        dialect: NodeDialect,
        initialize: bytes,
        side: socket.socket | None,
    ) -> None:
        self._initialize = initialize
        self._held: deque[ToChild] | None = deque()
        self._side = side
        self._waits_for_debugger = False
        self._side_lines = LineBuffer(self._oversize)
        super().__init__(process, traits, dialect)
        if side is not None:
            side.setblocking(False)
            self._loop.add_reader(side, self._side_readable, side)

    def send(self, message: ToChild) -> None:
        if isinstance(message, DumpStacks):
            self._send_on_side_channel(b"stacks\n")
        elif self._held is not None:
            self._held.append(message)
        else:
            super().send(message)
            if isinstance(message, StartJob):
                self._waits_for_debugger = message.debug_port != 0
            elif isinstance(message, Shutdown) and self._waits_for_debugger:
                self._send_on_side_channel(
                    b"resume\n"
                )  # its main thread reads nothing while it waits for a debugger

    def _send_on_side_channel(self, line: bytes) -> None:
        if self._side is not None:
            with contextlib.suppress(OSError):  # the child has ended, or has not read for very long
                self._side.send(line)

    def _deliver(self, message: FromChild) -> None:
        match message:
            case Loading():
                # The child only listened for its spec; Node keeps this line until the job main listens.
                self.send_line(self._initialize)
            case Ready() | Manifest() | Failed():
                held, self._held = self._held, None
                for each in held or ():
                    self.send(each)
            case _:
                pass
        super()._deliver(message)

    def _side_readable(self, side: socket.socket) -> None:
        try:
            data = side.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        for line in self._side_lines.feed(data):
            self._receive_line(line)
        if not data:
            self._close_side()

    def _close_side(self) -> None:
        if self._side is not None:
            self._loop.remove_reader(self._side)
            self._side.close()
            self._side = None

    def _close(self) -> None:
        self._close_side()
        super()._close()
