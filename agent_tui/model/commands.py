"""What a front end may ask of the engine. Each command gets exactly one `CommandResult`."""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from agent_tui.model.tuning import SweepPlan, Target, TestLoad


class DispatchBy(StrEnum):
    """How a test job comes to be: by the server's own dispatching, or offered to this worker alone."""

    SERVER = "server"
    SIMULATE = "simulate"


class Dispatch(Struct, frozen=True):
    """Makes test dispatches: CreateDispatch for a named agent, a new room for one without a name.

    `room` is a prefix when `count` > 1 or empty. On a server that is not local it needs
    `confirmed_host` to be that server's host.

    Simulated (`by`) the server offers the job to this worker alone, whatever its load. Such a job has no
    metadata or attributes of its own: both are then those of a pretended participant called `identity`,
    which makes it a job of type publisher.
    """

    count: int = 1
    room: str = ""
    metadata: str = ""
    confirmed_host: str = ""
    by: DispatchBy = DispatchBy.SERVER
    attributes: Mapping[str, str] = field(default_factory=dict)
    identity: str = ""
    length_s: float | None = None
    """Ends these jobs when they go on for longer; None: as long as test jobs of this run may last."""


class MeasureMemory(Struct, frozen=True):
    """Reads the memory of all processes now, and in full; `ProcessMeasured` tells of each."""


class EndJob(Struct, frozen=True):
    """Ends a running job in good order."""

    job_id: str
    reason: str = "ended by the user"


class DumpStacks(Struct, frozen=True):
    """Asks a process for the stacks of its threads and tasks; the result's text is them."""

    process_id: str


class DescribeJob(Struct, frozen=True):
    """Asks for a job and its token's claims as the server sent them; the result's text holds no secret."""

    job_id: str


class RestartJob(Struct, frozen=True):
    """Ends a running job in good order and runs it anew, as the same agent, on the current generation."""

    job_id: str
    reason: str = "restarted by the user"


class SetOptions(Struct, frozen=True):
    """Edits options while running, as one step: all are applied or none. Values as typed, by seed's name;
    None takes an edit back. With `measuring` the values are a sweep's, not the user's: they beat the edits,
    and neither UndoOptions nor SaveOptions sees them.
    """

    values: Mapping[str, str | None]
    measuring: bool = False


class UndoOptions(Struct, frozen=True):
    """Takes the last edits back, as one step."""


class SaveOptions(Struct, frozen=True):
    """Writes the edits to the config file. Secrets become references to variables, unless `clear_secrets`."""

    clear_secrets: bool = False


class Reload(Struct, frozen=True):
    """Loads the agent's file again now, changed or not; saves that were passed over count again."""


class RollBack(Struct, frozen=True):
    """Loads the code of an earlier generation as a new one; files stay, and the next save or `Reload` loads
    what is on disk.
    """

    generation: int


class DiffGeneration(Struct, frozen=True):
    """Asks what changed from the load before, or from `against`; the result's text is a unified diff."""

    number: int
    against: int | None = None


class PauseWatching(Struct, frozen=True):
    """Loads no saves until it is sent again with False; then what changed meanwhile is loaded."""

    paused: bool


class StartTestLoad(Struct, frozen=True):
    """Makes the test jobs of a load, each at its time, and measures them. One load or sweep at a time."""

    load: TestLoad
    confirmed_host: str = ""
    """As in `Dispatch`."""


class StartSweep(Struct, frozen=True):
    """Measures the plan's load at each of its counts, then advises the count that meets the target."""

    plan: SweepPlan
    target: Target


class StopTuning(Struct, frozen=True):
    """Ends the load or sweep that runs, if one does; what was measured is kept."""

    reason: str


class Stop(Struct, frozen=True):
    """Ends everything; `kill` skips the good order, `drain` lets running jobs finish first (drainTimeout)."""

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
    | SetOptions
    | UndoOptions
    | SaveOptions
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
    """What became of a command: one line for people either way. `refused` tells that a guard said no.

    `dispatches` are the test dispatches that were made, also when others failed: number → room.
    """

    ok: bool
    text: str = ""
    refused: bool = False
    dispatches: dict[int, str] = field(default_factory=dict)
