"""The memory sampler: memory and CPU of each process, warnings for job processes, and their limit.

Reading RSS takes microseconds. USS and PSS take milliseconds of kernel time per process, so they are read
only near a limit, in turns, and when a process is first seen, so that totals use one measure.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import psutil

from agent_tui.model.child import MemoryMeasure, ProcessKind
from agent_tui.model.clock import Clock
from agent_tui.model.events import Event, MemoryWarned, ProcessMeasured
from agent_tui.processes.kernel import descendants
from agent_tui.system.descriptors import DESCRIPTORS

MB = 1024 * 1024
INTERVAL_S = 1.0
NEAR_INTERVAL_S = 0.25
"""The interval while a process is near its limit, in s."""

WARN_COOLDOWN_S = 120.0
WARN_GROWTH_MB = 50.0
"""Repeat a warning after the cooldown, or when the process uses this much more, in MB."""

FULL_EVERY = 5
"""USS and PSS of a process are read in one of this many samples. The processes take turns."""

SEEN_MB = 0.5
"""Smaller changes, in MB, are not reported, because every event repaints the screen."""

SEEN_CPU = 2.5
"""Smaller changes, in percent of a core, are not reported. The kernel counts CPU time in steps of 10 ms."""

NEAR = 0.8
"""Above this share of the warning level or the limit, USS and PSS are read in every sample."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of one process in MB; None for values that were not read."""

    rss: float
    uss: float | None = None
    pss: float | None = None
    children: float = 0.0
    """RSS of the process's children, in MB."""
    cpu_s: float | None = None
    """CPU time used so far, in seconds."""

    def filled_from(self, before: "Memory | None") -> "Memory":
        """Return these values. Take USS and PSS from `before` if they were not read this time."""
        if before is None:
            return self
        uss = before.uss if self.uss is None else self.uss
        pss = before.pss if self.pss is None else self.pss
        return Memory(self.rss, uss, pss, self.children, self.cpu_s)

    def by(self, measure: MemoryMeasure) -> float:
        """Return the value of the given measure, or RSS if it was not read, plus child processes, in MB."""
        value = {MemoryMeasure.RSS: self.rss, MemoryMeasure.USS: self.uss, MemoryMeasure.PSS: self.pss}[
            measure
        ]
        return (self.rss if value is None else value) + self.children


def read_memory(pid: int, *, full: bool) -> Memory | None:
    """Return a process's memory now; None if it has ended. `full` adds USS and PSS."""
    memory = _from_stat(pid) if _PROC else _from_psutil(pid)
    if memory is None or not full:
        return memory
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return memory
    kilobytes: dict[str, int] = {}
    for line in rollup.splitlines()[1:]:
        name, _, value = line.partition(":")
        kilobytes[name] = int(value.split()[0])
    uss = kilobytes.get("Private_Clean", 0) + kilobytes.get("Private_Dirty", 0)
    return replace(memory, uss=uss / 1024, pss=kilobytes.get("Pss", 0) / 1024)


def _from_stat(pid: int) -> Memory | None:
    """Return RSS and CPU time, which one file has (proc_pid_stat(5), fields 14, 15, and 24).

    Return None for a process that has ended and is not reaped yet, which has no pages.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()  # the name before it may contain anything
    ticks = int(fields[11]) + int(fields[12])
    if not int(fields[21]):
        return None
    return Memory(int(fields[21]) * _PAGE_MB, cpu_s=ticks / _TICKS_A_S)


def _from_psutil(pid: int) -> Memory | None:
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return Memory(process.memory_info().rss / MB, cpu_s=times.user + times.system)
    except (psutil.Error, OSError):
        return None


_PROC = Path("/proc/self/stat").exists()
_TICKS_A_S = os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / MB


@dataclass(slots=True)
class _Watched:
    baseline: Memory
    since: float = 0.0
    reported: Memory | None = None
    warned_at: float | None = None
    warned_mb: float = 0.0
    over_limit: bool = False
    cpu_s: float | None = None
    cpu_at: float = 0.0
    reported_cpu: float | None = None

    def cpu(self, memory: Memory, now: float) -> float | None:
        """Return the CPU use since the last call, in percent of a core; None if unknown yet."""
        before, then = self.cpu_s, self.cpu_at
        self.cpu_s, self.cpu_at = memory.cpu_s, now
        if before is None or memory.cpu_s is None or now <= then:
            return None
        return max(memory.cpu_s - before, 0.0) / (now - then) * 100

    def is_visible_change(self, memory: Memory, cpu: float | None) -> bool:
        """Return whether the difference from the last report is visible."""
        before = self.reported
        if cpu is not None and (self.reported_cpu is None or abs(cpu - self.reported_cpu) >= SEEN_CPU):
            return True
        if before is None or abs(memory.rss - before.rss) >= SEEN_MB:
            return True
        if abs(memory.children - before.children) >= SEEN_MB:
            return True
        return any(
            now is not None and (then is None or abs(now - then) >= SEEN_MB)
            for now, then in ((memory.uss, before.uss), (memory.pss, before.pss))
        )


class MeasuredProcess(Protocol):
    """What the sampler needs to know about a process. A blank is not a supervised process."""

    @property
    def id(self) -> str: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def kind(self) -> ProcessKind: ...
    @property
    def generation(self) -> int: ...
    @property
    def job_id(self) -> str | None: ...
    @property
    def had_job(self) -> bool: ...
    @property
    def loading_at(self) -> float | None: ...
    @property
    def memory_measure(self) -> MemoryMeasure:
        """The memory measure that the limits apply to, unless the user chooses another one."""
        ...


class MemorySampler:
    """Samples all processes every `INTERVAL_S`, and warns about job processes.

    `over_limit` is called once for each job process that exceeds the limit. A `warn_mb` or `limit_mb` of 0
    turns the warning or the limit off. `measure` is the figure that they apply to; None for that of the
    runtime.
    """

    def __init__(
        self,
        *,
        processes: Callable[[], Iterable[MeasuredProcess]],
        warn_mb: float,
        clock: Clock,
        emit: Callable[[Event], None],
        over_limit: Callable[[Any, str], None],
        limit_mb: float = 0.0,
        measure: MemoryMeasure | None = None,
        read: Callable[..., Memory | None] = read_memory,
        below: Callable[[Iterable[int]], Mapping[int, Sequence[int]]] = descendants,
    ) -> None:
        self._processes = processes
        self._warn_mb = warn_mb
        self._limit_mb = limit_mb
        self._over_limit = over_limit
        self._measure = measure
        self._clock = clock
        self._emit = emit
        self._read = read
        self._below = below
        self._children: Mapping[int, Sequence[int]] = {}
        self._near_limit = False
        self._watched: dict[str, _Watched] = {}
        self._last_baselines: dict[int, Memory] = {}
        """The memory of a process when it became ready, for each of the last two generations."""
        self._samples = 0

    def set_limits(self, *, warn_mb: float, limit_mb: float) -> None:
        """Set the memory that a job process may use, in MB; 0 for no warning or no limit."""
        self._warn_mb, self._limit_mb = warn_mb, limit_mb

    def note_baseline(self, process: MeasuredProcess, *, is_awaited: bool = False) -> None:
        """Measure a process that has just become ready. Its growth is counted from this baseline.

        Reading USS and PSS takes milliseconds, during which the process cannot run. If a job waits for the
        process (`is_awaited`), they are assumed to be those of the generation's last process, and are read
        later.
        """
        alike = self._last_baselines.get(process.generation) if is_awaited else None
        memory = self._read(process.pid, full=alike is None) if process.pid is not None else None
        if memory is None:
            return
        known = memory.filled_from(alike)
        if alike is None:
            others = {
                number: each
                for number, each in self._last_baselines.items()
                if number >= process.generation - 1
            }
            self._last_baselines = {**others, process.generation: memory}
        self._watched[process.id] = _Watched(known, self._clock.monotonic(), known)
        self._emit(_measured(process, memory, known, self._measure_for(process)))

    def measure_all(self) -> int:
        """Read all processes in full, and report them even if unchanged. Return the number of processes."""
        count = 0
        for process in tuple(self._processes()):
            memory = self._read(process.pid, full=True) if process.pid is not None else None
            if memory is not None:
                count += 1
                watched = self._watched.get(process.id)
                if watched is not None:
                    memory = replace(memory, children=watched.reported.children if watched.reported else 0.0)
                    watched.reported = memory
                self._emit(_measured(process, memory, memory, self._measure_for(process)))
        return count

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            with DESCRIPTORS.reserve():
                self.sample()
            await asyncio.sleep(NEAR_INTERVAL_S if self._near_limit else INTERVAL_S)

    def sample(self) -> None:
        """Read every process once and report what changed."""
        seen = set()
        processes = tuple(self._processes())
        if self._samples % FULL_EVERY == 0:
            with contextlib.suppress(OSError):  # out of descriptors: the last known value is close enough
                self._children = self._below([each.pid for each in processes if each.pid is not None])
        self._samples += 1
        self._near_limit = False
        for process in processes:
            if process.pid is None:
                continue
            seen.add(process.id)
            self._sample(process, process.pid, self._measure_for(process))
        for process_id in self._watched.keys() - seen:
            del self._watched[process_id]

    def _sample(self, process: MeasuredProcess, pid: int, measure: MemoryMeasure) -> None:
        warn, limit = self._warn_mb, self._limit_mb
        nearest = min((each for each in (warn, limit) if each > 0), default=0.0)
        before = self._watched.get(process.id)
        unknown = before is None or before.reported is None or before.reported.pss is None
        turn = unknown or (self._samples + pid) % FULL_EVERY == 0
        memory = self._read(pid, full=turn)
        if not turn and memory is not None and 0 < NEAR * nearest <= memory.rss:
            memory = self._read(pid, full=True)
        if memory is None:
            return
        if below := self._children.get(pid):
            memory = replace(memory, children=self._started(below))
        now = self._clock.monotonic()
        watched = self._watched.setdefault(process.id, _Watched(memory, now))
        cpu = watched.cpu(memory, now)
        if watched.is_visible_change(memory, cpu):
            watched.reported, watched.reported_cpu = memory.filled_from(watched.reported), cpu
            self._emit(_measured(process, memory, watched.reported, measure, cpu))
        if not process.had_job:
            watched.baseline = memory.filled_from(watched.baseline)
        used = memory.by(measure)
        # The limits apply once it loads the agent's file. Before, its memory is that of the SDK, and a blank
        # may still return to the stock.
        if process.kind is not ProcessKind.JOB or process.loading_at is None:
            return
        self._near_limit = self._near_limit or 0 < NEAR * limit <= used
        if 0 < limit < used:
            if not watched.over_limit:
                watched.over_limit = True
                self._emit(self._breach(process, pid, memory, watched, measure, over_limit=True))
                self._over_limit(
                    process, f"memory limit: {used:.0f} MB used ({measure}), {limit:g} MB allowed"
                )
        elif 0 < warn < used and self._due(watched, used):
            watched.warned_at, watched.warned_mb = self._clock.monotonic(), used
            self._emit(self._breach(process, pid, memory, watched, measure, over_limit=False))

    def _breach(
        self,
        process: MeasuredProcess,
        pid: int,
        memory: Memory,
        watched: _Watched,
        measure: MemoryMeasure,
        *,
        over_limit: bool,
    ) -> MemoryWarned:
        return MemoryWarned(
            process.id,
            pid,
            process.job_id,
            memory.by(measure),
            measure,
            memory.rss,
            memory.uss,
            warn_mb=self._warn_mb,
            limit_mb=self._limit_mb,
            baseline_mb=watched.baseline.by(measure),
            over_limit=over_limit,
            children_mb=memory.children,
            uptime_s=self._clock.monotonic() - watched.since,
        )

    def _measure_for(self, process: MeasuredProcess) -> MemoryMeasure:
        """Return the measure that the limits apply to for a process."""
        return self._measure or process.memory_measure

    def _started(self, pids: Sequence[int]) -> float:
        read = (self._read(pid, full=False) for pid in pids)
        return sum(memory.rss for memory in read if memory is not None)

    def _due(self, watched: _Watched, used: float) -> bool:
        if watched.warned_at is None or used >= watched.warned_mb + WARN_GROWTH_MB:
            return True
        return self._clock.monotonic() - watched.warned_at >= WARN_COOLDOWN_S


def _measured(
    process: MeasuredProcess,
    now: Memory,
    known: Memory,
    measure: MemoryMeasure,
    cpu_pct: float | None = None,
) -> ProcessMeasured:
    """Return the event for a sample: the values read `now`, and the figure that the limits apply to."""
    sizes = (now.rss, now.uss, now.pss, now.children)
    return ProcessMeasured(process.id, *sizes, now.cpu_s, cpu_pct, known.by(measure))
