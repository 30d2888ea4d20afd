"""Bases and templates on the host's side: children that other children are forked from.

The host sends the new child's channel and pipes to the parent as descriptors, and the parent sends back a
pidfd. The host is not the parent of the child, so a pid alone might belong to another process when the host
sends a signal.
"""

import asyncio
import contextlib
import errno
import os
import signal
import socket
from typing import TYPE_CHECKING

from agent_tui.model.child import ChildExit, ProcessKind
from agent_tui.model.logs import LogSink
from agent_tui.runtimes import orphans
from agent_tui.runtimes.channel import Forked, ForkEnded, ForkFailed, ForkMessage, encode_line
from agent_tui.runtimes.line_child import LOST_FD, LineChild
from agent_tui.runtimes.orphans import reap_session
from agent_tui.runtimes.spawn import ChildPipes, readable

if TYPE_CHECKING:
    from agent_tui.model.child import ChildTraits
    from agent_tui.runtimes.line_child import Dialect, Process

ORPHANED_S = 0.01
ORPHAN_CHECKS = 50
"""Interval in s, and number of checks, until a process whose parent has ended is the host's child."""


class ForkServer(LineChild):
    """A base or template: a `Child` that forks."""

    def __init__(self, process: "Process", traits: "ChildTraits", dialect: "Dialect") -> None:
        super().__init__(process, traits, dialect)
        self._forking: dict[str, asyncio.Future[tuple[int, int]]] = {}
        self._ends: dict[str, asyncio.Future[int | None]] = {}

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended, so that it can no longer fork."""
        return self._sock is None

    async def fork(self, kind: ProcessKind, process_id: str, sink: LogSink) -> "ForkedProcess":
        """Return a fork that waits for its spec. Raise OSError if it cannot be created."""
        if self.has_ended:
            raise OSError("the base process has ended")
        ends = ChildPipes.make()
        forked: asyncio.Future[tuple[int, int]] = self._loop.create_future()
        self._forking[process_id] = forked
        ended = self._ends[process_id] = self._loop.create_future()
        try:
            self.send_line(encode_line("fork", {"fork": process_id, "kind": str(kind)}), ends.child_fds)
            pid, pidfd = await forked
        except BaseException:
            ends.close_ours()  # a fork created after all finds its channel closed, and ends
            self._ends.pop(process_id, None)
            raise
        finally:
            ends.close_theirs()
        ends.attach(process_id, sink)
        return ForkedProcess(pid, pidfd, ends.ours, ended)

    def _fork_message(self, message: ForkMessage) -> None:
        match message:
            case Forked(fork=fork, pid=pid):
                self._forked(fork, pid, self._received_fds.popleft())
            case ForkFailed(fork=fork, error=error):
                _fail(self._forking.pop(fork, None), OSError(error))
            case ForkEnded(fork=fork, code=code):
                ended = self._ends.pop(fork, None)
                if ended is not None and not ended.done():
                    ended.set_result(code)

    def _forked(self, fork: str, pid: int, pidfd: int) -> None:
        waiting = self._forking.pop(fork, None)
        if pidfd == LOST_FD:
            # `fork` then closes the channel, which ends the fork; its parent reaps it.
            _fail(waiting, OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
            return
        os.set_inheritable(pidfd, False)
        if waiting is None or waiting.done():
            os.close(pidfd)  # `fork` was cancelled and has closed the channel: the fork ends by itself
        else:
            waiting.set_result((pid, pidfd))

    def _close(self) -> None:
        super()._close()
        for waiting in self._forking.values():
            _fail(waiting, OSError("the base process ended"))
        self._forking.clear()
        # Forks outlive the process that they were forked from. Only their parent learns exit codes, so from
        # now on each `ForkedProcess` reaps its own fork, which is the host's child now (subreaper).
        for ended in self._ends.values():
            if not ended.done():
                ended.set_result(None)
        self._ends.clear()


def _fail(future: "asyncio.Future[tuple[int, int]] | None", error: OSError) -> None:
    if future is not None and not future.done():
        future.set_exception(error)
        future.exception()  # marks it as retrieved, so that asyncio does not log it


class ForkedProcess:
    """A fork in its own session. Its parent reaps it and reports its end.

    If the parent has ended, the host reaps it.
    """

    def __init__(
        self, pid: int, pidfd: int, sock: socket.socket, ended: "asyncio.Future[int | None]"
    ) -> None:
        self.pid = pid
        self.sock = sock
        self.reaped = False
        self._pidfd = pidfd
        self._ended = ended
        self._waiting: asyncio.Task[ChildExit] | None = None
        orphans.watch(pid, pidfd)

    def kill(self) -> None:
        """Kill only this process. The process that reaps it kills the rest of its group."""
        if not self.reaped:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def wait(self) -> ChildExit:
        """Wait until the fork has ended. Calling it more than once is safe."""
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._wait(), name=f"wait {self.pid}")
        return await asyncio.shield(self._waiting)

    async def _wait(self) -> ChildExit:
        # The pidfd shows that the fork has ended. Its parent reports how, which may take a moment longer.
        await readable(self._pidfd)
        code = await self._ended
        if code is None:
            code = await self._reap_orphan()
        self.reaped = True
        orphans.forget(self.pid)
        os.close(self._pidfd)
        await reap_session(self.pid)
        if code is None:
            return ChildExit(None)
        return ChildExit(code) if code >= 0 else ChildExit(None, -code)

    async def _reap_orphan(self) -> int | None:
        """Return the exit code of a fork whose parent has ended; None if the parent reaped it and ended
        before its report was read.
        """
        # The fork becomes the host's child when its parent has ended, soon after the parent's channel closes.
        for _ in range(ORPHAN_CHECKS):
            code = self._reap_now()
            if code is not None:
                return code
            await asyncio.sleep(ORPHANED_S)
        return None

    def _reap_now(self) -> int | None:
        """Kill the group, then reap its leader and return the exit code; None if it is not our child.

        The group is killed first: until the leader is reaped, its number cannot belong to another group.
        """
        try:
            if os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:
            return None
