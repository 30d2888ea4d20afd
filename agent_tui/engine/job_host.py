"""What the desk's jobs live among: processes, logs, test dispatches, the agent's view of its worker."""

import asyncio
import contextlib
from collections.abc import Callable

from livekit.protocol.agent import Job

from agent_tui.engine.context import Context
from agent_tui.engine.dispatches import Dispatches
from agent_tui.engine.registrar import Registrar
from agent_tui.jobs.around import JobSettings
from agent_tui.jobs.desk import Desk
from agent_tui.jobs.record import JobRecord
from agent_tui.local_server.dispatcher import Unassigned
from agent_tui.model.events import JobStatus
from agent_tui.processes.pool import Lease, Pool

DRAIN_S = 2.0
"""A program that a job left behind may hold its pipes open for longer."""


class JobHost:
    """The desk's `Surroundings`."""

    def __init__(
        self,
        context: Context,
        *,
        pool: Callable[[], Pool],
        desk: Callable[[], Desk],
        registrar: Callable[[], Registrar],
        dispatches: Dispatches,
        live_changed: Callable[[], None],
    ) -> None:
        self._context = context
        self._pool = pool
        self._desk = desk
        self._registrar = registrar
        self._dispatches = dispatches
        self._live_changed = live_changed
        self._ends: dict[str, asyncio.TimerHandle] = {}
        self._releasing: set[asyncio.Task[None]] = set()

    def settings(self) -> JobSettings:
        """Without media a job gets the SDK's fake room."""
        server = self._context.server
        return JobSettings(
            url=server.address.url,
            fake_job=not server.chosen.media,
            api_secret=server.address.api_secret,
            debug_port=self._context.config.debug_port,
        )

    def lease(self) -> Lease:
        return self._pool().lease()

    def offered(self, job: Job) -> None:
        self._dispatches.offered(job)

    def declined(self, job: Job, why: str) -> None:
        self._dispatches.declined(job, why)

    def lost(self, job: Job, why: str) -> None:
        self._dispatches.lost(job, why)

    def dispatched_at(self, job: Job) -> float | None:
        return self._dispatches.dispatched_at(job)

    def launched(self, record: JobRecord) -> None:
        assert record.process is not None
        self._context.store.assign(record.process.id, record.id)
        self._live_changed()

    def entered(self, record: JobRecord) -> None:
        length = self._job_length(record)
        if length is not None and record.id not in self._ends and self._dispatches.is_ours(record.job):
            reason = f"job length of {length:g} s reached"
            loop = asyncio.get_running_loop()
            self._ends[record.id] = loop.call_later(
                length, self._desk().end, record.id, JobStatus.SUCCESS, reason
            )

    def over(self, record: JobRecord) -> None:
        self._registrar().job_over(record.id)
        if (timer := self._ends.pop(record.id, None)) is not None:
            timer.cancel()
        if record.declined is not None and self._dispatches.is_ours(record.job):
            self._dispatches.lost(record.job, f"the offer was declined: {record.declined}")
        self._dispatches.over(record.job)
        if record.process is not None:
            task = asyncio.create_task(self._release_logs(record.process.id), name="last log lines")
            self._releasing.add(task)
            task.add_done_callback(self._releasing.discard)
        self._live_changed()

    def unassigned(self, job: Job, why: Unassigned) -> None:
        """The embedded server found no worker for a job."""
        self._dispatches.lost(job, why.text)

    async def close(self) -> None:
        """Returns when the last lines of ended jobs are stored."""
        await asyncio.gather(*self._releasing, return_exceptions=True)

    async def _release_logs(self, process_id: str) -> None:
        """The process has gone; once its last lines are stored its name means no job any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._context.intake.drained(process_id)
        self._context.store.assign(process_id, None)

    def _job_length(self, record: JobRecord) -> float | None:
        config, asked = self._context.config, self._dispatches.length_s(record.job)
        if asked is not None:
            return asked
        if config.job_length_s is None and not self._context.server.chosen.media:
            return config.unattended_job_length_s
        return config.job_length_s
