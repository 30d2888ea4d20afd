"""Arrivals: their number, order, and pattern, and the same ones for the same seed."""

import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_tui.model.tuning import Pattern, TestLoad
from agent_tui.tuning.arrivals import offsets, seed_of_repeat

RATES = st.floats(0.01, 1000)
LOADS = st.builds(
    TestLoad,
    jobs=st.integers(1, 200),
    rate=RATES,
    pattern=st.sampled_from(Pattern),
    end_rate=RATES,
    seed=st.integers(0, 2**31),
)


@given(LOADS)
def test_arrivals_are_in_order_and_repeatable(load: TestLoad) -> None:
    found = offsets(load)
    assert len(found) == load.jobs
    assert list(found) == sorted(found)
    assert found[0] >= 0
    assert found == offsets(load)


def test_a_burst_is_all_at_once_and_a_steady_test_load_is_even() -> None:
    assert offsets(TestLoad(3, pattern=Pattern.BURST)) == (0, 0, 0)
    assert offsets(TestLoad(4, 2, Pattern.STEADY)) == (0, 0.5, 1, 1.5)


def test_poisson_arrivals_have_exponential_gaps_that_depend_on_the_seed() -> None:
    load = TestLoad(20_000, 5, seed=3)
    found = offsets(load)
    gaps = [after - before for before, after in itertools.pairwise(found)]
    assert statistics.mean(gaps) == pytest.approx(0.2, rel=0.03)
    assert statistics.pstdev(gaps) == pytest.approx(0.2, rel=0.05)
    assert offsets(load.reseeded(4)) != found
    assert seed_of_repeat(3, 0) == 3 != seed_of_repeat(3, 1)


@pytest.mark.parametrize(("rate", "end"), [(1.0, 9.0), (9.0, 1.0), (4.0, 4.0)])
def test_a_ramp_goes_from_one_rate_to_the_other(rate: float, end: float) -> None:
    load = TestLoad(100_000, rate, Pattern.RAMP, end)
    found = offsets(load)
    assert 9 / (found[9] - found[0]) == pytest.approx(rate, rel=0.06)
    assert 9 / (found[-1] - found[-10]) == pytest.approx(end, rel=0.06)
    assert found[-1] == pytest.approx(load.span_s, rel=0.01)


@pytest.mark.parametrize(
    "bad",
    [
        {"jobs": 0},
        {"jobs": 1, "rate": 0},
        {"jobs": 1, "rate": float("inf")},
        {"jobs": 1, "pattern": Pattern.RAMP},
        {"jobs": 1, "pattern": Pattern.RAMP, "end_rate": 0},
        {"jobs": 1, "job_length_s": 0},
    ],
)
def test_an_impossible_test_load_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        TestLoad(**bad)  # type: ignore[arg-type]
