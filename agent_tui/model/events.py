"""Events as frozen data: the one stream that the front ends and the reducer read.

An event reports one change, once, when it happens. `headless/jsonl.py` formats the public JSON events.
"""

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import fields

from agent_tui.model.child import MemoryMeasure, ProcessKind
from agent_tui.model.logs import LogLevel
from agent_tui.model.session_events import SessionEvent
from agent_tui.model.settings import SettingsView
from agent_tui.model.tuning import Progress, SweepOutcome, SweepView, TestLoadView
from agent_tui.options.declare import OptionValue


class ServerKind(StrEnum):
    """The kind of server that the worker registers with."""

    EMBEDDED = "embedded"
    STARTED = "livekit-server"
    FOUND = "local"
    CONFIGURED = "configured"


class ProcessState(StrEnum):
    """The states of a process, in order. A process never returns to an earlier one."""

    STARTING = "starting"
    IDLE = "idle"
    JOB = "job"
    ENDING = "ending"
    ENDED = "ended"


class JobStatus(StrEnum):
    """How a job ended."""

    SUCCESS = "success"
    FAILED = "failed"
    TERMINATED = "terminated"


class EndedBy(StrEnum):
    """What ended a process or a job. The values are those of the public JSON field `ended_by`."""

    ORDER = "order"
    """The process or job ended gracefully, by itself or on request."""
    CRASH = "crash"
    """The entry function raised."""
    LOADING = "loading"
    """The file did not load, or prewarm failed."""
    INIT_TIMEOUT = "init_timeout"
    """Loading and prewarm took longer than initializeProcessTimeout."""
    EXIT = "exit"
    """The process exited by itself, with an exit code."""
    SIGNAL = "signal"
    OUT_OF_MEMORY = "out_of_memory"
    """The kernel killed the process, because the machine ran out of memory."""
    MEMORY_LIMIT = "memory_limit"
    """The process used more than jobMemoryLimitMB."""
    UNRESPONSIVE = "unresponsive"
    """The process was killed, because it did not answer a ping or did not end on request."""
    KILLED = "killed"
    """The process was killed, because the user forced agent-tui to stop."""
    NO_PROCESS = "no_process"
    """The process failed to start, or the job got no process."""
    SERVER = "server"
    """The server ended the job."""
    INTERNAL_ERROR = "internal_error"
    """An internal error of agent-tui ended it."""


class OnReload(StrEnum):
    """What happens to running jobs when a new generation becomes current."""

    KEEP = "keep"
    SWAP = "swap"
    """Their open sessions get the new code."""
    RESTART = "restart"
    END = "end"


class StartMethod(StrEnum):
    """How job processes start: fork of the base or a template, new interpreter, or blank Node process."""

    FORK = "fork"
    TEMPLATE = "template"
    SPAWN = "spawn"
    BLANK = "blank"


class Starting(Struct, frozen=True):
    """agent-tui is starting. Nothing is loaded or connected yet."""

    version: str
    agent: str
    agent_name: str
    sessions: bool = True
    """Whether agent-tui attaches to the sessions of jobs."""


class InterpreterChosen(Struct, frozen=True):
    """The interpreter that runs the agent's code. `misses` lists the skipped ones, with reasons."""

    path: str
    version: str
    found_as: str
    misses: tuple[str, ...]
    language: str = "Python"
    """Python or Node."""
    package: str = ""
    """The SDK of an agents-js file: version and folder."""
    typescript: str = ""
    """The tool that compiles an agents-js file in TypeScript, or strips its types."""


class ServerChosen(Struct, frozen=True):
    """The server that the worker will register with.

    `remote`: test jobs need a confirmation, unless the config file allows them (`allowRemote`). Without
    `media`, jobs join no real room.
    """

    kind: ServerKind
    url: str
    host: str
    remote: bool
    media: bool
    allowed: bool = False


class WorkerRegistered(Struct, frozen=True):
    """The server accepted the registration."""

    worker_id: str
    url: str
    server: ServerKind
    server_version: str
    agent_name: str
    region: str = ""
    node_id: str = ""
    deployment: str = ""
    knows_deployments: bool = True
    """Whether the server supports deployments. An older one ignores them."""


class WorkerDisconnected(Struct, frozen=True):
    """The connection was lost, or failed. `retry_in_s` is None if there is no retry."""

    reason: str
    retry_in_s: float | None
    attempt: int = 0
    todo: str = ""
    """What to do about it; empty if there is no advice."""


class WorkerRefused(Struct, frozen=True):
    """The server refused the credentials. There is no retry until they change."""

    reason: str
    todo: str = ""


class ConnectionSuspect(Struct, frozen=True):
    """The server did not respond to a ping in time (`suspect`), or responds again."""

    suspect: bool


class WorkerLoadMeasured(Struct, frozen=True):
    """The worker's load, as measured and as reported to the server (0…1)."""

    measured: float
    reported: float


class GenerationOvertaken(Struct, frozen=True):
    """A load was cancelled, because a later save (possibly an undo) replaced it or agent-tui is stopping."""

    generation: int


class GenerationLoading(Struct, frozen=True):
    """A generation starts to load. `cause` is the saved file, or "start"."""

    generation: int
    cause: str


class LoadSteps(Struct, frozen=True):
    """The durations of a load's steps, in ms, in their order. None for a step that did not happen."""

    seen: float | None = None
    """From the save until the file watch noticed it."""
    read: float | None = None
    """Reading the files."""
    control: float | None = None
    """From the end of reading until the control process started to load the files."""
    load: float | None = None
    """Loading, in the control process."""
    warm: float | None = None
    """From loading until idle processes were warm. The first generation serves before that."""
    quiet: float | None = None
    """Waiting for further saves."""
    switch: float | None = None
    """Applying the options, registering if they require it, and switching to the new generation."""

    @property
    def measured(self) -> tuple[tuple[str, float], ...]:
        """Name and duration (ms) of each step that happened, in order."""
        named = ((each.name, getattr(self, each.name)) for each in fields(self))
        return tuple((name, ms) for name, ms in named if ms is not None)


NO_STEPS = LoadSteps()


class GenerationReady(Struct, frozen=True):
    """New jobs start on this generation. `seconds` is the time from the save that caused it, if any, to the
    switch.
    """

    generation: int
    seconds: float | None
    cause: str
    runtime: str
    sdk_version: str | None
    start_method: StartMethod
    start_reason: str = ""
    """Why this start method was chosen."""
    load_ms: float = 0.0
    """How long the agent's file took to load, in ms."""
    changed: tuple[str, ...] = ()
    """The files that differ from the previous generation, including deleted ones."""
    steps: LoadSteps = NO_STEPS
    rolled_back_to: int = 0
    """After a rollback, the earlier generation whose code this is; 0 if the code is that on disk."""


class GenerationFailed(Struct, frozen=True):
    """The agent's file failed to load. The current generation stays.

    `seconds` and `cause` are as in `GenerationReady`.
    """

    generation: int
    error: str
    file: str | None
    line: int | None
    traceback: str
    cause: str = ""
    seconds: float | None = None
    steps: LoadSteps = NO_STEPS
    """The steps that happened; the last one failed."""
    todo: str = ""
    """What to do about it; empty if there is no advice."""


class StartsFailing(Struct, frozen=True):
    """A job process of the current generation failed to start. The next attempt is in `retry_in_s`.

    `failures` counts consecutive failed attempts. While `accepting`, offers are accepted and their jobs wait
    for a process; otherwise offers are refused until a start succeeds.
    """

    generation: int
    failures: int
    error: str
    retry_in_s: float
    accepting: bool
    file: str | None = None
    line: int | None = None
    """The line that failed, or that was being executed when the process was killed; None if unknown."""
    traceback: str = ""
    """The traceback of the failure, or all stacks of the process just before it was killed."""
    ended_by: EndedBy | None = None
    """What ended the process."""
    todo: str = ""
    """What to do about it; empty if there is no advice."""


class StartsRecovered(Struct, frozen=True):
    """Job processes are becoming ready again, or another generation has become current."""


class WatchingChanged(Struct, frozen=True):
    """Reloading on save was paused or resumed, or the `ignored` files changed.

    Saves of ignored files never cause a reload, because loading the code rewrites these files.
    """

    paused: bool
    ignored: tuple[str, ...] = ()


class ProcessChanged(Struct, frozen=True):
    """A process entered a state. The last four fields say how it ended, and are None before."""

    id: str
    pid: int | None
    kind: ProcessKind
    state: ProcessState
    generation: int
    job_id: str | None = None
    reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    ended_by: EndedBy | None = None


class ProcessMeasured(Struct, frozen=True):
    """A measurement of a process: memory in MB (2**20 bytes), CPU in percent of one core."""

    id: str
    rss_mb: float
    uss_mb: float | None = None
    pss_mb: float | None = None
    children_mb: float = 0.0
    """RSS of the process's children, in MB."""
    cpu_s: float | None = None
    """CPU seconds that the process has used since its start."""
    cpu_pct: float | None = None
    """CPU use since the previous measurement, in percent of one core; None in the first measurement."""
    used_mb: float | None = None
    """The memory that the warning and the limit apply to, as in `MemoryWarned`."""


class ProcessPinged(Struct, frozen=True):
    """The round trip of the last ping through the child's event loop, in ms, by the host's clock."""

    id: str
    ms: float


class ProcessBlocked(Struct, frozen=True):
    """A child's event loop has not answered for that many seconds.

    `stacks` are the child's stacks at that time. `where` is the line that its event loop is executing, such
    as `agent.py:12 in entry`; empty if unknown.
    """

    process_id: str
    pid: int
    job_id: str | None
    seconds: float
    where: str
    stacks: str


class MemoryWarned(Struct, frozen=True):
    """A process uses more than jobMemoryWarnMB, or (`over_limit`) more than jobMemoryLimitMB and is ended.

    Sizes are in MB. `used_mb` is compared with the limits: the memory by `measure`, plus that of child
    processes. `baseline_mb` is the same value before the process's first job.
    """

    process_id: str
    pid: int
    job_id: str | None
    used_mb: float
    measure: MemoryMeasure
    rss_mb: float
    uss_mb: float | None
    warn_mb: float
    limit_mb: float
    baseline_mb: float
    over_limit: bool = False
    children_mb: float = 0.0
    """RSS of the process's children, in MB. `used_mb` includes it."""
    uptime_s: float = 0.0


class OfferReceived(Struct, frozen=True):
    """The server offers a job."""

    job_id: str
    room: str
    dispatch_id: str
    generation: int
    test_dispatch: int = 0
    """The number of the job's test dispatch, as in `Dispatched`; 0 for other jobs."""
    test_load: bool = False
    """Whether a test load or a sweep made that dispatch."""


class OfferAnswered(Struct, frozen=True):
    """The answer to an offer. `error` says why agent-tui declined it; None if the agent decided."""

    job_id: str
    accepted: bool
    terminate: bool = False
    error: str | None = None


class JobAssigned(Struct, frozen=True):
    """The server assigned an accepted job to this worker."""

    job_id: str
    room: str


class JobStarted(Struct, frozen=True):
    """The job's entry function was called.

    `offer_to_entry_ms` is the time since the offer arrived or, after a restart, since the old process ended.
    `dispatch_to_entry_ms` is the time since the test dispatch; None for other jobs, and after a restart. The
    child's clock gives the time of the call.
    """

    job_id: str
    room: str
    process_id: str
    pid: int
    generation: int
    warm: bool
    offer_to_entry_ms: float
    dispatch_to_entry_ms: float | None
    restarts: int = 0
    """How often the job was restarted."""
    test_dispatch: int = 0


class JobConnected(Struct, frozen=True):
    """The agent joined its room. On a server without media, that is the SDK's mock room."""

    job_id: str
    room: str
    entry_to_connected_ms: float


class JobRestarting(Struct, frozen=True):
    """A running job is ending its process gracefully, to restart on the current generation.

    Followed by `JobStarted` (same job id, another process) or `JobEnded`.
    """

    job_id: str
    room: str
    generation: int
    """The generation on which the job ran until now."""
    reason: str


class JobPinned(Struct, frozen=True):
    """A running job was pinned to the code of `generation`, so that reloads do not change it, or unpinned."""

    job_id: str
    room: str
    generation: int
    pinned: bool


class JobEnded(Struct, frozen=True):
    """A launched job ended.

    `seconds` is the time since its entry function was called, or since its launch if it never was.
    `exit_code` and `signal` are those of its process; None if unknown.
    """

    job_id: str
    room: str
    pid: int | None
    generation: int
    status: JobStatus
    reason: str
    seconds: float
    ended_by: EndedBy = EndedBy.ORDER
    exit_code: int | None = None
    signal: int | None = None
    traceback: str = ""
    """The traceback of the exception that its code raised, without its middle part if it is long."""
    test_dispatch: int = 0
    todo: str = ""
    """What to do about it; empty if there is no advice."""


class JobLost(Struct, frozen=True):
    """A dispatch or an accepted offer never became a running job. `why` is the reason."""

    room: str
    why: str
    job_id: str | None = None
    test_dispatch: int = 0


class Dispatched(Struct, frozen=True):
    """A test dispatch was made. The offer or loss of its job may be reported before this event."""

    room: str
    agent_name: str
    dispatch_id: str | None
    test_dispatch: int
    """The number of the test dispatch, from 1."""


class OptionsChanged(Struct, frozen=True):
    """Options that changed: name → (old, new), secrets masked."""

    changes: dict[str, tuple[OptionValue, OptionValue]]


class SettingsChanged(Struct, frozen=True):
    """The settings in effect from now on, with their sources, edits, and functions of the agent file."""

    settings: SettingsView


class TestLoadChanged(Struct, frozen=True):
    """The progress of a test load: at its start and end, and a few times per second between."""

    load: TestLoadView


class SweepStarted(Struct, frozen=True):
    """A sweep started. Nothing is measured yet."""

    sweep: SweepView


class SweepProgressed(Struct, frozen=True):
    """The progress of a sweep. Only this event has a run's measurements, which can be large."""

    progress: Progress


class SweepEnded(Struct, frozen=True):
    """The sweep ended. Its outcome includes the advice."""

    outcome: SweepOutcome


class LogsAdded(Struct, frozen=True):
    """Lines with `first` ≤ index < `end` were stored. `dropped`: lines lost to overload since the start."""

    first: int
    end: int
    dropped: int


CHANGED_REGISTRATION = "changed registration"
"""The `Notice.about` used when the server does not accept a changed registration."""


class Notice(Struct, frozen=True):
    """A line that agent-tui itself logs.

    `about` names a part of agent-tui. A warning or error about a part reports that the part has stopped
    working; a later notice about it with a lower level, that it works again.
    """

    level: LogLevel
    text: str
    about: str = ""
    todo: str = ""
    """What to do about it; empty if there is no advice."""
    file: str | None = None
    """The file to correct, as an absolute path, and its line; None if unknown."""
    line: int | None = None


class HttpListening(Struct, frozen=True):
    """The HTTP endpoint listens at this URL."""

    url: str


class Stopping(Struct, frozen=True):
    """agent-tui is stopping. `jobs` are still running; they are killed after `deadline_s` seconds."""

    reason: str
    jobs: int
    deadline_s: float
    drain_s: float | None = None
    """In production: how long running jobs are allowed to continue, in s; 0 for no limit."""


class Stopped(Struct, frozen=True):
    """Everything has ended, and all processes are reaped."""

    reason: str


Event = (
    Starting
    | InterpreterChosen
    | ServerChosen
    | WorkerRegistered
    | WorkerDisconnected
    | WorkerRefused
    | ConnectionSuspect
    | WorkerLoadMeasured
    | GenerationLoading
    | GenerationOvertaken
    | GenerationReady
    | GenerationFailed
    | StartsFailing
    | StartsRecovered
    | WatchingChanged
    | ProcessChanged
    | ProcessMeasured
    | ProcessPinged
    | ProcessBlocked
    | MemoryWarned
    | OfferReceived
    | OfferAnswered
    | JobAssigned
    | JobStarted
    | JobConnected
    | JobRestarting
    | JobPinned
    | JobEnded
    | JobLost
    | Dispatched
    | OptionsChanged
    | SettingsChanged
    | TestLoadChanged
    | SweepStarted
    | SweepProgressed
    | SweepEnded
    | LogsAdded
    | Notice
    | HttpListening
    | Stopping
    | Stopped
    | SessionEvent
)


class Stamped(Struct, frozen=True):
    """An event with its number in the stream (from 1, without gaps) and its time in Unix seconds."""

    seq: int
    ts: float
    event: Event
