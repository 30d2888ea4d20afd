"""Where a worker stands, and who is told what happens to it."""

from enum import StrEnum
from typing import Protocol

from agent_tui.worker.messages import Assigned, Offer, Registered, Suspect


class WorkerState(StrEnum):
    """Where the worker stands with its server."""

    CONNECTING = "connecting"
    REGISTERED = "registered"
    SUSPECT = "suspect"
    BACKING_OFF = "backing off"
    REFUSED = "refused"
    CLOSED = "closed"


class WorkerListener(Protocol):
    """Is told what happens, in order, on the loop. What it raises ends the worker and comes out of `run`."""

    def registered(self, event: Registered) -> None: ...

    def disconnected(self, reason: str, retry_in_s: float | None, attempt: int) -> None:
        """A connection was lost or could not be made, the `attempt`-th time in a row.

        None for the pause: there is no other attempt. Offers of that connection need no answer any more;
        its jobs run on, unknown to the server (worker-protocol §10).
        """
        ...

    def refused(self, line: str) -> None:
        """The server refuses credentials that it took before; nothing is tried until `Worker.retry`."""
        ...

    def suspect(self, event: Suspect) -> None: ...

    def recovered(self) -> None: ...

    def offer(self, offer: Offer) -> None:
        """Wants one `Worker.answer`, now or within 2.5 s."""
        ...

    def assigned(self, event: Assigned) -> None: ...

    def terminated(self, job_id: str) -> None: ...

    def load(self, measured: float, reported: float) -> None: ...

    def load_failed(self, problem: str) -> None:
        """The load function began to fail; told once until it has worked again."""
        ...

    def undecodable(self, reason: str) -> None:
        """A message was skipped."""
        ...
