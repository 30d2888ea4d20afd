"""Numbers and durations in messages."""

import pytest

from agent_tui.model.wording import counted, duration_text


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(0, "job", "0 jobs"), (1, "job", "1 job"), (2, "job", "2 jobs"), (3, "process", "3 processes")],
)
def test_plurals_agree(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (0.0124, "12 ms"),
        (0.9999, "1 s"),
        (1.52, "1.5 s"),
        (3.0, "3 s"),
        (9.97, "10 s"),
        (41.2, "41 s"),
        (59.7, "1 min"),
        (724, "12 min 4 s"),
        (3994, "1 h 6 min"),
        (7200, "2 h"),
        (86_400, "24 h"),
    ],
)
def test_durations_are_human(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
