"""A history of a figure, of bounded size: old parts get coarser, but peaks and the newest value stay."""

from msgspec import Struct

POINTS = 120
"""Maximum points of a series. Beyond that, pairs of points are merged, and the steps double."""

Point = tuple[float, float]
"""A time in Unix seconds, and the figure that applies from then until the next point."""


class TimeSeries(Struct, frozen=True):
    """A figure over time, the oldest point first. All points but the last are at least `step`
    seconds apart.
    """

    points: tuple[Point, ...] = ()
    step: float = 0.0

    @property
    def peak(self) -> float | None:
        """The highest value so far; None if there are no points."""
        return max((value for _, value in self.points), default=None)

    @property
    def last(self) -> float | None:
        """The newest value; None if there are no points."""
        return self.points[-1][1] if self.points else None


def append(series: TimeSeries, ts: float, value: float) -> TimeSeries:
    """Return the series with one more point. Points may be merged, but the peak stays."""
    points = series.points
    if len(points) > 1 and points[-1][0] - points[-2][0] < series.step:
        points = (*points[:-2], _higher(points[-2], points[-1]))
    points = (*points, (ts, value))
    return TimeSeries(points, series.step) if len(points) <= POINTS else _halved(points)


def _halved(points: tuple[Point, ...]) -> TimeSeries:
    """Merge neighboring points in pairs, keeping the higher value. The newest point is not merged."""
    *old, newest = points
    pairs = [_higher(*old[at : at + 2]) for at in range(0, len(old), 2)]
    return TimeSeries((*pairs, newest), (newest[0] - points[0][0]) / (POINTS / 2))


def _higher(first: Point, *others: Point) -> Point:
    return first[0], max(value for _, value in (first, *others))
