"""Percentiles, intervals, and histograms. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z95 = 1.959963984540054
"""Half the width of a 95 % interval, in standard deviations."""


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the smallest value that at least `percent` % of the values do not exceed (nearest rank).

    So p95 is below a limit exactly when at least 95 % of the values are. None without values.
    """
    if not values:
        return None
    return sorted(values)[rank(len(values), percent / 100) - 1]


def rank(count: int, share: float) -> int:
    """Return the smallest integer ≥ 1 that is at least `share` × `count`."""
    return max(math.ceil(share * count - 1e-9), 1)


def mean(values: Sequence[float]) -> float | None:
    """Return the arithmetic mean; None without values."""
    return math.fsum(values) / len(values) if values else None


def wilson(hits: int, count: int, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's interval for the hit rate, given `hits` out of `count`; 0…1 if `count` is 0."""
    if not count:
        return 0.0, 1.0
    share, spread = hits / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    # Exact at the ends, where rounding would leave a small difference.
    low = 0.0 if hits == 0 else max(middle - half, 0.0)
    return low, 1.0 if hits == count else min(middle + half, 1.0)


def next_hits(hits: int, count: int, of: int, tail: float = 0.025) -> tuple[int, int]:
    """Return the interval of the hits in `of` further trials, after `hits` in `count`.

    The number of hits is outside with probability `tail` at each end, according to the beta-binomial
    distribution with Jeffreys' prior.
    """
    a, b = hits + 0.5, count - hits + 0.5
    weights = [
        math.exp(_log_choose(of, k) + _log_beta(k + a, of - k + b) - _log_beta(a, b)) for k in range(of + 1)
    ]
    low = high = None
    below = 0.0
    for number, weight in enumerate(weights):
        below += weight
        if low is None and below > tail:
            low = number
        if high is None and below >= 1 - tail:
            high = number
    return low or 0, of if high is None else high


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


@dataclass(frozen=True, slots=True)
class Bin:
    """The number of values with low ≤ value < high; the last bin includes its upper end."""

    low: float
    high: float
    count: int


def histogram(values: Sequence[float], bins: int = 20) -> tuple[Bin, ...]:
    """Return bins of equal width over all finite values: one if all are equal, none without values."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ()
    low, high = min(finite), max(finite)
    width = (high - low) / bins
    if width <= 0 or low + width == low:
        return (Bin(low, high, len(finite)),)
    counts = [0] * bins
    for value in finite:
        counts[min(int((value - low) / width), bins - 1)] += 1
    return tuple(
        Bin(low + n * width, high if n == bins - 1 else low + (n + 1) * width, count)
        for n, count in enumerate(counts)
    )
