"""A bounded history of one figure: old parts get coarser, peaks and the newest value stay."""

from msgspec import Struct

POINTS = 120
"""Points of a series at most; when there are more, two become one and the steps double."""

Point = tuple[float, float]
"""Unix seconds, and the figure from then on."""


class TimeSeries(Struct, frozen=True):
    """The figure over time, oldest first. But for the last one, points are `step` seconds apart or more."""

    points: tuple[Point, ...] = ()
    step: float = 0.0

    @property
    def peak(self) -> float | None:
        """The highest figure so far, None when there is none."""
        return max((value for _, value in self.points), default=None)

    @property
    def last(self) -> float | None:
        """The newest figure, None when there is none."""
        return self.points[-1][1] if self.points else None


def append(series: TimeSeries, ts: float, value: float) -> TimeSeries:
    """The series with one more point. What it leaves out was between its neighbours or below one of them."""
    points = series.points
    if len(points) > 1 and points[-1][0] - points[-2][0] < series.step:
        points = (*points[:-2], _higher(points[-2], points[-1]))
    points = (*points, (ts, value))
    return TimeSeries(points, series.step) if len(points) <= POINTS else _halved(points)


def _halved(points: tuple[Point, ...]) -> TimeSeries:
    """Pairs as their higher figure; the newest point stays as it is."""
    *old, newest = points
    pairs = [_higher(*old[at : at + 2]) for at in range(0, len(old), 2)]
    return TimeSeries((*pairs, newest), (newest[0] - points[0][0]) / (POINTS / 2))


def _higher(first: Point, *others: Point) -> Point:
    return first[0], max(value for _, value in (first, *others))
