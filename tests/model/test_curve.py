"""The bounded history of a figure: how much it keeps, and what it never loses."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from agent_tui.model.curve import POINTS, Curve, added

STEPS = st.lists(st.tuples(st.floats(0.0, 1e4), st.floats(0.0, 1e6)), min_size=1, max_size=600)


def curve_of(*points: tuple[float, float]) -> Curve:
    curve = Curve()
    for ts, value in points:
        curve = added(curve, ts, value)
    return curve


@given(STEPS)
def test_it_stays_small_and_keeps_the_order_the_peak_and_the_newest(steps: list[tuple[float, float]]) -> None:
    ts, points = 0.0, []
    for wait, value in steps:
        ts += wait
        points.append((ts, value))
    curve = curve_of(*points)
    assert 0 < len(curve.points) <= POINTS
    assert [at for at, _ in curve.points] == sorted(at for at, _ in curve.points)
    assert curve.points[0][0] == points[0][0]
    assert curve.points[-1] == points[-1]
    assert curve.peak == max(value for _, value in points)


def test_while_it_fits_nothing_is_left_out() -> None:
    points = [(float(second), float(second % 7)) for second in range(POINTS)]
    assert curve_of(*points) == Curve(tuple(points))


def test_a_long_life_is_covered_evenly() -> None:
    curve = curve_of(*((float(second), 1.0) for second in range(10_000)))
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(curve.points[:-1])]
    assert max(gaps) <= 4 * min(gaps)
    assert len(curve.points) > POINTS / 3


def test_nothing_has_no_figures() -> None:
    assert (Curve().peak, Curve().last) == (None, None)
