"""A base on the host's side, when no descriptor is left for what it sends."""

import asyncio
import contextlib
import errno
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agent_tui.model.child import ChildExit, ChildTraits, MemoryMeasure, ProcessKind, Ready
from agent_tui.model.clock import SystemClock
from agent_tui.runtimes import orphans
from agent_tui.runtimes.channel import ForkMessage, decode, encode_line
from agent_tui.runtimes.forks import ForkServer
from agent_tui.runtimes.kinds import NATIVE
from agent_tui.runtimes.python import PythonRuntime
from tests.runtimes.support import Sink

from ..limits import PATIENCE_S

pytestmark = pytest.mark.real


class Dialect:
    """Messages as lines; only forks arrive."""

    def encode(self, message: object) -> bytes:
        return b""

    def decode(self, line: bytes) -> tuple[ForkMessage, ...]:
        return (decode(line),)  # type: ignore[return-value]

    def warn(self, text: str) -> None:
        raise AssertionError(text)


class Base:
    """A process of which only the channel exists; the test answers for it."""

    pid = 1
    reaped = True

    def __init__(self) -> None:
        self.sock, self.theirs = socket.socketpair()
        self.sock.setblocking(False)

    def kill(self) -> None: ...

    async def wait(self) -> ChildExit:
        return ChildExit(0)

    def hear(self) -> None:
        """Receive the requests; close the descriptors that come with them."""
        for fd in socket.recv_fds(self.theirs, 65_536, 16)[1]:
            os.close(fd)

    def forked(self, name: str) -> None:
        line = encode_line("forked", {"fork": name, "pid": 7})
        with open(os.devnull) as pidfd:  # noqa: PTH123  a descriptor is what is wanted
            socket.send_fds(self.theirs, [line], [pidfd.fileno()])


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """Allow no descriptor to be opened in the body."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = [int(each.name) for each in Path("/proc/self/fd").iterdir()]
    held = [os.dup(0) for _ in range(max(used) + 1 - len(used))]  # no gap below the limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (max((*used, *held)) + 1, limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in held:
            os.close(fd)


async def test_a_fork_whose_pidfd_could_not_be_received_fails_and_the_next_one_is_not_mixed_up() -> None:
    process = Base()
    base = ForkServer(
        process, ChildTraits(stacks=True, reports_loading=True, memory=MemoryMeasure.RSS), Dialect()
    )
    first = asyncio.create_task(base.fork(ProcessKind.JOB, "p1", Sink()))
    await asyncio.sleep(0)
    process.hear()
    process.forked("p1")
    with no_descriptors():
        base._readable()
    with pytest.raises(OSError, match="Too many open files") as caught:
        await first
    assert caught.value.errno == errno.EMFILE
    second = asyncio.create_task(base.fork(ProcessKind.JOB, "p2", Sink()))
    await asyncio.sleep(0)
    process.hear()
    process.forked("p2")
    forked = await second
    assert os.path.samestat(os.fstat(forked._pidfd), Path(os.devnull).stat())
    orphans.forget(forked.pid)
    os.close(forked._pidfd)
    forked.sock.close()
    process.theirs.close()
    await base.wait()


async def test_a_line_whose_descriptors_cannot_be_copied_leaves_none_open() -> None:
    process = Base()
    base = ForkServer(
        process, ChildTraits(stacks=True, reports_loading=True, memory=MemoryMeasure.RSS), Dialect()
    )
    before = psutil.Process().num_fds()
    with pytest.raises(OSError, match="Bad file descriptor"):
        base.send_line(b"spec\n", (process.theirs.fileno(), -1))
    assert psutil.Process().num_fds() == before
    process.theirs.close()
    await base.wait()


LOSSY = """
import os, signal
def killed(pid):
    os.kill(os.getpid(), signal.SIGKILL)
os.pidfd_open = killed
"""
"""A base that imports it is killed after each fork, before it reports the fork."""


async def test_a_base_killed_before_it_reports_a_fork_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "lossy.py").write_text(LOSSY)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    runtime = PythonRuntime(
        NATIVE, Path(sys.executable), tmp_path / "agent.py", tmp_path, environ, Sink(), SystemClock()
    )
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    async with asyncio.timeout(PATIENCE_S):
        base = await runtime.launch_base("b1", ["lossy"])
        while not isinstance(await base.receive(), Ready):
            pass
        with pytest.raises(OSError, match="the base process ended"):
            await base.fork(ProcessKind.JOB, "p1", Sink())
        assert (await base.wait()).signal == signal.SIGKILL
    left = [each for each in psutil.Process().children(recursive=True) if each.pid not in before]
    assert left == []
