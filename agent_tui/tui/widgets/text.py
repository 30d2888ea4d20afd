"""Text for panels and pages: sanitized, styled, and fitted to a width."""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from agent_tui.files import shown_path
from agent_tui.logs.sanitize import sanitize
from agent_tui.options import characters

NONE = "–"
"""Shown in place of a missing value."""


class Tone(StrEnum):
    """The meaning of a piece of text. The value is its style, in the theme's variables."""

    PLAIN = ""
    STRONG = "bold"
    DIM = "$foreground-muted"
    GOOD = "$text-success"
    WARN = "bold $text-warning"
    BAD = "bold $text-error"
    GONE = "$text-error"
    LOUD = "bold auto on $warning"
    KEY = "bold $text-accent"
    SERIES = "$text-primary"
    """A curve or bar whose color has no meaning."""


@dataclass(frozen=True, slots=True)
class Span:
    """A styled piece of a line. `text` is shown literally, without markup."""

    text: str
    tone: Tone = Tone.PLAIN


Line = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a line that `fit` shortens: its variants, longest first, each with a drop priority.

    If the line is too long, `fit` takes the variant with the highest priority and substitutes the next one of
    the same part, or drops it if there is none. A last variant with priority 0 always stays.
    """

    variants: tuple[tuple[int, Line], ...]


def part(drop_priority: int, *lines: Line) -> Part:
    """Return a part whose variants share one drop priority."""
    return Part(tuple((drop_priority, line) for line in lines))


def one_line(text: str, limit: int = 1_000) -> str:
    """Return text from outside as one line, without control, escape, and bidirectional characters."""
    return " ".join(sanitize(text, limit).split())


def clip(text: str, width: int) -> str:
    """Return the text in at most `width` cells; a cut ends with an ellipsis."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Return the text in exactly `width` cells, aligned left or right."""
    text = clip(text, width)
    blank = " " * (width - cell_len(text))
    return blank + text if right else text + blank


def width_of(line: Line) -> int:
    """Return the width of a line in cells."""
    return sum(cell_len(span.text) for span in line)


def joined(lines: Iterable[Line], gap: str) -> Line:
    """Join lines into one, with a gap between them; empty lines are skipped."""
    spans: list[Span] = []
    for line in lines:
        spans += [Span(gap), *line] if spans and line else line
    return tuple(spans)


def fit(parts: Sequence[Part], width: int, gap: str) -> tuple[Line, ...]:
    """Return one line per part; together they fit `width` with gaps between. Dropped parts are empty."""
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
    """Convert the line to `Content`; markup in it is not parsed."""
    return Content.assemble(*((span.text, span.tone.value) for span in line))


def to_contents(lines: Iterable[Line]) -> Content:
    """Join the lines into one `Content`; markup in them is not parsed."""
    return Content("\n").join([to_content(line) for line in lines])


def megabytes(mb: float) -> str:
    """Return a size: `24 MB`, `1,434 MB`."""
    return f"{grouped(mb)} MB"


def in_mb(mb: float | None) -> str:
    """Return a size in MB without its unit, in at most five characters: `24`, `1,434`, `12000`."""
    if mb is None:
        return NONE
    return grouped(mb) if mb < 9_999.5 else f"{mb:.0f}"


def grouped(number: float) -> str:
    """Return a whole number with thousands separated: `1,012`."""
    return f"{number:,.0f}"


def percent(share: float) -> str:
    """Return a share (0…1) in percent: `34%`."""
    return f"{100 * share:.0f}%"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 line`, `2 lines`, `3 processes`."""
    return f"{grouped(number)} {noun if number == 1 else plural or noun + 's'}"


def project_path(path: str, agent: str = "") -> str:
    """Return a path relative to the agent file's folder, or else with ~ for the home folder."""
    return shown_path(Path(path), os.environ, Path(agent).parent if agent else None)


def wrapped(text: str, width: int) -> list[str]:
    """Return the text as rows of at most `width` cells, broken between words."""
    return [line.plain.rstrip() for line in Content(text).wrap(max(width, 8))] or [""]


def fact(name: str, value: str, indent: int, width: int = 0, tone: Tone = Tone.PLAIN) -> list[Line]:
    """Return a label and its value; further rows of a long value are indented. Width 0 does not wrap."""
    first, *rest = wrapped(one_line(value), width - indent) if width else [one_line(value)]
    return [
        (Span(f"  {name:<{indent - 2}}", Tone.DIM), Span(first, tone)),
        *((Span(" " * indent), Span(row, tone)) for row in rest),
    ]


def stopwatch(seconds: float) -> str:
    """Return a running time for a column, in at most 7 characters: `0:41`, `3:12:04`, `12h 04m`, `2d 03h`."""
    minutes, second = divmod(max(int(seconds), 0), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24:02}h"
    if hours >= 10:
        return f"{hours}h {minute:02}m"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def duration(seconds: float, *, whole_minutes: bool = False) -> str:
    """Return a duration in words: `41 s`, `12 min 4 s`, `1 h 6 min`, `2 d 3 h`."""
    minutes, second = divmod(max(int(seconds), 0), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 24:
        parts = ((hours // 24, "d"), (hours % 24, "h"))
    elif hours:
        parts = ((hours, "h"), (minute, "min"))
    else:
        parts = ((minutes, "min"), (0 if whole_minutes and minutes else second, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


def milliseconds(ms: float) -> str:
    """Return a measured duration: `0.8 ms`, `11 ms`, `2.4 s`, `12 min 4 s`. It may be negative."""
    if abs(ms) < 1:
        return f"{ms:.1f} ms"
    if abs(ms) < 999.5:
        return f"{ms:.0f} ms"
    return f"{ms / 1000:.1f} s" if ms < 59_950 else duration(ms / 1000)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of at least one value; `share` is 0…1."""
    ordered = sorted(values)
    rank = math.ceil(share * len(ordered))
    return ordered[min(max(rank, 1), len(ordered)) - 1]


MUTED = "$foreground 60%"
"""The style of muted text in a `Content`; `$text-muted` has no effect there, only CSS knows its opacity."""

PRINTABLE = characters.SAFE
"""The characters that inputs accept; an input draws its value unfiltered, and users paste anything."""

LONGEST = 300
"""Maximum number of cells of text from outside that a panel shows."""


def brief(text: str, longest: int = LONGEST) -> str:
    """Return text from outside as one short line. A cut ends with an ellipsis."""
    return clip(one_line(text), longest)


def cell(text: str, width: int, style: str = "") -> Content:
    """Return text from outside in exactly `width` cells."""
    return Content.styled(pad(one_line(text), max(width, 0)), style)
