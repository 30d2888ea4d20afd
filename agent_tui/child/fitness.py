"""Whether this process may be forked (fork.md §6), and if not, why, in words for people.

What makes a fork unsafe: threads of the kernel's (Python counts only its own), descriptors whose state would
be shared (sockets, pipes, event polls, files open for writing), and a native runtime that is already running.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
import threading
import time
import warnings

TASKS = "/proc/self/task"
DESCRIPTORS = "/proc/self/fd"

RENEWED = ("OtelBatch", "OtelPeriodic", "sentry-sdk.")
"""Names of Python threads whose owners start them anew after a fork (fork.md §6, measured)."""

STACK_BYTES = 16_384
LOOKS = 3
LOOK_AGAIN_S = 0.05


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
    """Who started a thread: its name if Python did, else the library whose code is on its stack."""
    for thread in threading.enumerate():
        if thread.native_id == task:
            return thread.name
    for look in range(LOOKS):
        if look:
            time.sleep(LOOK_AGAIN_S)  # it ran; it may wait now
        library = _library_on_stack(task)
        if library:
            return library
    return "a native library"


def _library_on_stack(task: int) -> str:
    try:
        with open(f"{TASKS}/{task}/syscall", encoding="ascii") as call:
            pointer = int(call.read().split()[-2], 16)
        with open("/proc/self/mem", "rb", buffering=0) as memory:
            memory.seek(pointer)
            data = memory.read(STACK_BYTES)
        libraries = _libraries()
    except (OSError, ValueError, IndexError, OverflowError):
        return ""
    words = struct.unpack(f"{len(data) // 8}Q", data[: len(data) // 8 * 8])
    for word in words:
        for start, end, name in libraries:
            if start <= word < end:
                return name
    return ""


def _libraries() -> list[tuple[int, int, str]]:
    """Where code of libraries is mapped, without those that every thread has on its stack."""
    found = []
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            parts = line.split(None, 5)
            if len(parts) == 6 and "x" in parts[1] and parts[5].startswith("/"):
                name = os.path.basename(parts[5].strip())
                if name.startswith(
                    ("libc.", "libc-", "libpthread", "ld-", "libstdc++", "libpython", "python")
                ):
                    continue
                start, _, end = parts[0].partition("-")
                found.append((int(start, 16), int(end, 16), name.partition(".")[0]))
    return found
