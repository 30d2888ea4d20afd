"""Shared by all children of a livekit-agents file: the SDK's import, mode, logging, and inference runners.

The file runs with `cli.run_app` and `AgentServer.run` replaced (livekit-agents.md §2.2, way B), so that an
unmodified file of any style hands over its server. The arguments of its calls are recorded, each with its
line. The SDK is imported before `Loading` is sent, so that its import does not count as loading the file.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import importlib
import inspect
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, Callable, Iterator

from . import loading, project_files

if TYPE_CHECKING:
    from types import ModuleType

    from .process import HostLink


class Captured(BaseException):
    """Raised to leave the file once it has handed over its server.

    It is not an Exception, so that the file's `except Exception` does not catch it.
    """


class NoServerError(Exception):
    """The file started no worker and has no server at module level."""


class NoEntryError(Exception):
    """The server has no entry function."""


def _ms(value: Any) -> int:
    return round(float(value) * 1000)


def _server_type(value: Any) -> str:
    """Return the option's value for an SDK server type: `ServerType.ROOM` is `room`."""
    return str(value.name).lower() if isinstance(value, enum.Enum) else str(value).lower()


def _permissions(value: Any) -> dict[str, Any]:
    from livekit.protocol import models

    named = {
        "canPublish": "can_publish",
        "canSubscribe": "can_subscribe",
        "canPublishData": "can_publish_data",
        "canUpdateMetadata": "can_update_metadata",
        "hidden": "hidden",
    }
    permissions: dict[str, Any] = {name: bool(getattr(value, each)) for name, each in named.items()}
    sources = getattr(value, "can_publish_sources", None) or []
    permissions["canPublishSources"] = [models.TrackSource.Name(each).lower() for each in sources]
    return permissions


def _log_level(value: Any) -> str:
    word = str(value).lower()
    return {"critical": "fatal", "warning": "warn"}.get(word, word)


def _function(value: Any) -> str:
    """Return a function's name; for a lambda, `lambda`."""
    return str(getattr(value, "__name__", type(value).__name__)).strip("<>")


def _same(value: Any) -> Any:
    return value


OPTIONS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "agent_name": ("agentName", _same),
    "type": ("serverType", _server_type),
    "worker_type": ("serverType", _server_type),
    "permissions": ("permissions", _permissions),
    "num_idle_processes": ("numIdleProcesses", _same),
    "load_fnc": ("loadFunc", _function),
    "request_fnc": ("requestFunc", _function),
    "on_request": ("requestFunc", _function),
    "load_threshold": ("loadThreshold", _same),
    "job_memory_warn_mb": ("jobMemoryWarnMB", _same),
    "job_memory_limit_mb": ("jobMemoryLimitMB", _same),
    "initialize_process_timeout": ("initializeProcessTimeout", _ms),
    "shutdown_process_timeout": ("shutdownProcessTimeout", _ms),
    "session_end_timeout": ("sessionEndTimeout", _ms),
    "drain_timeout": ("drainTimeout", _ms),
    "max_retry": ("maxRetry", _same),
    "ws_url": ("wsURL", _same),
    "api_key": ("apiKey", _same),
    "api_secret": ("apiSecret", _same),
    "host": ("host", _same),
    "port": ("port", _same),
    "log_level": ("logLevel", _log_level),
}
"""The SDK's argument → the option's name, and the conversion to its unit here (livekit-agents.md §1.2)."""


class Capture:
    """Replaces the SDK's ways to start a worker; `server` is what the file would have started."""

    def __init__(self, file: str) -> None:
        self.server: Any = None
        self._file = file
        self._passed: list[tuple[Any, dict[str, tuple[Any, str]]]] = []

    def install(self) -> None:
        """Patch the imported SDK. Raise RuntimeError if it is too old."""
        from livekit import agents
        from livekit.agents import cli, worker

        if not hasattr(worker, "AgentServer"):
            raise RuntimeError(f"livekit-agents {agents.__version__} is too old: 1.3.1 or later is needed")
        self._sdk = os.path.dirname(os.path.abspath(agents.__file__ or "")) + os.sep
        self._worker = worker
        server = worker.AgentServer
        for owner, name in (
            (server, "__init__"),
            (server, "rtc_session"),
            (server, "update_options"),
            (worker.WorkerOptions, "__init__"),
        ):
            if hasattr(owner, name):
                setattr(owner, name, self._recording(getattr(owner, name)))
        self._convert = server.from_server_options
        server.from_server_options = staticmethod(self._from_options)
        server.run = self._run_method()
        cli.run_app = cli.cli.run_app = self._run_app

    def run_file(self, name: str) -> ModuleType | None:
        """Run the file as module `name` up to where it starts its worker; return None once it got there."""
        try:
            module = loading.run_file(self._file, name)
        except Captured:
            return None
        return module

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """While entered, the file may run again; what it passes to the SDK then is not kept."""
        server, size = self.server, len(self._passed)
        try:
            yield
        finally:
            self.server = server
            del self._passed[size:]

    def load_worker(self) -> Any:
        """Return the file's server, loaded as the SDK's worker loads it.

        Raise NoServerError if the file starts no worker, NoEntryError if the server has no entry function,
        and any error of the file itself.
        """
        module = self.run_file("__main__")
        if self.server is None and module is not None:
            self.server = self._search(module)
        if self.server is None:
            raise NoServerError(
                f"{self._file} starts no worker: it needs cli.run_app(...) or a module-level AgentServer"
            )
        if self.server._entrypoint_fnc is None:
            raise NoEntryError(f"{self._file} has no entry function: decorate one with @server.rtc_session()")
        return self.server

    def options(self) -> dict[str, dict[str, Any]]:
        """Return the options that the file passes to its server, by option name: `{"value", "where"}`."""
        found: dict[str, dict[str, Any]] = {}
        for subject, arguments in self._passed:
            if subject is not self.server:
                continue
            for name, (value, where) in arguments.items():
                if name in OPTIONS and (passed := _passed(value)):
                    option, convert = OPTIONS[name]
                    values = [_portable(convert(each)) for each in passed]
                    found[option] = {
                        "value": values[0] if len(values) == 1 else {"$modes": values},
                        "where": where,
                    }
        return found

    def _recording(self, function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            where = self._caller()
            if where is not None:
                try:
                    arguments = dict(signature.bind(*args, **kwargs).arguments)
                    arguments.pop(next(iter(arguments)))
                    self._passed.append((args[0], {key: (each, where) for key, each in arguments.items()}))
                except TypeError:
                    pass  # the call itself reports what is wrong with its arguments
            return function(*args, **kwargs)

        return wrapper

    def _caller(self) -> str | None:
        """Return the calling line outside the SDK, as `agent.py:12`; None if the SDK itself called."""
        frame: Any = sys._getframe(2)
        while frame is not None and frame.f_code.co_filename.startswith(project_files.HERE):
            frame = frame.f_back
        if frame is None or os.path.abspath(frame.f_code.co_filename).startswith(self._sdk):
            return None
        path, folder = os.path.abspath(frame.f_code.co_filename), os.path.dirname(self._file) + os.sep
        return f"{path[len(folder) :] if path.startswith(folder) else path}:{frame.f_lineno}"

    def _from_options(self, options: Any) -> Any:
        server = self._convert(options)
        self._passed += [(server, arguments) for subject, arguments in self._passed if subject is options]
        return server

    def _run_app(self, server: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(server, self._worker.AgentServer):
            server = self._from_options(server)
        self.server = server
        raise Captured

    def _run_method(self) -> Callable[..., Any]:
        capture = self

        async def run(self: Any, *args: Any, **kwargs: Any) -> None:
            capture.server = self
            raise Captured

        return run

    def _search(self, module: ModuleType) -> Any:
        names = vars(module)
        for name in ("app", "server", "agent", *names):
            if isinstance(names.get(name), self._worker.AgentServer):
                return names[name]
        return None


def _passed(value: Any) -> list[Any]:
    """Return the value, or the values for development and production if they differ; empty if nothing was
    passed.
    """
    kind = type(value).__name__
    if kind == "ServerEnvOption":
        return [value.dev_default, value.prod_default]
    return [] if kind == "NotGiven" or value in (None, "") else [value]


def _portable(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"$float": str(value)}
    return value if isinstance(value, (str, int, float, bool, dict, list)) else str(value)


FUNCTIONS = {
    "entry": "_entrypoint_fnc",
    "prewarm": "_setup_fnc",
    "session_end": "_session_end_fnc",
    "simulation_end": "_simulation_end_fnc",
    "http_proxy": "_http_proxy",
}
"""The server's functions that a job process needs."""

PICKLED, GUARD = "pickle:", "guard:"
"""Prefixes of `Manifest.functions`, before the pickled functions, or before the reason why they cannot be
pickled. In that case each job process runs the whole file.
"""


def import_sdk(link: HostLink) -> Capture:
    """Import the SDK and replace its ways to start a worker."""
    capture = Capture(link.spec.file)
    importlib.import_module("livekit.agents")
    capture.install()
    return capture


def inherit_mode(link: HostLink) -> None:
    """Set the variable that `python agent.py dev` sets for its children; `start` does not."""
    if not link.spec.production:
        os.environ["LIVEKIT_DEV_MODE"] = "1"


def set_mode(link: HostLink) -> None:
    """Set the environment that `python agent.py dev` (or `start`) sets before it spawns children: dev mode
    and the default certificates.
    """
    inherit_mode(link)
    http_context = importlib.import_module("livekit.agents.utils.http_context")
    if hasattr(http_context, "_set_default_cert_env"):  # since 1.8
        http_context._set_default_cert_env()


def set_up_logging(link: HostLink) -> None:
    """Set levels as the SDK's worker does, and install agent-tui's handler again if the file removed it."""
    from livekit.agents import log, plugin

    with contextlib.suppress(ImportError, AttributeError):
        importlib.import_module("livekit.agents.cli.log")._silence_noisy_loggers()
    loggers = [log.logger, *(each.logger for each in plugin.Plugin.registered_plugins)]
    for each in loggers:
        if each is not None and each.level == logging.NOTSET:
            each.setLevel(link.spec.log_level)
    if hasattr(log, "_add_global_log_fields"):
        log._add_global_log_fields(link.records)
    link.records.install()
    logging.getLogger().setLevel(link.spec.log_level)


def runners() -> dict[str, Any]:
    """Return the inference runners that the file's plugins registered, by method."""
    module = importlib.import_module("livekit.agents.inference_runner")
    return dict(module._InferenceRunner.registered_runners)
