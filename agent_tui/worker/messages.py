"""The messages between worker and server, and the union of all events of a worker: plain data.

Jobs are the protocol's `livekit.protocol.agent.Job`, which is plain data already.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from livekit.protocol.agent import Job

from agent_tui import __version__
from agent_tui.model.errors import UserError
from agent_tui.options.declare import MAX_DEPLOYMENT_BYTES
from agent_tui.options.permissions import Permissions


class JobType(IntEnum):
    """What a job is for: a room, or each participant that publishes or joins (worker-protocol §11.1)."""

    ROOM = 0
    PUBLISHER = 1
    PARTICIPANT = 2


class WorkerStatus(IntEnum):
    """Whether the server may offer jobs to this worker (worker-protocol §3)."""

    AVAILABLE = 0
    FULL = 1


class JobProgress(IntEnum):
    """The status of a job, as the server knows it (worker-protocol §3)."""

    RUNNING = 1
    SUCCESS = 2
    FAILED = 3


@dataclass(frozen=True, slots=True)
class SimulatedParticipant:
    """The participant of a simulated job; the server passes it on unchanged (worker-protocol §10)."""

    identity: str
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Registration:
    """The worker's registration. An empty `agent_name` means implicit dispatch.

    Raises `UserError` for a deployment for which the server would close the connection (worker-protocol §4).
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
    """Rejects an offer. With `terminate` the job is consumed and no other worker is asked (§6.4)."""

    terminate: bool = False


# -- events: first the server's messages, and what its silence means (`WorkerProtocol`) ---------------------


@dataclass(frozen=True, slots=True)
class Registered:
    """The server accepted the registration. The id is new on every connection (worker-protocol §4)."""

    worker_id: str
    server_version: str
    protocol: int
    region: str
    node_id: str
    knows_deployments: bool = True
    """Whether the server supports deployments of workers and dispatches. An older one ignores them."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The server asks whether this worker accepts a job. `received_at` is in Unix seconds.

    Answer at once: after 2.5 s the server stops waiting (worker-protocol §6.3). `job.state` already reads
    "running" and means nothing (§6.2). `job.room.turn_password` is a secret.
    """

    job: Job
    resuming: bool
    received_at: float
    answer_by: float = math.inf
    """The time after which an answer is ignored, on the clock that `WorkerProtocol.receive` gets as `now`."""

    @property
    def job_id(self) -> str:
        return str(self.job.id)


@dataclass(frozen=True, slots=True)
class Assigned:
    """An accepted job was assigned to this worker. Without a `url`, its room is on the same server."""

    job_id: str
    job: Job
    url: str | None
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Terminated:
    """The server ended a job, which may have ended long ago or be unknown here (worker-protocol §9)."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A frame that this version cannot use, and why. It was ignored; the connection continues."""

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
    """This connection is unusable: open another one."""

    reason: str


# -- then the state of the connection and the load (`Worker`) -----------------------------------------------


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection was lost or could not be opened, the `attempt`-th time in a row.

    A pause of None means no further attempt. Offers received on it no longer need an answer; its jobs
    continue, unknown to the server (worker-protocol §10).
    """

    reason: str
    retry_in_s: float | None
    attempt: int
    todo: str = ""
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The server refuses the credentials; the next attempt needs `Worker.retry`."""

    reason: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class LoadReported:
    """The load as measured, and as reported to the server."""

    measured: float
    reported: float
    problem: str = ""
    """What is wrong with the load function; empty while it works."""


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
)
