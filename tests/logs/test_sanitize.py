"""Text from outside: nothing that acts on a terminal gets through."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_tui.logs.sanitize import MAX_LINE, sanitize


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b1mbold", "bold"),
        ("\x1b]52;c;aGFjaw==", ""),
        ("10%\r50%\r100%", "100%"),
        ("line\r", "line"),
        ("a\r\nb", "a\nb"),
        ("tab\tbed", "tab    bed"),
        ("nul\x00bell\x07del\x7f", "nulbelldel"),
        ("abc\u202egnp.exe", "abcgnp.exe"),
        ("漢字 🎉 é", "漢字 🎉 é"),
        ("[/x] [bold]markup[/bold]", "[/x] [bold]markup[/bold]"),
        ("lone \ud800 surrogate", "lone \ufffd surrogate"),
        ("Traceback\n  File", "Traceback\n  File"),
    ],
)
def test_what_is_shown(raw: str, shown: str) -> None:
    assert sanitize(raw) == shown


def test_a_megabyte_on_one_line_is_cut_with_a_mark() -> None:
    shown = sanitize("x" * 1_000_000)
    assert shown.startswith("x" * MAX_LINE)
    assert shown.endswith(f"(cut at {MAX_LINE} characters)")


@given(st.text(alphabet=st.characters(), max_size=200))
def test_no_control_character_but_the_newline_survives(text: str) -> None:
    shown = sanitize(text)
    assert all(char == "\n" or unicodedata.category(char) not in ("Cc", "Cs") for char in shown)
    assert not any(char in shown for char in "\u202a\u202b\u202d\u202e\u2066\u2067\u2068")
    assert sanitize(shown) == shown
