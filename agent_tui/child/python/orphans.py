"""Kills the processes that agent-tui leaves behind when it is killed itself.

Started as `python orphans.py FD GRACE_S`; each process arrives over the socket FD as number and pidfd. The
socket closes when agent-tui ends, however it ends. The processes may then end by themselves. Those that still
run after GRACE_S seconds are killed with their groups: the watchdog in a job is a thread, which cannot end a
job that is stopped, ignores signals, or holds the interpreter's lock in C code.
"""

import contextlib
import os
import resource
import select
import signal
import socket
import struct
import sys
import time

PID = struct.Struct("=i")


def main() -> None:
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)
    grace_s = float(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    watched: dict[int, int] = {}
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    deadline: float | None = None
    while watched or deadline is None:
        left = None if deadline is None else (deadline - time.monotonic()) * 1000
        ready = [fd for fd, _ in poll.poll(left)] if left is None or left > 0 else []
        if not ready:
            for pidfd, pid in watched.items():
                _kill(pid, pidfd)
            return
        for fd in ready:
            if fd != sock.fileno():
                poll.unregister(fd)
                pid = watched.pop(fd)
                if deadline is not None:
                    _kill(pid)  # its own children are orphans now
                os.close(fd)
            elif not _receive(sock, poll, watched):
                poll.unregister(sock)
                deadline = time.monotonic() + grace_s


def _receive(sock: socket.socket, poll: "select.poll", watched: dict[int, int]) -> bool:
    """Receive one process; return False once agent-tui has ended."""
    try:
        data, fds, _, _ = socket.recv_fds(sock, PID.size, 1)
    except OSError:
        return False
    for fd in fds:
        watched[fd] = PID.unpack(data)[0]
        poll.register(fd, select.POLLIN)
    return bool(data)


def _kill(pid: int, pidfd: int | None = None) -> None:
    """Kill a group, and its leader if a pidfd confirms that the number still belongs to it."""
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    if pidfd is not None:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)


if __name__ == "__main__":
    main()
