"""One job from its offer to its end, as the desk keeps it."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from livekit.protocol import agent as proto

from agent_tui.model.child import AcceptArguments
from agent_tui.model.events import EndedBy, JobStatus
from agent_tui.processes.pool import Lease
from agent_tui.processes.process import SupervisedProcess


class Stage(StrEnum):
    """How far the desk has taken a job."""

    ASKING = "asking"
    ACCEPTED = "accepted"
    LAUNCHING = "launching"
    RUNNING = "running"
    OVER = "over"


@dataclass(slots=True, eq=False)
class JobRecord:
    """What the desk knows of one job. Times are Unix seconds unless they say otherwise."""

    job: proto.Job
    received_at: float
    generation: int
    answer_by: float = math.inf
    """When the server stops waiting for the answer to the offer; by the clock's `boottime`."""
    stage: Stage = Stage.ASKING
    accept: AcceptArguments | None = None
    accepted_at: float = 0.0
    assigned_at: float = 0.0
    launched_at: float = 0.0
    entry_at: float | None = None
    url: str = ""
    token: str = field(default="", repr=False)
    worker_id: str = ""
    lease: Lease = field(init=False)
    process: SupervisedProcess | None = None
    warm: bool = False
    launches: int = 0
    told_to_end: tuple[JobStatus, str] | None = None
    """How a job counts that was ended on purpose, and why."""
    told_by: EndedBy = EndedBy.ORDER
    """What ended such a job."""
    terminated: bool = False
    """The server has forgotten the job: it wants no further word on it (worker-protocol §9)."""
    declined: str | None = None
    """Why the offer was turned down."""
    restarting: str | None = None
    """Why its process ends without the job ending: from the request until that process is gone."""
    restarts: int = 0
    ready_at: float | None = None
    """When the last restart's old process was gone."""
    farewell_due: bool = False
    """The server will end the job once more, for a participant that left to come back."""
    crash: tuple[str, str] | None = None
    """The error that ended it and its traceback."""
    crashed_by: EndedBy = EndedBy.CRASH
    exiting: str | None = None
    """Why the job ended by itself, as it reported."""
    reported: bool = False

    @property
    def id(self) -> str:
        return str(self.job.id)

    @property
    def room(self) -> str:
        return str(self.job.room.name)
