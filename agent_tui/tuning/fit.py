"""Fits the model to a sweep, and predicts the measured runs and new ones."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from agent_tui.model.tuning import RunMeasure, SweepResult, Target, TestLoad
from agent_tui.tuning.arrivals import offsets
from agent_tui.tuning.model import PoolRule, simulate
from agent_tui.tuning.results import jobs_of

REPLICATES = 400
"""Maximum number of new runs that are simulated for each count."""

JOBS_SIMULATED = 20_000
"""Maximum number of jobs in all simulated runs of a count. Long loads get fewer runs, but at least 100."""

ARRIVALS_REPEATED = 10_000
"""The number of jobs that are simulated for the warm-hit rate of the measured arrivals."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The model's input from a sweep. `other_…_ms` are latencies without the wait for a process."""

    warm_ups_s: tuple[float, ...]
    other_warm_ms: tuple[float, ...]
    other_cold_ms: tuple[float, ...]
    lost_share: float
    rule: PoolRule


@dataclass(frozen=True, slots=True)
class Prediction:
    """The predicted results of new runs of the test load, with other seeds, at one count of idle processes.

    `attained` is the mean share of jobs that hit the target. In 95 of 100 runs the share is in `low`…`high`.
    `met` is the share of runs that meet the target.
    """

    attained: float
    low: float
    high: float
    met: float


def fit(result: SweepResult, rule: PoolRule) -> Fitted | None:
    """Return the model's input from a sweep; None if no process became ready, or no job was entered."""
    jobs = jobs_of(result.runs)
    warm_ups = tuple(each for run in result.runs for each in run.warm_ups_s)
    warm = tuple(job.latency_ms for job in jobs if not job.lost and job.warm)
    cold = tuple(job.latency_ms - (job.wait_ms or 0.0) for job in jobs if not job.lost and not job.warm)
    if not warm_ups or not (warm or cold):
        return None
    lost = sum(bool(job.lost) for job in jobs) / len(jobs)
    return Fitted(warm_ups, warm or cold, cold or warm, lost, rule)


def warm_share(fitted: Fitted, count: int, runs: Sequence[RunMeasure], seed: int = 1) -> float | None:
    """Return the predicted share of jobs that find a warm process, for the arrivals of these runs.

    Return None if there are no arrivals.
    """
    rng = random.Random(seed)
    arrivals = [run.arrivals_s for run in runs if run.arrivals_s]
    jobs = sum(map(len, arrivals))
    if not jobs:
        return None
    times = max(ARRIVALS_REPEATED // jobs, 20)
    warm = sum(
        wait is None
        for _ in range(times)
        for offsets in arrivals
        for wait in simulate(offsets, count, fitted.warm_ups_s, fitted.rule, rng)
    )
    return warm / (jobs * times) * (1 - fitted.lost_share)


def predict(fitted: Fitted, count: int, load: TestLoad, target: Target, seed: int = 1) -> Prediction:
    """Simulate new runs of the test load: other arrivals, the measured warm-up times and latencies.

    Each run draws from a resample of the measurements, so that few measurements give wide intervals.
    """
    rng = random.Random(seed)
    times = max(min(REPLICATES, JOBS_SIMULATED // load.jobs), 100)
    hits = [_hits(fitted, count, load.reseeded(rng.getrandbits(32)), target, rng) for _ in range(times)]
    hits.sort()
    return Prediction(
        sum(hits) / (times * load.jobs),
        hits[int(times * 0.025)] / load.jobs,
        hits[min(int(times * 0.975), times - 1)] / load.jobs,
        sum(target.met(each, load.jobs) for each in hits) / times,
    )


def _hits(fitted: Fitted, count: int, load: TestLoad, target: Target, rng: random.Random) -> int:
    warm_ups, warm, cold = (
        rng.choices(values, k=len(values))
        for values in (fitted.warm_ups_s, fitted.other_warm_ms, fitted.other_cold_ms)
    )
    hits = 0
    for wait in simulate(offsets(load), count, warm_ups, fitted.rule, rng):
        if rng.random() < fitted.lost_share:
            continue
        latency = rng.choice(warm) if wait is None else rng.choice(cold) + wait * 1000
        hits += target.hit(latency, wait is None)
    return hits
