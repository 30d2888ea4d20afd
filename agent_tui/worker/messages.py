"""What worker and server say to each other, and the one union of what happens to a worker: plain data.

Jobs stay the protocol's own `livekit.protocol.agent.Job`; it is plain data already.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from livekit.protocol.agent import Job

from agent_tui import __version__
from agent_tui.model.errors import UserError
from agent_tui.options.permissions import Permissions

MAX_DEPLOYMENT_BYTES = 64


class JobType(IntEnum):
    """What a job is about: a room, or each participant that publishes or joins (worker-protocol §11.1)."""

    ROOM = 0
    PUBLISHER = 1
    PARTICIPANT = 2


class WorkerStatus(IntEnum):
    """Whether the server may offer jobs to this worker (worker-protocol §3)."""

    AVAILABLE = 0
    FULL = 1


class JobProgress(IntEnum):
    """How a job stands, in the server's words (worker-protocol §3)."""

    RUNNING = 1
    SUCCESS = 2
    FAILED = 3


@dataclass(frozen=True, slots=True)
class PretendedParticipant:
    """Whom a simulated job is about; the server passes it on as it is (worker-protocol §10)."""

    identity: str
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Registration:
    """How the worker presents itself. An empty `agent_name` asks for implicit dispatch.

    Raises `UserError` for a deployment that the server would answer by hanging up (worker-protocol §4).
    """

    agent_name: str = ""
    job_type: JobType = JobType.ROOM
    permissions: Permissions = field(default_factory=Permissions)
    deployment: str = ""
    version: str = __version__

    def __post_init__(self) -> None:
        raw = self.deployment.encode()
        if len(raw) > MAX_DEPLOYMENT_BYTES or any(byte <= 0x20 or byte in (0x5F, 0x7F) for byte in raw):
            raise UserError(
                f"deployment {self.deployment!r} is not accepted by LiveKit: use at most "
                f"{MAX_DEPLOYMENT_BYTES} bytes, without spaces, control characters or underscores"
            )


@dataclass(frozen=True, slots=True)
class Reject:
    """Turns an offer down. With `terminate` the job is consumed and no other worker is asked (§6.4)."""

    terminate: bool = False


# -- what happens: first the server's messages and what its silence means (`WorkerProtocol`) -----------------


@dataclass(frozen=True, slots=True)
class Registered:
    """The server took the registration. The id is new on every connection (worker-protocol §4)."""

    worker_id: str
    server_version: str
    protocol: int
    region: str
    node_id: str


@dataclass(frozen=True, slots=True)
class Offer:
    """The server asks whether this worker takes a job. `received_at` is Unix seconds.

    Answer at once; after 2.5 s the server has given up (worker-protocol §6.3). `job.state` already reads
    "running" here and means nothing (§6.2). `job.room.turn_password` is a secret.
    """

    job: Job
    resuming: bool
    received_at: float
    answer_by: float = math.inf
    """Later answers are ignored; by the clock whose time `WorkerProtocol.receive` gets as `now`."""

    @property
    def job_id(self) -> str:
        return str(self.job.id)


@dataclass(frozen=True, slots=True)
class Assigned:
    """An accepted job is ours. Without a `url` its room is on the server that we are registered with."""

    job_id: str
    job: Job
    url: str | None
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Terminated:
    """The server ended a job; it may long be over, or unknown here (worker-protocol §9)."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A frame that this version cannot use, and why. It was skipped and the connection lives on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Suspect:
    """The server has not answered a ping for `since_s` seconds."""

    since_s: float


@dataclass(frozen=True, slots=True)
class Recovered:
    """The server answers again."""


@dataclass(frozen=True, slots=True)
class Dead:
    """This connection is of no more use: connect anew."""

    reason: str


# -- and what becomes of the connection and the load (`Worker`) ---------------------------------------------


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection was lost or could not be made, the `attempt`-th time in a row.

    None for the pause: there is no other attempt. Offers of that connection need no answer any more; its jobs
    run on, unknown to the server (worker-protocol §10).
    """

    reason: str
    retry_in_s: float | None
    attempt: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The server refuses the credentials; nothing is tried until `Worker.retry`, if ever."""

    reason: str


@dataclass(frozen=True, slots=True)
class LoadReported:
    """The load as measured, and as the server was told."""

    measured: float
    reported: float


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The load function started to fail; reported once until it has worked again."""

    problem: str


WorkerEvent = (
    Registered
    | Offer
    | Assigned
    | Terminated
    | Undecodable
    | Suspect
    | Recovered
    | Dead
    | Disconnected
    | Refused
    | LoadReported
    | LoadFailed
)
