"""Runs the agent's file, and describes what went wrong in it."""

from __future__ import annotations

import base64
import importlib.machinery
import os
import stat
import sys
import traceback
import types
from typing import Any, Callable

from . import project_files, snapshots
from .channel import MAX_REASON, shortened
from .project_files import HERE as _HERE
from .project_files import is_project_file

_snapshot = snapshots.Snapshot(None)

MAX_TRACEBACK = 65_536
"""Maximum number of characters of a traceback."""

MOST_CODE = 4 * 2**20
"""Maximum number of bytes of compiled code that are sent to the host."""

MAX_PART = 4_096
"""Maximum number of characters of one frame, or of the exception's message."""


def prepare(file: str, folder: str, snapshot: snapshots.Snapshot, command: str) -> None:
    """Set up `sys.path`, `sys.argv`, and the modules as for `python <file> <command>`.

    `folder` is where the file is, with links resolved.
    """
    global _snapshot
    _snapshot = snapshot
    snapshots.install(snapshot)
    sys.argv = [file, command]
    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, folder)
    project_files.unshadow(project_files.project_roots())
    project_files.mark_loaded()


def renew(fd: int) -> None:
    """In a fork of a template, serve all modules of the generation. Loading found some after the template."""
    _snapshot.read_index(fd)


def project_paths() -> list[str]:
    """Return the project's files that this process was started with."""
    return _snapshot.paths


def original(path: str) -> bytes | None:
    """Return a file of the project as this process was started with; None if it is not one of them."""
    return _snapshot.read(path)


def run_file(file: str, name: str) -> types.ModuleType:
    """Run the file as module `name` and as `__main__`. Raise any error of the file."""
    module = types.ModuleType(name)
    module.__file__ = file
    module.__loader__ = importlib.machinery.SourceFileLoader(name, file)
    vars(module)["__builtins__"] = __builtins__
    vars(module)["__cached__"] = None
    sys.modules[name] = sys.modules["__main__"] = module
    exec(_code(file), vars(module))
    return module


def _code(file: str) -> types.CodeType:
    content = _snapshot.read(file)
    if content is None:
        if not stat.S_ISREG(os.stat(file).st_mode):
            raise OSError(f"{file} is not a regular file")  # reading a FIFO would wait for its writer
        with open(file, "rb") as source:
            content = source.read()
    return snapshots.compiled(file, content)


def function(name: str) -> Callable[..., Any] | None:
    """Return the function of the file that an option names; None if there is none (the host reports that)."""
    found: Callable[..., Any] | None = vars(sys.modules["__main__"]).get(name)
    return found if name and callable(found) else None


def facts(file: str) -> dict[str, Any]:
    """Return the manifest's facts about the project's code, once the file is loaded."""
    return {
        "files": project_files.loaded_files(file),
        "roots": project_files.project_roots(),
        "function_names": _function_names(),
    }


def _function_names() -> list[str]:
    return [
        name
        for name, value in vars(sys.modules["__main__"]).items()
        if isinstance(value, types.FunctionType) and is_project_file(value.__code__.co_filename)
    ]


def hand_over_code(send: Callable[..., None]) -> None:
    """Send the code that was compiled here to the host. A base keeps it, which saves its forks the work.

    Large modules are left out, since the host handles one message at a time.
    """
    modules = []
    left = MOST_CODE
    for (path, digest), code in snapshots.pop_fresh():
        if len(code) <= left:
            left -= len(code)
            modules.append({"path": path, "digest": digest, "code": base64.b64encode(code).decode("ascii")})
    if modules:
        send("code", modules=modules)


def describe(error: BaseException, file: str = "") -> dict[str, Any]:
    """Return an exception in the form of `Failed`: last line, text without agent-tui's frames, file and line.

    Never fails: an exception that `traceback` cannot handle (because of its `__str__` or its chain) keeps its
    type.
    """
    try:
        return _described(error, file)
    except Exception as failed:
        name = type(error).__name__
        text = f"{name} (no traceback: {type(failed).__name__})"
        return {"error": text, "traceback": "", "file": file or None, "line": None}


def _described(error: BaseException, file: str) -> dict[str, Any]:
    shown = traceback.TracebackException.from_exception(error)
    place = _place(error, shown, file)
    if type(error).__module__.startswith(__package__ or "-"):
        # Errors of agent-tui itself need no traceback: the line that raised them does not help the user.
        return {"error": str(error), "traceback": "", "file": place[0], "line": None}
    _drop_our_frames(shown)
    text = "".join(shortened(part, MAX_PART) for part in shown.format())
    return {
        "error": _headline(error, shown),
        "traceback": shortened(text, MAX_TRACEBACK),
        "file": place[0],
        "line": place[1],
    }


def _headline(error: BaseException, shown: traceback.TracebackException) -> str:
    """Return the error's type and its message's first line. The last line may be a link, as in pydantic."""
    parts = list(shown.format_exception_only())
    line = parts[-1] if isinstance(error, SyntaxError) else parts[0]
    lines = shortened(line, MAX_REASON).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _place(
    error: BaseException, shown: traceback.TracebackException, file: str
) -> tuple[str | None, int | None]:
    if isinstance(error, SyntaxError) and error.filename and is_project_file(error.filename):
        return os.path.abspath(error.filename), error.lineno
    real = [frame for frame in reversed(shown.stack) if not frame.filename.startswith(("<", _HERE))]
    own = [frame for frame in real if is_project_file(frame.filename)]
    for frame in (*own, *real):
        return frame.filename, frame.lineno
    return (file or None), None


def _drop_our_frames(first: traceback.TracebackException) -> None:
    seen: set[int] = set()
    left: list[traceback.TracebackException | None] = [first]
    while left:  # no recursion: a chain may be thousands of exceptions long
        shown = left.pop()
        if shown is None or id(shown) in seen:
            continue
        seen.add(id(shown))
        kept = [frame for frame in shown.stack if not frame.filename.startswith(_HERE)]
        shown.stack = traceback.StackSummary.from_list(kept)
        left += [shown.__cause__, shown.__context__, *(getattr(shown, "exceptions", None) or ())]
