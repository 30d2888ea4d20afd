"""One job from its offer to its end, and whether it succeeded."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from livekit.protocol import agent as proto

from agent_tui.jobs.sessions import JobSessions
from agent_tui.model import events as ev
from agent_tui.model.child import AcceptArguments
from agent_tui.processes.pool import Lease
from agent_tui.processes.process import ProcessEnd, SupervisedProcess, signal_name
from agent_tui.worker.worker import Worker

MAX_TRACEBACK = 12_000
"""Maximum characters of a failed job's traceback that are kept."""


@dataclass(frozen=True, slots=True)
class TestDispatch:
    """A test dispatch of this run. When its job is offered, the job's record gets a reference to it."""

    __test__ = False  # keeps pytest from collecting it

    number: int
    """The number that events use for the dispatch, from 1."""
    room: str
    at: float
    """When the dispatch was made, in Unix seconds."""
    length_s: float | None = None
    """Time limit of the job, in seconds; None for the run's limit for test jobs."""
    test_load: bool = False
    """Whether a test load or a sweep made the dispatch."""


class Stage(StrEnum):
    """A job's stage."""

    ASKING = "asking"
    ACCEPTED = "accepted"
    LAUNCHING = "launching"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(slots=True, eq=False)
class JobRecord:
    """Everything known about one job. Times are in Unix seconds unless stated otherwise."""

    job: proto.Job
    worker: Worker
    """The registration that received the offer; only it can answer and report."""
    received_at: float
    generation: int
    answer_by: float
    """When the server stops waiting for the answer to the offer, on the clock's `boottime`."""
    test: TestDispatch | None = None
    """The test dispatch that made the job; None if it was dispatched elsewhere."""
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
    sessions: JobSessions = field(init=False)
    """The `AgentSession`s that the job's processes have started."""
    pinned: bool = False
    """Whether the job is pinned: reloads do not change its code."""
    process: SupervisedProcess | None = None
    warm: bool = False
    launches: int = 0
    end_request: tuple[ev.JobStatus, str] | None = None
    """The status and reason of a job that was asked to end."""
    end_requested_by: ev.EndedBy = ev.EndedBy.ORDER
    """What asked the job to end."""
    terminated: bool = False
    """Whether the server has ended the job. It then expects no report (worker-protocol §9)."""
    declined: str | None = None
    """Why the offer was declined."""
    turned_away: bool = False
    """Whether the offer was declined without asking the agent. Another worker may then get the job."""
    lost: str = ""
    """Why the offer, or the accepted job, never became a running job."""
    restarting: str | None = None
    """Why the job's process is being replaced; None before that, and once the old process has ended."""
    restarts: int = 0
    ready_at: float | None = None
    """When the process that the last restart replaced had ended."""
    termination_due: bool = False
    """Whether the server's next termination only means that the old participant of a restarted job left."""
    crash: tuple[str, str] | None = None
    """The error that ended the job, and its traceback."""
    crashed_by: ev.EndedBy = ev.EndedBy.CRASH
    exiting: str | None = None
    """Why the job ended by itself, as reported by the job."""
    reported: bool = False
    length_timer: asyncio.TimerHandle | None = None
    """The timer that ends a test job at its time limit."""
    end: ProcessEnd | None = None
    """How the job's last process ended."""
    process_ended: "asyncio.Future[ProcessEnd] | None" = None
    """Completes when the current process has ended."""
    process_crash: tuple[str, str] | None = None
    """Error and traceback of a crash in the current process, even one that does not end the job."""

    @property
    def id(self) -> str:
        return str(self.job.id)

    @property
    def room(self) -> str:
        return str(self.job.room.name)

    @property
    def test_dispatch(self) -> int:
        """The number of the job's test dispatch; 0 for other dispatches."""
        return self.test.number if self.test is not None else 0


def verdict(record: JobRecord) -> tuple[ev.JobStatus, str]:
    """Return the job's status and the reason.

    A crash, or an end that the job itself reported, takes precedence; then a requested end; then how its
    process ended.
    """
    end = record.end
    bad = end is not None and (end.killed or end.signal is not None)
    if record.crash is not None:
        return ev.JobStatus.FAILED, record.crash[0]
    if record.exiting is not None:
        return ev.JobStatus.SUCCESS, f"{record.exiting}; then {_how_it_ended(end)}" if bad else record.exiting
    if record.end_request is not None and not (end is not None and end.unasked):
        status, reason = record.end_request
        if bad and status is ev.JobStatus.SUCCESS:
            status = ev.JobStatus.FAILED
        return status, f"{reason}; {_how_it_ended(end)}" if bad else reason
    if end is None:
        return ev.JobStatus.FAILED, "the job never got a process"
    return ev.JobStatus.FAILED, end.reason


def ended_by(record: JobRecord) -> ev.EndedBy:
    """Return what ended the job, checked in the order of `verdict`."""
    end = record.end
    bad = end is not None and (end.killed or end.signal is not None)
    if record.crash is not None:
        return record.crashed_by
    if record.exiting is not None:
        return end.by if end is not None and bad else ev.EndedBy.ORDER
    if record.end_request is not None and not (end is not None and end.unasked):
        if record.end_requested_by is not ev.EndedBy.ORDER:
            return record.end_requested_by
        return end.by if end is not None and bad else ev.EndedBy.ORDER
    return ev.EndedBy.NO_PROCESS if end is None else end.by


def shortened(traceback: str) -> str:
    """Return a traceback without its middle part if it is longer than `MAX_TRACEBACK` characters."""
    if len(traceback) <= MAX_TRACEBACK:
        return traceback
    head, tail = traceback[: MAX_TRACEBACK // 4], traceback[-MAX_TRACEBACK * 3 // 4 :]
    return f"{head.rpartition(chr(10))[0]}\n  …\n{tail.partition(chr(10))[2]}"


def _how_it_ended(end: ProcessEnd | None) -> str:
    """Return how a process that did not exit gracefully ended."""
    if end is None:
        return ""
    if end.killed or end.signal is None:
        return f"killed: {end.reason}"
    return f"its process was killed by {signal_name(end.signal)}"
