"""What happened, as frozen data: the one stream that both front ends, the reducer and the log of a run read.

An event says what is so, once, when it became so. The public JSON form is made in `headless/`.
"""

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import fields

from agent_tui.model.child import MemoryMeasure, ProcessKind
from agent_tui.model.logs import LogLevel
from agent_tui.model.settings import SettingsView
from agent_tui.model.tuning import Progress, SweepOutcome, SweepView, TestLoadView
from agent_tui.options.declare import OptionValue


class ServerKind(StrEnum):
    """Which server the worker is registered with, as people name it."""

    EMBEDDED = "embedded"
    STARTED = "livekit-server"
    FOUND = "local"
    CONFIGURED = "configured"


class ProcessState(StrEnum):
    """A process's life in order; no state is ever gone back to."""

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
    """What ended a process, or a job and with it its process. The value is how the JSON form names it."""

    ORDER = "order"
    """It ended by itself in good order, or as it was asked to."""
    CRASH = "crash"
    """The entry function raised."""
    LOADING = "loading"
    """The file did not load or prewarm failed."""
    INIT_TIMEOUT = "init_timeout"
    """Loading and prewarm took longer than initializeProcessTimeout."""
    EXIT = "exit"
    """The process went by itself, with an exit code."""
    SIGNAL = "signal"
    OUT_OF_MEMORY = "out_of_memory"
    """The kernel killed it for want of memory."""
    MEMORY_LIMIT = "memory_limit"
    """It was over jobMemoryLimitMB."""
    UNRESPONSIVE = "unresponsive"
    """It answered no ping, or did not end when it was asked to, and was killed."""
    KILLED = "killed"
    """Whoever runs agent-tui wanted everything ended at once."""
    NO_PROCESS = "no_process"
    """The process could not be started, or the job got none."""
    SERVER = "server"
    """The server ended the job."""
    INTERNAL_ERROR = "internal_error"
    """An error of agent-tui itself ended it."""


class OnReload(StrEnum):
    """What becomes of a running job when a new generation takes over."""

    KEEP = "keep"
    RESTART = "restart"
    END = "end"


class StartMethod(StrEnum):
    """How job processes start: fork of the base, fork of a template, a fresh interpreter, or a blank Node."""

    FORK = "fork"
    TEMPLATE = "template"
    SPAWN = "spawn"
    BLANK = "blank"


class Starting(Struct, frozen=True):
    """The host is up and begins; nothing is loaded or connected yet."""

    version: str
    agent: str
    agent_name: str


class InterpreterChosen(Struct, frozen=True):
    """On which interpreter the agent's code runs, and what was passed over before it."""

    path: str
    version: str
    found_as: str
    misses: tuple[str, ...]
    language: str = "Python"
    """Or Node."""
    package: str = ""
    """The SDK of an agents-js file: its version and folder."""
    typescript: str = ""
    """What reads an agents-js file that is TypeScript."""


class ServerChosen(Struct, frozen=True):
    """Where the worker will register. `remote` asks for the guard; without `media` jobs join no real room."""

    kind: ServerKind
    url: str
    host: str
    remote: bool
    media: bool


class WorkerRegistered(Struct, frozen=True):
    """The server accepted the registration."""

    worker_id: str
    url: str
    server: ServerKind
    server_version: str
    agent_name: str
    region: str = ""
    node_id: str = ""


class WorkerDisconnected(Struct, frozen=True):
    """The connection was lost or could not be made. `retry_in_s` is None when nothing will be tried."""

    reason: str
    retry_in_s: float | None
    attempt: int = 0


class WorkerRefused(Struct, frozen=True):
    """The server refuses the credentials; retrying stopped until they change."""

    reason: str


class ConnectionSuspect(Struct, frozen=True):
    """The server did not answer a ping in time (`suspect`), or does again."""

    suspect: bool


class LoadMeasured(Struct, frozen=True):
    """Load as measured and as told to the server (0…1)."""

    measured: float
    reported: float


class GenerationOvertaken(Struct, frozen=True):
    """A load was given up before its end: a later save, which may have been an undo, made it worthless, or
    agent-tui ends.
    """

    generation: int


class GenerationLoading(Struct, frozen=True):
    """A generation begins to load. `cause` names the file whose save caused it, or "start"."""

    generation: int
    cause: str


class LoadSteps(Struct, frozen=True):
    """How long the steps of a load took, in milliseconds, in their order; None for one that there was not."""

    seen: float | None = None
    """From the save until it was seen."""
    read: float | None = None
    """Reading the files."""
    control: float | None = None
    """Until the control process began to load them."""
    load: float | None = None
    """Loading, in the control process."""
    warm: float | None = None
    """Until idle processes were warm; the first generation serves before."""
    quiet: float | None = None
    """Waiting whether a further save follows."""
    switch: float | None = None
    """Taking its options, registering, and the switch."""

    @property
    def taken(self) -> tuple[tuple[str, float], ...]:
        """Name and milliseconds of those that there were, in order."""
        named = ((each.name, getattr(self, each.name)) for each in fields(self))
        return tuple((name, ms) for name, ms in named if ms is not None)


NO_STEPS = LoadSteps()


class GenerationReady(Struct, frozen=True):
    """Jobs now start on this generation. `seconds` counts from the save that caused it, if one did."""

    generation: int
    seconds: float | None
    cause: str
    runtime: str
    sdk_version: str | None
    start_method: StartMethod
    start_reason: str = ""
    """Why this start method, for people."""
    load_ms: float = 0.0
    """How long the agent's own file took to load, in milliseconds."""
    changed: tuple[str, ...] = ()
    """The files that differ from the generation before, deleted ones too."""
    steps: LoadSteps = NO_STEPS
    rolled_back_to: int = 0
    """The generation whose code this is, while that is not what is on disk."""


class GenerationFailed(Struct, frozen=True):
    """The agent's file does not load; what was current before still is.

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
    """Those that it came through, with the one that failed."""


class StartsFailing(Struct, frozen=True):
    """No job process of the current generation becomes ready; the next attempt follows in `retry_in_s`.

    `failures` counts the attempts in a row. `accepting`: accepted jobs wait for a process; otherwise offers
    are refused until a start succeeds.
    """

    generation: int
    failures: int
    error: str
    retry_in_s: float
    accepting: bool


class StartsRecovered(Struct, frozen=True):
    """Job processes become ready again, or another generation took over."""


class WatchingChanged(Struct, frozen=True):
    """Whether saves are loaded. Those of `passed_over` are not: loading rewrites these files."""

    paused: bool
    passed_over: tuple[str, ...] = ()


class ProcessChanged(Struct, frozen=True):
    """A process entered a state. The last four say how it ended and are None before."""

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
    """One sample of a process: MB (2**20 bytes), CPU in percent of one core."""

    id: str
    rss_mb: float
    uss_mb: float | None = None
    pss_mb: float | None = None
    children_mb: float = 0.0
    """RSS of all that it has started."""
    cpu_s: float | None = None
    """Processor seconds since its start."""
    cpu_pct: float | None = None
    """Since the sample before; None in the first."""
    used_mb: float | None = None
    """What counts against the warning level and the limit, as in `MemoryWarned`."""


class ProcessPinged(Struct, frozen=True):
    """Round trip of the last ping through the child's event loop, by the host's clock, in milliseconds."""

    id: str
    ms: float


class ProcessBlocked(Struct, frozen=True):
    """A child's event loop does not answer for that many seconds; `stacks` are from that moment.

    `where` is the innermost line that it was in (`agent.py:12 in entry`), empty if that is not known.
    """

    process_id: str
    pid: int
    job_id: str | None
    seconds: float
    where: str
    stacks: str


class MemoryWarned(Struct, frozen=True):
    """A process is over jobMemoryWarnMB, or over jobMemoryLimitMB and ended for it (`over_limit`).

    Sizes in MB. `used_mb` is what counts, by `measure` and with what the process has started; so is
    `baseline_mb`, from before its first job.
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
    """RSS of all that the process has started; it counts too."""
    uptime_s: float = 0.0


class OfferReceived(Struct, frozen=True):
    """The server offers a job."""

    job_id: str
    room: str
    dispatch_id: str
    generation: int
    test_dispatch: int = 0
    """The number of the dispatch made here that the job comes from, as in `Dispatched`; 0 for none."""


class OfferAnswered(Struct, frozen=True):
    """The one answer that the offer got. `error` says why it was declined when the agent did not say."""

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

    `offer_to_entry_ms` counts from the offer's arrival, or from the end of the old process for a job that was
    restarted; `dispatch_to_entry_ms` from the dispatch made here (None for a job that somebody else
    dispatched, and after a restart). Both end at the child's own stamp.
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
    """How often the job was restarted before."""
    test_dispatch: int = 0


class JobConnected(Struct, frozen=True):
    """The agent joined its room, so many milliseconds after its entry function was called.

    Without media that is the SDK's own stand-in for a room.
    """

    job_id: str
    room: str
    entry_to_connected_ms: float


class JobRestarting(Struct, frozen=True):
    """A running job ends its process in good order, to run anew on the current generation.

    `JobStarted` follows with the same job id and another process, or `JobEnded`.
    """

    job_id: str
    room: str
    generation: int
    """The one that it leaves."""
    reason: str


class JobEnded(Struct, frozen=True):
    """An accepted and launched job is over. `seconds` counts from its entry, or from its launch if none.

    `exit_code` and `signal` are its process's, None while that is not known.
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
    """Of what its code raised; its middle is left out where it is long."""
    test_dispatch: int = 0


class JobLost(Struct, frozen=True):
    """A dispatch or an accepted offer never became a running job, and why."""

    room: str
    why: str
    job_id: str | None = None
    test_dispatch: int = 0


class Dispatched(Struct, frozen=True):
    """A test dispatch was made from here. Its job's offer, or its loss, may be reported before it."""

    room: str
    agent_name: str
    dispatch_id: str | None
    test_dispatch: int
    """Its number, from 1."""


class OptionsChanged(Struct, frozen=True):
    """Options that changed while running: seed's name → (old, new), secrets masked."""

    changes: dict[str, tuple[OptionValue, OptionValue]]


class SettingsChanged(Struct, frozen=True):
    """The settings as they are from here on: sources, edits and functions of the agent's file, too."""

    settings: SettingsView


class TestLoadChanged(Struct, frozen=True):
    """A load of test jobs as it stands: at its start and end, and a few times a second between."""

    load: TestLoadView


class SweepStarted(Struct, frozen=True):
    """A sweep started: nothing is measured yet."""

    sweep: SweepView


class SweepProgressed(Struct, frozen=True):
    """The sweep has come this far. Only this event carries a run's measures, which may be large."""

    progress: Progress


class SweepEnded(Struct, frozen=True):
    """The sweep ended, and its advice is there."""

    outcome: SweepOutcome


class LogsAdded(Struct, frozen=True):
    """Lines with index `first` ≤ i < `end` are in the store; `dropped` lines were lost to overload so far."""

    first: int
    end: int
    dropped: int


class Notice(Struct, frozen=True):
    """One line that the host says on its own account."""

    level: LogLevel
    text: str


class HttpListening(Struct, frozen=True):
    """Health and worker information are served here."""

    url: str


class Stopping(Struct, frozen=True):
    """The end began. `jobs` still run; `deadline_s` seconds at most until they are killed."""

    reason: str
    jobs: int
    deadline_s: float
    drain_s: float | None = None
    """In production: how long jobs may go on by themselves; 0 is no limit."""


class Stopped(Struct, frozen=True):
    """Everything ended and is reaped."""

    reason: str


Event = (
    Starting
    | InterpreterChosen
    | ServerChosen
    | WorkerRegistered
    | WorkerDisconnected
    | WorkerRefused
    | ConnectionSuspect
    | LoadMeasured
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
)


class Stamped(Struct, frozen=True):
    """An event with its place in the stream: `seq` counts from 1 without gaps, `ts` is Unix seconds."""

    seq: int
    ts: float
    event: Event
