"""The messages between the host and a child process, in any language.

A runtime (`agent_tui.runtimes`) starts children and implements their channel. The pool and the job manager
use only these types. Nothing here is specific to Python: a child in another language may be unable to fork,
or to report its stacks.
"""

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct, field

from agent_tui.model.session_events import SwapReach


class ProcessKind(StrEnum):
    """The purpose of a process. Only `job` processes are ever idle."""

    JOB = "job"
    CONTROL = "control"
    TEMPLATE = "template"
    BASE = "base"
    INFERENCE = "inference"
    BLANK = "blank"
    """A Node process that has loaded the SDK and waits for a file."""


class MemoryMeasure(StrEnum):
    """The memory measure that limits apply to; the SDKs differ (livekit-agents.md §1.2)."""

    RSS = "rss"
    USS = "uss"
    PSS = "pss"


class ChildTraits(Struct, frozen=True):
    """What a child can do. Callers check these traits, never the name of the runtime."""

    stacks: bool
    """Whether the child can return its stacks on request."""
    reports_loading: bool
    """Whether the child reports when it starts to load the file (`Loading`).

    If it does, the import of the SDK does not count towards initializeProcessTimeout.
    """
    memory: MemoryMeasure = MemoryMeasure.RSS
    swaps: bool = False
    """Whether the child can give its open sessions new code (`SwapCode`)."""
    reports_entry: bool = True
    """Whether the child reports the entry function's call. If not, `StartJob` counts as its time."""


class AcceptArguments(Struct, frozen=True):
    """How the agent joins the room, as its request function specified. `identity` is never empty."""

    identity: str
    name: str = ""
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


# -- host to child ------------------------------------------------------------------------------------


class Ping(Struct, frozen=True):
    """Ask the child's event loop for a `Pong` with the same number."""

    sent_ms: int


class StartJob(Struct, frozen=True):
    """Run a job in a ready job process. `job` is a serialized `livekit.Job`; times are in Unix seconds."""

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
    """The loopback port on which to wait for a debugger before the entry function; 0 for none."""
    sessions: bool = False
    """Whether the child reports what happens in the job's sessions."""
    text_only: bool = False
    """Whether the job's sessions run without audio."""


class Shutdown(Struct, frozen=True):
    """Ask the child to end gracefully: the job leaves its room, callbacks run, the process exits."""

    reason: str


class DumpStacks(Struct, frozen=True):
    """Ask for the stacks of all threads, as `Stacks`. Answered even if the event loop is blocked."""


class AskRequest(Struct, frozen=True):
    """Ask the control process to call the agent's request function for an offer."""

    job: bytes
    """A serialized `livekit.Job`."""
    job_id: str


class AcceptOutcome(Struct, frozen=True):
    """Report the outcome of an accepted offer to the control process. Resolves `await req.accept()`."""

    job_id: str
    error: str | None = None
    """Why the job was not launched; None if it was."""


class AskLoad(Struct, frozen=True):
    """Ask the control process to call the agent's load function. `LoadAnswer` has the same `request_id`."""

    request_id: int


class ActiveJob(Struct, frozen=True):
    """A running job as the agent's code sees it (`server.active_jobs`)."""

    job: bytes
    accept: AcceptArguments
    url: str
    token: str
    worker_id: str


class WorkerLive(Struct, frozen=True):
    """The worker's data for the control process, sent at each change and before each request."""

    worker_id: str
    active_jobs: tuple[ActiveJob, ...]
    draining: bool


class InferenceRequest(Struct, frozen=True):
    """A job's request to run a method in the inference process (livekit-agents.md §2.4, messages 7 and 8)."""

    request_id: str
    method: str
    data: bytes


class InferenceResponse(Struct, frozen=True):
    """The answer of the inference process. `data` is None if there was no result."""

    request_id: str
    data: bytes | None
    error: str


class ImportModules(Struct, frozen=True):
    """Make a base import more installed modules, one at a time between forks."""

    modules: tuple[str, ...]


class KeepCode(Struct, frozen=True):
    """Give a base the code that a child compiled."""

    modules: tuple[Mapping[str, str], ...]


class FreeMemory(Struct, frozen=True):
    """Make a base free memory that it does not need while it waits."""


class SessionRequest(Struct, frozen=True):
    """Pass a message of the SDK's session protocol, as protobuf's JSON, to a session (conversation.md §1)."""

    session: int
    """The session's number in this process, from 1."""
    data: Mapping[str, object]


class InterruptSession(Struct, frozen=True):
    """Cut off the current reply of a session."""

    session: int


class SwapCode(Struct, frozen=True):
    """Give the job's open sessions the code of another generation. Answered by `Swapped` or `SwapWaits`.

    `sources` has the content of all files, by absolute path, that differ from those that the process was
    started with.
    """

    generation: int
    sources: Mapping[str, bytes]


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
    | FreeMemory
    | SessionRequest
    | InterruptSession
    | SwapCode
)

# -- child to host ------------------------------------------------------------------------------------


class Loading(Struct, frozen=True):
    """The child starts to load the agent's file. initializeProcessTimeout counts from here."""


class Ready(Struct, frozen=True):
    """A job or inference process is warm (prewarm done)."""


class Failed(Struct, frozen=True):
    """Loading or prewarm failed. `traceback` is text; its last line is `error`."""

    error: str
    traceback: str = ""
    file: str | None = None
    line: int | None = None


class SetInCode(Struct, frozen=True):
    """An option's value as the agent's code passed it, and the line (`agent.py:12`, or "" if unknown)."""

    value: object
    where: str


class Manifest(Struct, frozen=True):
    """What the control process found when it loaded the agent's file.

    `options` are the values that the agent's code passed to the SDK, by option name (`numIdleProcesses`), in
    ms and MB. `functions` is data for job processes of the same generation, which the host does not read.
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
    """Absolute paths of the project's modules that loading imported."""
    load_ms: float
    roots: tuple[str, ...] = ()
    """Folders that are searched for the project's modules (`sys.path`, editable installs)."""
    imports: tuple[str, ...] = ()
    """Installed modules that the project's code imports, in order."""
    lazy_runners: bool = False
    """Whether no plugin requires the runners, so that their process starts at the first request."""
    own_runners: bool = False
    """Whether some runners are in the project's code, and so change with it."""
    function_names: tuple[str, ...] = ()
    """The functions of the file that an option may name."""


class Code(Struct, frozen=True):
    """The project's modules as the child compiled them; opaque, for `KeepCode`."""

    modules: tuple[Mapping[str, str], ...]


class PreloadHint(Struct, frozen=True):
    """The child loads its own copy of something large that a base could load for all (`ImportModules`)."""

    name: str


class BaseReport(Struct, frozen=True):
    """What a base reports about itself."""

    unsafe: str
    """Why the base cannot be forked; empty if it can."""
    module: str
    """The module that makes it unsafe; empty if none does."""
    asked: tuple[str, ...]
    """Environment variables that modules read during their import (fork.md §4)."""
    packages: tuple[str, ...]
    """Folders of installed packages. A change in them makes the base stale."""


class Imported(Struct, frozen=True):
    """The answer to `ImportModules`: the imported modules, and the other fields as in `BaseReport`."""

    modules: tuple[str, ...]
    unsafe: str
    module: str
    asked: tuple[str, ...]


class TemplateReport(Struct, frozen=True):
    """A template has loaded the file. `unsafe` says why it cannot be forked; empty if it can.

    `drawn` are the lines of the project that drew random values while loading. All jobs forked from the
    template get the same values.
    """

    load_ms: float
    unsafe: str
    drawn: tuple[str, ...] = ()


class Pong(Struct, frozen=True):
    """The answer to `Ping`, with its number."""

    sent_ms: int


class EntryStarted(Struct, frozen=True):
    """The job's entry function was called. `at` is in Unix seconds, by the child's clock."""

    at: float


class JobConnected(Struct, frozen=True):
    """The agent joined its room. `at` is in Unix seconds, by the child's clock."""

    at: float


class JobCrashed(Struct, frozen=True):
    """The job's entry function raised. The child then ends gracefully."""

    error: str
    traceback: str


class Exiting(Struct, frozen=True):
    """The job ended, for this reason. Its shutdown starts."""

    reason: str


class ShutdownAck(Struct, frozen=True):
    """The child received `Shutdown`."""


class ShuttingDown(Struct, frozen=True):
    """The job's session is closed; shutdown callbacks and the exit follow."""


class Debugging(Struct, frozen=True):
    """A debugger attached to the child, or detached. While it is attached, no watchdog kills the child."""

    attached: bool


class Stacks(Struct, frozen=True):
    """The answer to `DumpStacks`."""

    text: str


class RequestAnswer(Struct, frozen=True):
    """The request function's decision: exactly one for each `AskRequest`.

    `accept` is None for a rejection; with `terminate`, the server then asks no other worker (worker-protocol
    §6.4). `error` is the text of an exception, or why there is no decision.
    """

    job_id: str
    accept: AcceptArguments | None
    terminate: bool = False
    error: str | None = None


class LoadAnswer(Struct, frozen=True):
    """The result of the load function, or the text of its exception."""

    request_id: int
    load: float | None
    error: str | None = None


class SessionStarted(Struct, frozen=True):
    """A session of the job started. `agent` is the id of its first agent.

    `session` counts from 1 in each process.
    """

    session: int
    agent: str
    text_only: bool
    realtime: bool = False
    """Whether the session has a realtime model."""


class SessionData(Struct, frozen=True):
    """A message of the SDK's session protocol (conversation.md §1), as protobuf's JSON."""

    session: int
    data: dict[str, Any]


class SessionDelta(Struct, frozen=True):
    """The next part of the text that the agent is saying."""

    session: int
    text: str


class SessionClosed(Struct, frozen=True):
    """The session ended, for `reason` in the SDK's words. `error` is set if an error ended it."""

    session: int
    reason: str
    error: str = ""


class Swapped(Struct, frozen=True):
    """A session got the code of a generation, or keeps its code.

    `notes` say what was not reached, or why nothing was.
    """

    session: int
    generation: int
    reached: SwapReach
    notes: tuple[str, ...]
    duration_ms: float


class SwapWaits(Struct, frozen=True):
    """A session gets the code of a generation once this tool has returned. `tool` is empty if unknown."""

    session: int
    generation: int
    tool: str


SessionMessage = SessionStarted | SessionData | SessionDelta | SessionClosed | Swapped | SwapWaits


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
    | PreloadHint
    | BaseReport
    | Imported
    | TemplateReport
    | SessionMessage
)


class ChildExit(Struct, frozen=True):
    """How a process ended: its exit code, or the number of the signal that killed it."""

    exit_code: int | None
    signal: int | None = None


class Child(Protocol):
    """A running child process and its channel. Its owner must eventually call `wait`."""

    @property
    def pid(self) -> int: ...

    @property
    def traits(self) -> ChildTraits: ...

    def send(self, message: ToChild) -> None:
        """Queue a message, without blocking. It is dropped if the channel is closed."""
        ...

    def receive(self) -> Awaitable[FromChild | None]:
        """Return the next message, or None if the channel is closed. One caller at a time."""
        ...

    def kill(self) -> None:
        """Send SIGKILL to the child's process group. Calling it repeatedly, or after the end, is safe."""
        ...

    def wait(self) -> Awaitable[ChildExit]:
        """Wait until the process has ended, reap it, and close its descriptors. May be called repeatedly."""
        ...


Launch = Callable[[ProcessKind, str], Awaitable[Child]]
"""Starts a child of a generation, given its kind and id. The child loads its code immediately.

Raises OSError if the child cannot be started.
"""
