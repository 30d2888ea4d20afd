"""Finding a worker for a job: the gate, one worker asked at a time, one budget of time for all of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any, Protocol

from livekit.protocol.agent import JobStatus, JobType

from agent_tui.local_server.pool import TARGET_LOAD, Candidate, Pool, PoolKey, gate_open, key_of, pick
from agent_tui.local_server.session import nanoseconds
from agent_tui.local_server.timings import Timings
from agent_tui.model.clock import Clock


class Reason(StrEnum):
    """Why a job found no worker; the real server keeps this to its log."""

    NO_WORKER = "no_worker"
    OVER_LOAD_GATE = "over_load_gate"
    REJECTED = "rejected"
    NO_ANSWER = "no_answer"


@dataclass(frozen=True, slots=True)
class Unassigned:
    """What is told about a job that no worker took. `text` is one line for people."""

    reason: Reason
    text: str
    loads: Mapping[str, float]
    """Load of each worker with the job's key, by worker id; infinite for one that says it is full."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A worker's AvailabilityResponse."""

    response: Any


class Silence(StrEnum):
    """What an offer came to without an answer."""

    TIMED_OUT = "timed out"
    LOST = "connection lost"


class Link(Candidate, Protocol):
    """A registered worker that can be asked."""

    async def ask(self, job: Any, timeout_s: float) -> Answer | Silence:
        """Offers the job and waits for the answer; stamps the job's state."""
        ...

    async def assign(self, job: Any, response: Any) -> None:
        """Sends the assignment with its token; stamps the job's state."""
        ...

    async def terminate(self, job_id: str, status: int, error: str) -> Any | None:
        """Ends a running job; its last JobState, or None when the worker does not run it."""
        ...


class Dispatcher:
    """Places jobs on the workers of a pool (worker-protocol §6)."""

    def __init__(self, pool: Pool[Any], *, clock: Clock, timings: Timings, rng: Random) -> None:
        self._pool: Pool[Link] = pool
        self._clock = clock
        self._timings = timings
        self._rng = rng

    async def place(self, job: Any) -> Unassigned | None:
        """Offers a job until a worker takes it; None when one did (or said that nobody is to be asked).

        The job's state tells which worker has it. Each worker is asked once; after a silence nobody else
        is; workers that come while the job is being offered count (§6.5).
        """
        key = key_of(job)
        workers = self._pool.of(key)
        if not gate_open(workers):
            return _not_offered(key, workers, self._pool)
        deadline = self._clock.monotonic() + self._timings.answer_budget_s
        asked: dict[str, str] = {}
        while True:
            candidates = [worker for worker in self._pool.of(key) if worker.worker_id not in asked]
            worker = pick(candidates, self._rng)
            if worker is None:
                return _unassigned(Reason.REJECTED, key, self._pool.of(key), asked)
            outcome = await self._offer(worker, job, deadline - self._clock.monotonic())
            if outcome is None:
                return None
            asked[worker.worker_id] = outcome
            if outcome == Silence.TIMED_OUT:
                return _unassigned(Reason.NO_ANSWER, key, self._pool.of(key), asked)

    async def simulate(self, worker: Link, job: Any) -> Unassigned | None:
        """Offers a job to one worker only, whatever its load and status (§10)."""
        outcome = await self._offer(worker, job, self._timings.simulate_answer_s)
        if outcome is None:
            return None
        reason = Reason.NO_ANSWER if outcome == Silence.TIMED_OUT else Reason.REJECTED
        return _unassigned(reason, key_of(job), [worker], {worker.worker_id: outcome})

    async def terminate(self, job: Any, status: int, error: str = "") -> Any | None:
        """Ends an assigned job; None when its worker is gone or the job is over already (§9)."""
        worker = self._pool.get(job.state.worker_id)
        return await worker.terminate(job.id, status, error) if worker else None

    async def _offer(self, worker: Link, job: Any, timeout_s: float) -> str | None:
        """None when the job is settled, else how the worker let it pass. `terminate` beats `available`."""
        answer = await worker.ask(job, timeout_s) if timeout_s > 0 else Silence.TIMED_OUT
        if isinstance(answer, Silence):
            return answer
        if answer.response.terminate:
            job.state.status = JobStatus.JS_SUCCESS
            job.state.ended_at = job.state.updated_at = nanoseconds(self._clock)
            return None
        if not answer.response.available:
            return "rejected"
        await worker.assign(job, answer.response)
        return None


def _loads(workers: Iterable[Candidate]) -> dict[str, float]:
    return {worker.worker_id: worker.load if worker.available else float("inf") for worker in workers}


def _not_offered(key: PoolKey, workers: Iterable[Candidate], everybody: Iterable[Candidate]) -> Unassigned:
    loads = _loads(workers)
    if loads:
        shown = ", ".join(
            f"{worker_id} is full" if load == float("inf") else f"{worker_id} at {load:.2f}"
            for worker_id, load in loads.items()
        )
        text = f"no worker {key.describe()} is below the load gate of {TARGET_LOAD:.1f}: {shown}"
        return Unassigned(Reason.OVER_LOAD_GATE, text, loads)
    others = sorted({worker.key.describe() for worker in everybody})
    registered = ", ".join(others) if others else "none at all"
    name = key.describe() if key.agent_name else f"without a name ({JobType.Name(key.job_type)})"
    return Unassigned(Reason.NO_WORKER, f"no worker {name} is registered; registered: {registered}", {})


def _unassigned(
    reason: Reason, key: PoolKey, workers: Iterable[Candidate], asked: Mapping[str, str]
) -> Unassigned:
    outcomes = ", ".join(f"{worker_id} {outcome}" for worker_id, outcome in asked.items())
    text = f"no worker {key.describe()} took the job: {outcomes}"
    return Unassigned(reason, text, _loads(workers))


TellUnassigned = Callable[[Any, Unassigned], None]
"""Called with the livekit.Job and why it was not assigned."""
