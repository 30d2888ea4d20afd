"""What a load changed and why it failed, as lines to read. Pure functions."""

import re
from collections.abc import Iterator

from rich.cells import chop_cells

from agent_tui.logs.sanitise import sanitise
from agent_tui.model.state import LoadRecord
from agent_tui.tui.widgets.text import Line, Span, Tone, one_line

TRACE_LINES = 60
LONGEST = 2_000
"""Characters of one line that are shown."""

NOWHERE = "/dev/null"
IMPORTS = 'File "<frozen importlib.'
"""Frames of Python's own import system say nothing to anybody."""


_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_TONES = {"+": Tone.GOOD, "-": Tone.GONE, "@": Tone.DIM, "f": Tone.STRONG, "=": Tone.WARN, " ": Tone.PLAIN}

Marked = tuple[str, str, int]
"""What a line of a diff is (`+`, `-`, ` `, `@` a place, `f` a file's name, `=` a remark), its text, and the
line of the new file that it stands at."""


def marked(diff: str) -> Iterator[Marked]:
    """The lines of a diff by what they are: a removed `-- x` is no file's name."""
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
    """A diff with a blank line before each file; its first line sums it up."""
    lines: list[Line] = []
    for kind, text, _ in marked(diff):
        if kind == "f" and text.startswith("--- "):
            lines.append(())
        tone = _TONES[kind] if lines else Tone.STRONG
        lines += ((Span(each, tone),) for each in folded(text, width))
    return tuple(lines)


def folded(text: str, width: int) -> list[str]:
    """A line in as many rows as it takes; those after the first begin with its sign, and a mark."""
    clean = sanitise(text, LONGEST).replace("\n", " ")
    sign = clean[:1] if clean[:1] in ("+", "-") else " "
    first, *rest = chop_cells(clean, max(width, 8)) or [""]
    more = chop_cells("".join(rest), max(width - 3, 8)) if rest else []
    return [first, *(f"{sign}… {each}" for each in more)]


def first_change(diff: str) -> tuple[str, int] | None:
    """The first file that was changed and is still there, and the line of its first change."""
    name = ""
    for kind, text, at in marked(diff):
        if kind == "f" and text.startswith("+++ "):
            name = text.removeprefix("+++ ")
        elif kind in ("+", "-") and name not in ("", NOWHERE):
            return name, at
    return None


def failure_lines(record: LoadRecord, width: int) -> tuple[Line, ...]:
    """Why it failed, where, the line that did, and the traceback."""
    lines: list[Line] = [(Span(one_line(record.error), Tone.BAD),)]
    if record.file:
        place = f"{record.file}:{record.line}" if record.line else record.file
        lines.append((Span("at ", Tone.DIM), Span(one_line(place))))
    if source := failing_line(record):
        lines.append((Span("   ", Tone.DIM), Span(one_line(source), Tone.STRONG)))
    trace = [each for each in sanitise(record.traceback).split("\n") if each.strip() and IMPORTS not in each]
    if trace:
        lines.append(())
    if (more := len(trace) - TRACE_LINES) > 0:
        lines.append((Span(f"… {more} lines before", Tone.DIM),))
    lines += ((Span(row),) for each in trace[-TRACE_LINES:] for row in folded(each, width))
    return tuple(lines)


def failing_line(record: LoadRecord) -> str:
    """The text of the line that failed, as the traceback has it; empty if it has none."""
    lines = record.traceback.split("\n")
    at = f'File "{record.file}", line {record.line}'
    for number in range(len(lines) - 2, -1, -1):
        place = lines[number].strip()
        if place == at or place.startswith(f"{at},"):
            return lines[number + 1].strip()
    return ""
