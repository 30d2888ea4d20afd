"""Whether this process may be forked (fork.md §6), and if not, why, as text.

A fork is unsafe if the process has threads (including those that Python does not know), descriptors whose
state would be shared (sockets, pipes, event polls, files open for writing), or a running native runtime.
Random values do not make a fork unsafe, but are reported: all jobs of a template get the same values if the
project's code drew them while it was loaded. Python's global `random` is seeded again in each fork, but
values drawn before stay (fork.md §2).
"""

from __future__ import annotations

import contextlib
import os
import random
import stat
import sys
import threading
import warnings
from typing import Any, Callable, Iterator

from . import project_files

TASKS = "/proc/self/task"
DESCRIPTORS = "/proc/self/fd"

RENEWED = ("OtelBatch", "OtelPeriodic", "sentry-sdk.")
"""Names of Python threads whose owners restart them after a fork (fork.md §6, measured)."""


def descriptors() -> dict[int, str]:
    """Return the open descriptors: number to the description in `/proc`."""
    found = {}
    for name in os.listdir(DESCRIPTORS):
        try:
            found[int(name)] = os.readlink(os.path.join(DESCRIPTORS, name))
        except OSError:
            continue  # the descriptor of the listing itself
    return found


def unsafe(before: dict[int, str]) -> str:
    """Return why a process that loaded the agent's file must not be forked; empty if it may be.

    `before` are the descriptors that were open before the file was loaded.
    """
    return native_runtime() or threads_left() or _shared_descriptor(before)


def threads_left() -> str:
    """Return the threads that a fork would lose, by owner; empty if there are none."""
    if len(os.listdir(TASKS)) == 1:
        return ""
    _try_fork()
    left = [task for task in map(int, os.listdir(TASKS)) if task != os.getpid() and not _is_renewed(task)]
    if not left:
        return ""
    owners = sorted({_owner(task) for task in left})
    return f"{len(left)} thread{'s' if len(left) > 1 else ''} of {', '.join(owners)}"


def _try_fork() -> None:
    """Fork once: OpenBLAS and others stop their threads before a fork, and start new ones when needed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _is_renewed(task: int) -> bool:
    return any(
        thread.native_id == task and thread.name.startswith(RENEWED) for thread in threading.enumerate()
    )


def native_runtime() -> str:
    """Return a description of the SDK's native runtime if it is running; empty otherwise."""
    client = getattr(sys.modules.get("livekit.rtc._ffi_client"), "FfiClient", None)
    if getattr(client, "_instance", None) is not None:
        return "livekit.rtc's native runtime, which refuses to be used after a fork"
    return ""


def _shared_descriptor(before: dict[int, str]) -> str:
    for fd, what in descriptors().items():
        if before.get(fd) == what:
            continue
        kind = _kind(fd, what)
        if kind:
            return kind
    return ""


def _kind(fd: int, what: str) -> str:
    """Return what is unsafe about an open descriptor; empty for files that are only read."""
    if what.startswith("socket:"):
        return "an open socket"
    if what.startswith("pipe:"):
        return "an open pipe"
    if what.startswith("anon_inode:"):
        return f"an open {what.partition(':')[2].strip('[]')}"
    if what.startswith("/dev/nvidia"):
        return f"CUDA ({what})"
    try:
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
            flags = next(int(line.split()[1], 8) for line in info if line.startswith("flags:"))
    except (OSError, StopIteration, ValueError):
        return ""
    writes = flags & os.O_ACCMODE != os.O_RDONLY
    return f"{what}, open for writing" if regular and writes else ""


def _owner(task: int) -> str:
    """Return a thread's name in Python or, for a native thread, the name that its library gave it."""
    for thread in threading.enumerate():
        if thread.native_id == task:
            return thread.name
    # A thread that its library does not name inherits the main thread's name (fork.md §6), which says
    # nothing.
    name = _task_name(task)
    return name if name != _task_name(os.getpid()) else "a native library"


def _task_name(task: int) -> str:
    try:
        with open(f"{TASKS}/{task}/comm", encoding="utf-8", errors="replace") as comm:
            return comm.read().strip()
    except OSError:  # it has ended since
        return "a native library"


_DRAWERS = ("random", "secrets", "uuid", "tempfile")
"""Modules through which code draws random values. Their frames are skipped to find the project's line."""


@contextlib.contextmanager
def random_use(lines: list[str]) -> Iterator[None]:
    """While entered, add the lines at which the project's code draws random values, such as `agent.py:4`.

    If only the state of `random` or `numpy.random` has changed, add the name of that module.
    """
    urandom, seed = os.urandom, random.Random.seed
    state, numpys = random.getstate(), _numpy_state()

    def noting(size: int) -> bytes:
        _note(lines)
        return urandom(size)

    def seeding(self: random.Random, a: Any = None, version: int = 2) -> None:
        if a is None:
            _note(lines)
        seed(self, a, version)

    _patch(noting, seeding)
    try:
        yield
    finally:
        _patch(urandom, seed)
        if not lines and random.getstate() != state:
            lines.append("random")
        if not lines and numpys is not None and _numpy_state() != numpys:
            lines.append("numpy.random")


def _patch(urandom: Callable[[int], bytes], seed: Any) -> None:
    os.urandom = random._urandom = urandom  # type: ignore[attr-defined]
    random.Random.seed = seed  # type: ignore[method-assign]


def _note(lines: list[str]) -> None:
    """Record a draw by the project's code. Draws by libraries for their own purposes do not count."""
    frame = sys._getframe(2)
    while frame is not None and _draws(frame.f_globals.get("__name__", "")):
        frame = frame.f_back  # type: ignore[assignment]
    if frame is not None and project_files.is_project_file(frame.f_code.co_filename):
        line = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
        if line not in lines:
            lines.append(line)


def _draws(module: str) -> bool:
    return module in _DRAWERS or module.partition(".")[0] == "numpy"


def _numpy_state() -> str | None:
    numpy = sys.modules.get("numpy.random")
    return repr(numpy.get_state()) if numpy is not None else None
