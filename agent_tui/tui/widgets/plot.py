"""Graphs drawn with braille dots; each cell is two dots wide and four high. Pure functions."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from agent_tui.tui.widgets.text import Line, Span, Tone, clip, pad, stopwatch, width_of

Point = tuple[float, float]

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BLANK = 0x2800
_RULE = "╌"
_MARK = "▲"


@dataclass(frozen=True, slots=True)
class Series:
    """One curve, its points in order of x. Points that are not finite are ignored."""

    points: Sequence[Point]
    tone: Tone = Tone.GOOD
    above: Sequence[tuple[float, Tone]] = ()
    """Levels in rising order; where the curve is above one, it has that level's tone."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A named horizontal line at `y`; not drawn if it is outside the axis."""

    y: float
    name: str
    tone: Tone = Tone.DIM


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark on the x axis."""

    x: float
    tone: Tone = Tone.WARN


@dataclass(frozen=True, slots=True)
class Axis:
    """A range, and the function that formats its values."""

    low: float
    high: float
    write: Callable[[float], str] = "{:g}".format
    ticks: tuple[float, ...] = ()
    """The labelled values of an x axis; by default both ends."""

    @property
    def span(self) -> float:
        return max(self.high - self.low, 1e-9)


def plot(
    series: Sequence[Series],
    width: int,
    height: int,
    rules: Sequence[Rule] = (),
    *,
    x: Axis | None = None,
    y: Axis | None = None,
    marks: Sequence[Mark] = (),
) -> tuple[Line, ...]:
    """Return a graph of exactly `width` by `height` cells; the last row is the x axis.

    The default axes fit the data. Later series are drawn over earlier ones, and all of them over the rules.
    """
    drawn = [replace(each, points=_real(each.points)) for each in series]
    x = x or _fitting([point[0] for each in drawn for point in each.points])
    y = y or _fitting([*(point[1] for each in drawn for point in each.points), *(rule.y for rule in rules)])
    rows = max(height - 1, 1)
    labels = y_labels(y, rows)
    gutter = max(len(label) for label in labels) + 1
    columns = width - gutter - 1
    if columns < 4 or height < 2:
        return tuple((Span(" " * max(width, 0)),) for _ in range(max(height, 0)))
    canvas = _Canvas(columns, rows, x, y)
    for each in drawn:
        canvas.curve(each)
    for rule in rules:
        canvas.rule(rule)
    body = [
        (Span(pad(label, gutter - 1, right=True), Tone.DIM), Span(" ┤" if label else " │", Tone.DIM), *cells)
        for label, cells in zip(labels, canvas.lines(), strict=True)
    ]
    return (*body, (Span(" " * gutter + "└", Tone.DIM), *x_axis(x, columns, marks)))


def as_steps(points: Sequence[Point], until: float) -> tuple[Point, ...]:
    """Return the points as steps: each value lasts until the next point, the last one until `until`."""
    steps: list[Point] = []
    for at, value in points:
        if steps:
            steps.append((at, steps[-1][1]))
        steps.append((at, value))
    if steps and until > steps[-1][0]:
        steps.append((until, steps[-1][1]))
    return tuple(steps)


def round_up(value: float) -> float:
    """Return the next round number: 1, 1.5, 2, 3, 4, 5, 6, or 8 times a power of ten."""
    if value <= 0 or not math.isfinite(value):
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next((step * unit for step in (1, 1.5, 2, 3, 4, 5, 6, 8) if step * unit >= value), 10 * unit)


def beside(left: Sequence[Line], right: Sequence[Line], width: int, gap: int = 2) -> tuple[Line, ...]:
    """Return two blocks side by side, the left one in `width` cells."""
    rows = max(len(left), len(right))
    lines: list[Line] = []
    for row in range(rows):
        first = left[row] if row < len(left) else ()
        blank = Span(" " * max(width - width_of(first) + gap, gap))
        lines.append((*first, blank, *right[row]) if row < len(right) else first)
    return tuple(lines)


class _Canvas:
    """The dots of the curves, and the rules behind them."""

    def __init__(self, columns: int, rows: int, x: Axis, y: Axis) -> None:
        self._columns, self._rows, self._x, self._y = columns, rows, x, y
        self._dots: dict[tuple[int, int], tuple[int, Tone]] = {}
        self._ground: dict[tuple[int, int], tuple[str, Tone]] = {}

    def rule(self, rule: Rule) -> None:
        """Add a rule behind the curves; its name goes where no curve covers it. Call after `curve`."""
        if not self._y.low <= rule.y <= self._y.high:
            return
        row = self._dot_row(rule.y) // 4
        name = clip(f" {rule.name} ", self._columns - 2)
        line = _RULE * (self._columns - len(name))
        right = range(len(line), self._columns)
        places = ((right, line + name), (range(len(name)), name + line))
        free = (text for cells, text in places if not any((cell, row) in self._dots for cell in cells))
        text = next(free, _RULE * self._columns)
        self._ground |= {(column, row): (char, rule.tone) for column, char in enumerate(text)}

    def curve(self, series: Series) -> None:
        """Add a curve; each column of dots covers all of the curve's values in it."""
        for column, (low, high) in enumerate(self._extents(series.points)):
            if low > high:
                continue
            levels = [(self._dot_row(level), tone) for level, tone in series.above if high > level]
            for dot in range(self._dot_row(low), self._dot_row(high) - 1, -1):  # the top sets the tone
                cell = (column // 2, dot // 4)
                bits = self._dots.get(cell, (0, series.tone))[0]
                tone = next((tone for row, tone in reversed(levels) if dot <= row), series.tone)
                self._dots[cell] = (bits | _DOTS[column % 2][dot % 4], tone)

    def lines(self) -> Iterable[Line]:
        """Yield the rows."""
        for row in range(self._rows):
            yield spans_of([self._cell(column, row) for column in range(self._columns)])

    def _cell(self, column: int, row: int) -> tuple[str, Tone]:
        if dots := self._dots.get((column, row)):
            return chr(_BLANK + dots[0]), dots[1]
        return self._ground.get((column, row), (" ", Tone.PLAIN))

    def _extents(self, points: Sequence[Point]) -> list[tuple[float, float]]:
        """Return the lowest and highest value per column of dots; low > high where there is none."""
        found = [(math.inf, -math.inf)] * (2 * self._columns)

        def note(column: int, value: float) -> None:
            low, high = found[column]
            found[column] = min(low, value), max(high, value)

        seen = [(self._dot_column(at), value) for at, value in points if self._x.low <= at <= self._x.high]
        for column, value in seen:
            note(column, value)
        for (first, start), (last, end) in itertools.pairwise(seen):
            for column in range(first + 1, last):
                note(column, start + (end - start) * (column - first) / (last - first))
            if last == first + 1 and start != end:
                note(last, start)  # draw a jump as one vertical line
        return found

    def _dot_column(self, at: float) -> int:
        return round((at - self._x.low) / self._x.span * (2 * self._columns - 1))

    def _dot_row(self, value: float) -> int:
        share = (value - self._y.low) / self._y.span
        return round((1 - min(max(share, 0.0), 1.0)) * (4 * self._rows - 1))


def _real(points: Sequence[Point]) -> list[Point]:
    return [(at, value) for at, value in points if math.isfinite(at) and math.isfinite(value)]


def _fitting(values: Sequence[float]) -> Axis:
    return Axis(min(values), max(values)) if values else Axis(0.0, 1.0)


def spans_of(cells: Iterable[tuple[str, Tone]]) -> Line:
    """Return a line of cells; adjacent ones of one tone are joined."""
    spans: list[Span] = []
    for text, tone in cells:
        if spans and spans[-1].tone is tone:
            spans[-1] = Span(spans[-1].text + text, tone)
        else:
            spans.append(Span(text, tone))
    return tuple(spans)


def y_labels(y: Axis, rows: int) -> list[str]:
    """Return one label per row, most of them empty: the two ends, and the middle if it has a row."""
    labels = [""] * rows
    if rows >= 5 and rows % 2:
        labels[rows // 2] = y.write((y.low + y.high) / 2)
    labels[-1] = y.write(y.low)
    labels[0] = y.write(y.high)
    return labels


TICK = "┴"
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)


def time_axis(seconds: float, width: int) -> Axis:
    """Return an axis from 0 to that many seconds with ticks at round numbers, for about `width` cells."""
    most = max(width // 14, 1)
    step = next((each for each in STEPS_S if seconds / each <= most), STEPS_S[-1])
    write: Callable[[float], str] = (lambda at: f"{at:.0f} s") if seconds < 120 else stopwatch
    return Axis(0.0, seconds, write, tuple(float(at) for at in range(0, int(seconds) + 1, step)))


def x_axis(x: Axis, columns: int, marks: Sequence[Mark]) -> Line:
    """Return the x axis with its ticks, or else the values of its ends, and the marks."""
    cells: list[tuple[str, Tone]] = [("─", Tone.DIM)] * columns
    marked = {
        round((mark.x - x.low) / x.span * (columns - 1)): mark.tone
        for mark in marks
        if x.low <= mark.x <= x.high
    }
    for at, text in _tick_labels(x, columns) if x.ticks else _end_labels(x, columns):
        place = range(at, at + len(text))
        if not marked.keys() & set(place):  # do not cut a label
            cells[place.start : place.stop] = [(char, Tone.DIM) for char in text]
    for column, tone in marked.items():
        cells[column] = (_MARK, tone)
    return tuple(Span(text, tone) for text, tone in cells)


def _tick_labels(x: Axis, columns: int) -> Iterable[tuple[int, str]]:
    """Yield the column and label of each tick whose label fits."""
    for value in x.ticks:
        at, text = round((value - x.low) / x.span * (columns - 1)), f"{TICK}{x.write(value)} "
        yield at, text if at + len(text) <= columns else TICK


def _end_labels(x: Axis, columns: int) -> Iterable[tuple[int, str]]:
    first, last = x.write(x.low), x.write(x.high)
    if len(first) + len(last) + 4 <= columns:
        yield 1, f"{first} "
        yield columns - len(last) - 1, f" {last}"
