"""Children of a livekit-agents file: control, job and inference process, each the SDK's own code inside.

The SDK is imported before `Loading` is sent, so that its import is not counted as the file's.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import importlib
import inspect
import logging
import multiprocessing
import os
import pickle
import socket
import time
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Callable

from . import loading
from .control import AlreadyAnswered, ControlLoop, Offer
from .lk_bridge import Bridge, QuietHandler, only_known, running_job
from .lk_capture import Capture

if TYPE_CHECKING:
    from .process import Link

_log = logging.getLogger("agent-tui")

FUNCTIONS = {
    "entry": "_entrypoint_fnc",
    "prewarm": "_setup_fnc",
    "session_end": "_session_end_fnc",
    "simulation_end": "_simulation_end_fnc",
    "http_proxy": "_http_proxy",
}
"""What a job process needs of the server."""

PICKLED, GUARD = "pickle:", "guard:"
"""`Manifest.functions`: either the pickled functions, or why they could not be and the file runs in full."""

ENTRY_GRACE_S = 2.0
"""How long an entry function may go on when the host is gone; cancelled then, the room is left in time."""

PRELOAD = "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE"


def _import_sdk(link: Link) -> Capture:
    capture = Capture(link.orders.file)
    importlib.import_module("livekit.agents")
    capture.install()
    return capture


def _dev_mode() -> None:
    """What `python agent.py dev` sets before it starts children."""
    os.environ["LIVEKIT_DEV_MODE"] = "1"
    http_context = importlib.import_module("livekit.agents.utils.http_context")
    if hasattr(http_context, "_set_default_cert_env"):  # since 1.8
        http_context._set_default_cert_env()


def _set_up_logging(link: Link) -> None:
    """Levels as the SDK's worker sets them, and our handler if the file's set-up threw it out."""
    from livekit.agents import log, plugin

    with contextlib.suppress(ImportError, AttributeError):
        importlib.import_module("livekit.agents.cli.log")._silence_noisy_loggers()
    loggers = [log.logger, *(each.logger for each in plugin.Plugin.registered_plugins)]
    for each in loggers:
        if each is not None and each.level == logging.NOTSET:
            each.setLevel(link.orders.log_level)
    if hasattr(log, "_add_global_log_fields"):
        log._add_global_log_fields(link.records)
    link.records.install()
    logging.getLogger().setLevel(link.orders.log_level)


# -- control ------------------------------------------------------------------------------------------


class SdkAgent:
    """A `LoadedAgent` over an `AgentServer` that never runs."""

    def __init__(self, server: Any) -> None:
        from livekit.agents import worker

        self._server = server
        self._processes: list[Any] = []
        server._proc_pool = SimpleNamespace(processes=self._processes)
        request, load = server._request_fnc, server._load_fnc
        self._request = None if request is worker._default_request_fnc else request
        self._load = None if load == worker._DefaultLoadCalc.get_load else load
        self.has_prewarm = server._setup_fnc not in (None, worker._default_setup_fnc)
        self.has_request_func = self._request is not None
        self.load: Callable[[], Any] | None = self._call_load if self._load is not None else None

    def _call_load(self) -> Any:
        """With the server or without, as the function's parameters ask (the SDK's rule)."""
        assert self._load is not None
        return self._load(self._server) if inspect.signature(self._load).parameters else self._load()

    async def request(self, job: Any, offer: Offer) -> None:
        from livekit.agents._exceptions import AssignmentTimeoutError
        from livekit.agents.job import JobRequest
        from livekit.protocol.agent import Job

        message = Job()
        message.ParseFromString(base64.b64decode(job))

        async def accept(args: Any) -> None:
            stamped = {"lk.agent.name": message.agent_name, **(getattr(args, "attributes", None) or {})}
            try:
                error = await offer.accept(args.identity, args.name, args.metadata, stamped)
            except AlreadyAnswered as again:
                raise AssignmentTimeoutError(str(again)) from None
            if error is not None:
                raise AssignmentTimeoutError(f"job {message.id} was accepted but not started: {error}")

        async def reject(terminate: bool = False) -> None:
            if offer.answered:
                _log.warning("job %s was rejected after it had been answered", message.id)
            else:
                offer.answer(terminate=bool(terminate))

        request = JobRequest(job=message, on_reject=reject, on_accept=accept)
        await (self._request(request) if self._request is not None else request.accept())

    def live(self, value: dict[str, Any]) -> None:
        self._server._id = value["worker_id"]
        self._server._draining = value["draining"]
        self._processes[:] = [SimpleNamespace(running_job=running_job(each)) for each in value["active_jobs"]]


def run_control(link: Link) -> None:
    """Sends `Loading`, then `Manifest` or `Failed`; then serves."""
    try:
        capture = _import_sdk(link)
        link.say("loading")
        started = time.monotonic()
        server = capture.load_worker()
    except BaseException as error:
        link.fail(error)
        raise SystemExit(1) from None
    load_ms = (time.monotonic() - started) * 1000
    _dev_mode()
    _set_up_logging(link)
    agent = SdkAgent(server)
    link.say(
        "manifest",
        runtime="livekit-agents",
        sdk_version=importlib.import_module("livekit.agents").__version__,
        options=capture.options(),
        has_entry=True,
        has_prewarm=agent.has_prewarm,
        has_request_func=agent.has_request_func,
        has_load_func=agent.load is not None,
        inference_runners=list(_runners()),
        functions=_pack(server),
        files=loading.own_files(link.orders.file),
        load_ms=load_ms,
    )
    ControlLoop(link, agent).run()


def _runners() -> dict[str, Any]:
    module = importlib.import_module("livekit.agents.inference_runner")
    return dict(module._InferenceRunner.registered_runners)


def _pack(server: Any) -> str:
    functions = {name: getattr(server, attribute, None) for name, attribute in FUNCTIONS.items()}
    try:
        return PICKLED + base64.b64encode(pickle.dumps(functions)).decode("ascii")
    except Exception as error:
        return GUARD + f"{type(error).__name__}: {error}"


# -- job ----------------------------------------------------------------------------------------------


def run_job(link: Link) -> None:
    """`Loading`, then the SDK's job main until the job is over."""
    multiprocessing.current_process().name = "job_proc"
    try:
        os.environ["LIVEKIT_DEV_MODE"] = "1"
        capture = _import_sdk(link)
        _dev_mode()
        main = importlib.import_module("livekit.agents.ipc.job_proc_lazy_main")
        _preload()
        link.say("loading")
        functions = _functions(link, capture)
        _set_up_logging(link)
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
        job_entrypoint_fnc=_watched_entry(link, functions["entry"]),
        session_end_fnc=functions["session_end"],
        session_end_timeout=link.orders.session_end_timeout_ms / 1000,
        simulation_end_fnc=functions["simulation_end"],
        user_arguments=None,
        mp_cch=bridge.theirs,
        log_cch=log_theirs,
        logger_levels={"root": link.orders.log_level},
    )
    _run_main(link, bridge, main, arguments)


def _run_main(link: Link, bridge: Bridge, main: ModuleType, arguments: Any) -> None:
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


def _preload() -> None:
    """The SDK's warm-up, without the models that only a shared process may hold (§2.3, preload trap)."""
    before = os.environ.get(PRELOAD)
    os.environ.setdefault(PRELOAD, "0")
    try:
        with contextlib.suppress(ImportError):  # since 1.8
            importlib.import_module("livekit.agents.ipc._preload")
    finally:
        if before is None:
            del os.environ[PRELOAD]


def _functions(link: Link, capture: Capture) -> dict[str, Any]:
    """The functions, by the control process's pickles; where that cannot be, by running the guard here."""
    packed = link.orders.functions
    if packed.startswith(PICKLED):
        capture.run_file("__mp_main__")
        try:
            functions: dict[str, Any] = pickle.loads(base64.b64decode(packed[len(PICKLED) :]))
            return functions
        except Exception as error:
            _log.debug("the functions are not at module level (%s): the file is run in full", error)
    server = capture.load_worker()
    return {name: getattr(server, attribute, None) for name, attribute in FUNCTIONS.items()}


def _watched_prewarm(link: Link, bridge: Bridge, prewarm: Callable[..., Any] | None) -> Callable[..., Any]:
    def watched(process: Any) -> Any:
        try:
            return None if prewarm is None else prewarm(process)
        except Exception as error:
            bridge.failure = loading.describe(error, link.orders.file)
            raise
        finally:
            link.records.install()

    return functools.wraps(prewarm)(watched) if prewarm is not None else watched


def _watched_entry(link: Link, entry: Callable[..., Any]) -> Callable[..., Any]:
    """The entry function, saying when it starts and why it fails; the SDK's own handling goes on."""

    @functools.wraps(entry)
    async def watched(context: Any) -> Any:
        link.loop = asyncio.get_running_loop()
        link.on_host_lost = _cancel_later(link.loop, asyncio.current_task())
        link.say("entry_started", at=time.time())
        try:
            return await entry(context)
        except asyncio.CancelledError:
            if not link.host_lost:
                raise
            return None  # ended as asked: the SDK goes on to leave the room
        except BaseException as error:
            told = loading.describe(error, link.orders.file)
            link.say("job_crashed", error=told["error"], traceback=told["traceback"])
            raise

    return watched


def _cancel_later(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any] | None) -> Callable[[], None]:
    def cancel() -> None:
        if task is not None:
            loop.call_soon_threadsafe(lambda: loop.call_later(ENTRY_GRACE_S, task.cancel))

    return cancel


# -- inference ----------------------------------------------------------------------------------------


def run_inference(link: Link) -> None:
    """`Loading`, then the SDK's inference main with the runners that the file's plugins registered."""
    multiprocessing.current_process().name = "agents_inference_process"
    try:
        os.environ["LIVEKIT_DEV_MODE"] = "1"
        capture = _import_sdk(link)
        _dev_mode()
        main = importlib.import_module("livekit.agents.ipc.inference_proc_lazy_main")
        link.say("loading")
        capture.run_file("__mp_main__")
        _set_up_logging(link)
    except BaseException as error:
        link.fail(error)
        raise SystemExit(1) from None
    bridge = Bridge(link, None)
    log_theirs, log_ours = socket.socketpair()
    log_ours.close()
    arguments = only_known(main.ProcStartArgs, log_cch=log_theirs, mp_cch=bridge.theirs, runners=_runners())
    _run_main(link, bridge, main, arguments)
    log_theirs.close()
