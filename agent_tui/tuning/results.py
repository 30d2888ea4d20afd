"""Computes the table of a sweep from its runs. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from agent_tui.model.tuning import IdleMemory, JobMeasure, Row, RunMeasure, SweepResult
from agent_tui.tuning.stats import mean, percentile

SATURATED = 0.95
"""At this CPU use or more, the machine counts as saturated."""

OFTEN_SATURATED = 0.5
"""If the machine was saturated for this share of the time, the figures say more about it than the count."""


@dataclass(frozen=True, slots=True)
class RowChange:
    """The rows that two sweeps of an agent have for the same number of idle processes."""

    num_idle_processes: int
    before: Row
    now: Row


def jobs_of(runs: Sequence[RunMeasure]) -> list[JobMeasure]:
    """Return all jobs of these runs."""
    return [job for run in runs for job in run.jobs]


def rows(result: SweepResult) -> tuple[Row, ...]:
    """Return one row for each measured count, the smallest first."""
    return tuple(row(count, result.runs_of(count)) for count in result.measured)


def row(count: int, runs: Sequence[RunMeasure]) -> Row:
    """Return the row of all runs at one count. Figures are None if there was no job to measure."""
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
        mean([share for run in runs for _, share in run.machine_cpu]),
    )


def saturated(runs: Sequence[RunMeasure]) -> float:
    """Return the share of the time during which the machine was saturated; 0 if its CPU was not measured."""
    shares = [share for run in runs for _, share in run.machine_cpu]
    return mean([float(share >= SATURATED) for share in shares]) or 0.0


def saturation_warning(runs: Sequence[RunMeasure]) -> str:
    """Return a warning if the machine was saturated for much of the time; empty if it was not."""
    share = saturated(runs)
    if share < OFTEN_SATURATED:
        return ""
    return (
        f"the machine was saturated for {share:.0%} of the time (CPU at {SATURATED:.0%} or more), so the "
        "figures say more about the machine than about the count: use a lower rate, or close other programs"
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
