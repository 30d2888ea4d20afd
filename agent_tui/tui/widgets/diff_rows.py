"""What a load changed, as a diff, or why it failed. Pure functions."""

import re
from collections.abc import Iterator

from rich.cells import chop_cells

from agent_tui.logs.sanitize import sanitize
from agent_tui.model.state import AppState, LoadRecord
from agent_tui.tui.widgets.text import Line, Span, Tone, clip, counted, one_line, project_path

TRACE_LINES = 60
LONGEST = 2_000
"""Maximum characters of a shown line."""

NOWHERE = "/dev/null"
IMPORTS = 'File "<frozen importlib.'
"""Frames of Python's import system, which are left out."""


_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_TONES = {"+": Tone.GOOD, "-": Tone.GONE, "@": Tone.DIM, "f": Tone.STRONG, "=": Tone.WARN, " ": Tone.PLAIN}

Marked = tuple[str, str, int]
"""A diff line's kind (`+`, `-`, ` `, `@` hunk, `f` file name, `=` remark), its text, and its line in the new
file."""


def marked(diff: str) -> Iterator[Marked]:
    """Classify the lines of a diff.

    Uses the hunk lengths, so a removed line `-- x` is not mistaken for a file name.
    """
    old = new = at = 0
    for line in diff.split("\n"):
        if (old > 0 or new > 0) and line[:1] in ("+", "-", " "):
            yield line[0], line, at
            old -= line[0] != "+"
            new -= line[0] != "-"
            at += line[0] != "-"
        elif found := _HUNK.match(line):
            old, new = int(found[1] or 1), int(found[3] or 1)
            at = int(found[2])
            yield "@", line, at
        elif line.startswith(("--- ", "+++ ")):
            yield "f", line, 0
        else:
            yield "=", line, 0


def diff_lines(diff: str, width: int) -> tuple[Line, ...]:
    """Return a summary, then the diff, with a heading per file and line numbers of the new file."""
    found = list(marked(diff))
    digits = len(str(max((at for _, _, at in found), default=1)))
    lines: list[Line] = []
    old_name = ""
    for kind, text, at in found:
        if kind == "f":
            if text.startswith("--- "):
                old_name = text.removeprefix("--- ")
            else:
                lines += ((), (Span(_file(old_name, text.removeprefix("+++ "), width), Tone.STRONG),))
        elif kind == "@":
            lines.append((Span(f"{'⋯':>{digits}}", Tone.DIM),))
        elif kind == "=":
            tone = _TONES[kind] if lines else Tone.STRONG
            lines += ((Span(each, tone),) for each in folded(text.removeprefix("=== "), width))
        else:
            number = "" if kind == "-" else str(at)
            for row in folded(text, width - digits - 1):
                lines.append((Span(f"{number:>{digits}} ", Tone.DIM), Span(row, _TONES[kind])))
                number = ""
    return tuple(lines)


def _file(old: str, new: str, width: int) -> str:
    """Return the heading of a file's changes."""
    name, what = (old, " deleted") if new == NOWHERE else (new, " new file" if old == NOWHERE else "")
    name = sanitize(name, LONGEST).replace("\n", " ")
    return clip(f"── {name}{what} ".ljust(min(width, 60), "─"), width)


def folded(text: str, width: int) -> list[str]:
    """Return a line as rows of at most `width` cells; further rows start with its sign and an ellipsis."""
    clean = sanitize(text, LONGEST).replace("\n", " ")
    sign = clean[:1] if clean[:1] in ("+", "-") else " "
    first, *rest = chop_cells(clean, max(width, 8)) or [""]
    more = chop_cells("".join(rest), max(width - 3, 8)) if rest else []
    return [first, *(f"{sign}… {each}" for each in more)]


def first_change(diff: str) -> tuple[str, int] | None:
    """Return the first changed file that still exists, and its first changed line; None if there is none."""
    name = ""
    for kind, text, at in marked(diff):
        if kind == "f" and text.startswith("+++ "):
            name = text.removeprefix("+++ ")
        elif kind in ("+", "-") and name not in ("", NOWHERE):
            return name, at
    return None


def failure_lines(record: LoadRecord, state: AppState, width: int) -> tuple[Line, ...]:
    """Return a failed load's error, place, failing line, and traceback."""
    lines: list[Line] = [(Span(one_line(record.error), Tone.BAD),)]
    if record.file:
        file = project_path(record.file, state.agent)
        place = f"{file}:{record.line}" if record.line else file
        lines.append((Span("at ", Tone.DIM), Span(one_line(place))))
    if source := failing_line(record):
        lines.append((Span("   ", Tone.DIM), Span(one_line(source), Tone.STRONG)))
    trace = [each for each in sanitize(record.traceback).split("\n") if each.strip() and IMPORTS not in each]
    if trace:
        lines.append(())
    if (more := len(trace) - TRACE_LINES) > 0:
        lines.append((Span(f"… {counted(more, 'earlier line')}", Tone.DIM),))
    lines += ((Span(row),) for each in trace[-TRACE_LINES:] for row in folded(each, width))
    return tuple(lines)


def failing_line(record: LoadRecord) -> str:
    """Return the failing line as the traceback quotes it; empty if it does not."""
    lines = record.traceback.split("\n")
    at = f'File "{record.file}", line {record.line}'
    for number in range(len(lines) - 2, -1, -1):
        place = lines[number].strip()
        if place == at or place.startswith(f"{at},"):
            return lines[number + 1].strip()
    return ""
