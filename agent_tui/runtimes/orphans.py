"""No child outlives the host (Linux), and no zombie is left while the host runs.

A small guard process outlives the host and kills the children left behind. A thread in each child notices
that the host has ended, but not if the child is stopped or its code never releases the interpreter's lock.
`PR_SET_PDEATHSIG` would not work: a job would have no time to leave its room, and the parent of a fork is a
base, which may be retired before its forks.

While the host runs, it adopts its descendants' orphans: a base or template may end before its forks. Adopted
processes are reaped when the process that started them ends.
"""

import asyncio
import contextlib
import ctypes
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import agent_tui
from agent_tui.system.descriptors import DESCRIPTORS

SCRIPT = Path(agent_tui.__file__).parent / "child" / "python" / "orphans.py"

GRACE_S = 10.0
"""Seconds for children to end after the host has ended. Their own limit is 8 (`child/python/process.py`)."""

SHORT_LIFE_S = 1.0
"""A guard that lives for less than this, in s, is not restarted immediately: the next one would end too."""

_PID = struct.Struct("=i")


class OrphanGuard:
    """The guard process, which runs while there are processes to watch.

    If it cannot start, the children still notice by themselves that the host has ended.
    """

    def __init__(self) -> None:
        self._watched: dict[int, int] = {}
        self._popen: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._since = 0.0

    @property
    def pid(self) -> int | None:
        return self._popen.pid if self._popen else None

    def watch(self, pid: int, pidfd: int) -> None:
        """Watch a process from now on. The caller must keep the pidfd open until `forget`."""
        self._watched[pid] = pidfd
        if self._sock is None or self._loop is not asyncio.get_running_loop() or not self._send(pid, pidfd):
            self._restart()

    def forget(self, pid: int) -> None:
        """Stop watching a process that was reaped; do nothing if it was not watched."""
        if self._watched.pop(pid, None) is not None and not self._watched:
            self._stop()

    def _restart(self) -> None:
        self._stop()
        theirs: socket.socket | None = None
        try:
            self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._sock.setblocking(False)
            # Before the guard starts: if the host is killed now, the guard still knows what to kill.
            if not all(self._send(pid, pidfd) for pid, pidfd in self._watched.items()):
                self._stop()
                return
            fd = theirs.fileno()
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SCRIPT), str(fd), str(GRACE_S)],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(fd,),
                start_new_session=True,
            )
        except OSError:
            self._stop()
            return
        finally:
            if theirs is not None:
                theirs.close()
        self._since = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock, self._ended)

    def _send(self, pid: int, pidfd: int) -> bool:
        """Send a process to the guard; return False if the guard has ended or is stopped."""
        assert self._sock is not None
        try:
            socket.send_fds(self._sock, [_PID.pack(pid)], [pidfd])
        except OSError:
            return False
        return True

    def _ended(self) -> None:
        """Restart the guard: its socket is readable only once it has ended."""
        lived = time.monotonic() - self._since
        self._stop()
        if lived >= SHORT_LIFE_S:
            self._restart()

    def _stop(self) -> None:
        if self._sock is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(self._sock)
            self._sock.close()
        if self._popen is not None:
            self._popen.kill()  # at once: its socket is closed, so it would start its countdown
            with contextlib.suppress(OSError):
                self._popen.wait()
        self._sock = self._popen = self._loop = None


GUARD = OrphanGuard()
"""The guard of this process. One per process, like the subreaper flag."""


def watch(pid: int, pidfd: int) -> None:
    """Make sure that a child is killed soon after this process has ended, however it ends."""
    if sys.platform == "linux":
        GUARD.watch(pid, pidfd)


def forget(pid: int) -> None:
    """Stop watching a child. Must be called once it is reaped, before its pidfd is closed."""
    GUARD.forget(pid)


PR_SET_CHILD_SUBREAPER = 36

CHECKS_S = (0.0, 0.005, 0.05, 0.5)
"""Pauses, in s, before each search for processes that a killed group left. Usually one search is enough."""


def become_subreaper() -> bool:
    """Make this process the parent of its descendants' orphans; return False if that is impossible."""
    if sys.platform != "linux":
        return False
    with contextlib.suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    return False


async def reap_session(session: int) -> None:
    """Reap the processes that an ended process left in its session. Its group must have been killed."""
    for delay in CHECKS_S:
        await asyncio.sleep(delay)
        left = [pid for pid in _children() if _session_of(pid) == session and pid != session]
        if not left:
            return
        for pid in left:
            _reap(pid)


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _children() -> list[int]:
    """Return this process's children; empty if the kernel does not list them."""
    found = []
    with DESCRIPTORS.reserve(), contextlib.suppress(OSError):
        for tasks in Path("/proc/self/task").glob("*/children"):
            with contextlib.suppress(OSError, ValueError):
                found += [int(each) for each in tasks.read_text(encoding="ascii").split()]
    return found


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None
