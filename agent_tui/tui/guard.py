"""What the screen paints, without characters that act on the terminal, whichever widget they came by."""

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from agent_tui.options.characters import UNSAFE


class ControlCharacters(LineFilter):
    """Removes control characters from painted lines; they have no width, so that nothing moves."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        if all(text.isprintable() for text, _, _ in segments):
            return segments  # as nearly every line is
        return [Segment(UNSAFE.sub("", text), style, control) for text, style, control in segments]
