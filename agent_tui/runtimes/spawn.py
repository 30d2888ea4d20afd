"""One child process from start to reaped: its group, its pipes, the host's end of its channel."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_tui.model.child import ChildExit
from agent_tui.model.logs import LogSink, LogSource, LogStream

PidfdOpen = Callable[[int], int]


def system_pidfd_open() -> PidfdOpen | None:
    """The system's way to a pidfd, where it has one (Linux)."""
    return getattr(os, "pidfd_open", None)


@dataclass(frozen=True, slots=True)
class Command:
    """What to start. `{fd}` in an argument becomes the child's end of the channel."""

    arguments: Sequence[str]
    cwd: Path
    environ: Mapping[str, str]
    fd_variable: str = ""
    """An environment variable that tells the child's end too (`NODE_CHANNEL_FD`, agents-js.md §8.1)."""


@dataclass(frozen=True, slots=True)
class Started:
    """A process that runs, and our ends of what it was given; nobody reads or reaps it yet."""

    popen: subprocess.Popen[bytes]
    sock: socket.socket
    outputs: Mapping[LogStream, int]

    def discard(self) -> None:
        """Ends it after all."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        self.sock.close()
        for fd in self.outputs.values():
            os.close(fd)


class SpawnedProcess:
    """A started process in a session of its own; `wait()` must be called in the end."""

    def __init__(self, started: Started, pidfd_open: PidfdOpen | None) -> None:
        self.pid = started.popen.pid
        self.sock = started.sock
        self._popen = started.popen
        self.reaped = False
        self._pidfd_open = pidfd_open
        self._waiting: asyncio.Task[ChildExit] | None = None

    def kill(self) -> None:
        """SIGKILL to the whole group; nothing once the process is reaped."""
        if not self.reaped:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def wait(self) -> ChildExit:
        """Waits for the process to end, ends what it left of its group, reaps it. Can be called again."""
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._wait(), name=f"wait {self.pid}")
        return await asyncio.shield(self._waiting)

    async def _wait(self) -> ChildExit:
        if self._pidfd_open is not None:
            # The dead leader stays unreaped here, so its number cannot be another group's yet.
            await self._readable(self._pidfd_open(self.pid))
            self.kill()
            code = self._popen.wait()
        else:
            code = await asyncio.to_thread(self._popen.wait)
            self.kill()
        self.reaped = True
        return ChildExit(code) if code >= 0 else ChildExit(None, -code)

    async def _readable(self, fd: int) -> None:
        loop = asyncio.get_running_loop()
        gone: asyncio.Future[None] = loop.create_future()
        loop.add_reader(fd, _resolve, gone)
        try:
            await gone
        finally:
            loop.remove_reader(fd)
            os.close(fd)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def start(command: Command) -> Started:
    """Starts a process. Raises OSError, with nothing left open."""
    with contextlib.ExitStack() as on_error, contextlib.ExitStack() as always:
        ours, theirs = socket.socketpair()
        on_error.callback(ours.close)
        always.callback(theirs.close)
        outputs: dict[LogStream, tuple[int, int]] = {}
        for stream in (LogStream.STDOUT, LogStream.STDERR):
            read_end, write_end = outputs[stream] = os.pipe()
            on_error.callback(os.close, read_end)
            always.callback(os.close, write_end)
        fd = str(theirs.fileno())
        popen = subprocess.Popen(
            [each.replace("{fd}", fd) for each in command.arguments],
            cwd=command.cwd,
            env={**command.environ, **({command.fd_variable: fd} if command.fd_variable else {})},
            stdin=subprocess.DEVNULL,
            stdout=outputs[LogStream.STDOUT][1],
            stderr=outputs[LogStream.STDERR][1],
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        on_error.pop_all()
    return Started(popen, ours, {stream: read_end for stream, (read_end, _) in outputs.items()})


def adopt(
    started: Started, process_id: str, sink: LogSink, pidfd_open: PidfdOpen | None = None
) -> SpawnedProcess:
    """Takes a started process in: its output pipes go to the sink, its channel to the event loop."""
    started.sock.setblocking(False)
    for stream, fd in started.outputs.items():
        sink.attach(fd, LogSource(process_id, stream))
    return SpawnedProcess(started, pidfd_open)


def spawn(
    command: Command, process_id: str, sink: LogSink, pidfd_open: PidfdOpen | None = None
) -> SpawnedProcess:
    """Starts a process and takes it in. Raises OSError, with nothing left open."""
    return adopt(start(command), process_id, sink, pidfd_open)
