"""How busy this machine's, or this container's, processors are."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from agent_tui.model.clock import Clock, SystemClock
from agent_tui.system.descriptors import DESCRIPTORS

MIN_INTERVAL_S = 0.1
"""Over less time than this the kernel's counters are too coarse to mean anything."""


class CpuCounter(Protocol):
    """A source of processor time, and how many processors it may use."""

    def used_s(self) -> float:
        """Seconds of processor time used, on all processors, ever rising. Raises OSError or ValueError."""
        ...

    def cpus(self) -> float:
        """Processors that may be used; a container's share need not be whole."""
        ...


@dataclass(frozen=True, slots=True)
class CgroupV2:
    """A control group, version 2: `cpu.stat` counts microseconds, `cpu.max` holds quota and period."""

    root: Path
    host_cpus: float

    def used_s(self) -> float:
        for line in (self.root / "cpu.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "usage_usec":
                return int(value) / 1e6
        raise ValueError(f"{self.root / 'cpu.stat'} has no usage_usec")

    def cpus(self) -> float:
        try:
            quota, period = (self.root / "cpu.max").read_text().split()
            return min(self.host_cpus, int(quota) / int(period))
        except (OSError, ValueError):  # no file, or "max": as many as there are
            return self.host_cpus


@dataclass(frozen=True, slots=True)
class CgroupV1:
    """A control group, version 1: nanoseconds in `cpuacct.usage`, a quota of -1 means none."""

    root: Path
    host_cpus: float

    def used_s(self) -> float:
        return int((self.root / "cpuacct" / "cpuacct.usage").read_text()) / 1e9

    def cpus(self) -> float:
        try:
            quota = int((self.root / "cpu" / "cpu.cfs_quota_us").read_text())
            period = int((self.root / "cpu" / "cpu.cfs_period_us").read_text())
        except (OSError, ValueError):
            return self.host_cpus
        return min(self.host_cpus, quota / period) if quota > 0 and period > 0 else self.host_cpus


@dataclass(frozen=True, slots=True)
class WholeMachine:
    """All processors of a machine without control groups."""

    host_cpus: float

    def used_s(self) -> float:
        times = psutil.cpu_times()
        return float(sum(times) - times.idle - _already_counted(times))

    def cpus(self) -> float:
        return self.host_cpus


def choose_counter(root: Path = Path("/sys/fs/cgroup")) -> CpuCounter:
    """The counter that is true here: a container's own where it can be read, else the whole machine's."""
    host_cpus = float(psutil.cpu_count() or 1)
    candidates: tuple[CpuCounter, ...] = (CgroupV2(root, host_cpus), CgroupV1(root, host_cpus))
    for counter in candidates:
        try:
            counter.used_s()
        except (OSError, ValueError):
            continue
        return counter
    return WholeMachine(host_cpus)


def cpus_from_environment(environ: Mapping[str, str]) -> float | None:
    """`NUM_CPUS`, which the SDKs let people set where a container hides its limit. None unless above 0."""
    try:
        cpus = float(environ["NUM_CPUS"])
    except (KeyError, ValueError):
        return None
    return cpus if 0 < cpus < float("inf") else None


class CpuLoad:
    """The share of the processors in use since the previous call, 0 to 1: the default load function."""

    def __init__(
        self,
        counter: CpuCounter | None = None,
        clock: Clock | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._counter = counter or choose_counter()
        self._now: Callable[[], float] = (clock or SystemClock()).monotonic
        self._cpus = cpus_from_environment(environ)
        self._at = self._now()
        self._used = self._counter.used_s()
        self._load = 0.0

    async def __call__(self) -> float:
        """Never waits. Raises OSError or ValueError when the kernel's counter cannot be read."""
        now = self._now()
        elapsed = now - self._at
        if elapsed < MIN_INTERVAL_S:
            return self._load
        with DESCRIPTORS.reserve():
            used = self._counter.used_s()
        spent, self._used, self._at = used - self._used, used, now
        # A sum torn between processors can fall, or jump by more than the machine could have done.
        if 0 <= spent <= 1.5 * elapsed * (psutil.cpu_count() or 1):
            self._load = min(spent / (elapsed * (self._cpus or self._counter.cpus())), 1.0)
        return self._load


def _already_counted(times: object) -> float:
    # Linux counts guest time within user time, and waiting for a disk is no work.
    return sum(float(getattr(times, name, 0.0)) for name in ("guest", "guest_nice", "iowait"))
