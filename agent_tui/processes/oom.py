"""Whether the kernel killed something for want of memory."""

from collections.abc import Callable
from pathlib import Path

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
    """Tells once of each kill, to whoever asks first after it."""

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
