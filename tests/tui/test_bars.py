"""Bars for whole counts: sizes, ticks, and values that are not finite."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_tui.tui.widgets.bars import Group, group_bars, labels_of, time_bars, whole_axis
from agent_tui.tui.widgets.plot import Axis, Rule, time_axis
from agent_tui.tui.widgets.text import Line, Tone, width_of
from tests.tui.loads import text

FIGURES = st.floats(allow_nan=True, allow_infinity=True)


def rows(lines: tuple[Line, ...]) -> list[str]:
    return text(lines).split("\n")


@given(st.lists(FIGURES, min_size=1, max_size=30), st.integers(0, 60), st.integers(0, 20))
def test_any_figures_fill_exactly_the_size(values: list[float], width: int, height: int) -> None:
    axis = whole_axis(3)
    over_time = time_bars(
        lambda columns: [values[n % len(values)] for n in range(columns)],
        width,
        height,
        Tone.GOOD,
        x=time_axis(30.0, width),
        y=axis,
    )
    assert len(over_time) == height
    assert {width_of(line) for line in over_time} <= {width}
    groups = [Group(str(number), (value,)) for number, value in enumerate(values)]
    drawn = group_bars(groups, [Tone.GOOD], width, height, y=axis, rules=[Rule(2.0, "rule")])
    if drawn is not None:
        assert len(drawn) == height
        assert {width_of(line) for line in drawn} <= {width}


@pytest.mark.parametrize(
    ("most", "rows", "labels"),
    [
        (0, 4, "1 . . . 0"),
        (2, 4, "2 . 1 . 0"),
        (2, 7, "2 . . . . . . 0"),  # the middle has no row
        (3, 8, "4 . 3 . 2 . 1 . 0"),
        (5, 6, "6 . 4 . 2 . 0"),
        (13, 10, "20 . 16 . 12 . 8 . 4 . 0"),
        (150, 4, "150 . 75 . 0"),
        (150, 8, "150 . . . 75 . . . 0"),  # a quarter would be rounded
    ],
)
def test_labels_are_equally_far_apart_and_zero_is_beside_the_x_axis(
    most: int, rows: int, labels: str
) -> None:
    assert [label or "." for label in labels_of(whole_axis(most), rows)] == labels.split()


def test_a_bar_ends_beside_the_label_of_its_value() -> None:
    drawn = rows(
        time_bars(
            lambda columns: [0, 1, 2, 4] * (columns // 4), 11, 9, Tone.GOOD, x=Axis(0, 8), y=whole_axis(4)
        )
    )
    tops = {line.split()[0]: line for line in drawn if line[0] != " "}
    assert [tops[label].count("█") for label in ("4", "2", "1", "0")] == [2, 4, 6, 0]


@pytest.mark.parametrize(
    ("seconds", "ticks"),
    [
        (1.0, ["0 s", "1 s"]),
        (27.3, ["0 s", "10 s", "20 s"]),
        (100.0, ["0 s", "30 s", "60 s", "90 s"]),
        (700.0, ["0:00", "5:00", "10:00"]),
    ],
)
def test_ticks_of_time_are_round(seconds: float, ticks: list[str]) -> None:
    axis = time_axis(seconds, 56)
    assert [axis.write(at) for at in axis.ticks] == ticks


def test_bars_over_time() -> None:
    drawn = rows(
        time_bars(
            lambda columns: [0, 1, 2, 1] * (columns // 4), 11, 3, Tone.GOOD, x=Axis(0, 8), y=whole_axis(2)
        )
    )
    assert drawn == ["2 ┤  █   █ ", "  │ ███ ███", "0 └─0 ─── 8"]


def test_groups_have_a_bar_per_value_a_rule_and_a_mark_for_lost_jobs() -> None:
    groups = [Group("0", (4.0, math.inf)), Group("1", (1.0, 2.0))]
    drawn = group_bars(groups, [Tone.GOOD, Tone.BAD], 25, 5, y=whole_axis(4), rules=[Rule(3.0, "limit")])
    assert drawn is not None
    lines = rows(drawn)
    assert lines[-1].split() == ["0", "└", "0", "1"]
    assert "✗" in lines[-2]
    assert "limit" in lines[1]
    assert "╌" in lines[1]
    tones = {span.text[0]: span.tone for span in drawn[-2] if span.text.strip()}
    assert tones["✗"] is Tone.BAD


def test_too_many_groups_are_not_drawn() -> None:
    groups = [Group(str(number), (1.0, 2.0, 3.0)) for number in range(30)]
    assert group_bars(groups, [Tone.GOOD] * 3, 57, 10, y=whole_axis(4)) is None
