"""A process that others are forked from: a base (the SDK imported) or a template (also the file loaded).

It stays single-threaded, runs no event loop, and forks only from this plain loop (fork.md §6c). A message
with the child's channel, stdout, and stderr requests a fork, which then waits on its channel for its spec,
exactly like a fresh interpreter.
"""

from __future__ import annotations

import base64
import collections
import contextlib
import gc
import os
import select
import signal
import socket
import sys
import warnings
from typing import Any, Callable, NoReturn

from . import fork_safety, preloading, snapshots
from .channel import Channel


class ForkServer:
    """Forks on request, until it is asked to end or the host has ended. `serve` returns only in the forks."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._children: dict[int, tuple[str, str]] = {}
        self._imports: collections.deque[str] = collections.deque()
        self._imported: list[str] = []
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "ping": lambda value: channel.send("pong", sent_ms=value["sent_ms"]),
            "keep_code": self._keep_code,
            "import_modules": lambda value: self._imports.extend(value["modules"]),
            "free_memory": lambda value: preloading.free_memory(),
            "shutdown": self._shutdown,
        }

    def serve(self) -> Channel:
        """Run the loop. In a fork, return the fork's channel."""
        wake, write = os.pipe()
        for fd in (wake, write):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(self._channel, select.POLLIN)
        while True:
            # A message may have been read together with the spec, before this loop started.
            at_once = self._imports or self._channel.has_message
            ready = {fd for fd, _ in poll.poll(0 if at_once else None)}
            if wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 4096)
                self._reap()
            if self._channel.fileno() in ready or self._channel.has_message:
                forked = self._read()
                if forked is not None:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    os.close(wake)
                    os.close(write)
                    return forked
            elif self._imports:
                self._import_next()

    def _read(self) -> Channel | None:
        """Handle all messages that have arrived. In a requested fork, return its channel."""
        while True:
            message = self._channel.read_message()
            if message is None:
                self._end_without_host()
            case, value = message
            if case == "fork":
                forked = self._fork(value)
                if forked is not None:
                    return forked
            elif case in self._handlers:
                self._handlers[case](value)
            if not self._channel.has_message:
                return None

    def _fork(self, value: dict[str, Any]) -> Channel | None:
        """Fork this process. Return the channel of the new process in that process, and None in this one."""
        sock, out, err = self._channel.take_fds(3)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        reported = report = -1
        try:
            reported, report = os.pipe()
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", DeprecationWarning
                )  # warns about threads, which `fork_safety` has checked
                pid = os.fork()
        except OSError as error:
            self._channel.send("fork_failed", fork=value["fork"], error=str(error))
            pid = -1
        if pid == 0:
            os.close(report)
            if not os.read(reported, 1):
                # This base was killed before the host knew of the fork. What is still in the base's session
                # is reaped with it; in a session of its own, nothing would ever reap the fork.
                os._exit(0)
            os.close(reported)
            return self._begin(sock, out, err)
        for fd in (sock, out, err):
            os.close(fd)
        if pid > 0:
            self._children[pid] = value["fork"], value["kind"]
            pidfd = os.pidfd_open(pid)
            self._channel.send_fd("forked", pidfd, fork=value["fork"], pid=pid)
            os.close(pidfd)
            with contextlib.suppress(BrokenPipeError):  # something killed the fork
                os.write(report, b"1")
        for fd in (reported, report):
            if fd >= 0:
                os.close(fd)
        return None

    def _begin(self, sock: int, out: int, err: int) -> Channel:
        os.setsid()
        self._channel.close()
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)
        gc.enable()
        _forget_inherited()
        return Channel(socket.socket(fileno=sock))

    def _reap(self) -> None:
        """Report each child that has ended, and kill the rest of its group while its number is still
        reserved.
        """
        for pid in list(self._children):
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            fork, _ = self._children.pop(pid)
            self._channel.send("fork_ended", fork=fork, code=os.waitstatus_to_exitcode(status))

    def _keep_code(self, value: dict[str, Any]) -> None:
        snapshots.add_codes(
            ((each["path"], each["digest"]), base64.b64decode(each["code"])) for each in value["modules"]
        )

    def _import_next(self) -> None:
        """Import the next module, and only that one, so that a requested fork does not wait longer."""
        name = self._imports.popleft()
        if preloading.preload(name):
            self._imported.append(name)
        threads = fork_safety.threads_left()
        if threads:
            self._imports.clear()
        if not self._imports:
            preloading.freeze()
            self._channel.send(
                "imported",
                modules=self._imported,
                unsafe=f"{name} started {threads}" if threads else "",
                module=name if threads else "",
                asked=preloading.asked(),
            )
            self._imported = []

    def _shutdown(self, value: dict[str, Any]) -> NoReturn:
        """End. Running forks become children of the host, the nearest subreaper."""
        self._channel.send("shutdown_ack")
        self._channel.send("shutting_down")
        os._exit(0)

    def _end_without_host(self) -> NoReturn:
        """End because the host has ended. Jobs notice that themselves; kill templates, which may not."""
        for pid, (_, kind) in self._children.items():
            if kind == "template":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        os._exit(0)


def _forget_inherited() -> None:
    """Reset state that must differ between forks and that nothing else resets (fork.md §2)."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util._finalizer_registry.clear()
        util._run_after_forkers()
