"""From a room's dispatch to jobs, and from a job's assignment to its end."""

import asyncio
from random import Random
from typing import Any

from livekit.protocol.agent import Job, JobStatus, JobType

from agent_tui.local_server import ids
from agent_tui.local_server.dispatcher import Dispatcher, TellUnassigned, Unassigned
from agent_tui.local_server.pool import Pool, PoolKey
from agent_tui.local_server.records import DispatchRecord
from agent_tui.local_server.tasks import Tasks

_AGENT_LEFT = "agent worker left the room"


class Launcher:
    """Makes a dispatch's jobs and keeps its record of them (worker-protocol §11.1)."""

    def __init__(
        self, pool: Pool[Any], dispatcher: Dispatcher, tasks: Tasks, rng: Random, tell: TellUnassigned | None
    ) -> None:
        self._pool = pool
        self._dispatcher = dispatcher
        self._tasks = tasks
        self._rng = rng
        self._tell = tell

    def launch(self, record: DispatchRecord, room: Any, job_type: Any, participant: Any = None) -> None:
        """Starts to place one kind of job for a dispatch: one for each namespace in use (§11.1)."""
        wanted = record.dispatch
        workers = [worker.key for worker in self._pool if worker.key.agent_name == wanted.agent_name]
        same = [key for key in workers if key.deployment == wanted.deployment]
        namespaces = sorted({key.namespace for key in same if key.job_type == job_type})
        if not namespaces and not self._is_missed(record, same, job_type):
            return
        for namespace in namespaces or [""]:
            job = Job(
                id=ids.new_id(ids.JOB, self._rng),
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
    def _is_missed(record: DispatchRecord, same_name: list[PoolKey], job_type: Any) -> bool:
        """Whether nobody being there for a kind of job is worth telling: each dispatch stands for all
        three kinds, so only the room's job speaks for it, and only if no worker waits for another kind."""
        return job_type == JobType.JT_ROOM and not same_name and record.expected

    async def _place(self, record: DispatchRecord, job: Any) -> None:
        why = await self._dispatcher.place(job)
        if why is None:
            record.dispatch.state.jobs.append(job)
        else:
            self.tell(job, why)

    def tell(self, job: Any, why: Unassigned) -> None:
        """Says that a job was not assigned."""
        if self._tell is not None:
            self._tell(job, why)

    def delete(self, record: DispatchRecord) -> asyncio.Task[Any]:
        """Ends a deleted dispatch's jobs, those still being offered included, as SUCCESS (§9)."""
        return self._tasks.start(self._delete(record))

    async def _delete(self, record: DispatchRecord) -> None:
        if record.placing:
            await asyncio.wait(set(record.placing))
        for job in record.dispatch.state.jobs:
            state = await self._dispatcher.terminate(job, JobStatus.JS_SUCCESS)
            if state is not None:
                job.state.CopyFrom(state)

    def agent_left(self, job: Any) -> None:
        """Ends the job whose agent left its room, as FAILED (§9)."""
        self._tasks.start(self._dispatcher.terminate(job, JobStatus.JS_FAILED, _AGENT_LEFT))
