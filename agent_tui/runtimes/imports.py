"""What a Python file imports, read from its syntax tree and never by running it."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

_IMPORT_LINE = re.compile(
    r"^\s*(?:from\s+([\w.]+)\s+import\b\s*\(?([\w, ]*)|import\s+([\w., ]+))", re.MULTILINE
)
_MISSING = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name in full: `from livekit import agents` is `livekit.agents`."""

    module: str
    level: int = 0
    """Dots of a relative import."""
    required: bool = True
    """At module level and unconditional: the file does not load without it."""


def read_imports(file: Path) -> list[Import]:
    """All imports of a file, those only for type checkers left out; by lines where it does not parse."""
    source = file.read_bytes()
    try:
        tree = ast.parse(source, str(file))
    except (SyntaxError, ValueError):
        return _by_lines(source.decode("utf-8", "replace"))
    found: list[Import] = []
    _walk(tree.body, True, found)
    return found


def _by_lines(text: str) -> list[Import]:
    found: list[Import] = []
    for match in _IMPORT_LINE.finditer(text):
        if match[1]:
            found += [Import(match[1])]  # the module itself too: the names may be on later lines
            found += [Import(f"{match[1]}.{name.split()[0]}") for name in match[2].split(",") if name.strip()]
        else:
            found += [Import(name.split()[0]) for name in match[3].split(",") if name.strip()]
    return found


def _walk(nodes: list[ast.stmt], required: bool, found: list[Import]) -> None:
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [Import(each.name, 0, required) for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            found += [Import(f"{base}.{each.name}".strip("."), node.level, required) for each in node.names]
        elif isinstance(node, ast.If) and _only_for_types(node.test):
            _walk(node.orelse, required, found)
        else:
            _walk_blocks(node, required, found)


def _walk_blocks(node: ast.stmt, required: bool, found: list[Import]) -> None:
    """The statements inside another: only a `with`, and a `try` that does not mind, leave them required."""
    still = required and (isinstance(node, ast.With) or (isinstance(node, ast.Try) and not _forgives(node)))
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if isinstance(block, list):
            _walk(block, still, found)
    for handler in getattr(node, "handlers", ()):
        _walk(handler.body, False, found)
    for case in getattr(node, "cases", ()):
        _walk(case.body, False, found)


def _forgives(node: ast.Try) -> bool:
    return any(
        handler.type is None
        or any(isinstance(each, ast.Name) and each.id in _MISSING for each in ast.walk(handler.type))
        for handler in node.handlers
    )


def _only_for_types(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"
