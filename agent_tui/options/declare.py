"""The options: one declaration each, from which flags, variables, file keys, form, checks and docs come.

Names, meaning and defaults are the seed page's (`ServerOptions`); where the SDKs differ the default follows
the runtime (agents-js.md §2, livekit-agents.md §1.2).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum

from agent_tui.options import kinds
from agent_tui.options.kinds import Kind
from agent_tui.options.permissions import Permissions, permissions

LOG_LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")
SERVER_TYPES = ("room", "publisher", "participant")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The effective options. Durations are milliseconds, sizes MB."""

    agent: str
    agent_name: str
    api_key: str
    api_secret: str
    deployment: str
    drain_timeout: int
    host: str
    initialize_process_timeout: int
    job_memory_limit_mb: float
    job_memory_warn_mb: float
    load_func: str
    load_threshold: float
    log_level: str
    max_retry: int
    num_idle_processes: int
    permissions: Permissions
    port: int
    production: bool
    request_func: str
    server_type: str
    session_end_timeout: int
    shutdown_process_timeout: int
    worker_token: str
    ws_url: str


OptionValue = str | int | float | bool | Permissions
"""The value of any of them."""


@dataclass(frozen=True, slots=True)
class DefaultsContext:
    """What defaults depend on."""

    runtime: str = "native"
    production: bool = False
    cores: int = 1


class Effect(Enum):
    """How a new value comes into force while the worker runs, and what people read about that.

    READ is read where it is used, and RESTART only by another start. The others are pushed to their owner, in
    this order: the engine has one function for each (`Engine._pushes`).
    """

    READ = "read", "live"
    LISTENER = "listener", "live"
    SERVER = "server", "re-registers"
    CODE = "code", "restarts idle processes"
    REGISTRATION = "registration", "re-registers"
    WORKER = "worker", "live"
    POOL = "pool", "live"
    MEMORY = "memory", "live"
    RESTART = "restart", "next start"

    def __init__(self, _: str, text: str) -> None:
        self.text = text

    @property
    def is_live(self) -> bool:
        return self.text == "live"


@dataclass(frozen=True, slots=True)
class Option:
    """One option. `default` may depend on the context."""

    name: str
    kind: Kind
    default: object | Callable[[DefaultsContext], object]
    help: str
    effect: Effect
    variables: tuple[str, ...] = ()
    """The SDKs' own environment variables for it."""
    forced_by: str = ""
    """An environment variable that beats even the agent's own code (`LIVEKIT_AGENT_NAME_OVERRIDE`)."""
    aliases: tuple[str, ...] = ()
    positional: bool = False
    """Given on the command line without a flag."""

    @property
    def field(self) -> str:
        """The name in `ServerOptions`."""
        return _kebab(self.name).replace("-", "_")

    @property
    def flag(self) -> str:
        """The long flag, in kebab case; the word of the usage line for a positional one."""
        return self.name.upper() if self.positional else f"--{_kebab(self.name)}"

    @property
    def environment(self) -> tuple[str, ...]:
        """Variables that set it; the first that is set wins."""
        return (f"AGENT_TUI_{self.field.upper()}", *self.variables)

    def default_for(self, context: DefaultsContext) -> object:
        """The default on that context."""
        return self.default(context) if callable(self.default) else self.default


def _kebab(name: str) -> str:
    for run, plain in (("URL", "Url"), ("MB", "Mb")):
        name = name.replace(run, plain)
    return "".join(f"-{char.lower()}" if char.isupper() else char for char in name)


def _python_or(python: object, other: object) -> Callable[[DefaultsContext], object]:
    return lambda context: python if context.runtime == "livekit-agents" else other


def _production_or(production: object, development: object) -> Callable[[DefaultsContext], object]:
    return lambda context: production if context.production else development


OPTIONS: tuple[Option, ...] = (
    Option(
        "agent",
        kinds.text("the path of the agent's file"),
        "",
        "The agent's file; by default agent.py, agent.ts or the like here.",
        Effect.RESTART,
        positional=True,
    ),
    Option(
        "agentName",
        kinds.text("a name, or nothing for automatic dispatch"),
        "",
        "Name for explicit dispatch; without one, every new room gets the agent.",
        Effect.REGISTRATION,
        variables=("LIVEKIT_AGENT_NAME",),
        forced_by="LIVEKIT_AGENT_NAME_OVERRIDE",
    ),
    Option(
        "wsURL",
        kinds.server_url("an address such as ws://localhost:7880"),
        "",
        "Server to register with; without one a local server is found or started.",
        Effect.SERVER,
        variables=("LIVEKIT_URL",),
        aliases=("--url",),
    ),
    Option(
        "apiKey",
        kinds.secret("the API key of the server"),
        "",
        "API key of the server.",
        Effect.SERVER,
        variables=("LIVEKIT_API_KEY",),
    ),
    Option(
        "apiSecret",
        kinds.secret("the API secret that belongs to the key"),
        "",
        "API secret that belongs to the key.",
        Effect.SERVER,
        variables=("LIVEKIT_API_SECRET",),
    ),
    Option(
        "workerToken",
        kinds.secret("the token that LiveKit Cloud gave"),
        "",
        "Worker token of hosted agents; it leaves no load settings of one's own.",
        Effect.SERVER,
        variables=("LIVEKIT_WORKER_TOKEN",),
    ),
    Option(
        "deployment",
        kinds.text("at most 64 characters without _ and spaces", forbidden="_ ", longest=64),
        "",
        "Deployment: only dispatches that name the same one reach this worker.",
        Effect.REGISTRATION,
        variables=("LIVEKIT_AGENT_DEPLOYMENT",),
    ),
    Option(
        "serverType",
        kinds.choice(*SERVER_TYPES),
        "room",
        "What gives a job: a room, each publisher, or each participant.",
        Effect.REGISTRATION,
    ),
    Option(
        "permissions",
        permissions(),
        Permissions(),
        "What the agent may do in the room, such as canPublish=false,hidden=true.",
        Effect.REGISTRATION,
    ),
    Option(
        "requestFunc",
        kinds.function("the name of a function in the agent's file, or nothing for its own choice"),
        "",
        "Function that accepts or rejects each job; without one the agent's own, or all are accepted.",
        Effect.CODE,
    ),
    Option(
        "loadFunc",
        kinds.function("the name of a function in the agent's file, or nothing for its own choice"),
        "",
        "Function that measures the worker's load; without one the agent's own, or the CPU's share.",
        Effect.CODE,
    ),
    Option(
        "loadThreshold",
        kinds.number(0, math.inf, "a number from 0 up, usually below 1, or inf"),
        _production_or(0.7, math.inf),
        "At or above this load the worker takes no more jobs.",
        Effect.WORKER,
    ),
    Option(
        "numIdleProcesses",
        kinds.integer(0, 256),
        lambda context: min(context.cores, 4) if context.production else 1,
        "Processes kept warm and waiting; 0 starts one when a job comes.",
        Effect.POOL,
    ),
    Option(
        "initializeProcessTimeout",
        kinds.duration(1),
        10_000,
        "Time for loading the file and prewarm; a process that needs longer is killed.",
        Effect.READ,
    ),
    Option(
        "shutdownProcessTimeout",
        kinds.duration(1),
        _python_or(10_000, 60_000),
        "Time for a process to answer a shutdown request, and again to exit; then it is killed.",
        Effect.READ,
    ),
    Option(
        "sessionEndTimeout",
        kinds.duration(0),
        300_000,
        "Time for the agent's session-end callback.",
        Effect.CODE,
    ),
    Option(
        "drainTimeout",
        kinds.duration(0),
        3_600_000,
        "In production, time for running jobs to finish at a stop; 0 waits without limit.",
        Effect.READ,
    ),
    Option(
        "jobMemoryWarnMB",
        kinds.number(0, math.inf, "a number of MB from 0 up, 0 for never"),
        1_000.0,
        "Warns when a job process uses more memory than this.",
        Effect.MEMORY,
    ),
    Option(
        "jobMemoryLimitMB",
        kinds.number(0, math.inf, "a number of MB from 0 up, 0 for no limit"),
        0.0,
        "Ends a job process that uses more memory than this.",
        Effect.MEMORY,
    ),
    Option(
        "logLevel",
        kinds.choice(*LOG_LEVELS),
        "info",
        "Lowest level of log lines that are shown.",
        Effect.READ,
        variables=("LIVEKIT_LOG_LEVEL", "LOG_LEVEL"),
    ),
    Option(
        "maxRetry",
        kinds.integer(0, 1_000_000),
        _python_or(16, 10),
        "How often a failed connection to the server is tried again.",
        Effect.WORKER,
    ),
    Option(
        "production",
        kinds.boolean(),
        False,
        "The defaults of production, and running jobs may finish at a stop.",
        Effect.RESTART,
    ),
    Option(
        "host",
        kinds.text("an address of this machine (0.0.0.0 opens it to the network)", empty=False),
        _production_or("0.0.0.0", "127.0.0.1"),
        "Address for the health endpoint.",
        Effect.LISTENER,
    ),
    Option(
        "port",
        kinds.integer(0, 65_535, " (0 picks a free one)"),
        _production_or(8081, 0),
        "Port for the health endpoint.",
        Effect.LISTENER,
    ),
)

BY_NAME = {option.name: option for option in OPTIONS}

if {option.field for option in OPTIONS} != {field.name for field in fields(ServerOptions)}:
    raise AssertionError("OPTIONS and ServerOptions name different options")
