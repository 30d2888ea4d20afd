"""Running the agent's file, and telling what went wrong in it."""

# ruff: noqa: PTH100, PTH118, PTH120, PTH123, PTH206
# Module files and sys.path are strings, and a child starts sooner without pathlib.

from __future__ import annotations

import importlib.machinery
import os
import sys
import sysconfig
import traceback
import types
from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def prepare(file: str) -> None:
    """Gives the process the `sys.path` and `sys.argv` that `python <file> dev` has."""
    sys.argv = [file, "dev"]
    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, os.path.dirname(os.path.realpath(file)))


def run_file(file: str, name: str) -> types.ModuleType:
    """Executes the file as module `name` and as `__main__`; whatever it raises comes out."""
    module = types.ModuleType(name)
    module.__file__ = file
    module.__loader__ = importlib.machinery.SourceFileLoader(name, file)
    vars(module)["__builtins__"] = __builtins__
    vars(module)["__cached__"] = None
    sys.modules[name] = sys.modules["__main__"] = module
    with open(file, "rb") as source:
        code = compile(source.read(), file, "exec", dont_inherit=True)
    exec(code, vars(module))
    return module


def is_own(path: str) -> bool:
    """True for the project's own source: neither an installed package, nor Python's, nor ours."""
    path = os.path.abspath(path)
    if path.startswith(_HERE) or not path.endswith(".py"):
        return False
    parts = path.split(os.sep)
    return "site-packages" not in parts and "dist-packages" not in parts and not path.startswith(_STANDARD)


_STANDARD = tuple(
    os.path.join(form(each), "")
    for key in ("stdlib", "platstdlib")
    if (each := sysconfig.get_path(key))
    for form in (os.path.abspath, os.path.realpath)
)


def own_files(file: str) -> list[str]:
    """Absolute paths of the project's modules that are loaded, the agent's file first."""
    paths = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    own = {os.path.abspath(path) for path in paths if isinstance(path, str) and is_own(path)}
    first = os.path.abspath(file)
    return [first, *sorted(own - {first})]


def describe(error: BaseException, file: str = "") -> dict[str, Any]:
    """An exception as `Failed` has it: last line, whole text without our frames, the user's file and line."""
    shown = traceback.TracebackException.from_exception(error)
    place = _place(error, shown, file)
    if type(error).__module__.startswith(__package__ or "-"):
        # Our own errors speak for themselves: where in our code they were raised helps nobody.
        return {"error": str(error), "traceback": "", "file": place[0], "line": None}
    _drop_our_frames(shown, set())
    return {
        "error": _headline(error, shown),
        "traceback": "".join(shown.format()),
        "file": place[0],
        "line": place[1],
    }


def _headline(error: BaseException, shown: traceback.TracebackException) -> str:
    """Type and first line of the message: a message's last line may be anything (pydantic: a link)."""
    parts = list(shown.format_exception_only())
    said = parts[-1] if isinstance(error, SyntaxError) else parts[0]
    lines = said.strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _place(
    error: BaseException, shown: traceback.TracebackException, file: str
) -> tuple[str | None, int | None]:
    if isinstance(error, SyntaxError) and error.filename and is_own(error.filename):
        return os.path.abspath(error.filename), error.lineno
    real = [frame for frame in reversed(shown.stack) if not frame.filename.startswith(("<", _HERE))]
    own = [frame for frame in real if is_own(frame.filename)]
    for frame in (*own, *real):
        return frame.filename, frame.lineno
    return (file or None), None


def _drop_our_frames(shown: traceback.TracebackException | None, seen: set[int]) -> None:
    if shown is None or id(shown) in seen:
        return
    seen.add(id(shown))
    kept = [frame for frame in shown.stack if not frame.filename.startswith(_HERE)]
    shown.stack = traceback.StackSummary.from_list(kept)
    _drop_our_frames(shown.__cause__, seen)
    _drop_our_frames(shown.__context__, seen)
    for each in getattr(shown, "exceptions", None) or ():
        _drop_our_frames(each, seen)
