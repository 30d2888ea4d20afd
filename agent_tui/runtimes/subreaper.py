"""Orphans come to the host (Linux): a base or template may end before its forks, and no zombie is left.

What becomes the host's child this way and is nobody's own is reaped when the process that started it ends.
"""

import asyncio
import contextlib
import ctypes
import os
import sys
from pathlib import Path

from agent_tui.system.descriptors import DESCRIPTORS

PR_SET_CHILD_SUBREAPER = 36

LOOKS_S = (0.0, 0.005, 0.05, 0.5)
"""When to look for what a killed group leaves; it is gone at once, unless the kernel is busy."""


def become_subreaper() -> bool:
    """Makes this process the parent of its descendants' orphans; False where that cannot be."""
    if sys.platform != "linux":
        return False
    with contextlib.suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    return False


async def reap_session(session: int) -> None:
    """Reaps what a process that ended left in its session; the group was killed before."""
    for delay in LOOKS_S:
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
    """This process's children, where the kernel tells them."""
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
