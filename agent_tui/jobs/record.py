"""One job from its offer to its end, as the job manager keeps it, and how it counts in the end."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from livekit.protocol import agent as proto

from agent_tui.model import events as ev
from agent_tui.model.child import AcceptArguments
from agent_tui.processes.pool import Lease
from agent_tui.processes.process import ProcessEnd, SupervisedProcess, signal_name
from agent_tui.worker.worker import Worker

MAX_TRACEBACK = 12_000
"""Characters of a traceback that go with a job's end."""


@dataclass(frozen=True, slots=True)
class TestDispatch:
    """A dispatch made here. Which job comes from it is decided once, at the offer, and kept in its record."""

    __test__ = False  # no test case for pytest

    number: int
    """From 1: the key under which events speak of it."""
    room: str
    at: float
    """When it was made, Unix seconds."""
    length_s: float | None = None
    """How long its job may last; None: as long as test jobs of this run may."""


class Stage(StrEnum):
    """How far a job has come."""

    ASKING = "asking"
    ACCEPTED = "accepted"
    LAUNCHING = "launching"
    RUNNING = "running"
    OVER = "over"


@dataclass(slots=True, eq=False)
class JobRecord:
    """What is known of one job. Times are Unix seconds unless they say otherwise."""

    job: proto.Job
    worker: Worker
    """The registration that it came through, which alone can answer and report."""
    received_at: float
    generation: int
    answer_by: float
    """When the server stops waiting for the answer to the offer; by the clock's `boottime`."""
    test: TestDispatch | None = None
    """Where it comes from, if that was made here."""
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
    told_to_end: tuple[ev.JobStatus, str] | None = None
    """How a job counts that was ended on purpose, and why."""
    told_by: ev.EndedBy = ev.EndedBy.ORDER
    """What ended such a job."""
    terminated: bool = False
    """The server has forgotten the job: it wants no further word on it (worker-protocol §9)."""
    declined: str | None = None
    """Why the offer was declined."""
    turned_away: bool = False
    """It was declined at once, without asking the agent: another worker may take the job."""
    lost: str = ""
    """Why the offer, or the accepted job, became no running job."""
    restarting: str | None = None
    """Why its process ends without the job ending: from the request until that process is gone."""
    restarts: int = 0
    ready_at: float | None = None
    """When the last restart's old process was gone."""
    farewell_due: bool = False
    """The server will end the job once more, for a participant that left to come back."""
    crash: tuple[str, str] | None = None
    """The error that ended it and its traceback."""
    crashed_by: ev.EndedBy = ev.EndedBy.CRASH
    exiting: str | None = None
    """Why the job ended by itself, as it reported."""
    reported: bool = False
    length_timer: asyncio.TimerHandle | None = None
    """Ends a test job that lasts too long."""
    end: ProcessEnd | None = None
    """How its last process ended."""
    process_ended: "asyncio.Future[ProcessEnd] | None" = None
    """Of the present process."""
    process_crash: tuple[str, str] | None = None
    """What crashed in the present process, whether or not that ends the job."""

    @property
    def id(self) -> str:
        return str(self.job.id)

    @property
    def room(self) -> str:
        return str(self.job.room.name)

    @property
    def test_dispatch(self) -> int:
        """The number of the dispatch made here that it comes from; 0 for none."""
        return self.test.number if self.test is not None else 0


def verdict(record: JobRecord) -> tuple[ev.JobStatus, str]:
    """How the job counts, and why: as it reported itself, then what was wanted, then how its process went."""
    end = record.end
    bad = end is not None and (end.killed or end.signal is not None)
    if record.crash is not None:
        return ev.JobStatus.FAILED, record.crash[0]
    if record.exiting is not None:
        return ev.JobStatus.SUCCESS, f"{record.exiting}; then {_how(end)}" if bad else record.exiting
    if record.told_to_end is not None and not (end is not None and end.unasked):
        status, reason = record.told_to_end
        if bad and status is ev.JobStatus.SUCCESS:
            status = ev.JobStatus.FAILED
        return status, f"{reason}; {_how(end)}" if bad else reason
    if end is None:
        return ev.JobStatus.FAILED, "the job never got a process"
    return ev.JobStatus.FAILED, end.reason


def ended_by(record: JobRecord) -> ev.EndedBy:
    """What ended the job, in the order in which `verdict` looks."""
    end = record.end
    bad = end is not None and (end.killed or end.signal is not None)
    if record.crash is not None:
        return record.crashed_by
    if record.exiting is not None:
        return end.by if end is not None and bad else ev.EndedBy.ORDER
    if record.told_to_end is not None and not (end is not None and end.unasked):
        if record.told_by is not ev.EndedBy.ORDER:
            return record.told_by
        return end.by if end is not None and bad else ev.EndedBy.ORDER
    return ev.EndedBy.NO_PROCESS if end is None else end.by


def shortened(traceback: str) -> str:
    """A traceback's beginning and end: what was raised stands there, and where."""
    if len(traceback) <= MAX_TRACEBACK:
        return traceback
    head, tail = traceback[: MAX_TRACEBACK // 4], traceback[-MAX_TRACEBACK * 3 // 4 :]
    return f"{head.rpartition(chr(10))[0]}\n  …\n{tail.partition(chr(10))[2]}"


def _how(end: ProcessEnd | None) -> str:
    """Return how a process ended that did not end gracefully by itself."""
    if end is None:
        return ""
    if end.killed or end.signal is None:
        return f"killed: {end.reason}"
    return f"its process was killed by {signal_name(end.signal)}"
