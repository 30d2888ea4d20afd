"""Makes text from outside safe: removes escape sequences, control characters, and direction characters."""

import re

from agent_tui.options.characters import CONTROL

MAX_LINE = 16_384
"""Maximum number of characters of one stored line. A longer line is shortened, and ends with a mark."""

_ESCAPES = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    "|\x1b[\\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c|$)"  # OSC and other strings: titles, links
    "|\x1b[@-Z\\\\-_]"
    "|\x9b[0-?]*[ -/]*[@-~]"
    "|\x1b[ -/]+[0-~]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")


def sanitize(text: str, limit: int = MAX_LINE) -> str:
    """Return one line or record, safe to show: only printable characters and newlines.

    A carriage return restarts its line, as in a terminal (progress bars).
    """
    cut = len(text) > 4 * limit
    return shortened(printable(text[: 4 * limit] if cut else text), limit, cut=cut)


def printable(text: str) -> str:
    """Return the whole text without escape sequences, control and direction characters."""
    if text.isprintable():
        return text  # true for nearly every line
    if "\x1b" in text or "\x9b" in text:
        text = _ESCAPES.sub("", text)
    if "\r" in text:
        lines = text.replace("\r\n", "\n").split("\n")
        text = "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines)
    text = text.replace("\t", "    ")
    return _SURROGATES.sub("\ufffd", CONTROL.sub("", text))


def shortened(text: str, limit: int, *, cut: bool = False) -> str:
    """Return at most `limit` characters of the text, with a mark if it was longer or already `cut`."""
    return text[:limit] + f" … (cut at {limit} characters)" if cut or len(text) > limit else text
