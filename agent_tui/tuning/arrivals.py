"""When the test jobs of a load are dispatched. Pure, and the same for the same seed."""

import math
import random

from agent_tui.model.tuning import Pattern, TestLoad


def offsets(load: TestLoad) -> tuple[float, ...]:
    """Seconds after the start at which each job is dispatched, in order."""
    match load.pattern:
        case Pattern.BURST:
            return (0.0,) * load.jobs
        case Pattern.STEADY:
            return tuple(number / load.rate for number in range(load.jobs))
        case Pattern.POISSON:
            return _poisson(load)
        case Pattern.RAMP:
            return _ramp(load)


def _poisson(load: TestLoad) -> tuple[float, ...]:
    rng = random.Random(load.seed)
    at, found = 0.0, []
    for _ in range(load.jobs):
        at += rng.expovariate(load.rate)
        found.append(at)
    return tuple(found)


def _ramp(load: TestLoad) -> tuple[float, ...]:
    """Job i comes when the integral of the rate, a·t + g·t²/2 with a slope of g, reaches i."""
    assert load.end_rate is not None
    slope = (load.end_rate - load.rate) / load.span_s
    if abs(slope) < 1e-12:
        return tuple(number / load.rate for number in range(load.jobs))
    # max: at the very end of a falling ramp the root may lie a rounding error below zero.
    roots = (math.sqrt(max(load.rate**2 + 2 * slope * n, 0.0)) for n in range(load.jobs))
    return tuple((root - load.rate) / slope for root in roots)


def seed_of_repeat(seed: int, repeat: int) -> int:
    """The seed of a sweep's repeat, from 0: every count sees the same loads, each repeat another one."""
    return seed + repeat * 7919
