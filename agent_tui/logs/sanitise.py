"""Text from outside, made safe once: no escape sequence, control or direction character gets past here."""

import re

MAX_LINE = 16_384
"""Characters of one stored line; more is cut with a mark, so that a megabyte on one line harms nobody."""

_ESCAPES = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    "|\x1b[\\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c|$)"  # OSC and other strings: titles, links
    "|\x1b[@-Z\\\\-_]"
    "|\x9b[0-?]*[ -/]*[@-~]"
    "|\x1b[ -/]+[0-~]"
)
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def sanitise(text: str, limit: int = MAX_LINE) -> str:
    """One line or record as it may be shown: printable characters and newlines only.

    A carriage return starts its line over, as a terminal would show it (progress bars).
    """
    if len(text) <= limit and text.isprintable():
        return text  # as nearly every line is
    if len(text) > 4 * limit:
        text = text[: 4 * limit]
        cut = True
    else:
        cut = False
    if "\x1b" in text or "\x9b" in text:
        text = _ESCAPES.sub("", text)
    if "\r" in text:
        lines = text.replace("\r\n", "\n").split("\n")
        text = "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines)
    text = text.replace("\t", "    ")
    text = _SURROGATES.sub("\ufffd", _UNSAFE.sub("", text))
    if len(text) > limit or cut:
        return text[:limit] + f" … (cut at {limit} characters)"
    return text
