"""Whether somebody debugs this process, and what `breakpoint()` does when nobody does."""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import Any

_log = logging.getLogger("agent-tui")


def attached() -> bool:
    """True while a debugger is connected or traces the main thread. Safe from any thread."""
    return _pydevd_connected() or _monitored() or _main_thread_traced()


def _pydevd_connected() -> bool:
    pydevd = sys.modules.get("pydevd")
    if pydevd is None:
        return False
    try:
        debugger = pydevd.get_global_debugger()
        return (
            debugger is not None and not getattr(debugger, "_disposed", False) and debugger.writer is not None
        )
    except Exception:
        return False


def _monitored() -> bool:
    monitoring = getattr(sys, "monitoring", None)  # Python >= 3.12
    return monitoring is not None and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None


def _main_thread_traced() -> bool:
    """A trace function sits on frames; measuring coverage uses one too and is no debugger."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        if frame.f_trace is not None:
            module = getattr(frame.f_trace, "__module__", None) or type(frame.f_trace).__module__
            return not module.startswith("coverage")
        frame = frame.f_back
    return False


def _breakpoint(*args: Any, **kwargs: Any) -> Any:
    wanted = os.environ.get("PYTHONBREAKPOINT", "")
    if attached() or wanted not in ("", "pdb.set_trace"):
        return sys.__breakpointhook__(*args, **kwargs)
    caller = sys._getframe(1)
    _log.warning(
        "breakpoint() at %s:%d passed over: no debugger is attached to pid %d",
        caller.f_code.co_filename,
        caller.f_lineno,
        os.getpid(),
    )
    return None


def install_hook() -> None:
    """Makes `breakpoint()` without a debugger a line in the log: there is no terminal to ask."""
    sys.breakpointhook = _breakpoint
