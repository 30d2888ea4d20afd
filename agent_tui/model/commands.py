"""What a front end may ask of the engine. Each command gets exactly one `CommandResult`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from agent_tui.model.tuning import SweepPlan, Target, TestLoad


class DispatchBy(StrEnum):
    """How a test job comes to be: by the server's own dispatching, or offered to this worker alone."""

    SERVER = "server"
    SIMULATE = "simulate"


@dataclass(frozen=True, slots=True)
class Dispatch:
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


@dataclass(frozen=True, slots=True)
class MeasureMemory:
    """Reads the memory of all processes now, and in full; `ProcessMeasured` tells of each."""


@dataclass(frozen=True, slots=True)
class EndJob:
    """Ends a running job in good order."""

    job_id: str
    reason: str = "ended by the user"


@dataclass(frozen=True, slots=True)
class DumpStacks:
    """Asks a process for the stacks of its threads and tasks; the result's text is them."""

    process_id: str


@dataclass(frozen=True, slots=True)
class DescribeJob:
    """Asks for a job and its token's claims as the server sent them; the result's text holds no secret."""

    job_id: str


@dataclass(frozen=True, slots=True)
class RestartJob:
    """Ends a running job in good order and runs it anew, as the same agent, on the current generation."""

    job_id: str
    reason: str = "restarted by the user"


@dataclass(frozen=True, slots=True)
class SetOptions:
    """Edits options while running, as one step: all are applied or none. Values as typed, by seed's name;
    None takes an edit back. With `measuring` the values are a sweep's, not the user's: they beat the edits,
    and neither UndoOptions nor SaveOptions sees them.
    """

    values: Mapping[str, str | None]
    measuring: bool = False


@dataclass(frozen=True, slots=True)
class UndoOptions:
    """Takes the last edits back, as one step."""


@dataclass(frozen=True, slots=True)
class SaveOptions:
    """Writes the edits to the config file. Secrets become references to variables, unless `clear_secrets`."""

    clear_secrets: bool = False


@dataclass(frozen=True, slots=True)
class Reload:
    """Loads the agent's file again now, changed or not; saves that were passed over count again."""


@dataclass(frozen=True, slots=True)
class RollBack:
    """Loads the code of an earlier generation as a new one; files stay, and the next save or `Reload` loads
    what is on disk.
    """

    generation: int


@dataclass(frozen=True, slots=True)
class DiffGeneration:
    """Asks what changed from the load before, or from `against`; the result's text is a unified diff."""

    number: int
    against: int | None = None


@dataclass(frozen=True, slots=True)
class PauseWatching:
    """Loads no saves until it is sent again with False; then what changed meanwhile is loaded."""

    paused: bool


@dataclass(frozen=True, slots=True)
class StartTestLoad:
    """Makes the test jobs of a load, each at its time, and measures them. One load or sweep at a time."""

    load: TestLoad
    confirmed_host: str = ""
    """As in `Dispatch`."""


@dataclass(frozen=True, slots=True)
class StartSweep:
    """Measures the plan's load at each of its counts, then advises the count that meets the target."""

    plan: SweepPlan
    target: Target


@dataclass(frozen=True, slots=True)
class StopTuning:
    """Ends the load or sweep that runs, if one does; what was measured is kept."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
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


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What became of a command: one line for people either way. `refused` tells that a guard said no.

    `dispatches` are the test dispatches that were made, also when others failed: number → room.
    """

    ok: bool
    text: str = ""
    refused: bool = False
    dispatches: dict[int, str] = field(default_factory=dict)
