"""What the kernel knows about processes: out-of-memory kills, parents, and which are stopped or traced."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from agent_tui.system.descriptors import DESCRIPTORS

_CGROUP = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")


def kernel_kills() -> int:
    """Return how many processes of this control group the kernel killed for lack of memory; 0 if unknown.

    Control groups v2 count this in `memory.events`; without them, /proc/vmstat counts for the whole machine.
    """
    for path in (*_event_files(), Path("/proc/vmstat")):
        try:
            text = path.read_text(encoding="ascii")
        except OSError:
            continue
        for line in text.splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0


def _event_files() -> list[Path]:
    try:
        lines = _CGROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    own = [line.split(":", 2)[2].lstrip("/") for line in lines if line.startswith("0::")]
    return [_ROOT / each / "memory.events" for each in own]


class OomWatch:
    """Reports each out-of-memory kill once, to the first caller that asks after it."""

    def __init__(self, count: Callable[[], int] = kernel_kills) -> None:
        self._count = count
        self._known = count()

    def happened(self) -> bool:
        """Return whether there has been an out-of-memory kill that has not been reported yet."""
        with DESCRIPTORS.reserve():
            now = self._count()
        if now <= self._known:
            return False
        self._known += 1
        return True


def is_paused(pid: int) -> bool:
    """Return whether a signal stopped the process or a debugger traces it; False if unknown."""
    try:
        with DESCRIPTORS.reserve():
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    stopped = fields.get("State", "").strip()[:1] in ("T", "t")
    return stopped or fields.get("TracerPid", "0").strip() not in ("", "0")


_PROC = Path("/proc")


def descendants(roots: Iterable[int]) -> dict[int, list[int]]:
    """Return the pids of all descendants of each root; empty for a process that has ended.

    A process that descends from several roots counts only for the nearest one. So the subprocesses of a job
    that was forked from a base count for the job, not for the base.
    """
    own = set(roots)
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        if pid not in own:
            children.setdefault(parent, []).append(pid)
    return {root: _below(root, children) for root in own}


def _below(root: int, children: dict[int, list[int]]) -> list[int]:
    found: list[int] = []
    waiting = list(children.get(root, ()))
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, ())
    return found


def _parents() -> Iterable[tuple[int, int]]:
    """Return pid and parent of every visible process."""
    if not _PROC.is_dir():
        return [(process.pid, process.ppid()) for process in psutil.process_iter()]
    pairs = []
    for name in os.listdir(_PROC):  # noqa: PTH208  there may be a thousand: pathlib takes three times as long
        if name.isdigit():
            try:
                # The name in parentheses may contain anything, spaces and parentheses included.
                parent = _read(f"{_PROC}/{name}/stat").rpartition(b")")[2].split(None, 2)[1]
            except OSError:
                continue
            pairs.append((int(name), int(parent)))
    return pairs


def _read(path: str) -> bytes:
    """Return the first bytes of a file of /proc, which are all of a short one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
