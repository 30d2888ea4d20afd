"""The place that a traceback points to, and the source lines around it, as they are on disk now."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from agent_tui.reading import read_file
from agent_tui.tui.widgets.text import Line, Span, Tone, clip, one_line, project_path

AROUND = 2
"""Lines shown before and after the failing line."""

MAX_BYTES = 1_000_000
_FRAME = re.compile(r'^ +File "([^"\n]+)", line (\d{1,9})(?:, in .*)?\n(?: +(\S.*))?', re.MULTILINE)
_NODE_FRAME = re.compile(
    r"^ +at (?:[^\n(]*\(|async )?(file://)?(/[^\n()]*):(\d{1,9}):\d{1,9}\)?$", re.MULTILINE
)
_NOT_OURS = re.compile(r"/(site-packages|dist-packages|lib/python\d[^/]*|node_modules|agent_tui/child)/")


@dataclass(frozen=True, slots=True)
class Place:
    """A file and line, and the line's text as quoted in the traceback (empty if it is not)."""

    file: str
    line: int
    quoted: str


def failing_place(traceback: str) -> Place | None:
    """Return the innermost frame in the project's code, or else the innermost of all; None without frames."""
    frames = [each for each in _FRAME.findall(traceback) if each[0].startswith("/")]
    if not frames:  # in Node's, the innermost frame comes first, without the line's text
        found = reversed(_NODE_FRAME.findall(traceback))
        frames = [(unquote(path) if is_url else path, line, "") for is_url, path, line in found]
    own = [each for each in frames if not _NOT_OURS.search(each[0])]
    if not frames:
        return None
    file, line, quoted = (own or frames)[-1]
    return Place(file, int(line), quoted.strip())


def read_source(file: str) -> str | None:
    """Return a regular file's text; None if it is missing, too large, or unreadable."""
    try:
        return read_file(file, MAX_BYTES).decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError:
        return None


def source_lines(
    place: Place, width: int, agent: str = "", read: Callable[[str], str | None] = read_source
) -> tuple[Line, ...]:
    """Return the failing line with its neighbors, or why the file does not have it anymore."""
    file = project_path(place.file, agent)
    head = (Span(_end_of(one_line(f"{file}:{place.line}"), width), Tone.STRONG),)
    text = read(place.file)
    if text is None:
        return (head, (Span("  the file is no longer readable", Tone.DIM),))
    lines = text.split("\n")
    if place.line > len(lines) or (place.quoted and lines[place.line - 1].strip() != place.quoted):
        quoted = (
            ((Span(f"  ▸ {clip(one_line(place.quoted), width - 4)}", Tone.BAD),),) if place.quoted else ()
        )
        return (head, *quoted, (Span("  the file has changed since the error", Tone.DIM),))
    first = max(place.line - AROUND, 1)
    shown = enumerate(lines[first - 1 : place.line + AROUND], first)
    digits = len(str(place.line + AROUND))
    return (head, *(_numbered(number, line, digits, number == place.line) for number, line in shown))


def _end_of(path: str, width: int) -> str:
    """Return the end of a long path, which has the file's name."""
    return path if len(path) <= width else f"…{path[1 - max(width, 2) :]}"


def _numbered(number: int, line: str, digits: int, failing: bool) -> Line:
    mark, tone = ("▸", Tone.BAD) if failing else (" ", Tone.DIM)
    # `one_line` would remove the indentation.
    text = line.expandtabs(4)
    indent = len(text) - len(text.lstrip(" "))
    return (Span(f"  {mark} {number:>{digits}}  ", tone), Span(" " * indent + one_line(text), tone))
