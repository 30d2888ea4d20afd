"""Percentiles by nearest rank, intervals, and histograms."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_tui.tuning.stats import histogram, next_hits, percentile, wilson

VALUES = st.lists(st.floats(0, 1e6), min_size=1, max_size=200)


@given(VALUES, st.floats(0.1, 100), st.floats(0, 1e6))
def test_a_percentile_is_below_a_limit_exactly_if_that_share_of_the_values_is(
    values: list[float], percent: float, limit: float
) -> None:
    found = percentile(values, percent)
    assert found in values
    assert found is not None
    under = sum(value < limit for value in values)
    assert (found < limit) == (under >= percent / 100 * len(values) - 1e-9)


def test_percentiles_by_hand() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, p) for p in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([7.0], 1) == 7
    assert percentile([1.0, math.inf], 95) == math.inf
    assert percentile([], 95) is None


def test_wilson_by_hand() -> None:
    assert wilson(0, 0) == (0, 1)
    assert wilson(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson(0, 10)[0] == 0


def test_the_interval_covers_the_stated_share_of_new_runs() -> None:
    rng = random.Random(5)
    inside = 0
    for _ in range(600):
        share = rng.random()
        hits = sum(rng.random() < share for _ in range(40))
        low, high = next_hits(hits, 40, 40)
        inside += low <= sum(rng.random() < share for _ in range(40)) <= high
    assert 0.93 <= inside / 600 <= 1


@given(st.lists(st.floats(allow_nan=False), max_size=100), st.integers(1, 30))
def test_a_histogram_holds_every_finite_value_once(values: list[float], bins: int) -> None:
    finite = [value for value in values if abs(value) < 1e300]
    found = histogram([*finite, math.inf], bins)
    assert sum(each.count for each in found) == len(finite)
    assert len(found) in (0, 1, bins)
    assert all(
        before.high <= after.low + 1e-9 * abs(after.low) for before, after in itertools.pairwise(found)
    )
    for each in found:
        assert each.low <= each.high
    if finite:
        assert found[0].low == min(finite)
        assert found[-1].high == max(finite)
