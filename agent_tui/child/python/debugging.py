"""Whether this process is being debugged, and what `breakpoint()` does otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import sys
import threading
from typing import Any

_log = logging.getLogger("agent-tui")


def attached() -> bool:
    """Return True while a debugger is connected or traces the main thread. Safe from any thread."""
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
    """Return whether a trace function other than a coverage tool's is set on the main thread."""
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
        "breakpoint() at %s:%d ignored: no debugger is attached to pid %d",
        caller.f_code.co_filename,
        caller.f_lineno,
        os.getpid(),
    )
    return None


async def wait_for_client(port: int) -> None:
    """Wait on a loopback port until a debugger attaches. Return immediately if `port` is 0.

    The event loop keeps running, so that the job can be ended. If debugpy is missing or the port is in use,
    log that, and run the job without a debugger.
    """
    if not port:
        return
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # hides its advice about frozen modules
    try:
        debugpy: Any = importlib.import_module("debugpy")
    except ImportError:
        _log.warning(
            "--debug: debugpy is not installed for the agent (pip install debugpy); the job runs without it"
        )
        return
    try:
        debugpy.listen(("127.0.0.1", port))
    except Exception as error:
        _log.warning("--debug: port %d is not available (%s); the job runs without a debugger", port, error)
        return
    _log.warning("waiting for a debugger on 127.0.0.1:%d (pid %d)", port, os.getpid())
    came = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait() -> None:
        debugpy.wait_for_client()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(came.set)

    threading.Thread(target=wait, name="agent-tui debugger", daemon=True).start()
    try:
        await came.wait()
    finally:
        debugpy.wait_for_client.cancel()
    _log.info("a debugger is attached")


def install_hook() -> None:
    """Make `breakpoint()` log a line if no debugger is attached: pdb would have no terminal."""
    sys.breakpointhook = _breakpoint
