"""The bounded history of a figure: its size, and the values that it always keeps."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from agent_tui.model.time_series import POINTS, TimeSeries, append

STEPS = st.lists(st.tuples(st.floats(0.0, 1e4), st.floats(0.0, 1e6)), min_size=1, max_size=600)


def curve_of(*points: tuple[float, float]) -> TimeSeries:
    series = TimeSeries()
    for ts, value in points:
        series = append(series, ts, value)
    return series


@given(STEPS)
def test_a_series_is_bounded_and_keeps_order_peak_and_newest(steps: list[tuple[float, float]]) -> None:
    ts, points = 0.0, []
    for wait, value in steps:
        ts += wait
        points.append((ts, value))
    series = curve_of(*points)
    assert 0 < len(series.points) <= POINTS
    assert [at for at, _ in series.points] == sorted(at for at, _ in series.points)
    assert series.points[0][0] == points[0][0]
    assert series.points[-1] == points[-1]
    assert series.peak == max(value for _, value in points)


def test_a_short_series_is_complete() -> None:
    points = [(float(second), float(second % 7)) for second in range(POINTS)]
    assert curve_of(*points) == TimeSeries(tuple(points))


def test_a_long_series_is_thinned_evenly() -> None:
    series = curve_of(*((float(second), 1.0) for second in range(10_000)))
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(series.points[:-1])]
    assert max(gaps) <= 4 * min(gaps)
    assert len(series.points) > POINTS / 3


def test_an_empty_series_has_no_figures() -> None:
    assert (TimeSeries().peak, TimeSeries().last) == (None, None)
