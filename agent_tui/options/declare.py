"""The options: one declaration each, from which flags, sources, checks and help come.

Names, meaning and defaults are the seed page's (`ServerOptions`); where the SDKs differ the default follows
the runtime (agents-js.md §2, livekit-agents.md §1.2).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

from agent_tui.options import kinds
from agent_tui.options.kinds import Kind, Permissions

LOG_LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")
SERVER_TYPES = ("room", "publisher", "participant")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The effective options. Durations are milliseconds, sizes MB."""

    agent_name: str
    api_key: str
    api_secret: str
    deployment: str
    host: str
    initialize_process_timeout: int
    job_memory_warn_mb: float
    load_threshold: float
    log_level: str
    max_retry: int
    num_idle_processes: int
    permissions: Permissions
    port: int
    server_type: str
    session_end_timeout: int
    shutdown_process_timeout: int
    worker_token: str
    ws_url: str


@dataclass(frozen=True, slots=True)
class Option:
    """One option. `default` may depend on the runtime's name."""

    name: str
    kind: Kind
    default: object | Callable[[str], object]
    help: str
    environment: tuple[str, ...] = ()
    forced_by: str = ""
    """An environment variable that beats even the agent's own code (`LIVEKIT_AGENT_NAME_OVERRIDE`)."""
    live: bool = False
    """A running worker takes a new value at once."""
    aliases: tuple[str, ...] = ()

    @property
    def field(self) -> str:
        """The name in `ServerOptions`."""
        return _kebab(self.name).replace("-", "_")

    @property
    def flag(self) -> str:
        """The long flag, in kebab case."""
        return f"--{_kebab(self.name)}"

    def default_for(self, runtime: str) -> object:
        """The default under that runtime."""
        return self.default(runtime) if callable(self.default) else self.default


def _kebab(name: str) -> str:
    for run, plain in (("URL", "Url"), ("MB", "Mb")):
        name = name.replace(run, plain)
    return "".join(f"-{char.lower()}" if char.isupper() else char for char in name)


def _python_or(python: object, other: object) -> Callable[[str], object]:
    return lambda runtime: python if runtime == "livekit-agents" else other


OPTIONS: tuple[Option, ...] = (
    Option(
        "agentName",
        kinds.text("a name, or nothing for automatic dispatch"),
        "",
        "Name for explicit dispatch; without one, every new room gets the agent.",
        environment=("LIVEKIT_AGENT_NAME",),
        forced_by="LIVEKIT_AGENT_NAME_OVERRIDE",
    ),
    Option(
        "wsURL",
        kinds.text("an address such as ws://localhost:7880"),
        "",
        "Server to register with; without one a local server is found or started.",
        environment=("LIVEKIT_URL",),
        aliases=("--url",),
    ),
    Option(
        "apiKey",
        kinds.secret("the API key of the server"),
        "",
        "API key; @FILE reads it from a file.",
        environment=("LIVEKIT_API_KEY",),
    ),
    Option(
        "apiSecret",
        kinds.secret("the API secret that belongs to the key"),
        "",
        "API secret; @FILE reads it from a file.",
        environment=("LIVEKIT_API_SECRET",),
    ),
    Option(
        "workerToken",
        kinds.secret("the token that LiveKit Cloud gave"),
        "",
        "Worker token of hosted agents; @FILE reads it from a file.",
        environment=("LIVEKIT_WORKER_TOKEN",),
    ),
    Option(
        "deployment",
        kinds.text("at most 64 characters without _ and spaces", forbidden="_ "),
        "",
        "Deployment: only dispatches that name the same one reach this worker.",
        environment=("LIVEKIT_AGENT_DEPLOYMENT",),
    ),
    Option(
        "serverType",
        kinds.choice(*SERVER_TYPES),
        "room",
        "What gives a job: a room, each publisher, or each participant.",
    ),
    Option(
        "permissions",
        kinds.permissions(),
        Permissions(),
        "What the agent may do in the room, such as canPublish=false,hidden=true.",
    ),
    Option(
        "numIdleProcesses",
        kinds.whole(0, 256),
        1,
        "Processes kept warm and waiting; 0 starts one when a job comes.",
        live=True,
    ),
    Option(
        "initializeProcessTimeout",
        kinds.duration(1),
        10_000,
        "Time for loading the file and prewarm; a process that needs longer is killed.",
    ),
    Option(
        "shutdownProcessTimeout",
        kinds.duration(1),
        _python_or(10_000, 60_000),
        "Time for a process to answer a shutdown request, and again to exit; then it is killed.",
        live=True,
    ),
    Option(
        "sessionEndTimeout",
        kinds.duration(0),
        300_000,
        "Time for the agent's session-end callback.",
    ),
    Option(
        "jobMemoryWarnMB",
        kinds.number(0, math.inf, "a number of MB, 0 for never"),
        1_000.0,
        "Warns when a job process uses more memory than this.",
        live=True,
    ),
    Option(
        "loadThreshold",
        kinds.number(0, math.inf, "a number from 0 up, usually below 1, or inf"),
        math.inf,
        "At or above this load the worker takes no more jobs.",
        live=True,
    ),
    Option(
        "logLevel",
        kinds.choice(*LOG_LEVELS),
        "info",
        "Lowest level of log lines that are shown.",
        environment=("LIVEKIT_LOG_LEVEL", "LOG_LEVEL"),
        live=True,
    ),
    Option(
        "maxRetry",
        kinds.whole(0, 1_000_000),
        _python_or(16, 10),
        "How often a failed connection to the server is tried again.",
    ),
    Option(
        "host",
        kinds.text("an address of this machine (0.0.0.0 opens it to the network)", empty=False),
        "127.0.0.1",
        "Address for the health endpoint.",
    ),
    Option(
        "port",
        kinds.whole(0, 65_535, " (0 picks a free one)"),
        0,
        "Port for the health endpoint.",
    ),
)

BY_NAME = {option.name: option for option in OPTIONS}

if {option.field for option in OPTIONS} != {field.name for field in fields(ServerOptions)}:
    raise AssertionError("OPTIONS and ServerOptions name different options")
