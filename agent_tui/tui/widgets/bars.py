"""Vertical bars: one per column of a time axis, or a group per number of idle processes. Pure functions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent_tui.tui.widgets.plot import Axis, Mark, Rule, round_up, spans_of, x_axis
from agent_tui.tui.widgets.text import Line, Span, Tone, clip, pad

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_RULE = "╌"
_LOST = "✗"
WIDEST = 6
"""Maximum width of a bar, in cells."""

PARTS = (5, 4, 3, 2)
"""Numbers of equal parts into which labels may divide a y axis. The first one that fits is used."""

Cell = tuple[str, Tone]


@dataclass(frozen=True, slots=True)
class Group:
    """The bars of one number of idle processes. An infinite value is drawn as a lost job."""

    name: str
    values: tuple[float, ...]


def whole_axis(most: float) -> Axis:
    """Return an axis from 0 to at least `most`, a round even number; its labels are whole numbers."""
    high = max(math.ceil(round_up(most)), 1)
    while high > 1 and high % 2:
        high = math.ceil(round_up(high + 1))
    return Axis(0.0, float(high), "{:.0f}".format)


def time_bars(
    values: Callable[[int], Sequence[float]],
    width: int,
    height: int,
    tone: Tone,
    *,
    x: Axis,
    y: Axis,
    marks: Sequence[Mark] = (),
) -> tuple[Line, ...]:
    """Return one bar per column, in exactly `width` by `height` cells; the last row is the x axis.

    `values(columns)` returns the value of each column.
    """
    rows, labels, columns = _frame(width, height, y)
    if columns < 4 or height < 2:
        return _blank(width, height)
    levels = [_eighths(value, rows, y) for value in values(columns)]
    body = [[_cell(level, rows - 1 - row, tone) for level in levels] for row in range(rows)]
    return (*_body(labels, body), (Span(f"{labels[-1]}└", Tone.DIM), *x_axis(x, columns, marks)))


def group_bars(
    groups: Sequence[Group],
    tones: Sequence[Tone],
    width: int,
    height: int,
    *,
    y: Axis,
    rules: Sequence[Rule] = (),
) -> tuple[Line, ...] | None:
    """Return the groups in exactly `width` by `height` cells, or None if they do not fit.

    Each group has one bar per tone. The last row names the groups.
    """
    rows, labels, columns = _frame(width, height, y)
    room = columns // max(len(groups), 1)
    bar = min((room - 1) // len(tones), WIDEST)
    if bar < 1 or height < 3:
        return None
    body: list[list[Cell]] = [[(" ", Tone.PLAIN)] * columns for _ in range(rows)]
    for number, group in enumerate(groups):
        start = number * room + (room - bar * len(tones)) // 2
        for place, (value, tone) in enumerate(zip(group.values, tones, strict=True)):
            for column in range(start + place * bar, start + (place + 1) * bar):
                if math.isinf(value):
                    body[-1][column] = (_LOST, Tone.BAD)
                    continue
                level = _eighths(value, rows, y)
                for row in range(rows):
                    if (cell := _cell(level, rows - 1 - row, tone))[0] != " ":
                        body[row][column] = cell
    for rule in rules:
        _draw_rule(body, rule, y)
    names = "".join(_centered(group.name, room) for group in groups)
    return (*_body(labels, body), (Span(f"{labels[-1]}└", Tone.DIM), Span(pad(names, columns), Tone.DIM)))


def _frame(width: int, height: int, y: Axis) -> tuple[int, list[str], int]:
    """Return the number of rows above the x axis, the labels (equally wide), and the columns left.

    The last label is that of the x axis.
    """
    rows = max(height - 1, 1)
    labels = labels_of(y, rows)
    gutter = max(map(len, labels)) + 1
    return rows, [pad(label, gutter - 1, right=True) + " " for label in labels], width - gutter - 1


def labels_of(y: Axis, rows: int) -> list[str]:
    """Return one label per row and one for the x axis, which is the low end; most of them are empty.

    A label stands beside the highest row of a bar with its value. Only labels that are equally far apart and
    that writing does not round are shown between the two ends.
    """
    parts = next((each for each in PARTS if rows % each == 0 and rows >= 2 * each and _exact(y, each)), 1)
    labels = [""] * (rows + 1)
    for part in range(parts + 1):
        labels[rows - part * rows // parts] = y.write(y.low + y.span * part / parts)
    return labels


def _exact(y: Axis, parts: int) -> bool:
    """Return whether the axis can be divided into that many parts by values that are not rounded."""
    values = (y.low + y.span * part / parts for part in range(parts + 1))
    return all(math.isclose(float(y.write(value)), value) for value in values)


def _blank(width: int, height: int) -> tuple[Line, ...]:
    return tuple((Span(" " * max(width, 0)),) for _ in range(max(height, 0)))


def _body(labels: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[Line]:
    return [
        (Span(label, Tone.DIM), Span("┤" if label.strip() else "│", Tone.DIM), *spans_of(cells))
        for label, cells in zip(labels, rows, strict=False)
    ]


def _eighths(value: float, rows: int, y: Axis) -> int:
    """Return the height of a bar in eighths of a row; a value above the axis's low end is always visible."""
    if not math.isfinite(value) or value <= y.low:
        return 0
    share = min((value - y.low) / y.span, 1.0)
    return max(round(share * rows * 8), 1)


def _cell(level: int, above: int, tone: Tone) -> Cell:
    return _EIGHTHS[min(max(level - above * 8, 0), 8)], tone


def _draw_rule(body: list[list[Cell]], rule: Rule, y: Axis) -> None:
    """Draw a horizontal rule between the bars, and its name above the right or left end if it fits there."""
    if not y.low <= rule.y <= y.high:
        return
    rows, columns = len(body), len(body[0])
    row = min(int((y.high - rule.y) / y.span * rows), rows - 1)
    for column in range(columns):
        if body[row][column][0] == " ":
            body[row][column] = (_RULE, rule.tone)
    name = clip(f" {rule.name} ", columns)
    for start in (columns - len(name), 0):
        place = range(start, start + len(name))
        if all(body[row][column][0] == _RULE for column in place):
            body[row][start : start + len(name)] = [(char, rule.tone) for char in name]
            return


def _centered(name: str, width: int) -> str:
    return clip(name, width).center(width)
