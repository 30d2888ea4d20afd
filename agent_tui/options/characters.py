"""Characters that control a terminal instead of being shown: control, escape, and direction characters."""

import re

_CONTROL = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 except tab and newline, DEL, C1
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u206a-\u206f"  # bidirectional formatting
    r"\u2028\u2029"  # line and paragraph separator: they end a comment in JavaScript
    r"\ufeff\ufff9-\ufffb"
)
CONTROL = re.compile(f"[{_CONTROL}]")
"""Control characters, except tab and newline, which any output may contain."""

SAFE = rf"[^\t\n{_CONTROL}\ud800-\udfff]*"
"""Matches one line of text without characters that control a terminal or cannot be encoded."""

UNSAFE = re.compile(rf"[\t\n{_CONTROL}\ud800-\udfff]")
"""Matches a character that such a line must not contain."""

_ESCAPED = re.compile(rf"[{_CONTROL}\ud800-\udfff]")


def escaped(text: str) -> str:
    """Return the text with each control character and lone surrogate written as `\\u009b`.

    In a string of JSON, TOML, Python, or JavaScript this is an escape sequence.
    """
    return _ESCAPED.sub(_as_escape, text)


def refused_character(text: str) -> str:
    """Describe the first character that an option must not contain; empty if there is none."""
    match = UNSAFE.search(text)
    if match is None:
        return ""
    code = ord(match[0])
    # Python represents a byte of the environment that is not UTF-8 as a lone surrogate (PEP 383).
    if 0xDC80 <= code <= 0xDCFF:
        return f"the byte 0x{code - 0xDC00:02X}, which is not UTF-8"
    return f"the control character U+{code:04X}, which is not allowed"


def _as_escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
