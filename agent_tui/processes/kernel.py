"""What the kernel says of processes: out-of-memory kills, whether one is stopped, who started whom."""

from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from agent_tui.system.descriptors import DESCRIPTORS

_CGROUP = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")


def kernel_kills() -> int:
    """How often the kernel has killed in our control group for want of memory; 0 where that is not told.

    Version 2 counts it in `memory.events`; without control groups /proc/vmstat does for the whole machine.
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
    """Reports each kill once, to the first caller after it."""

    def __init__(self, count: Callable[[], int] = kernel_kills) -> None:
        self._count = count
        self._known = count()

    def happened(self) -> bool:
        """Whether the kernel has killed since the last time that it was told."""
        with DESCRIPTORS.reserve():
            now = self._count()
        if now <= self._known:
            return False
        self._known += 1
        return True


def is_paused(pid: int) -> bool:
    """True when the process is stopped by a signal or traced by a debugger; False where nothing tells."""
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
    """The pids below each of these, at any depth; none for one that is gone."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    return {root: _below(root, children) for root in roots}


def _below(root: int, children: dict[int, list[int]]) -> list[int]:
    found: list[int] = []
    waiting = list(children.get(root, ()))
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, ())
    return found


def _parents() -> Iterable[tuple[int, int]]:
    """Pid and parent of every process that can be seen."""
    if not _PROC.is_dir():
        return [(process.pid, process.ppid()) for process in psutil.process_iter()]
    pairs = []
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                # The name in parentheses may hold anything, blanks and parentheses too.
                parent = (folder / "stat").read_bytes().rpartition(b")")[2].split()[1]
            except OSError:
                continue
            pairs.append((int(folder.name), int(parent)))
    return pairs
