"""Text for the panels: pieces with a tone, made safe, cut and fitted to a width. Pure functions."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from agent_tui.logs.sanitise import sanitise
from agent_tui.options import characters

NONE = "–"
"""Shown where there is no figure."""


class Tone(StrEnum):
    """What a piece of text says beside its words. The value is the style, made of the theme's tokens."""

    PLAIN = ""
    STRONG = "bold"
    DIM = "$foreground-muted"
    GOOD = "$text-success"
    WARN = "bold $text-warning"
    BAD = "bold $text-error"
    GONE = "$text-error"
    LOUD = "bold auto on $warning"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of one line. `text` is shown as it is; nothing in it is markup."""

    text: str
    tone: Tone = Tone.PLAIN


Line = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a line that has to fit: its variants from the longest on, each with how soon it gives way.

    Where there is no room the variant with the highest number gives way to the next one of its part, or to
    nothing after the last. A last variant with 0 stays.
    """

    variants: tuple[tuple[int, Line], ...]


def part(drop_priority: int, *lines: Line) -> Part:
    """A part whose variants all give way equally soon."""
    return Part(tuple((drop_priority, line) for line in lines))


def one_line(text: str, limit: int = 1_000) -> str:
    """Text from outside as one line without control, escape and direction characters."""
    return " ".join(sanitise(text, limit).split())


def clip(text: str, width: int) -> str:
    """The text in at most `width` cells, the cut marked with an ellipsis."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def pad(text: str, width: int, *, right: bool = False) -> str:
    """The text in exactly `width` cells, set to the left or to the right."""
    text = clip(text, width)
    blank = " " * (width - cell_len(text))
    return blank + text if right else text + blank


def width_of(line: Line) -> int:
    """Cells that a line takes."""
    return sum(cell_len(span.text) for span in line)


def joined(lines: Iterable[Line], gap: str) -> Line:
    """Lines put one after the other with a gap between; empty ones leave none."""
    spans: list[Span] = []
    for line in lines:
        spans += [Span(gap), *line] if spans and line else line
    return tuple(spans)


def fit(parts: Sequence[Part], width: int, gap: str) -> tuple[Line, ...]:
    """One line for each part, so that they fit into `width` with gaps between; dropped parts are empty."""
    left = [list(part.variants) for part in parts]
    while width_of(joined(_first(left), gap)) > width:
        able = [variants for variants in left if len(variants) > 1 or (variants and variants[0][0] > 0)]
        if not able:
            break
        max(able, key=lambda variants: variants[0][0]).pop(0)
    return _first(left)


def _first(left: Sequence[Sequence[tuple[int, Line]]]) -> tuple[Line, ...]:
    return tuple(variants[0][1] if variants else () for variants in left)


def to_content(line: Line) -> Content:
    """A line for a widget; no text of it is read as markup."""
    return Content.assemble(*((span.text, span.tone.value) for span in line))


def to_contents(lines: Iterable[Line]) -> Content:
    """Lines below each other."""
    return Content("\n").join([to_content(line) for line in lines])


def megabytes(mb: float | None) -> str:
    """A size in at most five characters: `24M`, `1.2G`."""
    if mb is None:
        return NONE
    return f"{mb:.0f}M" if mb < 999.5 else f"{mb / 1024:.1f}G"


def grouped(number: float) -> str:
    """A whole number with its thousands set apart."""
    return f"{number:,.0f}".replace(",", " ")


def stopwatch(seconds: float) -> str:
    """A length of time for a column: `0:41`, `12:04`, `3:12:04`, `2d 03h`."""
    minutes, second = divmod(max(int(seconds), 0), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24:02}h"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def minutes(seconds: float) -> str:
    """A length of time whose seconds nobody needs after the first minute: `41s`, `12m`, `3h12m`.

    What is shown at rest should not change each second: each change renders a whole table anew.
    """
    return duration(seconds if seconds < 60 else seconds - seconds % 60).removesuffix("00s")


def duration(seconds: float) -> str:
    """A length of time in words: `41s`, `12m04s`, `3h12m`, `2d03h`."""
    minutes, second = divmod(max(int(seconds), 0), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d{hours % 24:02}h"
    if hours:
        return f"{hours}h{minute:02}m"
    return f"{minute}m{second:02}s" if minutes else f"{second}s"


def milliseconds(ms: float) -> str:
    """A short time: `0.8 ms`, `11 ms`, `2.4 s`."""
    if ms < 1:
        return f"{ms:.1f} ms"
    return f"{ms:.0f} ms" if ms < 999.5 else f"{ms / 1000:.1f} s"


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of at least one value; `share` is 0…1."""
    ordered = sorted(values)
    rank = math.ceil(share * len(ordered))
    return ordered[min(max(rank, 1), len(ordered)) - 1]


MUTED = "$foreground 60%"
"""Quiet text inside a `Content`, where `$text-muted` comes out as loud as the rest: only CSS knows shares."""

PRINTABLE = characters.SAFE
"""What inputs take: an input draws its value raw, and what is pasted can hold anything."""

LONGEST = 300
"""Cells of one piece of text from outside in a panel; the log pane has the """


def brief(text: str, longest: int = LONGEST) -> str:
    """Text from outside as one short line that can be put anywhere, cut with an ellipsis."""
    return clip(one_line(text), longest)


def cell(text: str, width: int, style: str = "") -> Content:
    """The text in exactly `width` cells."""
    return Content.styled(pad(one_line(text), max(width, 0)), style)
