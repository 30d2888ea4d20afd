"""Commands that a front end sends to the engine. Each gets exactly one `CommandResult`."""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from agent_tui.model.tuning import SweepPlan, Target, TestLoad


class DispatchBy(StrEnum):
    """How a test job is dispatched: by the server, or simulated, which offers it only to this worker."""

    SERVER = "server"
    SIMULATE = "simulate"


class Dispatch(Struct, frozen=True):
    """Make test dispatches: each creates a room with the agent, or dispatches it into an existing room.

    If `room` is empty, names are generated. If `count` > 1, `room` is the prefix of the names. On a remote
    server, `confirmed_host` must be its host, unless the config file allows test jobs there.

    A simulated job (`by`) is offered to this worker only, regardless of its load. It carries metadata and
    attributes only if there is an `identity`: then it is a publisher job for a simulated participant, who has
    them.
    """

    count: int = 1
    room: str = ""
    metadata: str = ""
    confirmed_host: str = ""
    by: DispatchBy = DispatchBy.SERVER
    attributes: Mapping[str, str] = field(default_factory=dict)
    identity: str = ""
    length_s: float | None = None
    """Time after which these jobs are ended, in s; None for this run's limit for test jobs."""
    test_load: bool = False
    """Whether a test load or a sweep makes these dispatches."""


class MeasureMemory(Struct, frozen=True):
    """Measure the memory of all processes now. `ProcessMeasured` reports each."""


class EndJob(Struct, frozen=True):
    """End a running job gracefully."""

    job_id: str
    reason: str = "ended by the user"


class DumpStacks(Struct, frozen=True):
    """Get the stacks of a process's threads and tasks, as the result's text."""

    process_id: str


class DescribeJob(Struct, frozen=True):
    """Return a job and its token's claims as the result's text: as the server sent them, without secrets."""

    job_id: str


class RestartJob(Struct, frozen=True):
    """Restart a running job on the current generation: end it gracefully, and start it as the same agent."""

    job_id: str
    reason: str = "restarted by the user"


class PinJob(Struct, frozen=True):
    """Pin a running job to its current code, so that reloads do not change it; or unpin it."""

    job_id: str
    pinned: bool


class SwapJob(Struct, frozen=True):
    """Give the open sessions of a running job the current code now, even if the job is pinned."""

    job_id: str


class Say(Struct, frozen=True):
    """Queue a typed turn for a session of a job; 0 means its newest open session."""

    job_id: str
    text: str
    session: int = 0


class Interrupt(Struct, frozen=True):
    """Cut off the current reply of a session of a job; 0 means its newest open session."""

    job_id: str
    session: int = 0


class InspectSession(Struct, frozen=True):
    """Get what the LLM of a session will see (instructions, tools, items), as JSON in the result's text."""

    job_id: str
    session: int = 0


class SetOptions(Struct, frozen=True):
    """Edit options while running, in one step: all are applied, or none.

    `values` maps option names to values as a user types them; None reverts an edit. With `measuring`, the
    values are those of a sweep. They override the user's edits, and UndoOptions and SaveOptions ignore them.
    """

    values: Mapping[str, str | None]
    measuring: bool = False


class UndoOptions(Struct, frozen=True):
    """Undo the last step of edits."""


class SaveOptions(Struct, frozen=True):
    """Save the edits to the config file. Secrets become references to variables, unless `clear_secrets`."""

    clear_secrets: bool = False


class AllowRemote(Struct, frozen=True):
    """Remember in the config file that test jobs may run on this remote host."""

    host: str


class Reload(Struct, frozen=True):
    """Reload the agent's file now, changed or not. Files that were ignored are watched again."""


class RollBack(Struct, frozen=True):
    """Load the code of an earlier generation as a new one.

    Files do not change. The next save, or `Reload`, loads them again.
    """

    generation: int


class DiffGeneration(Struct, frozen=True):
    """Get the changes since the previous load, or since `against`, as a unified diff in the result's text."""

    number: int
    against: int | None = None


class PauseWatching(Struct, frozen=True):
    """Pause or resume reloads. On resume, changes since the pause are loaded."""

    paused: bool


class StartTestLoad(Struct, frozen=True):
    """Run a test load: dispatch each of its jobs on time, and measure them."""

    load: TestLoad
    confirmed_host: str = ""
    """As in `Dispatch`."""


class StartSweep(Struct, frozen=True):
    """Measure the plan's test load at each count, and recommend the smallest count that meets the target."""

    plan: SweepPlan
    target: Target


class StopTuning(Struct, frozen=True):
    """End the running test load or sweep, and keep its results."""

    reason: str


class Stop(Struct, frozen=True):
    """Stop agent-tui, with all its processes.

    `kill`: kill the processes instead of ending them gracefully. `drain`: let running jobs finish first, for
    at most drainTimeout.
    """

    reason: str
    kill: bool = False
    drain: bool = False


Command = (
    Dispatch
    | MeasureMemory
    | EndJob
    | DumpStacks
    | DescribeJob
    | RestartJob
    | PinJob
    | SwapJob
    | Say
    | Interrupt
    | InspectSession
    | SetOptions
    | UndoOptions
    | SaveOptions
    | AllowRemote
    | Reload
    | RollBack
    | DiffGeneration
    | PauseWatching
    | StartTestLoad
    | StartSweep
    | StopTuning
    | Stop
)


class CommandResult(Struct, frozen=True):
    """The result of a command, with one line of text. `refused`: the command is not allowed on this server.

    `dispatches` are the test dispatches that were made (number → room), even if others failed.
    """

    ok: bool
    text: str = ""
    refused: bool = False
    dispatches: dict[int, str] = field(default_factory=dict)
