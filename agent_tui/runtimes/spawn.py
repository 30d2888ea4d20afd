"""Starts, kills, and reaps a child process, with its group, its pipes, and the host's end of its channel."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import agent_tui
from agent_tui.model.child import ChildExit
from agent_tui.model.logs import LogSink, LogSource, LogStream, ParseLine
from agent_tui.runtimes import orphans
from agent_tui.runtimes.channel import encode_line
from agent_tui.runtimes.kinds import KINDS
from agent_tui.runtimes.orphans import reap_session
from agent_tui.runtimes.threads import off_loop
from agent_tui.system.descriptors import DESCRIPTORS

PidfdOpen = Callable[[int], int]


def system_pidfd_open() -> PidfdOpen | None:
    """Return the system's `pidfd_open`; None if it has none, because it is not Linux."""
    return getattr(os, "pidfd_open", None)


@dataclass(frozen=True, slots=True)
class Command:
    """What to start. `{fd}` in an argument is replaced by the child's end of the channel."""

    arguments: Sequence[str]
    cwd: Path
    environ: Mapping[str, str]
    fd_variable: str = ""
    """An environment variable that is also set to the child's end (`NODE_CHANNEL_FD`, agents-js.md §8.1)."""
    side_variable: str = ""
    """An environment variable for the child's end of a second channel; empty if there is none."""


@dataclass(frozen=True, slots=True)
class Started:
    """A started process and this side's ends of its channel and pipes. Nothing reads or reaps it yet."""

    popen: subprocess.Popen[bytes]
    ends: "ChildPipes"

    @property
    def sock(self) -> socket.socket:
        return self.ends.ours

    def discard(self) -> None:
        """Kill and reap it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        self.ends.close_ours()


class SpawnedProcess:
    """A started process in its own session. Its owner must call `wait()` in the end."""

    def __init__(self, started: Started, pidfd_open: PidfdOpen | None) -> None:
        self.pid = started.popen.pid
        self.sock = started.sock
        self._popen = started.popen
        self.reaped = False
        self._pidfd = self._open_pidfd(pidfd_open)
        self._waiting: asyncio.Task[ChildExit] | None = None
        if self._pidfd is not None:
            orphans.watch(self.pid, self._pidfd)

    def kill(self) -> None:
        """Kill the whole group; do nothing once the process is reaped."""
        if not self.reaped:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def wait(self) -> ChildExit:
        """Wait for the process to end, kill the rest of its process group, and reap it.

        Calling it more than once is safe.
        """
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._wait(), name=f"wait {self.pid}")
        return await asyncio.shield(self._waiting)

    async def _wait(self) -> ChildExit:
        if self._pidfd is not None:
            # Kill before reaping: until the dead leader is reaped, its number cannot belong to another group.
            await readable(self._pidfd)
            self.kill()
            code = self._popen.wait()
            orphans.forget(self.pid)
            os.close(self._pidfd)
            await reap_session(self.pid)
        else:
            # Without a pidfd (macOS), its end is only known once it is reaped, so it cannot be killed before.
            code = await off_loop(self._popen.wait)
            self.kill()
        self.reaped = True
        return ChildExit(code) if code >= 0 else ChildExit(None, -code)

    def _open_pidfd(self, pidfd_open: PidfdOpen | None) -> int | None:
        """Return a pidfd of the process; None if the system has no pidfds or no free descriptors.

        It must not raise, because `wait` must notice the end of the process without a pidfd too.
        """
        if pidfd_open is None:
            return None
        try:
            return pidfd_open(self.pid)
        except OSError:
            return None


async def readable(fd: int) -> None:
    """Wait until a descriptor is readable. A pidfd is readable once its process has ended."""
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _resolve, gone)
    try:
        await gone
    finally:
        loop.remove_reader(fd)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@dataclass(frozen=True, slots=True)
class ChildPipes:
    """Both ends of a child's channel and of its output pipes."""

    ours: socket.socket
    theirs: socket.socket
    outputs: Mapping[LogStream, tuple[int, int]]
    """For each output stream, the read end and the write end of its pipe."""
    side: tuple[socket.socket, socket.socket] | None = None
    """The second channel: this side's end and the child's."""

    @classmethod
    def make(cls, *, side: bool = False) -> "ChildPipes":
        """Create the channel and pipes. If that fails, raise OSError and leave no descriptor open."""
        with contextlib.ExitStack() as on_error:
            ours, theirs = socket.socketpair()
            on_error.callback(ours.close)
            on_error.callback(theirs.close)
            second = socket.socketpair() if side else None
            for each in second or ():
                on_error.callback(each.close)
            outputs: dict[LogStream, tuple[int, int]] = {}
            for stream in (LogStream.STDOUT, LogStream.STDERR):
                outputs[stream] = os.pipe()
                for fd in outputs[stream]:
                    on_error.callback(os.close, fd)
            on_error.pop_all()
        return cls(ours, theirs, outputs, second)

    @property
    def child_fds(self) -> tuple[int, int, int]:
        """Channel, stdout, stderr."""
        return self.theirs.fileno(), self.outputs[LogStream.STDOUT][1], self.outputs[LogStream.STDERR][1]

    def close_theirs(self) -> None:
        """Close the host's copies of the child's ends, once the child has them or failed to start."""
        self.theirs.close()
        if self.side is not None:
            self.side[1].close()
        for _, write_end in self.outputs.values():
            os.close(write_end)

    def close_ours(self) -> None:
        self.ours.close()
        if self.side is not None:
            self.side[0].close()
        for read_end, _ in self.outputs.values():
            os.close(read_end)

    def close_channels(self) -> None:
        """Close this side's ends except the outputs, which the sink owns."""
        self.ours.close()
        if self.side is not None:
            self.side[0].close()

    def attach(self, process_id: str, sink: LogSink, parse: ParseLine | None = None) -> None:
        """Pass the output pipes to the sink, and prepare the channel for the event loop.

        `parse` finds log records in the lines of stdout.
        """
        self.ours.setblocking(False)
        for stream, (read_end, _) in self.outputs.items():
            if parse is not None and stream is LogStream.STDOUT:
                sink.attach(read_end, LogSource(process_id, stream), parse)
            else:
                sink.attach(read_end, LogSource(process_id, stream))


def start(command: Command) -> Started:
    """Start a process. On failure, raise OSError and leave no descriptor open."""
    ends = ChildPipes.make(side=bool(command.side_variable))
    fd, out, err = ends.child_fds
    environ = dict(command.environ)
    if command.fd_variable:
        environ[command.fd_variable] = str(fd)
    passed = [fd]
    if ends.side is not None:
        passed.append(ends.side[1].fileno())
        environ[command.side_variable] = str(passed[1])
    try:
        popen = subprocess.Popen(
            [each.replace("{fd}", str(fd)) for each in command.arguments],
            cwd=command.cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            pass_fds=passed,
            start_new_session=True,
        )
    except BaseException:
        ends.close_ours()
        raise
    finally:
        ends.close_theirs()
    # The host has raised its own descriptor limit; `select()` in the child fails above 1024.
    DESCRIPTORS.give_back(popen.pid)
    return Started(popen, ends)


def adopt(
    started: Started, process_id: str, sink: LogSink, pidfd_open: PidfdOpen | None = None
) -> SpawnedProcess:
    """Adopt a started process: its output pipes go to the sink, its channel to the event loop."""
    started.ends.attach(process_id, sink)
    return SpawnedProcess(started, pidfd_open)


CHILD_MAIN = Path(agent_tui.__file__).parent / "child" / "python" / "main.py"

QUIET = {"ORT_DISABLE_TELEMETRY": "1"}
"""Keeps onnxruntime from starting a thread at its import (fork.md §1). The agent's code does not see it."""


def child_command(interpreter: Path, cwd: Path, environ: Mapping[str, str]) -> Command:
    """Return the command that starts a Python child."""
    return Command([str(interpreter), str(CHILD_MAIN), "{fd}"], cwd, {**environ, **QUIET})


class HeadStart:
    """A child that imports the SDK while the host is still importing its own modules.

    That import takes most of the time from start to registration (livekit-agents.md §3.2), and needs no spec.
    The caller must claim or discard the child.
    """

    def __init__(self, command: Command, first_line: bytes = b"") -> None:
        """Start the child. Raise OSError if it does not start."""
        self._started: Started | None = start(command)
        if first_line:
            self._started.sock.sendall(first_line)

    @classmethod
    def of_python(
        cls,
        runtime: str,
        interpreter: Path,
        cwd: Path,
        environ: Mapping[str, str],
        imports: Sequence[str] = (),
    ) -> "HeadStart":
        """Start a Python child. `imports` are the installed modules that the agent's code is known to import.
        Raise OSError if it does not start.
        """
        modules = (*KINDS[runtime].sdk_modules, *imports)
        return cls(child_command(interpreter, cwd, environ), encode_line("prepare", {"modules": modules}))

    def claim(self) -> Started | None:
        """Return the child, which the caller then owns and sends its spec; None if it is already claimed."""
        started, self._started = self._started, None
        return started

    def discard(self) -> None:
        """End the child, unless it was claimed."""
        started = self.claim()
        if started is not None:
            started.discard()
