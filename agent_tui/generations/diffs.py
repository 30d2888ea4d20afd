"""What changed from one load to another, as a unified diff for people."""

import difflib
import os
from collections.abc import Iterator

from agent_tui.generations.history import Kept
from agent_tui.generations.sources import Snapshot, differing

CONTEXT = 3
MOST_LINES = 2000
"""Lines of a diff that are told; how many more there are is said."""

MOST_FILES = 200
LARGEST = 512 * 1024
"""Bytes of a file above which its lines are not compared."""

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
"""Characters that would hide something from whoever reads a diff, as what can be seen of them."""


def difference(before: Kept, after: Kept, folder: str, *, most_lines: int = MOST_LINES) -> str:
    """A line that sums it up, then the diff; files below `folder` are named from there.

    Lines are split as Python splits them; a file that is no UTF-8 text, or whose content is not kept
    (environment files), is only named.
    """
    lines = list(_all(before.snapshot, after.snapshot, folder))
    added, removed = _count(lines)
    files = len(differing(before.snapshot, after.snapshot))
    head = f"generation {after.number} against {before.number}"
    if not before.good:
        head += ", which did not load"
    if not files:
        return f"{head}: no file of the agent differs"
    head = f"{head}: {files} file{'' if files == 1 else 's'}, +{added} -{removed} lines"
    more = len(lines) - most_lines
    if more > 0:
        lines = [*lines[:most_lines], f"… {more} more lines are not shown"]
    return "\n".join([head, *lines])


def _all(before: Snapshot, after: Snapshot, folder: str) -> Iterator[str]:
    paths = [str(path) for path in differing(before, after)]
    for path in paths[:MOST_FILES]:
        name = os.path.relpath(path, folder) if path.startswith(folder + os.sep) else path
        name = name.replace("\n", "\u2424").translate(_VISIBLE)
        if path in before.others or path in after.others:
            yield f"=== {name} {_what(path, before, after)}: its content is not kept"
        else:
            yield from _file(name, before.modules.get(path), after.modules.get(path))
    if len(paths) > MOST_FILES:
        yield f"=== {len(paths) - MOST_FILES} more files differ"


def _what(path: str, before: Snapshot, after: Snapshot) -> str:
    if path not in after.others and path not in after.modules:
        return "is gone"
    return "changed" if path in before.others or path in before.modules else "is new"


def _file(name: str, old: bytes | None, new: bytes | None) -> Iterator[str]:
    sizes = f"{len(old or b'')} → {len(new or b'')} bytes"
    if max(len(old or b""), len(new or b"")) > LARGEST:
        yield f"=== {name}: too large to compare, {sizes}"
        return
    before, after = _lines(old), _lines(new)
    if before is None or after is None:
        yield f"=== {name}: no UTF-8 text, {sizes}"
        return
    names = (NOWHERE if old is None else name), (NOWHERE if new is None else name)
    lines = list(difflib.unified_diff(before, after, *names, n=CONTEXT, lineterm=""))
    if lines:
        yield from lines
    elif old is None or new is None:
        yield f"=== {name} {'is new' if old is None else 'is gone'}, and empty"
    else:
        yield f"=== {name}: only how its lines end"


def _lines(content: bytes | None) -> list[str] | None:
    """A file's lines, none for one that is not there; None for one that is no text."""
    try:
        text = (content or b"").decode("utf-8")
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    text = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
    return text.translate(_VISIBLE).split("\n") if text else []


def _count(lines: list[str]) -> tuple[int, int]:
    """Lines added and removed; a file's two heading lines are neither."""
    heads = sum(
        line.startswith("--- ") and after.startswith("+++ ") and hunk.startswith("@@ ")
        for line, after, hunk in zip(lines, lines[1:], lines[2:], strict=False)
    )
    added = sum(line.startswith("+") for line in lines) - heads
    return added, sum(line.startswith("-") for line in lines) - heads
