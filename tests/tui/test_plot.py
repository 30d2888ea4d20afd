"""Braille graphs: sizes, positions, and values that are not finite."""

import math

from hypothesis import given
from hypothesis import strategies as st

from agent_tui.tui.widgets.plot import Axis, Mark, Rule, Series, as_steps, beside, plot, round_up
from agent_tui.tui.widgets.text import Span, Tone, width_of

FIGURES = st.floats(allow_nan=True, allow_infinity=True)
POINTS = st.lists(st.tuples(FIGURES, FIGURES), max_size=20)


def texts(*lines: tuple[Span, ...]) -> list[str]:
    return ["".join(span.text for span in line) for line in lines]


@given(st.lists(POINTS, max_size=3), st.integers(0, 60), st.integers(0, 20), FIGURES)
def test_any_figures_fill_exactly_the_size(
    series: list[list[tuple[float, float]]], width: int, height: int, y: float
) -> None:
    picture = plot(
        [Series(sorted(points, key=str)) for points in series],
        width,
        height,
        [Rule(y, "rule")],
        x=Axis(0.0, 10.0),
        y=Axis(0.0, 10.0),
        marks=[Mark(y)],
    )
    assert len(picture) == height
    assert {width_of(line) for line in picture} <= {width}


def test_a_jump_is_one_line_and_axes_are_labelled() -> None:
    steps = as_steps([(0, 1), (5, 9)], until=10)
    assert steps == ((0, 1), (5, 1), (5, 9), (10, 9))
    assert texts(*plot([Series(steps)], 21, 6)) == [
        "9 ┤         ⡏⠉⠉⠉⠉⠉⠉⠉⠉",
        "  │         ⡇        ",
        "5 ┤         ⡇        ",
        "  │         ⡇        ",
        "1 ┤⣀⣀⣀⣀⣀⣀⣀⣀⣀⡇        ",
        "  └─0 ──────────── 10",
    ]


def test_a_rules_name_avoids_curves_and_a_rule_outside_the_axis_is_not_drawn() -> None:
    flat, axis = [Series([(0, 5), (10, 5)])], Axis(0, 10)
    high = texts(*plot(flat, 40, 6, [Rule(9, "limit")], x=axis, y=axis))
    assert high[0].endswith("╌ limit ")
    rising = [Series([(8, 9), (10, 9)])]
    assert "limit" in texts(*plot(rising, 40, 6, [Rule(9, "limit")], x=axis, y=axis))[0][:12]
    covered = texts(*plot(flat, 40, 6, [Rule(5, "limit")], x=axis, y=axis))
    assert not any("limit" in line for line in covered)
    beyond = texts(*plot(flat, 40, 6, [Rule(11, "limit")], x=axis, y=axis))
    assert not any("╌" in line for line in beyond)


def test_later_series_lie_over_earlier_ones() -> None:
    same = [(0.0, 1.0), (10.0, 2.0)]
    picture = plot([Series(same, Tone.GOOD), Series(same, Tone.BAD)], 30, 5)
    tones = {span.tone for line in picture for span in line}
    assert Tone.BAD in tones
    assert Tone.GOOD not in tones


def test_a_mark_replaces_a_whole_label() -> None:
    picture = plot([], 40, 4, x=Axis(0, 10), y=Axis(0, 1), marks=[Mark(10.0, Tone.BAD), Mark(99.0)])
    assert texts(picture[-1])[0].endswith("▲")
    assert "10" not in texts(picture[-1])[0]
    assert texts(picture[-1])[0].count("▲") == 1


def test_round_numbers() -> None:
    assert [round_up(each) for each in (0, -1, math.inf, 1, 1.2, 31, 700, 999)] == [
        1,
        1,
        1,
        1,
        1.5,
        40,
        800,
        1000,
    ]


def test_blocks_are_joined_side_by_side() -> None:
    left, right = [(Span("a"),)], [(Span("1"),), (Span("2"),)]
    assert texts(*beside(left, right, 3)) == ["a    1", "     2"]
    assert texts(*beside(right, left, 3)) == ["1    a", "2"]
