"""The control process of a livekit-agents file: loads it as the worker would, and runs its functions."""

from __future__ import annotations

import base64
import importlib
import inspect
import logging
import os
import pickle
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Callable

from . import loading, project_files
from .control import AlreadyAnswered, ControlLoop, Offer
from .lk_bridge import running_job
from .lk_sdk import FUNCTIONS, GUARD, PICKLED, import_sdk, runners, set_mode, set_up_logging

if TYPE_CHECKING:
    from .process import HostLink

_log = logging.getLogger("agent-tui")


class SdkAgent:
    """A `LoadedAgent` that wraps an `AgentServer`, which never runs.

    `request` and `load` replace the server's functions.
    """

    def __init__(
        self, server: Any, request: Callable[..., Any] | None = None, load: Callable[..., Any] | None = None
    ) -> None:
        from livekit.agents import worker

        self._server = server
        self._processes: list[Any] = []
        server._proc_pool = SimpleNamespace(processes=self._processes)
        request, load = request or server._request_fnc, load or server._load_fnc
        self._request = None if request is worker._default_request_fnc else request
        self._load = None if load == worker._DefaultLoadCalc.get_load else load
        self.has_prewarm = server._setup_fnc not in (None, worker._default_setup_fnc)
        self.has_request_func = self._request is not None
        self.load: Callable[[], Any] | None = self._call_load if self._load is not None else None

    def _call_load(self) -> Any:
        """Call the load function with or without the server, as its parameters require (the SDK's rule)."""
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
                _log.warning("job %s was rejected after it was answered", message.id)
            else:
                offer.answer(terminate=bool(terminate))

        request = JobRequest(job=message, on_reject=reject, on_accept=accept)
        await (self._request(request) if self._request is not None else request.accept())

    def live(self, value: dict[str, Any]) -> None:
        self._server._id = value["worker_id"]
        self._server._draining = value["draining"]
        self._processes[:] = [SimpleNamespace(running_job=running_job(each)) for each in value["active_jobs"]]


def run(link: HostLink) -> None:
    """Send `Loading`, then `Manifest` or `Failed`. After a manifest, answer the host until it asks to end."""
    try:
        capture = import_sdk(link)
        link.send("loading")
        started = time.monotonic()
        with project_files.ThirdPartyImports() as others:
            server = capture.load_worker()
        request = loading.function(link.spec.request_func)
        load = loading.function(link.spec.load_func)
    except BaseException as error:
        link.fail(error)
        raise SystemExit(1) from None
    load_ms = (time.monotonic() - started) * 1000
    set_mode(link)
    set_up_logging(link)
    for name in sorted(project_files.shadowing_names(project_files.project_roots())):
        _log.warning(
            "the project has a module named like the standard library's %r: with `python %s`, the "
            "SDK and installed packages import it too, and may fail; rename it",
            name,
            os.path.basename(link.spec.file),
        )
    agent = SdkAgent(server, request, load)
    loading.hand_over_code(link.send)
    link.send(
        "manifest",
        runtime="livekit-agents",
        sdk_version=importlib.import_module("livekit.agents").__version__,
        options=capture.options(),
        has_entry=True,
        has_prewarm=agent.has_prewarm,
        has_request_func=agent.has_request_func,
        has_load_func=agent.load is not None,
        inference_runners=sorted(runners()),
        own_runners=any(map(_is_own, runners().values())),
        functions=_pack(server),
        load_ms=load_ms,
        imports=others.names,
        **loading.facts(link.spec.file),
    )
    ControlLoop(link, agent).run()


def _is_own(runner: type) -> bool:
    return project_files.is_project_file(getattr(sys.modules.get(runner.__module__), "__file__", None) or "")


def _pack(server: Any) -> str:
    functions = {name: getattr(server, attribute, None) for name, attribute in FUNCTIONS.items()}
    try:
        return PICKLED + base64.b64encode(pickle.dumps(functions)).decode("ascii")
    except Exception as error:
        return GUARD + f"{type(error).__name__}: {error}"
