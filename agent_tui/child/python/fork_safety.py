"""Whether this process may be forked (fork.md §6), and if not, why, in words for people.

What makes a fork unsafe: threads of the kernel's (Python counts only its own), descriptors whose state would
be shared (sockets, pipes, event polls, files open for writing), and a native runtime that is already running.
What is random makes no fork unsafe but is reported: all jobs of a template have the values that the project's
code drew while it was loaded. Python's global `random` is seeded again in each fork; what was drawn before is
not (fork.md §2).
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
"""Names of Python threads whose owners start them anew after a fork (fork.md §6, measured)."""


def descriptors() -> dict[int, str]:
    """What is open here: number → what `/proc` says it is."""
    found = {}
    for name in os.listdir(DESCRIPTORS):
        try:
            found[int(name)] = os.readlink(os.path.join(DESCRIPTORS, name))
        except OSError:
            continue  # the listing's own
    return found


def unsafe(before: dict[int, str]) -> str:
    """Why a process that loaded the agent's file must not be forked; empty if it may be.

    `before` is what was open before the file was loaded.
    """
    return native_runtime() or threads_left() or _shared_descriptor(before)


def threads_left() -> str:
    """The threads that a fork would lose, by their owner; empty if there are none."""
    if len(os.listdir(TASKS)) == 1:
        return ""
    _try_fork()
    left = [task for task in map(int, os.listdir(TASKS)) if task != os.getpid() and not _is_renewed(task)]
    if not left:
        return ""
    owners = sorted({_owner(task) for task in left})
    return f"{len(left)} thread{'s' if len(left) > 1 else ''} of {', '.join(owners)}"


def _try_fork() -> None:
    """OpenBLAS and the like stop their threads before a fork and start new ones when they are needed."""
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
    """Whether the SDK's native runtime runs here; empty if it does not."""
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
    """What is unsafe about an open descriptor; empty for files that are only read."""
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
    """Return what to call a thread: its name in Python, else the kernel's if the library gave it one."""
    for thread in threading.enumerate():
        if thread.native_id == task:
            return thread.name
    # A thread that its library does not name inherits the name of the main one (fork.md §6): no name at all.
    name = _task_name(task)
    return name if name != _task_name(os.getpid()) else "a native library"


def _task_name(task: int) -> str:
    try:
        with open(f"{TASKS}/{task}/comm", encoding="utf-8", errors="replace") as comm:
            return comm.read().strip()
    except OSError:  # it ended meanwhile
        return "a native library"


_DRAWERS = ("random", "secrets", "uuid", "tempfile")
"""Modules through which user code draws; with numpy's the project's own line is behind them on the stack."""


@contextlib.contextmanager
def random_use(lines: list[str]) -> Iterator[None]:
    """Adds to `lines` where the project's own code drew: `agent.py:4`, or only "random" if it used that."""
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
    """Only what the project's code asks for itself counts: libraries draw for reasons of their own."""
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
