"""The worker's side of the protocol, without I/O, after worker-protocol.md.

Call the methods for what happened (`receive`, `tick`) and for requests (`answer`, `ping`). Then
`data_to_send()` and `events_received()` return the results. One machine serves one connection: ids, offers,
and pings have no meaning on another one.
"""

import math
import re
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import NoReturn

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from livekit.protocol import agent, models
from livekit.protocol.models import ServerInfo

from agent_tui.model.child import AcceptArguments
from agent_tui.model.wording import duration_text
from agent_tui.worker.messages import (
    Assigned,
    Dead,
    JobProgress,
    Offer,
    Recovered,
    Registered,
    Registration,
    Reject,
    SimulatedParticipant,
    Suspect,
    Terminated,
    Undecodable,
    WorkerEvent,
    WorkerStatus,
)

MAX_SENT_BYTES = 2 * 1024 * 1024
"""Maximum size of a message, in bytes: on a longer one the server disconnects (worker-protocol §1)."""

AGENT_NAME_ATTRIBUTE = "lk.agent.name"
"""Both SDKs set this attribute on their participant, overriding a value of the user (livekit-agents.md
§1.3).
"""

REMEMBERED_PONGS = 8
"""How many pongs are remembered. A jump of the server's clock has no effect after as many pongs."""


@dataclass(frozen=True, slots=True)
class Timings:
    """All timeouts and intervals of the worker, in seconds."""

    open_timeout_s: float = 10.0
    """Limit from the start of an attempt to the end of the websocket handshake."""
    register_timeout_s: float = 10.0
    """Limit from the registration to the server's answer. The server's own limit is the same (§4)."""
    ping_interval_s: float = 1.5
    suspect_after_s: float = 3.25
    """A ping unanswered for this long makes the connection suspect: at most 5 s after the server fell
    silent.
    """
    dead_after_s: float = 13.0
    """A ping unanswered for this long ends the connection: at most 15 s after the server fell silent."""
    offer_s: float = 2.5
    """Limit from an offer to its answer. The server stops waiting after 2.8 s (worker-protocol §6.3)."""
    load_interval_s: float = 2.5
    measure_timeout_s: float = 2.0
    stable_after_s: float = 10.0
    """A registration that lasted this long resets the count of failed attempts."""
    stall_s: float = 1.0
    """A timer later than this means that this process stalled, and that the server may have answered."""
    flush_timeout_s: float = 0.25
    """How long closing waits for messages that are still to be sent."""
    backoff_step_s: float = 2.0
    backoff_limit_s: float = 10.0
    backoff_jitter: float = 0.2
    """The largest fraction by which a pause may be longer or shorter."""


class _Phase(Enum):
    NEW = auto()
    REGISTERING = auto()
    REGISTERED = auto()
    DEAD = auto()


class WorkerProtocol:
    """The protocol of one connection.

    `now` is a monotonic time in seconds, of the same clock in every call. A clock that also counts while the
    machine sleeps reveals offers that have become too old to answer.

    Wrong use raises `ValueError`: a second registration, a second answer to an offer, or anything except
    `register` and `ping` before the server has accepted the registration (it would close the connection
    without a reason, worker-protocol §4).
    """

    def __init__(self, registration: Registration, timings: Timings) -> None:
        self._registration = registration
        self._timings = timings
        self._phase = _Phase.NEW
        self._frames: list[bytes] = []
        self._events: list[WorkerEvent] = []
        self._open_offers: set[str] = set()
        self._liveness = Liveness(timings)
        self._server_clock = ServerClock()
        self._last_stamp = 0
        self._register_by: float | None = None
        self._last_sent = ""

    # -- output -------------------------------------------------------------------------------------

    def data_to_send(self) -> list[bytes]:
        """Return the binary frames to send, in order, each once."""
        frames, self._frames = self._frames, []
        return frames

    def events_received(self) -> list[WorkerEvent]:
        """Return the events since the last call, in order."""
        events, self._events = self._events, []
        return events

    @property
    def registered(self) -> bool:
        return self._phase is _Phase.REGISTERED

    @property
    def last_sent(self) -> str:
        """The kind of the last message: the only hint when a server closes the connection (§1.2)."""
        return self._last_sent

    @property
    def open_offers(self) -> frozenset[str]:
        """Ids of the offers without an answer."""
        return frozenset(self._open_offers)

    def next_deadline(self) -> float | None:
        """Return when to call `tick` next; None if time changes nothing."""
        if self._phase is _Phase.DEAD:
            return None
        deadlines = [d for d in (self._register_by, self._liveness.next_deadline()) if d is not None]
        return min(deadlines, default=None)

    # -- requests of the worker ---------------------------------------------------------------------

    def register(self, now: float) -> None:
        """Send the registration. It must be the first frame, and is sent once (§4)."""
        if self._phase is not _Phase.NEW:
            raise ValueError("a connection carries one registration; open another connection")
        wanted, may = self._registration, self._registration.permissions
        request = agent.RegisterWorkerRequest(
            type=f"JT_{wanted.job_type.name}",
            agent_name=wanted.agent_name,
            deployment=wanted.deployment,
            version=wanted.version,
            allowed_permissions=models.ParticipantPermission(
                can_publish=may.can_publish,
                can_subscribe=may.can_subscribe,
                can_publish_data=may.can_publish_data,
                can_update_metadata=may.can_update_metadata,
                can_publish_sources=[source.upper() for source in may.can_publish_sources],
                hidden=may.hidden,
                agent=True,
            ),
        )
        self._phase = _Phase.REGISTERING
        self._register_by = now + self._timings.register_timeout_s
        self._send(agent.WorkerMessage(register=request))

    def answer(self, job_id: str, answer: AcceptArguments | Reject) -> None:
        """Answer an offer, once. If it raises `ValueError`, nothing is sent and the offer stays open."""
        self._require_registered("an answer")
        if job_id not in self._open_offers:
            raise ValueError(
                f"{job_id} has no open offer on this connection: already answered, or never made"
            )
        match answer:
            case Reject():
                reply = agent.AvailabilityResponse(job_id=job_id, available=False, terminate=answer.terminate)
            case AcceptArguments():
                reply = self._acceptance(job_id, answer)
        self._send(agent.WorkerMessage(availability=reply))
        self._open_offers.discard(job_id)

    def ignore(self, job_id: str) -> None:
        """Drop an offer that is too old to answer."""
        self._open_offers.discard(job_id)

    def update_status(self, status: WorkerStatus, load: float, job_count: int) -> None:
        """Report status and load together: a status alone would reset the load to 0 (§8)."""
        self._require_registered("a status")
        if not math.isfinite(load):
            raise ValueError(f"a load of {load} cannot be reported")
        update = agent.UpdateWorkerStatus(status=f"WS_{status.name}", load=load, job_count=job_count)
        self._send(agent.WorkerMessage(update_worker=update))

    def update_job(self, job_id: str, progress: JobProgress, error: str = "") -> None:
        """Report a job's status; the server ignores it for jobs of an earlier connection (§8)."""
        self._require_registered("a job's status")
        update = agent.UpdateJobStatus(job_id=job_id, status=f"JS_{progress.name}", error=error)
        self._send(agent.WorkerMessage(update_job=update))

    def simulate_job(self, room: str, participant: SimulatedParticipant | None = None) -> None:
        """Ask the server to offer this worker a job for a room.

        Raise ValueError if `room` is empty, because that request would crash the server (§10).
        """
        self._require_registered("a simulated job")
        if not room:
            raise ValueError("a simulated job needs a room's name")
        request = agent.SimulateJobRequest(room=models.Room(name=room))
        if participant is not None:
            request.participant.identity = participant.identity
            request.participant.metadata = participant.metadata
            request.participant.attributes.update(participant.attributes)
        self._send(agent.WorkerMessage(simulate_job=request))

    def ping(self, now: float) -> None:
        """Send a ping at time `now`."""
        if self._phase in (_Phase.NEW, _Phase.DEAD):
            raise ValueError("a ping needs a live connection on which the registration was sent")
        self._last_stamp = max(self._last_stamp, int(now * 1000))
        self._send(agent.WorkerMessage(ping=agent.WorkerPing(timestamp=self._last_stamp)))
        self._liveness.sent(self._last_stamp, now)

    # -- input ----------------------------------------------------------------------------------------

    def receive(self, frame: bytes | str, now: float, wall: float) -> None:
        """Handle one websocket message; `wall` is in Unix seconds. Never raises, whatever the server sent."""
        if self._phase is _Phase.DEAD:
            return
        if isinstance(frame, str):
            self._undecodable(
                f"a text message of {len(frame)} characters; LiveKit answers binary with binary"
            )
            return
        message = agent.ServerMessage()
        try:
            message.ParseFromString(frame)
        except DecodeError:
            self._undecodable(f"{len(frame)} bytes that are not a LiveKit message")
            return
        member = message.WhichOneof("message")
        if member is None:
            self._undecodable(_describe_unknown(message))
        elif member == "register":
            self._on_register(message.register, now)
        elif member == "pong":
            self._on_pong(message.pong, now)
        elif self._phase is not _Phase.REGISTERED:
            self._undecodable(f"{member} before the registration was answered")
        elif member == "availability":
            self._on_offer(message.availability, now, wall)
        elif member == "assignment":
            self._on_assignment(message.assignment)
        elif member == "termination":
            self._events.append(Terminated(message.termination.job_id))
        else:
            self._undecodable(f"unknown message {member}")

    def tick(self, now: float) -> None:
        """Send a ping if one is due, and check how long the server has been silent."""
        if self._phase is _Phase.DEAD:
            return
        if self._register_by is not None and now >= self._register_by:
            self._end(Dead(f"no answer to the registration within {self._timings.register_timeout_s:g} s"))
            return
        verdict = self._liveness.judge(now)
        if isinstance(verdict, Dead):
            self._end(verdict)
            return
        if verdict is not None:
            self._events.append(verdict)
        if self._liveness.ping_due(now):
            self.ping(now)

    def note_stall(self, now: float) -> None:
        """Count the server's silence from `now` on only, because this process has stalled."""
        self._liveness.restart_silence(now)

    # -- inside -------------------------------------------------------------------------------------

    def _acceptance(self, job_id: str, accept: AcceptArguments) -> agent.AvailabilityResponse:
        if not accept.identity:
            raise ValueError(
                f"{job_id} cannot be accepted without an identity: the room would refuse the agent"
            )
        return agent.AvailabilityResponse(
            job_id=job_id,
            available=True,
            participant_name=accept.name,
            participant_identity=accept.identity,
            participant_metadata=accept.metadata,
            participant_attributes={
                **accept.attributes,
                AGENT_NAME_ATTRIBUTE: self._registration.agent_name,
            },
        )

    def _on_register(self, reply: agent.RegisterWorkerResponse, now: float) -> None:
        if self._phase is not _Phase.REGISTERING:
            self._undecodable("an answer without an open registration")
            return
        self._phase = _Phase.REGISTERED
        self._register_by = None
        self._liveness.start(now)
        info = reply.server_info
        self._events.append(
            Registered(
                reply.worker_id,
                info.version,
                info.protocol,
                info.region,
                info.node_id,
                info.edition == ServerInfo.Cloud or knows_deployments(info.version),
            )
        )

    def _on_pong(self, pong: agent.WorkerPong, now: float) -> None:
        self._server_clock.pong(pong.timestamp, now)
        recovered = self._liveness.answered(pong.last_timestamp, now)
        if recovered is not None:
            self._events.append(recovered)

    def _on_offer(self, offer: agent.AvailabilityRequest, now: float, wall: float) -> None:
        job_id = offer.job.id
        if not job_id:
            self._undecodable("an offer without a job id")
        elif job_id in self._open_offers:
            self._undecodable(f"a second offer of {job_id} while the first waits for its answer")
        else:
            self._open_offers.add(job_id)
            self._events.append(Offer(offer.job, offer.resuming, wall, self._answer_by(offer.job, now)))

    def _answer_by(self, job: agent.Job, now: float) -> float:
        """Return when the server stops waiting for the answer.

        An offer may be old when it is read, because this process, the machine, or the connection stalled.
        Only then is its age taken from the server's clock, which may be wrong.
        """
        age = 0.0
        at_most = now - self._liveness.answered_since
        if at_most > self._timings.offer_s:
            known = self._server_clock.age_s(job.state.started_at, now)  # the age of the offer (§6.2)
            age = at_most if known is None else min(known, at_most)
        return now + self._timings.offer_s - age

    def _on_assignment(self, assignment: agent.JobAssignment) -> None:
        job = assignment.job
        if not job.id:
            self._undecodable("an assignment without a job id")
            return
        url = (assignment.url or None) if assignment.HasField("url") else None
        self._events.append(Assigned(job.id, job, url, assignment.token))

    def _undecodable(self, reason: str) -> None:
        self._events.append(Undecodable(reason))

    def _end(self, verdict: Dead) -> None:
        self._phase = _Phase.DEAD
        self._events.append(verdict)

    def _require_registered(self, what: str) -> None:
        if self._phase is not _Phase.REGISTERED:
            raise ValueError(f"{what} can only be sent on a registered connection")

    def _send(self, message: agent.WorkerMessage) -> None:
        frame: bytes = message.SerializeToString()
        if len(frame) > MAX_SENT_BYTES:
            _refuse_long(message, len(frame))
        self._last_sent = message.WhichOneof("message") or ""
        self._frames.append(frame)


class Liveness:
    """Judges a connection by its oldest unanswered ping, since the server never checks the worker (§5)."""

    def __init__(self, timings: Timings) -> None:
        self._timings = timings
        self._unanswered: deque[tuple[int, float, float]] = deque()
        """Pings without an answer: stamp, time of sending, and the time from which silence counts."""
        self._next_ping: float | None = None
        self._suspect = False
        self._heard_since = 0.0

    @property
    def answered_since(self) -> float:
        """When the last answered ping was sent. The server sent everything that arrives now after that."""
        return self._heard_since

    def start(self, now: float) -> None:
        """Start to send pings, one per interval."""
        self._next_ping = now + self._timings.ping_interval_s
        self._heard_since = now

    def sent(self, stamp: int, now: float) -> None:
        """Record that a ping with this stamp was sent. Stamps never decrease."""
        self._unanswered.append((stamp, now, now))
        if self._next_ping is not None:
            self._next_ping = now + self._timings.ping_interval_s

    def answered(self, stamp: int, now: float) -> Recovered | None:
        """Handle an answer, which also answers every earlier ping."""
        while self._unanswered and self._unanswered[0][0] <= stamp:
            self._heard_since = self._unanswered.popleft()[1]
        if self._suspect and not self._silent_for(self._timings.suspect_after_s, now):
            self._suspect = False
            return Recovered()
        return None

    def restart_silence(self, now: float) -> None:
        """Count silence from `now` on only."""
        self._unanswered = deque((stamp, sent, now) for stamp, sent, _ in self._unanswered)

    def judge(self, now: float) -> Suspect | Dead | None:
        """Return `Suspect` (once) or `Dead` if the server has been silent for too long at `now`."""
        if self._silent_for(self._timings.dead_after_s, now):
            return Dead(f"the server has not answered for {duration_text(now - self._unanswered[0][2])}")
        if not self._suspect and self._silent_for(self._timings.suspect_after_s, now):
            self._suspect = True
            return Suspect(now - self._unanswered[0][2])
        return None

    def ping_due(self, now: float) -> bool:
        return self._next_ping is not None and now >= self._next_ping

    def next_deadline(self) -> float | None:
        """Return when `judge` or `ping_due` may next return something."""
        deadlines = [] if self._next_ping is None else [self._next_ping]
        if self._unanswered:
            patience = self._timings.dead_after_s if self._suspect else self._timings.suspect_after_s
            deadlines.append(self._unanswered[0][2] + patience)
        return min(deadlines, default=None)

    def _silent_for(self, patience_s: float, now: float) -> bool:
        # The same sum as in `next_deadline`: because of rounding, a deadline might otherwise pass without an
        # effect.
        return bool(self._unanswered) and now >= self._unanswered[0][2] + patience_s


class ServerClock:
    """Estimates the server's time from its pongs. It reads no clock: every call gets `now`."""

    def __init__(self) -> None:
        self._ahead: deque[float] = deque(maxlen=REMEMBERED_PONGS)

    def pong(self, server_ms: int, now: float) -> None:
        """Learn the server's time from a pong (Unix ms) read at `now`; 0 means none."""
        if server_ms > 0:
            self._ahead.append(server_ms / 1000 - now)

    def age_s(self, stamped_ns: int, now: float) -> float | None:
        """Return how long ago the server stamped something (Unix ns, 0 means none), in s; None if unknown."""
        if stamped_ns <= 0 or not self._ahead:
            return None
        # A pong read late makes the server seem behind: the one read soonest counts.
        return max(now + max(self._ahead) - stamped_ns / 1e9, 0.0)


def _refuse_long(message: agent.WorkerMessage, size: int) -> NoReturn:
    member = message.WhichOneof("message")
    raise ValueError(f"{member} of {size} bytes is longer than the {MAX_SENT_BYTES} that the server reads")


def _describe_unknown(message: Message) -> str:
    unknown = UnknownFieldSet(message)
    return (
        f"an unknown kind of message, field {unknown[0].field_number}" if len(unknown) else "an empty message"
    )


def knows_deployments(version: str) -> bool:
    """Return whether this version of livekit-server supports deployments, as 1.12.0 and later do.

    That is the first release with the renamed field (livekit/livekit #4506). Return False for a version that
    does not start with two numbers.
    """
    numbers = re.match(r"(\d+)\.(\d+)", version.lstrip("v"))
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= (1, 12)
