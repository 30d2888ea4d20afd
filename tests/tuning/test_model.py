"""The simulated pool, checked against the formula or by hand."""

import math
import random
from collections.abc import Callable

import pytest

from agent_tui.model.tuning import Pattern, TestLoad
from agent_tui.tuning.arrivals import offsets
from agent_tui.tuning.model import PoolModel, PoolRule, simulate

MANY = PoolRule(starts_at_once=10_000, refill_after_s=0.0)
LEADS: dict[str, Callable[[random.Random], float]] = {
    "fixed": lambda rng: 0.5,
    "exponential": lambda rng: rng.expovariate(2),
    "two kinds": lambda rng: rng.choice((0.1, 0.9)),
}


def warm_share(rate: float, count: int, lead_s: float) -> float:
    """Return the share of jobs that find a warm process, by the formula: Poisson arrivals, unlimited starts.

    The processes on their way are then Poisson with mean rate times lead time, whatever the lead time's
    distribution, and an arrival sees them as they are at any time: warm if fewer than `count` are missing.
    """
    missing = rate * lead_s
    return sum(math.exp(-missing) * missing**number / math.factorial(number) for number in range(count))


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize(("rate", "count"), [(2, 0), (2, 1), (2, 2), (4, 3), (0.4, 1)])
def test_poisson_arrivals_with_unlimited_starts_match_the_formula(lead: str, rate: float, count: int) -> None:
    rng = random.Random(11)
    draw = LEADS[lead]
    arrivals = offsets(TestLoad(20_000, rate, seed=2))
    waits = PoolModel(count, lambda: draw(rng), MANY).run(arrivals)
    warm = sum(wait is None for wait in waits) / len(waits)
    assert warm == pytest.approx(warm_share(rate, count, 0.5), abs=0.015)


def test_without_idle_processes_each_job_waits_for_its_own_start() -> None:
    assert simulate((0.0, 5.0), 0, (0.5,), PoolRule(2), random.Random(1)) == [0.5, 0.5]


def test_a_burst_starts_a_limited_number_at_once() -> None:
    waits = simulate((0.0,) * 5, 1, (1.0,), PoolRule(2), random.Random(1))
    assert waits == [None, 1.0, 1.0, 2.0, 2.0]


def test_used_processes_are_replaced_a_moment_after_the_last_job() -> None:
    rule = PoolRule(2, refill_after_s=0.02)
    model = PoolModel(1, lambda: 0.1, rule)
    # Ready again at 0.12: a job a moment before has to wait for it, one after it is warm.
    early, late = model.run((0.0, 0.11)), PoolModel(1, lambda: 0.1, rule).run((0.0, 0.13))
    assert early[0] is None
    assert early[1] == pytest.approx(0.01)
    assert late == [None, None]


def test_a_process_goes_to_the_job_that_has_waited_longest() -> None:
    waits = PoolModel(0, iter((1.0, 0.2)).__next__, PoolRule(2)).run((0.0, 0.1))
    assert waits == [pytest.approx(0.3), pytest.approx(0.9)]


@pytest.mark.parametrize("pattern", [Pattern.STEADY, Pattern.BURST, Pattern.RAMP, Pattern.POISSON])
def test_more_idle_processes_never_make_a_job_wait_longer(pattern: Pattern) -> None:
    arrivals = offsets(TestLoad(60, 4, pattern, 8))

    def waits(count: int) -> list[float]:
        return [wait or 0.0 for wait in simulate(arrivals, count, (0.4,), PoolRule(2), random.Random(1))]

    for count in range(6):
        assert sum(waits(count + 1)) <= sum(waits(count)) + 1e-9
    assert sum(waits(0)) > 0
