"""What a swap does not change, found by comparing the text of two versions of a file."""

from __future__ import annotations

import ast
import copy
from typing import Any

SESSION = "AgentSession"


def entry_notes(old: bytes, new: bytes, entry: str, file: str) -> list[str]:
    """Return what changed in code that a running job does not run again, as `agent.py:12 what`.

    `entry` is the name of the entry function, and `file` the name that the notes show.
    """
    before, after = _parsed(old), _parsed(new)
    if before is None or after is None:
        return []
    notes = []
    earlier, later = _Started(before, entry), _Started(after, entry)
    if later.body is None:
        if earlier.body is not None:
            notes.append(f"{file} {entry}() is gone; the job has already run it")
    elif earlier.body is not None and earlier.body != later.body:
        notes.append(f"{file}:{later.line} body of {entry}()")
    notes += _changes(earlier.sessions, later.sessions, file, f"arguments of {SESSION}(...)")
    notes += _changes(earlier.handlers, later.handlers, file, "event handler")
    return notes


def unchanged_values(old: bytes, new: bytes) -> dict[str, int]:
    """Return the names that both versions set at module level from the same text, with their lines in `new`.

    If such a variable has another value now, running the module again has not kept it.
    """
    before, after = _parsed(old), _parsed(new)
    if before is None or after is None:
        return {}
    earlier = {name: text for name, (text, _) in _assigned(before).items()}
    return {name: line for name, (text, line) in _assigned(after).items() if earlier.get(name) == text}


def class_changed(old: bytes, new: bytes, qualname: str) -> bool:
    """Return whether the text of a class differs, or of something that it uses, ignoring comments and lines.

    What it uses are the classes, functions, and constants of its file that it names, directly or not.
    """
    before, after = _parsed(old), _parsed(new)
    return before is None or after is None or _class_text(before, qualname) != _class_text(after, qualname)


def _class_text(tree: ast.Module, qualname: str) -> str:
    outer = qualname.partition(".")[0]
    defined = {name: text for name, (text, _) in _assigned(tree).items()}
    nodes: dict[str, Any] = {each.name: each for each in tree.body if hasattr(each, "name")}
    defined.update((name, ast.dump(node)) for name, node in nodes.items())
    used, fresh = set(), {outer} & nodes.keys()
    while fresh:
        used |= fresh
        walked = [each for name in fresh & nodes.keys() for each in ast.walk(nodes[name])]
        fresh = ({each.id for each in walked if isinstance(each, ast.Name)} & defined.keys()) - used
    return "\n".join(defined[name] for name in sorted(used))


class _Started:
    """The parts of a file that only run when a job or session starts, without comments and lines."""

    def __init__(self, tree: ast.Module, entry: str) -> None:
        calls: list[Any] = [node for node in ast.walk(tree) if _is_call_of(node, SESSION)]
        self.sessions = [(_call_text(node), node.lineno) for node in calls]
        self.handlers: list[tuple[str, int]] = []
        self.body: str | None = None
        self.line = 0
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == entry:
                self.line = node.lineno
                rest = _Rest()
                body = [rest.visit(copy.deepcopy(each)) for each in node.body]
                self.handlers = rest.handlers
                self.body = "\n".join(ast.dump(each) for each in body if each is not None)


class _Rest(ast.NodeTransformer):
    """Removes event handlers and the arguments of sessions, which have separate notes."""

    def __init__(self) -> None:
        self.handlers: list[tuple[str, int]] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        if any(_is_method(each, "on") for each in node.decorator_list):
            self.handlers.append((ast.dump(node), node.lineno))
            return None
        return self.generic_visit(node)

    visit_AsyncFunctionDef: Any = visit_FunctionDef

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        if _is_call_of(node, SESSION):
            node.args, node.keywords = [], []
        return node


def _changes(old: list[tuple[str, int]], new: list[tuple[str, int]], file: str, what: str) -> list[str]:
    known = [text for text, _ in old]
    return [f"{file}:{line} {what}" for text, line in new if text not in known]


def _call_text(node: Any) -> str:
    return "".join(ast.dump(each) for each in [*node.args, *node.keywords])


def _is_call_of(node: ast.AST, name: str) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = (
        node.func.value if isinstance(node.func, ast.Subscript) else node.func
    )  # AgentSession[Facts](...)
    return getattr(called, "id", getattr(called, "attr", "")) == name


def _is_method(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name


def _assigned(tree: ast.Module) -> dict[str, tuple[str, int]]:
    found = {}
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    found[target.id] = ast.dump(node.value), node.lineno
    return found


def _parsed(content: bytes) -> ast.Module | None:
    try:
        return ast.parse(content)
    except (SyntaxError, ValueError):
        return None
