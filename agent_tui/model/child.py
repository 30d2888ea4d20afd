"""What the host and a child process say to each other, whatever language the child is written in.

A runtime (`agent_tui.runtimes`) starts children and speaks their channel; the pool and the job manager know
only the types here. Nothing in them is Python's: a child may have no fork, no stacks, one measure of memory.
"""

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Protocol

from msgspec import Struct, field


class ProcessKind(StrEnum):
    """What a process is there for; only a `job` process is ever idle."""

    JOB = "job"
    CONTROL = "control"
    TEMPLATE = "template"
    BASE = "base"
    INFERENCE = "inference"
    BLANK = "blank"
    """A Node process with the SDK loaded that has not been given a file yet."""


class MemoryMeasure(StrEnum):
    """Which figure of memory counts against a limit: the SDKs differ (livekit-agents.md §1.2)."""

    RSS = "rss"
    USS = "uss"
    PSS = "pss"


class ChildTraits(Struct, frozen=True):
    """What a kind of child can do; the parts that use it ask here and never for the runtime's name."""

    stacks: bool
    """It can print its own stacks on request."""
    reports_loading: bool
    """It says when it starts to load the user's file (`Loading`), so that the SDK's import is not counted."""
    memory: MemoryMeasure = MemoryMeasure.RSS
    reports_entry: bool = True
    """It says when the job's entry function is called; without that it counts as called with `StartJob`."""


class AcceptArguments(Struct, frozen=True):
    """How the agent joins the room, as its request function asked. Identity is never empty."""

    identity: str
    name: str = ""
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


# -- host to child ------------------------------------------------------------------------------------


class Ping(Struct, frozen=True):
    """Asks the child's event loop for a `Pong` with the same number."""

    sent_ms: int


class StartJob(Struct, frozen=True):
    """Runs one job in a ready job process. `job` is a serialised `livekit.Job`; times are Unix seconds."""

    job: bytes
    accept: AcceptArguments
    url: str
    token: str
    worker_id: str
    fake_job: bool
    received_at: float
    accepted_at: float
    assigned_at: float
    launched_at: float
    debug_port: int = 0
    """On loopback, where a debugger is waited for before the entry function is called; 0 for none."""


class Shutdown(Struct, frozen=True):
    """Asks the child to end in good order: the job leaves its room, callbacks run, the process exits."""

    reason: str


class DumpStacks(Struct, frozen=True):
    """Asks for the stacks of all threads, as `Stacks`; answered even when the event loop is blocked."""


class AskRequest(Struct, frozen=True):
    """Asks the control process to run the agent's request function on an offer."""

    job: bytes
    """Serialised `livekit.Job`."""
    job_id: str


class AcceptOutcome(Struct, frozen=True):
    """Tells the control process what became of an accepted offer; resolves `await req.accept()`."""

    job_id: str
    error: str | None = None
    """None when the job was launched; else why it was not."""


class AskLoad(Struct, frozen=True):
    """Asks the control process to run the agent's load function. `request_id` comes back in `LoadAnswer`."""

    request_id: int


class ActiveJob(Struct, frozen=True):
    """One running job as the agent's own code may look at it (`server.active_jobs`)."""

    job: bytes
    accept: AcceptArguments
    url: str
    token: str
    worker_id: str


class WorkerLive(Struct, frozen=True):
    """Live worker data for the control process, sent whenever it changes and before each question."""

    worker_id: str
    active_jobs: tuple[ActiveJob, ...]
    draining: bool


class InferenceRequest(Struct, frozen=True):
    """A job asks the inference process to run a method (livekit-agents.md §2.4, messages 7 and 8)."""

    request_id: str
    method: str
    data: bytes


class InferenceResponse(Struct, frozen=True):
    """What the inference process answered; `data` is None when it had none."""

    request_id: str
    data: bytes | None
    error: str


class ImportModules(Struct, frozen=True):
    """Has a base import more modules of others, one at a time between forks."""

    modules: tuple[str, ...]


class KeepCode(Struct, frozen=True):
    """Gives a base what a child compiled."""

    modules: tuple[Mapping[str, str], ...]


class Tidy(Struct, frozen=True):
    """Has a base give back the memory that it does not need while it waits."""


ToChild = (
    Ping
    | StartJob
    | Shutdown
    | DumpStacks
    | AskRequest
    | AcceptOutcome
    | AskLoad
    | WorkerLive
    | InferenceRequest
    | InferenceResponse
    | ImportModules
    | KeepCode
    | Tidy
)

# -- child to host ------------------------------------------------------------------------------------


class Loading(Struct, frozen=True):
    """The child starts to load the user's file: from here the initialise time-out counts."""


class Ready(Struct, frozen=True):
    """A job or inference process is warmed up (prewarm done) and waits."""


class Failed(Struct, frozen=True):
    """The child could not load or prewarm. `traceback` is text for people, its last line is `error`."""

    error: str
    traceback: str = ""
    file: str | None = None
    line: int | None = None


class SetInCode(Struct, frozen=True):
    """An option's value as the agent's code passed it, and where (`agent.py:12`, or "" if unknown)."""

    value: object
    where: str


class Manifest(Struct, frozen=True):
    """What loading the agent's file in the control process found.

    `options` are those that the agent's code passed, by the seed's name (`numIdleProcesses`) and in the
    project's units (milliseconds, MB).
    `functions` is opaque: a job child of the same generation needs it, the host never looks inside.
    """

    runtime: str
    sdk_version: str | None
    options: Mapping[str, SetInCode]
    has_entry: bool
    has_prewarm: bool
    has_request_func: bool
    has_load_func: bool
    inference_runners: tuple[str, ...]
    functions: str
    files: tuple[str, ...]
    """Absolute paths of the project's own modules that loading imported."""
    load_ms: float
    roots: tuple[str, ...] = ()
    """Folders in which the project's own modules are looked for (`sys.path`, editable installs)."""
    imports: tuple[str, ...] = ()
    """Modules of others that the project's own code imports, in order."""
    lazy_runners: bool = False
    """No plugin asked for the runners: their process starts at the first request."""
    own_runners: bool = False
    """Some of the runners are the project's own code, and differ when that does."""
    function_names: tuple[str, ...] = ()
    """The file's own functions that an option may name."""


class Code(Struct, frozen=True):
    """What the child compiled of the project's own modules; opaque, for `KeepCode`."""

    modules: tuple[Mapping[str, str], ...]


class Wants(Struct, frozen=True):
    """The child makes its own copy of something large that a base could hold for all (`ImportModules`)."""

    name: str


class BaseReport(Struct, frozen=True):
    """What a base found out about itself."""

    unsafe: str
    """Why it cannot be forked; empty if it can."""
    module: str
    """The module that made it so, if one did."""
    asked: tuple[str, ...]
    """Environment variables that modules asked for while they were imported (fork.md §4)."""
    packages: tuple[str, ...]
    """Folders of installed packages; a change in them makes the base stale."""


class Imported(Struct, frozen=True):
    """Answer to `ImportModules`: those that could be imported, and the rest as in `BaseReport`."""

    modules: tuple[str, ...]
    unsafe: str
    module: str
    asked: tuple[str, ...]


class TemplateReport(Struct, frozen=True):
    """A template has loaded the file. `unsafe` says why it must not be forked; empty if it may be.

    `drawn` are the project's lines that drew random values, which are now the same in all jobs.
    """

    load_ms: float
    unsafe: str
    drawn: tuple[str, ...] = ()


class Pong(Struct, frozen=True):
    """Answer to `Ping`, with its number."""

    sent_ms: int


class EntryStarted(Struct, frozen=True):
    """The job's entry function was called. `at` is Unix seconds by the child's clock."""

    at: float


class JobConnected(Struct, frozen=True):
    """The job's agent joined its room. `at` is Unix seconds by the child's clock."""

    at: float


class JobCrashed(Struct, frozen=True):
    """The job's entry function raised. The child goes on to end in good order."""

    error: str
    traceback: str


class Exiting(Struct, frozen=True):
    """The job is over, for this reason; wind-down begins."""

    reason: str


class ShutdownAck(Struct, frozen=True):
    """The child received `Shutdown`."""


class ShuttingDown(Struct, frozen=True):
    """The job's session is closed; shutdown callbacks and the exit follow."""


class Debugging(Struct, frozen=True):
    """A debugger attached to (or left) the child: while it is there no watchdog may kill the child."""

    attached: bool


class Stacks(Struct, frozen=True):
    """Answer to `DumpStacks`."""

    text: str


class RequestAnswer(Struct, frozen=True):
    """What the request function decided. Exactly one for each `AskRequest`.

    `accept` is None for a rejection; `terminate` then says that no other worker is to be asked
    (worker-protocol §6.4). `error` is the text of an exception, or why there was no answer.
    """

    job_id: str
    accept: AcceptArguments | None
    terminate: bool = False
    error: str | None = None


class LoadAnswer(Struct, frozen=True):
    """What the load function returned, or the text of its exception."""

    request_id: int
    load: float | None
    error: str | None = None


FromChild = (
    Loading
    | Ready
    | Failed
    | Manifest
    | Pong
    | EntryStarted
    | JobConnected
    | JobCrashed
    | Exiting
    | ShutdownAck
    | ShuttingDown
    | Debugging
    | Stacks
    | RequestAnswer
    | LoadAnswer
    | InferenceRequest
    | InferenceResponse
    | Code
    | Wants
    | BaseReport
    | Imported
    | TemplateReport
)


class ChildExit(Struct, frozen=True):
    """How a process ended: its exit code, or the number of the signal that ended it."""

    exit_code: int | None
    signal: int | None = None


class Child(Protocol):
    """One live child process and its channel. Whoever started it must `wait()` for it in the end."""

    @property
    def pid(self) -> int: ...

    @property
    def traits(self) -> ChildTraits: ...

    def send(self, message: ToChild) -> None:
        """Queues a message; never blocks. Silently dropped when the channel is already closed."""
        ...

    def receive(self) -> Awaitable[FromChild | None]:
        """The next message, or None when the channel closed. One caller at a time."""
        ...

    def kill(self) -> None:
        """SIGKILL to the child's whole process group. Safe to call again, and after the end."""
        ...

    def wait(self) -> Awaitable[ChildExit]:
        """Waits for the process to be gone, reaps it and releases every descriptor. Can be called again."""
        ...


Launch = Callable[[ProcessKind, str], Awaitable[Child]]
"""Starts a child of one generation, by its kind and id; it loads at once. Raises OSError."""
