"""One worker's connection as a machine without I/O: messages in, effects out, and the jobs it runs."""

import string
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from livekit.protocol.agent import (
    AvailabilityRequest,
    Job,
    JobAssignment,
    JobStatus,
    JobTermination,
    JobType,
    RegisterWorkerResponse,
    ServerMessage,
    WorkerPong,
    WorkerStatus,
)
from livekit.protocol.models import ParticipantPermission

from agent_tui.local_server.pool import PoolKey, ViolationError
from agent_tui.model.clock import Clock

WORKER_ID: Final = "AW_"
JOB_ID: Final = "AJ_"
DISPATCH_ID: Final = "AD_"
ROOM_ID: Final = "RM_"
PARTICIPANT_ID: Final = "PA_"
TRACK_ID: Final = "TR_"
NODE_ID: Final = "ND_"

_MAX_DEPLOYMENT_BYTES: Final = 64
_ENDED: Final = frozenset({JobStatus.JS_SUCCESS, JobStatus.JS_FAILED})
_LEGAL_BEFORE_REGISTRATION: Final = frozenset({"register", "ping"})


@dataclass(frozen=True, slots=True)
class Send:
    """Send this ServerMessage."""

    message: Any


@dataclass(frozen=True, slots=True)
class EnterPool:
    """Add the worker to the pool. This comes after the reply, so that no offer overtakes the reply."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The worker answered a pending offer with this AvailabilityResponse."""

    response: Any


@dataclass(frozen=True, slots=True)
class Simulate:
    """The worker asks to be offered this Job itself."""

    job: Any


Effect = Send | EnterPool | Answered | Simulate


def new_id(prefix: str, rng: Random) -> str:
    """Return a new identifier: a prefix that names the kind, then 12 characters (worker-protocol §3, IDs)."""
    return prefix + "".join(rng.choices(string.ascii_letters + string.digits, k=12))


def nanoseconds(clock: Clock) -> int:
    """Return the time in Unix nanoseconds, the unit of job states and dispatches."""
    return int(clock.time() * 1_000_000_000)


def deployment_fault(deployment: str) -> str | None:
    """Return why a deployment's name is not allowed, in the server's words; None if it is allowed (§4.3)."""
    data = deployment.encode()
    if len(data) > _MAX_DEPLOYMENT_BYTES:
        return f"deployment exceeds {_MAX_DEPLOYMENT_BYTES} bytes"
    for position, byte in enumerate(data):
        if byte == ord("_"):
            return "deployment contains reserved character '_'"
        if byte <= ord(" ") or byte == 0x7F:
            return f"deployment contains whitespace or control byte at position {position}"
    return None


def default_permissions() -> Any:
    """Return the permissions of a worker that asked for none in particular (§4, defaults)."""
    return ParticipantPermission(
        can_subscribe=True, can_publish=True, can_publish_data=True, can_update_metadata=True
    )


@dataclass(slots=True)
class WorkerSession:
    """The state of one connection. `receive` handles all input; the other methods make messages.

    A job id is in `pending` from the offer to its answer, and in `running` from the assignment to its end.
    """

    worker_id: str
    api_key: str
    server_info: Any
    clock: Clock
    new_job_id: Callable[[], str]
    key: PoolKey | None = None
    permissions: Any = None
    version: str = ""
    available: bool = True
    load: float = 0.0
    pending: set[str] = field(default_factory=set)
    running: dict[str, Any] = field(default_factory=dict)

    def receive(self, message: Any) -> list[Effect]:
        """Return the effects of a WorkerMessage. Raise `ViolationError` if the connection must be dropped."""
        kind = message.WhichOneof("message")
        if self.key is None and kind not in _LEGAL_BEFORE_REGISTRATION:
            raise ViolationError(f"{kind} before registration")
        handle = _HANDLERS.get(kind)
        return handle(self, getattr(message, kind)) if handle else []

    # -- messages of the server ---------------------------------------------------------------------

    def offer(self, job: Any) -> Any:
        """Return an availability request; stamp the job's state as the server does, even RUNNING (§6.2)."""
        now = nanoseconds(self.clock)
        job.state.status = JobStatus.JS_RUNNING
        job.state.worker_id = self.worker_id
        job.state.started_at = job.state.updated_at = now
        self.pending.add(job.id)
        return ServerMessage(availability=AvailabilityRequest(job=job))

    def withdraw(self, job_id: str) -> None:
        """Forget an offer; a later answer is ignored (§6.3)."""
        self.pending.discard(job_id)

    def assign(self, job: Any, identity: str, token: str) -> Any:
        """Return an assignment, without a URL (§7). From now on the job belongs to this worker."""
        job.state.participant_identity = identity
        own = Job()
        own.CopyFrom(job)
        self.running[job.id] = own
        return ServerMessage(assignment=JobAssignment(job=job, token=token))

    def terminate(self, job_id: str, status: int, error: str = "") -> tuple[Any, Any] | None:
        """Return a termination and the job's last state; None if the worker no longer has the job (§9)."""
        job = self.running.pop(job_id, None)
        if job is None:
            return None
        job.state.status = status
        job.state.error = error
        job.state.ended_at = job.state.updated_at = nanoseconds(self.clock)
        return ServerMessage(termination=JobTermination(job_id=job_id)), job.state

    # -- messages of the worker ---------------------------------------------------------------------

    def _register(self, request: Any) -> list[Effect]:
        if self.key is not None:
            raise ViolationError("registered twice")
        if request.type not in JobType.values():
            raise ViolationError(f"unknown job type {request.type}")
        fault = deployment_fault(request.deployment)
        if fault:
            raise ViolationError(fault)
        self.key = PoolKey(request.agent_name, request.namespace, request.type, request.deployment)
        given = request.HasField("allowed_permissions")
        self.permissions = request.allowed_permissions if given else default_permissions()
        self.version = request.version
        reply = RegisterWorkerResponse(worker_id=self.worker_id, server_info=self.server_info)
        return [Send(ServerMessage(register=reply)), EnterPool()]

    def _ping(self, ping: Any) -> list[Effect]:
        pong = WorkerPong(last_timestamp=ping.timestamp, timestamp=int(self.clock.time() * 1000))
        return [Send(ServerMessage(pong=pong))]

    def _update_worker(self, update: Any) -> list[Effect]:
        """Update the worker: a missing load means 0, a missing status changes nothing (§8)."""
        if update.HasField("status"):
            self.available = update.status == WorkerStatus.WS_AVAILABLE
        self.load = update.load
        return []

    def _answer(self, response: Any) -> list[Effect]:
        if response.job_id not in self.pending:
            return []
        self.pending.discard(response.job_id)
        return [Answered(response)]

    def _update_job(self, update: Any) -> list[Effect]:
        """Update one of the worker's own jobs; the server passes this on to no one (§8)."""
        job = self.running.get(update.job_id)
        if job is None:
            return []
        now = nanoseconds(self.clock)
        if job.state.status == JobStatus.JS_PENDING != update.status:
            job.state.started_at = now
        job.state.status = update.status
        job.state.error = update.error
        job.state.updated_at = now
        if update.status in _ENDED:
            job.state.ended_at = now
            del self.running[update.job_id]
        return []

    def _simulate(self, request: Any) -> list[Effect]:
        """Offer the worker a simulated job: a publisher job for a participant, else a room job (§10).

        The real server crashes on a request without a room; here it is refused and the connection kept.
        """
        if not request.room.name or self.key is None:
            return []
        publisher = request.HasField("participant")
        job = Job(
            id=self.new_job_id(),
            type=JobType.JT_PUBLISHER if publisher else JobType.JT_ROOM,
            room=request.room,
            participant=request.participant if publisher else None,
            namespace=self.key.namespace,
            agent_name=self.key.agent_name,
        )
        return [Simulate(job)]


_HANDLERS: Final[dict[str, Callable[[WorkerSession, Any], list[Effect]]]] = {
    "register": WorkerSession._register,
    "ping": WorkerSession._ping,
    "update_worker": WorkerSession._update_worker,
    "availability": WorkerSession._answer,
    "update_job": WorkerSession._update_job,
    "simulate_job": WorkerSession._simulate,
}
"""The handlers of a worker's messages. `migrate_job` has none: the server accepts and ignores it (§10)."""
