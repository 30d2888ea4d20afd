"""The options, each declared once: flags, variables, config keys, form, checks, and docs derive from this.

Names, meanings, and defaults are those of the JavaScript SDK's `ServerOptions`. Where the SDKs differ, the
default depends on the runtime (agents-js.md §2, livekit-agents.md §1.2).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum, StrEnum

from agent_tui.options import kinds
from agent_tui.options.kinds import OptionKind
from agent_tui.options.permissions import Permissions, permissions

LOG_LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")
SERVER_TYPES = ("room", "publisher", "participant")
ON_RELOAD = ("keep", "swap", "restart", "end")
"""The values of `events.OnReload`."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The effective options. Durations are in milliseconds, sizes in MB."""

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
    on_reload: str
    permissions: Permissions
    pin: bool
    port: int
    production: bool
    request_func: str
    server_type: str
    session_end_timeout: int
    shutdown_process_timeout: int
    worker_token: str
    ws_url: str


MAX_DEPLOYMENT_BYTES = 64
"""The longest deployment that the server accepts (worker-protocol §4)."""

PERSONAL = "personal deployment"
"""The source shown for the default of `deployment`, which is derived from the user and the machine."""

OptionValue = str | int | float | bool | Permissions
"""The type of an option's value."""


@dataclass(frozen=True, slots=True)
class DefaultsContext:
    """What an option's default may depend on."""

    runtime: str = "native"
    production: bool = False
    cores: int = 1
    remote: bool = False
    """Whether `wsURL` names a server that is not on this machine."""
    personal_deployment: str = ""
    """The deployment of this user on a remote server; empty if the run uses no such server (`--local`)."""


class Section(StrEnum):
    """Sections of `--help`, in the order in which it shows them."""

    AGENT = "Agent"
    TEST_JOBS = "Test jobs"
    RELOAD = "Reload"
    SERVER = "Server"
    JOBS = "Jobs"
    PROCESSES = "Processes"
    MEMORY = "Memory"
    DIAGNOSTICS = "Logs and debugging"
    HTTP = "HTTP endpoint"


class Effect(Enum):
    """How a new value takes effect while the worker runs, with the text that describes it to users.

    READ: code reads the value where it uses it. RESTART: the next start of agent-tui reads it. With any other
    effect, `Engine._pushes` names the part to which the value is pushed. Parts get it in the order below.
    """

    READ = "read", "live"
    LISTENER = "listener", "live"
    SERVER = "server", "re-registers", "worker re-registers"
    CODE = "code", "restarts idle processes"
    REGISTRATION = "registration", "re-registers", "worker re-registers"
    WORKER = "worker", "live"
    POOL = "pool", "live"
    MEMORY = "memory", "live"
    RESTART = "restart", "next start", "applies after restart"

    def __init__(self, _: str, text: str, label: str = "") -> None:
        self.text = text
        """The value of the JSON field `applies`, which is public."""
        self.label = label or text
        """The text on the screen."""

    @property
    def is_live(self) -> bool:
        return self.text == "live"


@dataclass(frozen=True, slots=True)
class Option:
    """One option. `default` may depend on the context."""

    name: str
    kind: OptionKind
    default: object | Callable[[DefaultsContext], object]
    help: str
    section: Section
    effect: Effect
    variables: tuple[str, ...] = ()
    """The environment variables that the SDKs read for it."""
    forced_by: str = ""
    """An environment variable that overrides the agent's code too (`LIVEKIT_AGENT_NAME_OVERRIDE`)."""
    aliases: tuple[str, ...] = ()
    positional: bool = False
    """Whether the option is a positional argument of the command line, not a flag."""
    derived: str = "default in production"
    """The source shown for a default that differs from the usual one, as many do in production."""

    @property
    def field(self) -> str:
        """The name of the option's field in `ServerOptions`."""
        return _kebab(self.name).replace("-", "_")

    @property
    def flag(self) -> str:
        """The long flag, in kebab case; for a positional option, its word in the usage line."""
        return self.name.upper() if self.positional else f"--{_kebab(self.name)}"

    @property
    def environment(self) -> tuple[str, ...]:
        """The variables that set it. The first one that is set wins."""
        return (f"AGENT_TUI_{self.field.upper()}", *self.variables)

    def default_for(self, context: DefaultsContext) -> object:
        """Return the default in that context."""
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
        kinds.text("the path of the agent file"),
        "",
        "Agent file. If omitted: agent.py, agent.ts, main.ts, or another default name, here or in src/.",
        Section.AGENT,
        Effect.RESTART,
        positional=True,
    ),
    Option(
        "agentName",
        kinds.text("a name, or nothing for automatic dispatch"),
        "",
        "Name for explicit dispatch. Without a name, every new room gets the agent.",
        Section.JOBS,
        Effect.REGISTRATION,
        variables=("LIVEKIT_AGENT_NAME",),
        forced_by="LIVEKIT_AGENT_NAME_OVERRIDE",
    ),
    Option(
        "wsURL",
        kinds.server_url("an address such as ws://localhost:7880"),
        "",
        "Server to register with. Default: one on this machine, which agent-tui starts if none is running.",
        Section.SERVER,
        Effect.SERVER,
        variables=("LIVEKIT_URL",),
        aliases=("--url",),
    ),
    Option(
        "apiKey",
        kinds.secret("the API key of the server"),
        "",
        "API key of the server.",
        Section.SERVER,
        Effect.SERVER,
        variables=("LIVEKIT_API_KEY",),
    ),
    Option(
        "apiSecret",
        kinds.secret("the API secret for the API key"),
        "",
        "API secret for the API key.",
        Section.SERVER,
        Effect.SERVER,
        variables=("LIVEKIT_API_SECRET",),
    ),
    Option(
        "workerToken",
        kinds.secret("the token from LiveKit Cloud"),
        "",
        "Worker token for agents hosted on LiveKit Cloud. It disables loadFunc and loadThreshold.",
        Section.SERVER,
        Effect.SERVER,
        variables=("LIVEKIT_WORKER_TOKEN",),
    ),
    Option(
        "deployment",
        kinds.text(
            "at most 64 characters, without _ and spaces", forbidden="_ ", longest=MAX_DEPLOYMENT_BYTES
        ),
        lambda context: context.personal_deployment if context.remote and not context.production else "",
        "Deployment of this worker. Only dispatches that name the same deployment reach it. "
        "Default in development on a remote server: a personal one, named after your user and host.",
        Section.JOBS,
        Effect.REGISTRATION,
        variables=("LIVEKIT_AGENT_DEPLOYMENT",),
        derived=PERSONAL,
    ),
    Option(
        "serverType",
        kinds.choice(*SERVER_TYPES),
        "room",
        "Job type: one job per room, publisher, or participant.",
        Section.JOBS,
        Effect.REGISTRATION,
    ),
    Option(
        "permissions",
        permissions(),
        Permissions(),
        "What the agent may do in the room, for example canPublish=false,hidden=true.",
        Section.JOBS,
        Effect.REGISTRATION,
    ),
    Option(
        "requestFunc",
        kinds.function("the name of a function in the agent file, or nothing for what its code sets"),
        "",
        "Function that accepts or rejects each job. Default: the one set in code, or accept all jobs.",
        Section.JOBS,
        Effect.CODE,
    ),
    Option(
        "loadFunc",
        kinds.function("the name of a function in the agent file, or nothing for what its code sets"),
        "",
        "Function that returns the worker's load. Default: the one set in code, or the CPU load.",
        Section.JOBS,
        Effect.CODE,
    ),
    Option(
        "loadThreshold",
        kinds.number(0, math.inf, "a number of 0 or more, usually below 1, or inf"),
        _production_or(0.7, math.inf),
        "Load at which the worker stops accepting jobs.",
        Section.JOBS,
        Effect.WORKER,
    ),
    Option(
        "numIdleProcesses",
        kinds.integer(0, 256),
        lambda context: min(context.cores, 4) if context.production else 1,
        "Number of idle processes to keep warm. With 0, each job starts its own process.",
        Section.PROCESSES,
        Effect.POOL,
    ),
    Option(
        "initializeProcessTimeout",
        kinds.duration(1),
        10_000,
        "Time limit for loading the file and running prewarm. Slower processes are killed.",
        Section.PROCESSES,
        Effect.READ,
    ),
    Option(
        "shutdownProcessTimeout",
        kinds.duration(1),
        _python_or(10_000, 60_000),
        "Time limit for a process to acknowledge a shutdown request, and again for it to exit. "
        "Slower processes are killed.",
        Section.PROCESSES,
        Effect.READ,
    ),
    Option(
        "sessionEndTimeout",
        kinds.duration(0),
        300_000,
        "Time limit for the agent's session-end callback.",
        Section.PROCESSES,
        Effect.CODE,
    ),
    Option(
        "drainTimeout",
        kinds.duration(0),
        3_600_000,
        "How long a shutdown waits for running jobs, in production or after pressing Q. 0: no limit.",
        Section.PROCESSES,
        Effect.READ,
    ),
    Option(
        "jobMemoryWarnMB",
        kinds.number(0, math.inf, "a number of MB, or 0 for no warning"),
        1_000.0,
        "Warn when a job process uses more memory than this, in MB. 0: never.",
        Section.MEMORY,
        Effect.MEMORY,
    ),
    Option(
        "jobMemoryLimitMB",
        kinds.number(0, math.inf, "a number of MB, or 0 for no limit"),
        0.0,
        "End a job process that uses more memory than this, in MB. 0: no limit.",
        Section.MEMORY,
        Effect.MEMORY,
    ),
    Option(
        "onReload",
        kinds.choice(*ON_RELOAD),
        _production_or("keep", "swap"),
        "What a reload does with running jobs: keep their code, swap the code of their open sessions "
        "(default), restart them, or end them gracefully. Default in production: keep. See docs/swap.md.",
        Section.RELOAD,
        Effect.READ,
    ),
    Option(
        "pin",
        kinds.boolean(),
        False,
        "Pin new jobs to the code they start on: reloads do not change them.",
        Section.RELOAD,
        Effect.READ,
    ),
    Option(
        "logLevel",
        kinds.choice(*LOG_LEVELS),
        "info",
        "Lowest level of log lines to show.",
        Section.DIAGNOSTICS,
        Effect.READ,
        variables=("LIVEKIT_LOG_LEVEL", "LOG_LEVEL"),
    ),
    Option(
        "maxRetry",
        kinds.integer(0, 1_000_000),
        _python_or(16, 10),
        "Maximum number of connection retries in a row.",
        Section.SERVER,
        Effect.WORKER,
    ),
    Option(
        "production",
        kinds.boolean(),
        False,
        "Use the defaults for production, and let running jobs finish on shutdown.",
        Section.AGENT,
        Effect.RESTART,
    ),
    Option(
        "host",
        kinds.text("an address of this machine (0.0.0.0 opens it to the network)", empty=False),
        _production_or("0.0.0.0", "127.0.0.1"),
        "Address of the HTTP endpoint (health, /worker, /metrics).",
        Section.HTTP,
        Effect.LISTENER,
    ),
    Option(
        "port",
        kinds.integer(0, 65_535, " (0 picks a free port)"),
        _production_or(8081, 0),
        "Port of the HTTP endpoint. 0: any free port.",
        Section.HTTP,
        Effect.LISTENER,
    ),
)

BY_NAME = {option.name: option for option in OPTIONS}

if {option.field for option in OPTIONS} != {field.name for field in fields(ServerOptions)}:
    raise AssertionError("OPTIONS and ServerOptions name different options")
