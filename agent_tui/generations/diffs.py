"""The changes between two loads, as a unified diff."""

import difflib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from agent_tui.generations.history import Loaded
from agent_tui.generations.sources import Snapshot, differing
from agent_tui.model.wording import counted

CONTEXT = 3
MOST_LINES = 2000
"""How many lines of a diff are shown. The rest are only counted."""

MOST_FILES = 200
LARGEST = 512 * 1024
"""The lines of a file larger than this, in bytes, are not compared."""

PATIENCE_S = 5.0
"""Time limit for all files together, in s. Files with many equal lines can take very long to compare."""

MOST_PAIRS = 500_000
"""Maximum number of pairs of equal lines of two files. Files with more pairs are not compared."""

NOWHERE = "/dev/null"

_VISIBLE = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"}
_VISIBLE |= {0x7F: "\u2421"}
_VISIBLE |= {
    code: f"<U+{code:04X}>"
    for first, last in (
        *((0x80, 0x9F), (0x061C, 0x061C), (0x200E, 0x200F), (0x2028, 0x202E), (0x2066, 0x206F)),
        *((0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB)),
    )
    for code in range(first, last + 1)
}
"""Characters that would hide something in a diff, and their visible replacements."""


def difference(
    before: Loaded,
    after: Loaded,
    folder: str,
    *,
    most_lines: int = MOST_LINES,
    now: Callable[[], float] = time.monotonic,
) -> str:
    """Return a summary line and the diff; files below `folder` are named relative to it.

    Lines are split as Python splits them. A file that is not UTF-8 text, or whose content is not kept
    (environment files), is only named.
    """
    deadline = now() + PATIENCE_S
    lines = list(_all(before.snapshot, after.snapshot, folder, lambda: now() > deadline))
    added, removed = _count(lines)
    files = len(differing(before.snapshot, after.snapshot))
    head = f"generation {after.number} compared with {before.number}"
    if not before.good:
        head += ", which did not load"
    if not files:
        return f"{head}: no file changed"
    head = f"{head}: {counted(files, 'file')}, +{added} -{removed} lines"
    more = len(lines) - most_lines
    if more > 0:
        lines = [*lines[:most_lines], f"… {counted(more, 'more line')}"]
    return "\n".join([head, *lines])


def _all(before: Snapshot, after: Snapshot, folder: str, is_late: Callable[[], bool]) -> Iterator[str]:
    paths = [str(path) for path in differing(before, after)]
    for path in paths[:MOST_FILES]:
        name = os.path.relpath(path, folder) if path.startswith(folder + os.sep) else path
        name = name.replace("\n", "\u2424").translate(_VISIBLE)
        if path in before.others or path in after.others:
            yield f"=== {name} {_what(path, before, after)}: content not kept"
        else:
            yield from _file(name, before.modules.get(path), after.modules.get(path), is_late)
    if len(paths) > MOST_FILES:
        more = len(paths) - MOST_FILES
        yield f"=== {counted(more, 'more file')} changed"


def _what(path: str, before: Snapshot, after: Snapshot) -> str:
    if path not in after.others and path not in after.modules:
        return "deleted"
    return "changed" if path in before.others or path in before.modules else "added"


def _file(name: str, old: bytes | None, new: bytes | None, is_late: Callable[[], bool]) -> Iterator[str]:
    sizes = f"{len(old or b'')} → {len(new or b'')} bytes"
    if max(len(old or b""), len(new or b"")) > LARGEST:
        yield f"=== {name}: too large to compare, {sizes}"
        return
    before, after = _lines(old), _lines(new)
    if before is None or after is None:
        yield f"=== {name}: not UTF-8 text, {sizes}"
        return
    names = (NOWHERE if old is None else name), (NOWHERE if new is None else name)
    try:
        lines = list(_hunks(before, after, is_late))
    except _TooSlowError:
        yield f"=== {name}: too slow to compare, {sizes}"
        return
    if lines:
        yield from (f"--- {names[0]}", f"+++ {names[1]}", *lines)
    elif old is None or new is None:
        yield f"=== {name} {'added' if old is None else 'deleted'}, empty"
    else:
        yield f"=== {name}: only line endings changed"


class _TooSlowError(Exception):
    """Comparing these lines takes too long."""


class _Matcher(difflib.SequenceMatcher[str]):
    """A SequenceMatcher that raises _TooSlowError once `is_late()` returns True."""

    def __init__(self, before: Sequence[str], after: Sequence[str], is_late: Callable[[], bool]) -> None:
        super().__init__(None, before, after)
        self._is_late = is_late

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> difflib.Match:
        if self._is_late():
            raise _TooSlowError
        return super().find_longest_match(alo, ahi, blo, bhi)


def _hunks(before: list[str], after: list[str], is_late: Callable[[], bool]) -> Iterator[str]:
    """Yield the lines that `difflib.unified_diff` would yield. Raise _TooSlowError if that takes too long."""
    counts = Counter(after)
    popular = len(after) // 100 + 1 if len(after) >= 200 else len(after)  # difflib ignores more frequent ones
    if sum(counts[line] for line in before if counts[line] <= popular) > MOST_PAIRS:
        raise _TooSlowError
    matcher = _Matcher(before, after, is_late)
    for group in matcher.get_grouped_opcodes(CONTEXT):
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"
        for tag, old, old_end, new, new_end in group:
            if tag == "equal":
                yield from (f" {line}" for line in before[old:old_end])
                continue
            yield from (f"-{line}" for line in before[old:old_end])
            yield from (f"+{line}" for line in after[new:new_end])


def _range(start: int, end: int) -> str:
    """Return a line range in a hunk header's format, counted from 1."""
    length = end - start
    return f"{start + 1}" if length == 1 else f"{start + bool(length)},{length}"


def _lines(content: bytes | None) -> list[str] | None:
    """Return a file's lines, empty for a missing file; None if it is not text."""
    try:
        text = (content or b"").decode("utf-8")
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    text = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
    return text.translate(_VISIBLE).split("\n") if text else []


def _count(lines: list[str]) -> tuple[int, int]:
    """Return the numbers of added and removed lines, without the two header lines of each file."""
    heads = sum(
        line.startswith("--- ") and after.startswith("+++ ") and hunk.startswith("@@ ")
        for line, after, hunk in zip(lines, lines[1:], lines[2:], strict=False)
    )
    added = sum(line.startswith("+") for line in lines) - heads
    return added, sum(line.startswith("-") for line in lines) - heads
