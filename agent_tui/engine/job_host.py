"""What the desk's jobs live among: processes, logs, test dispatches, the agent's view of its worker."""

import asyncio
from collections.abc import Callable

from livekit.protocol.agent import Job

from agent_tui.engine.context import Context
from agent_tui.engine.dispatches import Dispatches
from agent_tui.jobs.desk import Desk, JobSettings
from agent_tui.jobs.record import JobRecord
from agent_tui.local_server.dispatcher import Unassigned
from agent_tui.model.events import JobLost, JobStatus
from agent_tui.processes.pool import Lease, Pool


class JobHost:
    """The desk's `Surroundings`."""

    def __init__(
        self,
        context: Context,
        *,
        pool: Callable[[], Pool],
        desk: Callable[[], Desk],
        dispatches: Dispatches,
        changed: Callable[[], None],
    ) -> None:
        self._context = context
        self._pool = pool
        self._desk = desk
        self._dispatches = dispatches
        self._changed = changed

    def settings(self) -> JobSettings:
        """Without media a job gets the SDK's fake room."""
        server = self._context.server
        return JobSettings(server.address.url, fake_job=not server.chosen.media)

    def lease(self) -> Lease:
        return self._pool().lease()

    def offered(self, job: Job) -> None:
        self._dispatches.offered(job.room.name)

    def dispatched_at(self, job: Job) -> float | None:
        return self._dispatches.dispatched_at(job)

    def launched(self, record: JobRecord) -> None:
        assert record.process is not None
        self._context.store.assign(record.process.id, record.id)
        self._changed()

    def entered(self, record: JobRecord) -> None:
        length = self._job_length()
        if length is not None and self._dispatches.is_ours(record.room):
            reason = f"job length of {length:g} s reached"
            loop = asyncio.get_running_loop()
            loop.call_later(length, self._desk().end, record.id, JobStatus.SUCCESS, reason)

    def over(self, record: JobRecord) -> None:
        if record.declined is not None:
            self._dispatches.lost(record.room, f"the offer was declined: {record.declined}", record.id)
        self._dispatches.settled(record.room)
        self._changed()

    def unassigned(self, job: Job, why: Unassigned) -> None:
        """The embedded server found no worker for a job."""
        if self._dispatches.is_ours(job.room.name):
            self._dispatches.lost(job.room.name, why.text, job.id)
        else:
            self._context.emit(JobLost(job.room.name, why.text, job.id))

    def _job_length(self) -> float | None:
        config = self._context.config
        if config.job_length_s is None and not self._context.server.chosen.media:
            return config.unattended_job_length_s
        return config.job_length_s
