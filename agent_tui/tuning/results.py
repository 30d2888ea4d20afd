"""What a sweep has measured, as frozen data, and the table made of it. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from agent_tui.tuning.loads import Load
from agent_tui.tuning.stats import mean, percentile


@dataclass(frozen=True, slots=True)
class JobMeasure:
    """One test job. Times in ms; None for what did not happen.

    `at_s` counts from the start of its run to its dispatch. `wait_ms` is from the accepted offer until a
    process was there, 0 for a warm one.
    """

    room: str
    at_s: float
    dispatch_to_entry_ms: float | None = None
    dispatch_to_offer_ms: float | None = None
    offer_to_entry_ms: float | None = None
    wait_ms: float | None = None
    warm: bool = False
    process_id: str = ""
    lost: str = ""
    """Why it was never entered; empty for one that was."""

    @property
    def latency_ms(self) -> float:
        """From dispatch to entry; infinite for a lost job."""
        return math.inf if self.dispatch_to_entry_ms is None else self.dispatch_to_entry_ms


@dataclass(frozen=True, slots=True)
class IdleMemory:
    """MB of one idle process before the load; None where the system does not tell."""

    pid: int
    rss_mb: float
    uss_mb: float | None = None
    pss_mb: float | None = None


@dataclass(frozen=True, slots=True)
class RunMeasure:
    """One load at one count of idle processes. Times in seconds from its start, unless they say ms."""

    num_idle_processes: int
    repeat: int
    load: Load
    jobs: tuple[JobMeasure, ...] = ()
    warm_ups_s: tuple[float, ...] = ()
    """From a process's start until it was ready, for each that was started meanwhile."""
    warming_cpu_s: tuple[float, ...] = ()
    """Processor seconds that it took to become ready."""
    refills_s: tuple[float, ...] = ()
    """From the moment in which idle processes were missing until none was."""
    memory: tuple[IdleMemory, ...] = ()
    idle: tuple[tuple[float, int], ...] = ()
    """How many processes waited idle, from when on."""
    arrivals_s: tuple[float, ...] = ()
    """When the jobs were dispatched."""
    others: int = 0
    """Jobs of somebody else that came meanwhile, and took processes."""
    complete: bool = True
    """Whether the whole load was run."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """A whole sweep: what was asked for and what was measured, the runs in the order they were made."""

    agent: str
    agent_name: str
    started: float
    """Unix seconds."""
    load: Load
    counts: tuple[int, ...]
    repeat: int
    runs: tuple[RunMeasure, ...] = ()
    ended: str = ""
    """Why it ended before everything was measured; empty if it did not."""

    def runs_of(self, count: int) -> tuple[RunMeasure, ...]:
        return tuple(run for run in self.runs if run.num_idle_processes == count)

    @property
    def measured(self) -> tuple[int, ...]:
        """The counts that jobs were measured with, in order."""
        return tuple(sorted({run.num_idle_processes for run in self.runs if run.jobs}))


@dataclass(frozen=True, slots=True)
class Row:
    """One count of the table: latencies from dispatch to entry in ms, memory in MB.

    A percentile is None if a lost job would be it. `uss_mb`, `pss_mb` and `rss_mb` are of one idle process,
    on average; `idle_…` of all of them together.
    """

    num_idle_processes: int
    jobs: int
    lost: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    warm_hit_rate: float
    wait_p95_ms: float | None
    warm_up_p50_ms: float | None
    warming_cpu_ms: float | None
    refill_p50_ms: float | None
    uss_mb: float | None
    pss_mb: float | None
    rss_mb: float | None
    idle_uss_mb: float | None
    idle_pss_mb: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """One count in two sweeps of an agent."""

    num_idle_processes: int
    before: Row
    now: Row


def jobs_of(runs: Sequence[RunMeasure]) -> list[JobMeasure]:
    """All jobs of these runs."""
    return [job for run in runs for job in run.jobs]


def rows(result: SweepResult) -> tuple[Row, ...]:
    """The table: one row for each count that was measured, the smallest first."""
    return tuple(row(count, result.runs_of(count)) for count in result.measured)


def row(count: int, runs: Sequence[RunMeasure]) -> Row:
    """What runs at one count add up to; with no job everything is missing."""
    jobs = jobs_of(runs)
    latencies = [job.latency_ms for job in jobs]
    memory = [each for run in runs for each in run.memory]
    uss, pss = _each(memory, "uss_mb"), _each(memory, "pss_mb")
    return Row(
        count,
        len(jobs),
        sum(bool(job.lost) for job in jobs),
        _finite(percentile(latencies, 50)),
        _finite(percentile(latencies, 95)),
        _finite(percentile(latencies, 99)),
        sum(job.warm for job in jobs) / max(len(jobs), 1),
        percentile([job.wait_ms for job in jobs if job.wait_ms is not None], 95),
        _ms(percentile([each for run in runs for each in run.warm_ups_s], 50)),
        _ms(mean([each for run in runs for each in run.warming_cpu_s])),
        _ms(percentile([each for run in runs for each in run.refills_s], 50)),
        uss,
        pss,
        _each(memory, "rss_mb"),
        0.0 if count == 0 else _times(uss, count),
        0.0 if count == 0 else _times(pss, count),
    )


def _each(memory: Sequence[IdleMemory], name: str) -> float | None:
    values = [getattr(each, name) for each in memory]
    return mean([value for value in values if value is not None])


def _times(value: float | None, count: int) -> float | None:
    return None if value is None else value * count


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
