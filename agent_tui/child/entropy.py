"""Random values that the project's code draws while a template loads it: all its jobs have the same ones.

Python's global `random` is seeded anew in each fork; what was drawn before is not (fork.md §2).
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
from typing import Any, Callable, Iterator

from . import owned

_DRAWERS = ("random", "secrets", "uuid", "tempfile")
"""Modules through which user code draws; with numpy's the project's own line is behind them on the stack."""


@contextlib.contextmanager
def watched(lines: list[str]) -> Iterator[None]:
    """Adds to `lines` where the project's own code drew: `agent.py:4`, or only "random" if it used that."""
    urandom, seed = os.urandom, random.Random.seed
    state, numpys = random.getstate(), _numpy_state()

    def noting(size: int) -> bytes:
        _note(lines)
        return urandom(size)

    def seeding(self: random.Random, a: Any = None, version: int = 2) -> None:
        if a is None:
            _note(lines)
        seed(self, a, version)

    _patch(noting, seeding)
    try:
        yield
    finally:
        _patch(urandom, seed)
        if not lines and random.getstate() != state:
            lines.append("random")
        if not lines and numpys is not None and _numpy_state() != numpys:
            lines.append("numpy.random")


def _patch(urandom: Callable[[int], bytes], seed: Any) -> None:
    os.urandom = random._urandom = urandom  # type: ignore[attr-defined]
    random.Random.seed = seed  # type: ignore[method-assign]


def _note(lines: list[str]) -> None:
    """Only what the project's code asks for itself counts: libraries draw for reasons of their own."""
    frame = sys._getframe(2)
    while frame is not None and _draws(frame.f_globals.get("__name__", "")):
        frame = frame.f_back  # type: ignore[assignment]
    if frame is not None and owned.is_own(frame.f_code.co_filename):
        line = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
        if line not in lines:
            lines.append(line)


def _draws(module: str) -> bool:
    return module in _DRAWERS or module.partition(".")[0] == "numpy"


def _numpy_state() -> str | None:
    numpy = sys.modules.get("numpy.random")
    return repr(numpy.get_state()) if numpy is not None else None
