"""The imports of a Python file, found in its text without running it, and the project's files that they run.

The text is scanned, not parsed: the host's parser is for another Python version than the agent's, fails on
deep expressions, and has no time limit.
"""

import functools
import itertools
import os
import re
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path

from agent_tui.reading import read_start

MOST_SCANNED = 2**19
"""How many bytes of a file are scanned. Most imports are at its start."""

MOST_NAMES = 10_000
LONGEST = 255
"""Maximum number of characters of a dotted name."""

# Possessive, so that nothing is scanned twice, whatever the file contains. Groups are not: Python 3.11.2 then
# matches them wrongly. What follows them is optional, so they are not tried twice either.
_TEXT = re.compile(
    r'''
    """ (?: [^"\\]++ | \\. | "(?!"") )* (?: """ )?
    | \'\'\' (?: [^'\\]++ | \\. | '(?!\'\') )* (?: \'\'\' )?
    | " (?: [^"\\\n]++ | \\. )* "?
    | ' (?: [^'\\\n]++ | \\. )* '?
    | \# [^\n]*+
    ''',
    re.VERBOSE | re.DOTALL,
)
"""Strings and comments, in which nothing is an import."""

_DOTTED = re.compile(r"""["'][\w.]{1,255}["']""")
_BY_NAME = re.compile(r"""\bimport_module[ \t]*+\(\s*+["']([\w.]++)["']""")
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
    r"[ \t]*+(?:from\b[ \t]*+(?P<dots>[. \t]*+)(?P<base>(?:(?!import\b)[\w.]++)?)[ \t]*+)?"
    r"import\b(?P<names>.*)"
)


class When(Enum):
    """When an import runs."""

    ALWAYS = auto()
    """The import is at module level and unconditional, so the file does not load without the module."""
    MAYBE = auto()
    BY_NAME = auto()
    """The import is a call of `import_module("…")`, anywhere in the file."""
    NEVER = auto()
    """The import is only for type checkers."""


@dataclass(frozen=True, slots=True)
class Import:
    """One fully qualified imported name: `from livekit import agents` imports `livekit.agents`."""

    module: str
    level: int = 0
    """The number of dots of a relative import."""
    when: When = When.ALWAYS


def read_imports(file: Path) -> list[Import]:
    """Return the import statements that the file may run. Raise OSError if it cannot be read."""
    found = imports_of(read_start(file, MOST_SCANNED))
    return [each for each in found if each.when in (When.ALWAYS, When.MAYBE)]


def imports_of(source: bytes) -> Iterator[Import]:
    """Yield the imports in a source, even if it is not valid Python."""
    text = source[:MOST_SCANNED].decode("utf-8", "replace").removeprefix("\ufeff")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    by_name = "import_module" in text
    text = _TEXT.sub(functools.partial(_blank, keep_dotted=by_name), text).replace("\\\n", " ")
    if by_name:
        for match in itertools.islice(_BY_NAME.finditer(text), MOST_NAMES):
            yield Import(match[1].strip("."), when=When.BY_NAME)
    text = _SEVERAL_LINES.sub(lambda match: f"import {match[1].replace(chr(10), ' ')}", text)
    only_for_types: int | None = None
    left = MOST_NAMES
    block = _Block()
    for line in text.split("\n"):
        code = line.lstrip(" \t\f")
        indent = len(line) - len(code)
        if not code:
            continue
        if only_for_types is None or indent <= only_for_types:
            only_for_types = indent if _ONLY_FOR_TYPES.match(code) else None
            if not indent:
                yield from block.next_line(code)
        if "import" not in code:
            continue
        for each in _on_line(code, not indent, left):
            left -= 1
            if only_for_types is not None:
                yield replace(each, when=When.NEVER)
            elif not block.holds(each, indent):
                yield each
        if left <= 0:
            break
    yield from block.end()


def _blank(match: "re.Match[str]", *, keep_dotted: bool) -> str:
    """Return the replacement for a string or comment."""
    if match[0][0] == "#":
        return ""
    return match[0] if keep_dotted and _DOTTED.fullmatch(match[0]) else '""'


class _Block:
    """A `try` or `with` at module level. Imports in it are required, unless it tolerates their failure."""

    def __init__(self) -> None:
        self._open = False
        self._forgives = False
        self._indent = 0
        self._held: list[Import] = []

    def next_line(self, code: str) -> list[Import]:
        """Handle a line at module level; return the imports of a block that it ends."""
        if _REST_OF_TRY.match(code):
            self._open = False
            self._forgives = self._forgives or _FORGIVES.match(code) is not None
            return []
        held = self.end()
        if _BLOCK_OF_REQUIRED.match(code):
            self._open, self._indent, self._forgives = True, 0, _FORGIVES.match(code) is not None
        return held

    def holds(self, each: Import, indent: int) -> bool:
        """Keep the import if it belongs to the block, and return whether it does.

        `end` or `next_line` then returns it.
        """
        if not self._open or not indent:
            return False
        self._indent = self._indent or indent
        if indent == self._indent:
            self._held.append(each)
        return indent == self._indent

    def end(self) -> list[Import]:
        when = When.MAYBE if self._forgives else When.ALWAYS
        held = [replace(each, when=when) for each in self._held]
        self._open, self._held = False, []
        return held


def _on_line(code: str, at_module_level: bool, most: int) -> Iterator[Import]:
    """Yield what a line without its indentation imports, `try: import a` and `import a; import b`
    included.
    """
    when = When.ALWAYS if at_module_level and ":" not in code else When.MAYBE
    for statement in _STATEMENTS.split(code, most):
        match = _STATEMENT.match(statement)
        if match is None:
            continue
        level = (match["dots"] or "").count(".")
        for name in _names(match["names"], most):
            module = name if match["base"] is None else f"{match['base']}.{name}".strip(".")
            if len(module) <= LONGEST:
                yield Import(module, level, when)
                most -= 1


def _names(text: str, most: int) -> list[str]:
    """Return the names in a list of names: `a as b, c` is a, c."""
    return [each.split(None, 1)[0] for each in text.split(",", most)[:most] if each.strip()]


# -- which files those are ----------------------------------------------------------------------------

INSTALLED = frozenset({"site-packages", "dist-packages"})
NEVER_FOLLOWED = INSTALLED | {"node_modules", "__pycache__", "venv"}
"""Names of folders that hold no modules of the project."""


def names_in(folder: str) -> Container[str]:
    """Return the names in a folder; empty if it is not a folder."""
    try:
        return frozenset(os.listdir(folder))
    except (OSError, ValueError):
        return frozenset()


class Resolver:
    """Finds the project's files that imports run, and records where it searched for them."""

    def __init__(self, names_in: Callable[[str], Container[str]] = names_in) -> None:
        self.folders: set[str] = set()
        """Folders that were searched."""
        self.missing: set[str] = set()
        """Modules, without suffix, that do not exist."""
        self._names_in = names_in

    def files(self, each: Import, importer: str, roots: Iterable[str]) -> Iterator[str]:
        """Yield the files that an import in the file `importer` runs, with `roots` on `sys.path`.

        Importing `a.b` also runs the files of the package a.
        """
        if each.level:
            folder = os.path.dirname(importer)
            for _ in range(each.level - 1):
                folder = os.path.dirname(folder)
            roots = (folder,)
        parts = [part for part in each.module.split(".") if part]
        for root in roots:
            yield from self._below(root, parts)

    def _below(self, folder: str, parts: Iterable[str]) -> Iterator[str]:
        for part in parts:
            self.folders.add(folder)
            names = self._names_in(folder)
            if part + ".py" in names:
                yield os.path.join(folder, part + ".py")
            elif part not in names and part != "*":
                self.missing.add(os.path.join(folder, part))
            if part not in names or part in NEVER_FOLLOWED:
                return
            folder = os.path.join(folder, part)
            self.folders.add(folder)
            if "__init__.py" in self._names_in(folder):
                yield os.path.join(folder, "__init__.py")
