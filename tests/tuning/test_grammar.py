"""Parsing targets, rates, and counts; other text is refused with a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_tui.model.tuning import Target
from agent_tui.tuning.grammar import parse_counts, parse_rate, parse_target, rate_text


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("p95<50ms", Target(0.95, 50)),
        ("p99<200ms", Target(0.99, 200)),
        (" P99.9 < 1.5 s ", Target(0.999, 1500)),
        ("95% under 50ms", Target(0.95, 50)),
        ("95 % below 50 ms", Target(0.95, 50)),
        ("warm>99%", Target(0.99, None, above=True)),
        ("warm >= 100%", Target(1, None)),
        ("warm at least 50 %", Target(0.5, None)),
    ],
)
def test_targets(text: str, target: Target) -> None:
    found = parse_target(text)
    assert (found.limit_ms, found.above) == (target.limit_ms, target.above)
    assert found.share == pytest.approx(target.share)
    assert found.text == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p95",
        "p95<50",
        "p0<50ms",
        "p101<5ms",
        "p95<0ms",
        "p95>50ms",
        "warm>100%",
        "warm<9%",
        "95<50ms",
        "fast",
    ],
)
def test_a_bad_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_target(text)


@given(st.floats(0.01, 100), st.floats(0.01, 1e6), st.booleans())
def test_a_target_is_written_as_it_is_parsed(percent: float, limit: float, warm: bool) -> None:
    target = Target(round(percent, 3) / 100, None if warm else round(limit, 3))
    again = parse_target(str(target))
    assert again.share == pytest.approx(target.share, rel=1e-8)
    assert again.limit_ms == pytest.approx(target.limit_ms, rel=1e-8)


def test_when_a_target_is_met() -> None:
    p95, warm = parse_target("p95<50ms"), parse_target("warm>90%")
    assert p95.hit(49.9, False)
    assert not p95.hit(50, True)
    assert not p95.hit(float("inf"), True)
    assert warm.hit(1e9, True)
    assert not warm.hit(0, False)
    assert p95.met(95, 100)
    assert not p95.met(94, 100)
    assert p95.met(19, 20)
    assert warm.met(91, 100)
    assert not warm.met(90, 100)
    assert not p95.met(0, 0)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("2/s", (2, None)),
        ("0.5", (0.5, None)),
        ("30/m", (0.5, None)),
        ("36/h", (0.01, None)),
        ("1-5/s", (1, 5)),
    ],
)
def test_rates(text: str, rate: tuple[float, float | None]) -> None:
    assert parse_rate(text) == rate
    assert parse_rate(rate_text(*rate)) == rate


@pytest.mark.parametrize("text", ["", "0/s", "-1/s", "2/x", "2/s/s", "1-/s", "a", "1e3/s"])
def test_a_bad_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("0-4", (0, 1, 2, 3, 4)),
        ("0,1,2,4", (0, 1, 2, 4)),
        ("3", (3,)),
        (" 4 , 0 - 1 ", (0, 1, 4)),
        ("2,2", (2,)),
    ],
)
def test_counts(text: str, counts: tuple[int, ...]) -> None:
    assert parse_counts(text) == counts


@pytest.mark.parametrize("text", ["", "-1", "4-1", "257", "0-", "1,,2", "x", "1.5", "²"])
def test_a_bad_list_of_counts_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_counts(text)
