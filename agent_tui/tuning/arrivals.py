"""Computes when the jobs of a test load are dispatched. Pure; the same seed gives the same times."""

import math
import random

from agent_tui.model.tuning import Pattern, TestLoad


def offsets(load: TestLoad) -> tuple[float, ...]:
    """Return the time of each dispatch, in seconds after the start, in order."""
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
    """Job i is dispatched when the integral of the rate, a·t + g·t²/2 with the slope g, reaches i."""
    assert load.end_rate is not None
    slope = (load.end_rate - load.rate) / load.span_s
    if abs(slope) < 1e-12:
        return tuple(number / load.rate for number in range(load.jobs))
    # max: at the end of a falling ramp, the radicand may be a rounding error below zero.
    roots = (math.sqrt(max(load.rate**2 + 2 * slope * n, 0.0)) for n in range(load.jobs))
    return tuple((root - load.rate) / slope for root in roots)


def seed_of_repeat(seed: int, repeat: int) -> int:
    """Return the seed of a repeat, from 0: all counts get the same arrivals, each repeat different ones."""
    return seed + repeat * 7919
