"""What the panels of this side and the modals say of text beside `widgets/text.py`."""

from textual.content import Content

from agent_tui.options import characters
from agent_tui.tui.widgets import text as whole

MUTED = "$foreground 60%"
"""Quiet text inside a `Content`, where `$text-muted` comes out as loud as the rest: only CSS knows shares."""

PRINTABLE = characters.SAFE
"""What inputs take: an input draws its value raw, and what is pasted can hold anything."""

LONGEST = 300
"""Cells of one piece of text from outside in a panel; the log pane has the whole."""


def brief(text: str, longest: int = LONGEST) -> str:
    """Text from outside as one short line that can be put anywhere, cut with an ellipsis."""
    return whole.clip(whole.one_line(text), longest)


def cell(text: str, width: int, style: str = "") -> Content:
    """The text in exactly `width` cells."""
    return Content.styled(whole.pad(whole.one_line(text), max(width, 0)), style)
