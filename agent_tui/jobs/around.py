"""What the desk needs of others: the server, the agent's functions, the run around it, the options."""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Protocol

from livekit.protocol import agent as proto

from agent_tui.jobs.record import JobRecord
from agent_tui.model import child as ch
from agent_tui.processes.pool import Lease
from agent_tui.worker.messages import JobProgress, Reject


@dataclass(frozen=True, slots=True)
class DeskTimings:
    """Seconds. The assignment may never come (worker-protocol §6.3); the SDKs wait as long."""

    assignment_s: float = 7.5


class Server(Protocol):
    """What the desk tells the server; the worker is one."""

    def worker_id_for(self, job_id: str) -> str | None:
        """The registration that the job came through."""
        ...

    def answer(self, job_id: str, answer: ch.AcceptArguments | Reject) -> bool: ...
    def ignore(self, job_id: str) -> None:
        """Leaves an offer without an answer."""
        ...

    def update_job(self, job_id: str, progress: JobProgress, error: str = "") -> bool: ...


class Agent(Protocol):
    """The current generation's request function."""

    @property
    def generation(self) -> int: ...
    def ask_request(self, job: bytes, job_id: str) -> Awaitable[ch.RequestAnswer]: ...
    def outcome(self, job_id: str, error: str | None) -> None: ...


class Surroundings(Protocol):
    """Who has to know how the desk's jobs go, and what the desk cannot know by itself."""

    def lease(self) -> Lease: ...
    def offered(self, job: proto.Job) -> None: ...
    def declined(self, job: proto.Job, why: str) -> None:
        """The offer was declined without a record: `over` will not be called."""
        ...

    def lost(self, job: proto.Job, why: str) -> None:
        """The offer got no answer; this reports it."""
        ...

    def dispatched_at(self, job: proto.Job) -> float | None:
        """Unix seconds, for a job that was dispatched from here."""
        ...

    def launched(self, record: JobRecord) -> None: ...
    def entered(self, record: JobRecord) -> None: ...
    def over(self, record: JobRecord) -> None: ...


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What the desk needs of the options and of the server in use, read for each job."""

    url: str
    fake_job: bool
    api_secret: str = field(repr=False)
    """Signs the token of a restarted job anew; without it the old one is used as long as it lasts."""
    debug_port: int
    """Where a job waits for a debugger; 0 for none."""
