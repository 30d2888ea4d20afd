"""Job and inference processes of a livekit-agents file: the SDK's own mains, watched."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import importlib
import logging
import multiprocessing
import os
import pickle
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, Callable

from . import debugging, lk_agents, lk_swap, lk_tap, loading, preloading
from .lk_bridge import Bridge, QuietHandler, only_known
from .lk_sdk import FUNCTIONS, PICKLED, import_sdk, inherit_mode, runners, set_mode, set_up_logging

if TYPE_CHECKING:
    from types import ModuleType

    from .lk_sdk import Capture
    from .process import HostLink

_log = logging.getLogger("agent-tui")

ROOM_LEFT = "room disconnected"
"""The SDK's reason for a job whose room connection ended."""

ENTRY_GRACE_S = 2.0
"""Seconds that an entry function may continue after the host has ended.

Then it is cancelled, so that there is time to leave the room.
"""


_prepared: Capture | None = None
"""The replaced SDK functions with which the file is loaded; None until `_prepare` has run."""

_loaded = False
"""Whether this process is a fork of a template that has run the file."""


def load(link: HostLink) -> None:
    """In a template: become a job process and run the file once, so that its forks have it loaded."""
    global _loaded
    _prepare(link).run_file("__mp_main__")
    set_up_logging(link)
    _loaded = True


def run(link: HostLink) -> None:
    """Send `Loading`, then run the SDK's job main until the job has ended."""
    try:
        capture = _prepare(link)
        link.send("loading")
        functions = _functions(link, capture)
        set_up_logging(link)
        main = importlib.import_module("livekit.agents.ipc.job_proc_lazy_main")
        _report_own_models(link)
    except BaseException as error:
        link.fail(error)
        raise SystemExit(1) from None
    bridge = Bridge(link, functions["http_proxy"])
    log_theirs, log_ours = socket.socketpair()
    log_ours.close()
    vars(importlib.import_module("livekit.agents.ipc.log_queue"))["LogQueueHandler"] = QuietHandler
    arguments = only_known(
        main.ProcStartArgs,
        initialize_process_fnc=_watched_prewarm(link, bridge, functions["prewarm"]),
        job_entrypoint_fnc=_watched_entry(link, bridge, functions["entry"]),
        session_end_fnc=functions["session_end"],
        session_end_timeout=link.spec.session_end_timeout_ms / 1000,
        simulation_end_fnc=functions["simulation_end"],
        user_arguments=None,
        mp_cch=bridge.theirs,
        log_cch=log_theirs,
        logger_levels={"root": link.spec.log_level},
    )
    _run_main(link, bridge, main, arguments)


def _run_main(link: HostLink, bridge: Bridge, main: ModuleType, arguments: Any) -> None:
    bridge.start()
    try:
        main.proc_main(arguments)
    except BaseException as error:
        bridge.finish()
        if not bridge.ready and bridge.failure is None:
            link.fail(error)
            raise SystemExit(1) from None
        raise
    bridge.finish()
    if bridge.failure is not None:
        raise SystemExit(1)


def _prepare(link: HostLink) -> Capture:
    """Set up this process as the SDK's fork server sets up a job process (fork.md §2)."""
    global _prepared
    if _prepared is None:
        multiprocessing.current_process().name = "job_proc"
        inherit_mode(link)
        _prepared = import_sdk(link)
        set_mode(link)
        if hasattr(os, "fork"):
            multiprocessing.set_start_method("forkserver" if sys.platform == "linux" else "spawn", force=True)
        importlib.import_module("livekit.agents.ipc.job_proc_lazy_main")
        preloading.warm_up_sdk()
        lk_tap.patch()
        lk_agents.patch()
    return _prepared


def _functions(link: HostLink, capture: Capture) -> dict[str, Any]:
    """Return the functions that the control process has pickled. If it could not, run the whole file here."""
    packed = link.spec.functions
    if packed.startswith(PICKLED):
        if not _loaded:
            capture.run_file("__mp_main__")
        try:
            functions: dict[str, Any] = pickle.loads(base64.b64decode(packed[len(PICKLED) :]))
            return functions
        except Exception as error:
            _log.debug("running the file in full: its functions are not at module level (%s)", error)
    server = capture.load_worker()
    return {name: getattr(server, attribute, None) for name, attribute in FUNCTIONS.items()}


def _report_own_models(link: HostLink) -> None:
    """Report to the host if the job loads its own copy of a model that a base could hold for all jobs."""
    name = "livekit.agents.inference.eot.transports"
    with contextlib.suppress(ImportError, AttributeError):  # since 1.7
        transports: Any = importlib.import_module(name)
        make = transports._EOT

        def reporting(*args: Any, **kwargs: Any) -> Any:
            link.send("preload_hint", name=preloading.END_OF_TURN)
            return make(*args, **kwargs)

        transports._EOT = reporting


def _watched_prewarm(
    link: HostLink, bridge: Bridge, prewarm: Callable[..., Any] | None
) -> Callable[..., Any]:
    def watched(process: Any) -> Any:
        try:
            return None if prewarm is None else prewarm(process)
        except Exception as error:
            bridge.failure = loading.describe(error, link.spec.file)
            raise
        finally:
            link.records.install()

    return functools.wraps(prewarm)(watched) if prewarm is not None else watched


def _watched_entry(link: HostLink, bridge: Bridge, entry: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the entry function to report when it starts and why it fails; the SDK's own handling follows."""

    @functools.wraps(entry)
    async def watched(context: Any) -> Any:
        link.loop = asyncio.get_running_loop()
        link.on_host_lost = _cancel_later(link.loop, asyncio.current_task())
        _watch_connect(link, context)
        if context.is_fake_job():
            _describe_fake_room(context)
        else:
            _watch_leaving(bridge, context)
        try:
            if link.sessions:
                _follow_sessions(link, bridge, entry)
            await debugging.wait_for_client(link.debug_port)
            link.send("entry_started", at=time.time())
            return await entry(context)
        except asyncio.CancelledError:
            if not link.host_lost:
                raise
            return None  # it ended as asked: the SDK leaves the room next
        except BaseException as error:
            described = loading.describe(error, link.spec.file)
            link.send("job_crashed", error=described["error"], traceback=described["traceback"])
            raise

    return watched


def _follow_sessions(link: HostLink, bridge: Bridge, entry: Callable[..., Any]) -> None:
    assert _prepared is not None
    tap = lk_tap.install(link)
    swapper = lk_swap.install(link, tap, _prepared, entry)
    bridge.receivers |= {**dict.fromkeys(lk_tap.CASES, tap.receive), lk_swap.CASE: swapper.receive}


def _watch_connect(link: HostLink, context: Any) -> None:
    """Report once when the job has joined its room. An AgentSession joins through the context too."""
    join = getattr(context, "connect", None)
    if join is None:
        return
    reported = False

    @functools.wraps(join)
    async def connect(*args: Any, **kwargs: Any) -> Any:
        nonlocal reported
        result = await join(*args, **kwargs)
        if not reported:
            reported = True
            link.send("job_connected", at=time.time())
        return result

    with contextlib.suppress(AttributeError):  # a context that cannot be watched still runs its job
        context.connect = connect


def _watch_leaving(bridge: Bridge, context: Any) -> None:
    """Record when the agent's code leaves or deletes its room, because the server then terminates the job.

    The termination may arrive before the SDK notices that the room connection has ended.
    """

    def watched(leave: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        bridge.leave(ROOM_LEFT)
        return leave(*args, **kwargs)

    def watched_delete(delete: Callable[..., Any], room_name: str | None = None) -> Any:
        if room_name in (None, context.job.room.name):
            return watched(delete, room_name)
        return delete(room_name)

    with contextlib.suppress(AttributeError):
        context.room.disconnect = functools.partial(watched, context.room.disconnect)
        context.delete_room = functools.partial(watched_delete, context.delete_room)


def _describe_fake_room(context: Any) -> None:
    """Give the SDK's fake room, which is named after the console, the facts of the job's room."""
    room = context.job.room
    with contextlib.suppress(AttributeError):
        context.room.name, context.room.metadata = room.name, room.metadata
        context.room.sid.return_value = room.sid
    with contextlib.suppress(AttributeError):
        for each in context.room.remote_participants.values():
            # Otherwise these would be mock objects, and agents expect text.
            each.name, each.metadata, each.attributes = "", "", {}
        context.room.local_participant.name = context.room.local_participant.metadata = ""
        context.room.local_participant.attributes = {}


def _cancel_later(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any] | None) -> Callable[[], None]:
    def cancel() -> None:
        if task is not None:
            loop.call_soon_threadsafe(lambda: loop.call_later(ENTRY_GRACE_S, task.cancel))

    return cancel


def run_inference(link: HostLink) -> None:
    """Send `Loading`, then run the SDK's inference main with the runners that the file's plugins
    registered.
    """
    multiprocessing.current_process().name = "agents_inference_process"
    try:
        inherit_mode(link)
        capture = import_sdk(link)
        set_mode(link)
        main = importlib.import_module("livekit.agents.ipc.inference_proc_lazy_main")
        link.send("loading")
        capture.run_file("__mp_main__")
        set_up_logging(link)
    except BaseException as error:
        link.fail(error)
        raise SystemExit(1) from None
    bridge = Bridge(link, None, acknowledges=False)
    log_theirs, log_ours = socket.socketpair()
    log_ours.close()
    arguments = only_known(main.ProcStartArgs, log_cch=log_theirs, mp_cch=bridge.theirs, runners=runners())
    _run_main(link, bridge, main, arguments)
    log_theirs.close()
