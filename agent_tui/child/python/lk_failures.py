"""Describes failures of a session's components as data. The SDK's event has only the wrapper's text."""

from __future__ import annotations

import contextlib
import os
import traceback
from typing import Any

from . import project_files

MOST_CAUSES = 8
MAX_TEXT = 2000


def describe(error: Any) -> dict[str, Any]:
    """Return an error of the SDK (`LLMError`, `STTError`, …) with the exceptions that led to it."""
    raised = getattr(error, "error", error)
    return {
        "component": str(getattr(error, "type", "")).removesuffix("_error"),
        "label": str(getattr(error, "label", "")),
        "retrying": bool(getattr(error, "recoverable", False)),
        "causes": [_cause(each) for each in _chain(raised)],
    }


def tool_error(error: BaseException) -> str:
    """Return what a tool raised, after the last line of the project that it came through."""
    text = ""
    with contextlib.suppress(Exception):  # any `__str__` may fail
        text = str(error)[:MAX_TEXT]
    lines = [
        f"{os.path.basename(frame.filename)}:{frame.lineno}: "
        for frame in traceback.extract_tb(error.__traceback__)
        if project_files.is_project_file(frame.filename)
    ]
    return (lines[-1] if lines else "") + f"{type(error).__name__}: {text}".removesuffix(": ")


def _chain(error: Any) -> list[Any]:
    """Return an exception and those that led to it, the outermost first.

    Plugins raise `from None` to keep tracebacks short; `__context__` still has what they caught.
    """
    chain: list[Any] = []
    while error is not None and error not in chain and len(chain) < MOST_CAUSES:
        chain.append(error)
        error = getattr(error, "__cause__", None) or getattr(error, "__context__", None)
    return chain


def _cause(error: Any) -> dict[str, Any]:
    text = ""
    with contextlib.suppress(Exception):  # any `__str__` may fail
        own = getattr(error, "message", None)  # the SDK's own text also has the body and more
        text = (own if isinstance(own, str) and own else str(error))[:MAX_TEXT]
    return {"type": type(error).__name__, "text": text, "host": _host(error), "status": _status(error)}


def _host(error: Any) -> str:
    """Return the host that an exception of aiohttp, httpx, or openai names, without the rest of the URL."""
    for path in (("host",), ("request", "url", "host"), ("request_info", "real_url", "host")):
        found = error
        with contextlib.suppress(Exception):  # httpx raises if there is no request
            for name in path:
                found = getattr(found, name)
            if isinstance(found, str) and found:
                return found
    return ""


def _status(error: Any) -> int:
    """Return the HTTP status that an exception names; 0 if it names none."""
    for path in (("status_code",), ("status",), ("response", "status_code"), ("code",)):
        found = error
        with contextlib.suppress(Exception):
            for name in path:
                found = getattr(found, name)
            if isinstance(found, int) and 400 <= found < 600:
                return found
    return 0
