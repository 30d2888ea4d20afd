"""Loads: when test jobs are dispatched, and for how long each lasts. Pure, and the same for the same seed."""

import math
import random
from dataclasses import dataclass, replace
from enum import StrEnum


class Pattern(StrEnum):
    """How the arrivals of a load lie in time."""

    POISSON = "poisson"
    STEADY = "steady"
    BURST = "burst"
    RAMP = "ramp"


@dataclass(frozen=True, slots=True)
class Load:
    """`jobs` test jobs at `rate` a second, each ended after `job_length_s` unless it ends before.

    A burst is all at once, whatever the rate; a ramp goes evenly from `rate` to `end_rate`. Raises
    ValueError for what is no load.
    """

    jobs: int
    rate: float = 1.0
    pattern: Pattern = Pattern.POISSON
    end_rate: float | None = None
    job_length_s: float = 1.0
    seed: int = 1

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ValueError("a load has at least one job")
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise ValueError(f"{self.rate} jobs a second is no rate")
        if self.pattern is Pattern.RAMP and not (
            self.end_rate is not None and math.isfinite(self.end_rate) and self.end_rate > 0
        ):
            raise ValueError("a ramp needs the rate that it ends with")
        if not (math.isfinite(self.job_length_s) and self.job_length_s > 0):
            raise ValueError(f"a job cannot last {self.job_length_s} s")

    @property
    def mean_rate(self) -> float:
        """Jobs a second over the whole load; infinite for a burst."""
        if self.pattern is Pattern.BURST:
            return math.inf
        if self.pattern is Pattern.RAMP and self.end_rate is not None:
            return (self.rate + self.end_rate) / 2
        return self.rate

    @property
    def span_s(self) -> float:
        """Seconds from the start to the last arrival, on average."""
        return self.jobs / self.mean_rate

    def reseeded(self, seed: int) -> "Load":
        """The same load with other luck."""
        return replace(self, seed=seed)

    def offsets(self) -> tuple[float, ...]:
        """Seconds after the start at which each job is dispatched, in order."""
        match self.pattern:
            case Pattern.BURST:
                return (0.0,) * self.jobs
            case Pattern.STEADY:
                return tuple(number / self.rate for number in range(self.jobs))
            case Pattern.POISSON:
                return self._poisson()
            case Pattern.RAMP:
                return self._ramp()

    def _poisson(self) -> tuple[float, ...]:
        rng = random.Random(self.seed)
        at, found = 0.0, []
        for _ in range(self.jobs):
            at += rng.expovariate(self.rate)
            found.append(at)
        return tuple(found)

    def _ramp(self) -> tuple[float, ...]:
        """Job i comes when the integral of the rate, a·t + g·t²/2 with a slope of g, reaches i."""
        assert self.end_rate is not None
        slope = (self.end_rate - self.rate) / self.span_s
        if abs(slope) < 1e-12:
            return tuple(number / self.rate for number in range(self.jobs))
        # max: at the very end of a falling ramp the root may lie a rounding error below zero.
        roots = (math.sqrt(max(self.rate**2 + 2 * slope * n, 0.0)) for n in range(self.jobs))
        return tuple((root - self.rate) / slope for root in roots)


def seed_of_repeat(seed: int, repeat: int) -> int:
    """The seed of a sweep's repeat, from 0: every count sees the same loads, each repeat another one."""
    return seed + repeat * 7919
