"""What a Python file imports, read from its lines and never by running it.

No syntax tree: the host's parser knows another Python than the agent's, fails on deep expressions, and takes
as long as it likes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from agent_tui.reading import read_start

MOST_SCANNED = 2**19
"""Bytes of a file that are scanned: its imports come first."""

MOST_NAMES = 10_000
LONGEST = 255
"""Characters of a dotted name; no module has a longer one."""

# Possessive throughout: nothing is looked at twice, whatever the file looks like.
_TEXT = re.compile(
    r'''
    """ (?: [^"\\]++ | \\. | "(?!"") )*+ (?: """ )?
    | \'\'\' (?: [^'\\]++ | \\. | '(?!\'\') )*+ (?: \'\'\' )?
    | " (?: [^"\\\n]++ | \\. )*+ "?
    | ' (?: [^'\\\n]++ | \\. )*+ '?
    | \# [^\n]*+
    ''',
    re.VERBOSE | re.DOTALL,
)
"""Strings and comments: what they say is no import."""

_SEVERAL_LINES = re.compile(r"\bimport[ \t]*+\(([^()]*+)\)?")
_ONLY_FOR_TYPES = re.compile(r"(?:el)?if[ \t(]++(?:\w++[ \t]*+\.[ \t]*+)?TYPE_CHECKING[ \t)]*+:")
_FORGIVES = re.compile(
    r"except\b[ \t]*+(?::|.*?\b(?:ImportError|ModuleNotFoundError|Exception|BaseException)\b)"
    r"|with\b.*suppress"
)
_BLOCK_OF_REQUIRED = re.compile(r"try[ \t]*+:|(?:async[ \t]++)?with\b")
_REST_OF_TRY = re.compile(r"(?:except|else|finally)\b")
_STATEMENTS = re.compile(r"[;:]")
_STATEMENT = re.compile(
    r"[ \t]*+(?:from\b[ \t]*+(?P<dots>[. \t]*+)(?P<base>(?:(?!import\b)[\w.]++)?+)[ \t]*+)?"
    r"import\b(?P<names>.*)"
)


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name in full: `from livekit import agents` is `livekit.agents`."""

    module: str
    level: int = 0
    """Dots of a relative import."""
    required: bool = True
    """At module level and unconditional: the file does not load without it."""


def read_imports(file: Path) -> list[Import]:
    """Return all imports of a file, those only for type checkers left out. Raises OSError."""
    return list(imports_of(read_start(file, MOST_SCANNED)))


def imports_of(source: bytes) -> Iterator[Import]:
    """Yield the imports of a source, valid or not."""
    text = source[:MOST_SCANNED].decode("utf-8", "replace").removeprefix("\ufeff")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _TEXT.sub(lambda match: "" if match[0][0] == "#" else '""', text).replace("\\\n", " ")
    text = _SEVERAL_LINES.sub(lambda match: f"import {match[1].replace(chr(10), ' ')}", text)
    only_for_types: int | None = None
    left = MOST_NAMES
    block = _Block()
    for line in text.split("\n"):
        code = line.lstrip(" \t\f")
        indent = len(line) - len(code)
        if not code or (only_for_types is not None and indent > only_for_types):
            continue
        only_for_types = indent if _ONLY_FOR_TYPES.match(code) else None
        if not indent:
            yield from block.next_line(code)
        if "import" not in code or only_for_types is not None:
            continue
        for each in _on_line(code, not indent, left):
            left -= 1
            if not block.holds(each, indent):
                yield each
        if left <= 0:
            break
    yield from block.end()


class _Block:
    """A `try` or `with` at module level. Imports in it are required, unless it forgives that they fail."""

    def __init__(self) -> None:
        self._open = False
        self._forgives = False
        self._indent = 0
        self._held: list[Import] = []

    def next_line(self, code: str) -> list[Import]:
        """Take a line at module level; return the imports of a block that it ends."""
        if _REST_OF_TRY.match(code):
            self._open = False
            self._forgives = self._forgives or _FORGIVES.match(code) is not None
            return []
        held = self.end()
        if _BLOCK_OF_REQUIRED.match(code):
            self._open, self._indent, self._forgives = True, 0, _FORGIVES.match(code) is not None
        return held

    def holds(self, each: Import, indent: int) -> bool:
        """Whether it is an import of the block; then `end` or `next_line` returns it."""
        if not self._open or not indent:
            return False
        self._indent = self._indent or indent
        if indent == self._indent:
            self._held.append(each)
        return indent == self._indent

    def end(self) -> list[Import]:
        held = [replace(each, required=not self._forgives) for each in self._held]
        self._open, self._held = False, []
        return held


def _on_line(code: str, at_module_level: bool, most: int) -> Iterator[Import]:
    """What a line without its indentation imports, `try: import a` and `import a; import b` included."""
    required = at_module_level and ":" not in code
    for statement in _STATEMENTS.split(code, most):
        match = _STATEMENT.match(statement)
        if match is None:
            continue
        level = (match["dots"] or "").count(".")
        for name in _names(match["names"], most):
            module = name if match["base"] is None else f"{match['base']}.{name}".strip(".")
            if len(module) <= LONGEST:
                yield Import(module, level, required)
                most -= 1


def _names(text: str, most: int) -> list[str]:
    """`a as b, c` is a, c."""
    return [each.split(None, 1)[0] for each in text.split(",", most)[:most] if each.strip()]
