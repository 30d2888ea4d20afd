"""Creates the jobs of a room's dispatches, and offers each job to workers until one accepts.

The load of all workers that qualify decides whether a job is offered at all. Then one worker is asked at a
time, within one time limit for all of them.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any

from livekit.protocol.agent import Job, JobStatus, JobType

from agent_tui.local_server.connection import NoAnswer, Timings, WorkerConnection
from agent_tui.local_server.pool import TARGET_LOAD, Candidate, Pool, PoolKey, gate_open, key_of, pick
from agent_tui.local_server.session import JOB_ID, nanoseconds, new_id
from agent_tui.model.clock import Clock


class Tasks:
    """Starts tasks, forgets those that end, and reports what they raise to the loop's exception handler."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            context = {"message": "a task of the local server failed", "exception": error, "task": task}
            task.get_loop().call_exception_handler(context)

    async def close(self) -> None:
        """Cancel all tasks except the caller's, and wait for them."""
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


_AGENT_LEFT = "agent worker left the room"


class Reason(StrEnum):
    """Why a job found no worker; the real server only logs this."""

    NO_WORKER = "no_worker"
    OVER_LOAD_GATE = "over_load_gate"
    REJECTED = "rejected"
    NO_ANSWER = "no_answer"


@dataclass(frozen=True, slots=True)
class Unassigned:
    """Why no worker accepted a job. `text` is one line for users."""

    reason: Reason
    text: str
    loads: Mapping[str, float]
    """Load of each worker with the job's key, by worker id; infinite if it reports full."""


ReportUnassigned = Callable[[Any, Unassigned], None]
"""Called with the livekit.Job and why it was not assigned."""


@dataclass(slots=True)
class DispatchRecord:
    """One AgentDispatch; `dispatch.state.jobs` are those that a worker accepted (worker-protocol §11.2)."""

    dispatch: Any
    expected: bool = True
    """Whether a client asked for it. False for the implicit dispatch of a room made by CreateDispatch."""
    placing: set[asyncio.Task[Any]] = field(default_factory=set)
    """Jobs that are still being offered."""


class Dispatcher:
    """Creates a dispatch's jobs, places them on the workers of a pool, and records the accepted ones.

    The rules are those of worker-protocol §6 and §11.1. Rooms use its clock, timings, and random numbers.
    """

    def __init__(
        self,
        pool: Pool[WorkerConnection],
        tasks: Tasks,
        *,
        clock: Clock,
        timings: Timings,
        rng: Random,
        on_unassigned: ReportUnassigned | None,
    ) -> None:
        self._pool = pool
        self._tasks = tasks
        self.clock = clock
        self.timings = timings
        self.rng = rng
        self._on_unassigned = on_unassigned

    def launch(self, record: DispatchRecord, room: Any, job_type: Any, participant: Any = None) -> None:
        """Start placing one type of job for a dispatch: one job per namespace in use (§11.1)."""
        wanted = record.dispatch
        workers = [worker.key for worker in self._pool if worker.key.agent_name == wanted.agent_name]
        same = [key for key in workers if key.deployment == wanted.deployment]
        namespaces = sorted({key.namespace for key in same if key.job_type == job_type})
        if not namespaces and not self._is_worth_reporting(record, same, job_type):
            return
        for namespace in namespaces or [""]:
            job = Job(
                id=new_id(JOB_ID, self.rng),
                dispatch_id=wanted.id,
                type=job_type,
                room=room,
                participant=participant,
                namespace=namespace,
                metadata=wanted.metadata,
                agent_name=wanted.agent_name,
                deployment=wanted.deployment,
                attributes=dict(wanted.attributes),
            )
            record.placing.add(task := self._tasks.start(self._place(record, job)))
            task.add_done_callback(record.placing.discard)

    @staticmethod
    def _is_worth_reporting(record: DispatchRecord, same_name: list[PoolKey], job_type: Any) -> bool:
        """Return whether to report that no worker is registered for a job type.

        Each dispatch covers all three job types. So only a missing worker for room jobs is reported, and only
        if none is registered for another type.
        """
        return job_type == JobType.JT_ROOM and not same_name and record.expected

    async def _place(self, record: DispatchRecord, job: Any) -> None:
        why = await self.place(job)
        if why is None:
            record.dispatch.state.jobs.append(job)
        else:
            self._report(job, why)

    def _report(self, job: Any, why: Unassigned) -> None:
        if self._on_unassigned is not None:
            self._on_unassigned(job, why)

    def delete(self, record: DispatchRecord) -> asyncio.Task[Any]:
        """End the jobs of a deleted dispatch as SUCCESS, including jobs that are still being offered (§9)."""
        return self._tasks.start(self._delete(record))

    async def _delete(self, record: DispatchRecord) -> None:
        if record.placing:
            await asyncio.wait(set(record.placing))
        for job in record.dispatch.state.jobs:
            state = await self._terminate(job, JobStatus.JS_SUCCESS)
            if state is not None:
                job.state.CopyFrom(state)

    def agent_left(self, job: Any) -> None:
        """End the job whose agent left its room, as FAILED (§9)."""
        self._tasks.start(self._terminate(job, JobStatus.JS_FAILED, _AGENT_LEFT))

    def simulate(self, worker: WorkerConnection, job: Any) -> None:
        """Offer a job to one worker only, whatever its load and status (§10)."""
        self._tasks.start(self._simulate(worker, job))

    async def _simulate(self, worker: WorkerConnection, job: Any) -> None:
        outcome = await self._offer(worker, job, self.timings.simulate_answer_s)
        if outcome is None:
            return
        reason = Reason.NO_ANSWER if outcome == NoAnswer.TIMED_OUT else Reason.REJECTED
        self._report(job, _unassigned(reason, key_of(job), [worker], {worker.worker_id: outcome}))

    async def place(self, job: Any) -> Unassigned | None:
        """Offer a job until a worker accepts it. Return None, or why none did.

        The job's state then names the worker. Each worker is asked once, even one that registers while the
        job is being offered. If a worker does not answer, or rejects with `terminate`, no other is asked
        (§6.5).
        """
        key = key_of(job)
        workers = self._pool.of(key)
        if not gate_open(workers):
            return _not_offered(key, workers, self._pool)
        deadline = self.clock.monotonic() + self.timings.answer_budget_s
        asked: dict[str, str] = {}
        while True:
            candidates = [worker for worker in self._pool.of(key) if worker.worker_id not in asked]
            worker = pick(candidates, self.rng)
            if worker is None:
                return _unassigned(Reason.REJECTED, key, self._pool.of(key), asked)
            outcome = await self._offer(worker, job, deadline - self.clock.monotonic())
            if outcome is None:
                return None
            asked[worker.worker_id] = outcome
            if outcome == NoAnswer.TIMED_OUT:
                return _unassigned(Reason.NO_ANSWER, key, self._pool.of(key), asked)

    async def _terminate(self, job: Any, status: int, error: str = "") -> Any | None:
        """End an assigned job; return None if its worker is gone or the job has ended (§9)."""
        worker = self._pool.get(job.state.worker_id)
        return await worker.terminate(job.id, status, error) if worker else None

    async def _offer(self, worker: WorkerConnection, job: Any, timeout_s: float) -> str | None:
        """Offer a job to one worker. Return None if no other may be asked, else how the worker declined.
        `terminate` wins over `available`.
        """
        answer = await worker.ask(job, timeout_s) if timeout_s > 0 else NoAnswer.TIMED_OUT
        if isinstance(answer, NoAnswer):
            return answer
        if answer.terminate:
            job.state.status = JobStatus.JS_SUCCESS
            job.state.ended_at = job.state.updated_at = nanoseconds(self.clock)
            return None
        if not answer.available:
            return "rejected"
        await worker.assign(job, answer)
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
        text = f"no worker {key.describe()} has a load below {TARGET_LOAD:.1f}: {shown}"
        return Unassigned(Reason.OVER_LOAD_GATE, text, loads)
    others = sorted({worker.key.describe() for worker in everybody})
    registered = ", ".join(others) if others else "none at all"
    name = key.describe() if key.agent_name else f"without a name ({JobType.Name(key.job_type)})"
    return Unassigned(Reason.NO_WORKER, f"no worker {name} is registered; registered: {registered}", {})


def _unassigned(
    reason: Reason, key: PoolKey, workers: Iterable[Candidate], asked: Mapping[str, str]
) -> Unassigned:
    outcomes = ", ".join(f"{worker_id} {outcome}" for worker_id, outcome in asked.items())
    text = f"no worker {key.describe()} accepted the job: {outcomes}"
    return Unassigned(reason, text, _loads(workers))
