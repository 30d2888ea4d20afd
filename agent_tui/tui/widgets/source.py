"""Tracebacks: the failing line, the source around it as it is on disk now, and the text."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import unquote

from agent_tui.logs.sanitize import sanitize
from agent_tui.reading import read_file
from agent_tui.tui.widgets.text import Line, Span, Tone, clip, counted, one_line, project_path

AROUND = 2
"""Lines shown before and after the failing line."""

MAX_BYTES = 1_000_000
_FRAME = re.compile(r'^ +File "([^"\n]+)", line (\d{1,9})(?:, in .*)?\n(?: +(\S.*))?', re.MULTILINE)
_NODE_FRAME = re.compile(
    r"^ +at (?:[^\n(]*\(|async )?(file://)?(/[^\n()]*):(\d{1,9}):\d{1,9}\)?$", re.MULTILINE
)
_NOT_OURS = re.compile(r"/(site-packages|dist-packages|lib/python\d[^/]*|node_modules|agent_tui/child)/")
_HEADER = re.compile(r'^([ |+-]*)File "([^"]+)", line (\d{1,9})(?:, in .*)?$')
"""Matches the first line of a Python frame. In an exception group, the indentation contains bars."""

_LINKS = ("Traceback (most recent call last)", "During handling of the above", "The above exception was")
_REPEATED = "[Previous line repeated"


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
    """Return the failing line with its neighbors, or why it cannot be shown."""
    file = project_path(place.file, agent)
    head = (Span(_end_of(one_line(f"{file}:{place.line}"), width), Tone.STRONG),)
    text = read(place.file)
    lines = (text or "").split("\n")
    differs = place.line > len(lines) or (place.quoted and lines[place.line - 1].strip() != place.quoted)
    if text is None or differs:
        quoted = (
            ((Span(f"  ▸ {clip(one_line(place.quoted), width - 4)}", Tone.BAD),),) if place.quoted else ()
        )
        why = "is no longer readable" if text is None else "has changed since the error"
        return (head, *quoted, (Span(f"  the file {why}", Tone.DIM),))
    first = max(place.line - AROUND, 1)
    shown = enumerate(lines[first - 1 : place.line + AROUND], first)
    digits = len(str(place.line + AROUND))
    return (head, *(_numbered(number, line, digits, number == place.line) for number, line in shown))


def _end_of(path: str, width: int) -> str:
    """Return the end of a long path, which contains the file's name."""
    return path if len(path) <= width else f"…{path[1 - max(width, 2) :]}"


def _numbered(number: int, line: str, digits: int, failing: bool) -> Line:
    mark, tone = ("▸", Tone.BAD) if failing else (" ", Tone.DIM)
    # `one_line` would remove the indentation.
    text = line.expandtabs(4)
    indent = len(text) - len(text.lstrip(" "))
    return (Span(f"  {mark} {number:>{digits}}  ", tone), Span(" " * indent + one_line(text), tone))


def without_libraries(traceback: str) -> str:
    """Return the traceback without the frames of libraries, or unchanged if none is in the project."""
    frames = frames_of(traceback)
    if not any(frame.file and not frame.is_library for frame in frames):
        return traceback
    return "\n".join(line for frame in frames if not frame.is_library for line in frame.lines)


# -- the traceback as text -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a traceback: its lines, file, and line number. Text between frames has no file."""

    lines: tuple[str, ...]
    file: str = ""
    line: int = 0

    @property
    def is_library(self) -> bool:
        """Whether the frame is outside the project: in a package, the standard library, or the SDK."""
        return bool(self.file) and (not self.file.startswith("/") or bool(_NOT_OURS.search(self.file)))


def frames_of(traceback: str) -> tuple[Frame, ...]:
    """Return the frames of a Python or Node traceback, with the text between them, in order."""
    found: list[Frame] = []
    prefix = ""
    for line in traceback.split("\n"):
        if header := _HEADER.match(line):
            prefix = header[1]
            found.append(Frame((line,), header[2], int(header[3])))
        elif node := _NODE_FRAME.match(line):
            is_url, path, number = node.groups()
            found.append(Frame((line,), unquote(path) if is_url else path, int(number)))
        elif line.lstrip().startswith("at ") and line.startswith(" "):
            found.append(Frame((line,), "node:internal"))
        elif found and found[-1].file and prefix and _continues(line, prefix):
            found[-1] = replace(found[-1], lines=(*found[-1].lines, line))
        else:
            found.append(Frame((line,)))
    return tuple(found)


def _continues(line: str, prefix: str) -> bool:
    """Return whether a line belongs to the frame above it, whose line has this indentation."""
    return line.startswith(f"{prefix}  ") or line.lstrip(" |").startswith(_REPEATED)


def traceback_lines(
    traceback: str,
    width: int,
    agent: str = "",
    *,
    folded: bool = True,
    hint: str = "",
    read: Callable[[str], str | None] = read_source,
) -> tuple[Line, ...]:
    """Return a traceback with the source around the failing line. `folded` hides frames of libraries.

    If no frame is in the project, nothing is folded. `hint` names the key that folds and unfolds.
    """
    if not traceback:
        return ()
    place = failing_place(traceback)
    frames = frames_of(sanitize(traceback).rstrip("\n").removeprefix(f"{_LINKS[0]}:\n"))
    own = any(frame.file and not frame.is_library for frame in frames)
    can_fold, folds = own and any(frame.is_library for frame in frames), own and folded
    title = "Traceback" if any(_HEADER.match(frame.lines[0]) for frame in frames) else "Stack trace"
    lines: list[Line] = []
    run = 0
    last = max((at for at, frame in enumerate(frames) if _is_at(frame, place)), default=-1)
    for at, frame in enumerate(frames):
        if folds and frame.is_library:
            run += 1
            continue
        if run:
            lines.append(_folded(run))
            run = 0
        lines += _frame_lines(frame, agent)
        if at == last and place is not None:
            lines = lines[: len(lines) - len(frame.lines) + 1]
            lines += source_lines(place, width, agent, read)[1:]
    if run:
        lines.append(_folded(run))
    more = f"  {hint}" if can_fold and hint else ""
    return ((Span(title, Tone.STRONG), Span(more, Tone.DIM)), *lines)


def _is_at(frame: Frame, place: Place | None) -> bool:
    return place is not None and (frame.file, frame.line) == (place.file, place.line)


def _folded(frames: int) -> Line:
    return (Span(f"    … {counted(frames, 'library frame')}", Tone.DIM),)


def _frame_lines(frame: Frame, agent: str) -> list[Line]:
    """Return the lines of a frame, bright if it is the project's, or text: the exception and its message."""
    if not frame.file:
        is_link = frame.lines[0].lstrip(" |+-").startswith(_LINKS)
        return [(Span(f"  {line}", Tone.DIM if is_link else Tone.GONE),) for line in frame.lines]
    tone = Tone.DIM if frame.is_library else Tone.PLAIN
    head, *rest = frame.lines
    if not frame.is_library:
        head = head.replace(frame.file, one_line(project_path(frame.file, agent)), 1)
    return [(Span(f"  {line}", tone),) for line in (head, *rest)]
