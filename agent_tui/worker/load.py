"""The worker's load: measuring CPU use, calling the load function, and what to report."""

import asyncio
import math
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from agent_tui.model.capacity import is_full
from agent_tui.model.clock import Clock, SystemClock
from agent_tui.system.descriptors import DESCRIPTORS
from agent_tui.worker.messages import WorkerStatus

MIN_INTERVAL_S = 0.1
"""Shorter intervals, in s, are not measured, because the kernel's counters are too coarse."""

FULL_LOAD = 1.0
"""The highest load that is reported. The server treats all higher loads the same (worker-protocol §6.1)."""

CLOSE_TIMEOUT_S = 0.1


class CpuCounter(Protocol):
    """A source of CPU time, and of the number of usable CPUs."""

    def used_s(self) -> float:
        """Return the CPU seconds used so far, on all CPUs. Raise OSError or ValueError if that is unknown."""
        ...

    def cpus(self) -> float:
        """Return the number of usable CPUs; a container's share may be a fraction."""
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
        except (OSError, ValueError):  # no file, or "max": no limit
            return self.host_cpus


@dataclass(frozen=True, slots=True)
class CgroupV1:
    """A control group, version 1: `cpuacct.usage` counts nanoseconds, a quota of -1 means none."""

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
    """All CPUs of a machine without control groups."""

    host_cpus: float

    def used_s(self) -> float:
        times = psutil.cpu_times()
        return float(sum(times) - times.idle - _already_counted(times))

    def cpus(self) -> float:
        return self.host_cpus


def choose_counter(root: Path = Path("/sys/fs/cgroup")) -> CpuCounter:
    """Return the counter for this process: its container's if that can be read, else the whole machine's."""
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
    """Return `NUM_CPUS`, which the SDKs accept for containers that hide their limit; None unless above 0."""
    try:
        cpus = float(environ["NUM_CPUS"])
    except (KeyError, ValueError):
        return None
    return cpus if 0 < cpus < float("inf") else None


class CpuLoad:
    """The CPU use since the previous call, from 0 to 1: the default load function."""

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
        """Return the load without waiting. Raise OSError or ValueError if the kernel's counter cannot be
        read.
        """
        now = self._now()
        elapsed = now - self._at
        if elapsed < MIN_INTERVAL_S:
            return self._load
        with DESCRIPTORS.reserve():
            used = self._counter.used_s()
        spent, self._used, self._at = used - self._used, used, now
        # A sum read while CPUs update it can fall, or jump by more than the machine can do.
        if 0 <= spent <= 1.5 * elapsed * (psutil.cpu_count() or 1):
            self._load = min(spent / (elapsed * (self._cpus or self._counter.cpus())), 1.0)
        return self._load


def _already_counted(times: object) -> float:
    # Linux counts guest time in user time, and waiting for a disk is not work.
    return sum(float(getattr(times, name, 0.0)) for name in ("guest", "guest_nice", "iowait"))


# -- calling the load function, and reporting its value ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Report:
    """Status and load as they are sent to the server, always together (worker-protocol §8)."""

    status: WorkerStatus
    load: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The load in effect, and the problem with its measurement, if there is one."""

    load: float = 0.0
    problem: str | None = None


def report(measured: float, *, threshold: float, draining: bool, production: bool) -> Report:
    """Return the report for a measured load.

    In development, a load below the threshold is reported as 0: otherwise the developer's browser or compiler
    would make the server skip the only worker.
    """
    load = min(measured, FULL_LOAD)
    if draining or is_full(measured, threshold):
        return Report(WorkerStatus.FULL, load)
    return Report(WorkerStatus.AVAILABLE, load if production else 0.0)


def judge(before: Measured, value: float) -> Measured:
    """Return the load to use after a new value.

    A load is normally between 0 and 1, but may be higher. A negative value counts as 0, and infinity as 1.
    After NaN, the last load stays. All three are reported as problems of the load function.
    """
    if math.isnan(value):
        return Measured(before.load, "the load function returned NaN; keeping the last load")
    if value < 0:
        return Measured(0.0, f"the load function returned {value}; a load is at least 0, so using 0")
    if math.isinf(value):
        return Measured(FULL_LOAD, "the load function returned infinity; using 1")
    return Measured(value)


class LoadGauge:
    """Calls the load function, and keeps the last good load while the function fails or hangs."""

    def __init__(self, measure: Callable[[], Awaitable[float]], timeout_s: float) -> None:
        self._measure = measure
        self._timeout_s = timeout_s
        self._pending: asyncio.Future[float] | None = None
        self.last = Measured()

    async def sample(self) -> Measured:
        """Measure once, within the timeout. While a call hangs, do not make another one."""
        if self._pending is None or self._has_ended(self._pending):
            try:
                self._pending = asyncio.ensure_future(self._measure())
            except Exception as error:
                return self._keep(error)
        # wait() and not wait_for(): a function that ignores its cancellation must not hold up the reports.
        done, _ = await asyncio.wait({self._pending}, timeout=self._timeout_s)
        if not done:
            self._pending.cancel()
            return self._keep(TimeoutError(f"no answer within {self._timeout_s:g} s"))
        finished, self._pending = self._pending, None
        if finished.cancelled():
            return self._keep(RuntimeError("it was cancelled"))
        error_raised = finished.exception()
        if error_raised is not None:
            if not isinstance(error_raised, Exception):
                raise error_raised
            return self._keep(error_raised)
        self.last = judge(self.last, finished.result())
        return self.last

    async def close(self) -> None:
        """Cancel a running measurement, and wait a moment for it."""
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.wait({self._pending}, timeout=CLOSE_TIMEOUT_S)

    @staticmethod
    def _has_ended(pending: asyncio.Future[float]) -> bool:
        """Return whether a call that timed out has ended. Its result is too old to use."""
        if pending.done() and not pending.cancelled():
            pending.exception()  # marks it as retrieved
        return pending.done()

    def _keep(self, error: Exception) -> Measured:
        reason = str(error) or type(error).__name__
        self.last = Measured(self.last.load, f"the load function failed: {reason}; keeping the last load")
        return self.last
