"""Where a traceback points, and the lines around that place as they are on disk now."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from agent_tui.reading import read_file
from agent_tui.tui.widgets.text import Line, Span, Tone, clip, one_line

AROUND = 2
"""Lines shown before and after the one that failed."""

MAX_BYTES = 1_000_000
_FRAME = re.compile(r'^ +File "([^"\n]+)", line (\d{1,9})(?:, in .*)?\n(?: +(\S.*))?', re.MULTILINE)
_NODE_FRAME = re.compile(
    r"^ +at (?:[^\n(]*\(|async )?(file://)?(/[^\n()]*):(\d{1,9}):\d{1,9}\)?$", re.MULTILINE
)
_NOT_OURS = re.compile(r"/(site-packages|dist-packages|lib/python\d[^/]*|node_modules|agent_tui/child)/")


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, and what stood there when it failed (empty if the traceback does not quote it)."""

    file: str
    line: int
    quoted: str


def failing_place(traceback: str) -> Place | None:
    """The innermost frame in the project's own code, else the innermost of all."""
    frames = [each for each in _FRAME.findall(traceback) if each[0].startswith("/")]
    if not frames:  # Node's innermost frame comes first, and it quotes no line
        found = reversed(_NODE_FRAME.findall(traceback))
        frames = [(unquote(path) if is_url else path, line, "") for is_url, path, line in found]
    own = [each for each in frames if not _NOT_OURS.search(each[0])]
    if not frames:
        return None
    file, line, quoted = (own or frames)[-1]
    return Place(file, int(line), quoted.strip())


def read_source(file: str) -> str | None:
    """A regular file's text; None when it is not there, too large or not to be read."""
    try:
        return read_file(file, MAX_BYTES).decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError:
        return None


def source_lines(
    place: Place, width: int, read: Callable[[str], str | None] = read_source
) -> tuple[Line, ...]:
    """The failing line between its neighbours; it is told when the file is gone or has changed since."""
    head = (Span(_end_of(one_line(f"{place.file}:{place.line}"), width), Tone.STRONG),)
    text = read(place.file)
    if text is None:
        return (head, (Span("  the file cannot be read any more", Tone.DIM),))
    lines = text.split("\n")
    if place.line > len(lines) or (place.quoted and lines[place.line - 1].strip() != place.quoted):
        quoted = (
            ((Span(f"  ▸ {clip(one_line(place.quoted), width - 4)}", Tone.BAD),),) if place.quoted else ()
        )
        return (head, *quoted, (Span("  the file has changed since", Tone.DIM),))
    first = max(place.line - AROUND, 1)
    shown = enumerate(lines[first - 1 : place.line + AROUND], first)
    digits = len(str(place.line + AROUND))
    return (head, *(_numbered(number, line, digits, number == place.line) for number, line in shown))


def _end_of(path: str, width: int) -> str:
    """A long path by its end, where the file's name is."""
    return path if len(path) <= width else f"…{path[1 - max(width, 2) :]}"


def _numbered(number: int, line: str, digits: int, failing: bool) -> Line:
    mark, tone = ("▸", Tone.BAD) if failing else (" ", Tone.DIM)
    # Not `one_line`: indentation says what belongs to what.
    text = line.expandtabs(4)
    indent = len(text) - len(text.lstrip(" "))
    return (Span(f"  {mark} {number:>{digits}}  ", tone), Span(" " * indent + one_line(text), tone))
