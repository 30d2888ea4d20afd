"""The worker as the engine keeps it: its events into the stream, its offers to the desk."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from livekit.protocol.agent import Job

from agent_tui.model import events as ev
from agent_tui.model.child import AcceptArguments
from agent_tui.model.clock import Clock
from agent_tui.model.errors import ServerError
from agent_tui.model.logs import LogLevel
from agent_tui.options.declare import ServerOptions
from agent_tui.worker.messages import (
    Assigned,
    JobProgress,
    JobType,
    Offer,
    Registered,
    Registration,
    Reject,
    Suspect,
)
from agent_tui.worker.urls import ServerAddress, shown_url
from agent_tui.worker.worker import Worker

_JOB_TYPES = {
    "room": JobType.ROOM,
    "publisher": JobType.PUBLISHER,
    "participant": JobType.PARTICIPANT,
}


class Jobs(Protocol):
    """Who takes what the server says about jobs."""

    def offer(self, job: Job, received_at: float) -> None: ...
    def assigned(self, job_id: str, url: str | None, token: str) -> None: ...
    def terminated(self, job_id: str) -> None: ...


def registration_for(options: ServerOptions, version: str) -> Registration:
    """How the worker presents itself under these options. Raises UserError."""
    return Registration(
        options.agent_name, _JOB_TYPES[options.server_type], options.permissions, options.deployment, version
    )


class Registrar:
    """Keeps one registration; a changed one replaces it. It is what the desk answers through."""

    def __init__(
        self,
        *,
        jobs: Callable[[], Jobs],
        measure_load: Callable[[], Awaitable[float]],
        job_count: Callable[[], int],
        id_changed: Callable[[], None],
        clock: Clock,
        emit: Callable[[ev.Event], None],
    ) -> None:
        self._jobs = jobs
        self._measure_load = measure_load
        self._job_count = job_count
        self._id_changed = id_changed
        self._clock = clock
        self._emit = emit
        self._worker: Worker | None = None
        self._task: asyncio.Task[None] | None = None
        self._presented: tuple[Registration, ServerAddress] | None = None
        self._told_why = False
        self._closed = False
        self._kind = ev.ServerKind.CONFIGURED

    async def present(
        self, options: ServerOptions, address: ServerAddress, kind: ev.ServerKind, version: str
    ) -> None:
        """Registers under these options, if that is not what already stands. Raises UserError."""
        registration = registration_for(options, version)
        if self._closed:
            return
        if self._presented == (registration, address) and self._task is not None and not self._task.done():
            self.reconfigure(options)
            if self._worker is not None:
                self._worker.retry()
            return
        worker = Worker(
            registration=registration,
            server=address,
            listener=self,
            measure_load=self._measure_load,
            job_count=self._job_count,
            production=False,
            load_threshold=options.load_threshold,
            max_retry=options.max_retry,
            clock=self._clock,
        )
        await self._end()
        self._presented = (registration, address)
        self._kind = kind
        self._worker = worker
        self._told_why = False
        self._task = asyncio.create_task(self._run(worker), name="worker")

    def reconfigure(self, options: ServerOptions) -> None:
        """Applies what needs no new registration."""
        if self._worker is not None:
            self._worker.reconfigure(load_threshold=options.load_threshold, max_retry=options.max_retry)

    @property
    def trouble(self) -> str | None:
        """Why no jobs come, for the health check."""
        return self._worker.trouble if self._worker else "the agent's file has not loaded"

    def drain(self) -> None:
        """Reports full from now on."""
        if self._worker is not None:
            self._worker.set_draining(True)

    async def close(self) -> None:
        """Ends the connection for good."""
        self._closed = True
        await self._end()

    async def _end(self) -> None:
        if self._worker is not None:
            await self._worker.close()
        if self._task is not None:
            await self._task
        self._worker = self._task = self._presented = None

    # -- what the desk says --------------------------------------------------------------------------

    @property
    def worker_id(self) -> str | None:
        return self._worker.worker_id if self._worker else None

    def answer(self, job_id: str, answer: AcceptArguments | Reject) -> bool:
        return self._worker is not None and self._worker.answer(job_id, answer)

    def update_job(self, job_id: str, progress: JobProgress, error: str = "") -> bool:
        return self._worker is not None and self._worker.update_job(job_id, progress, error)

    # -- what the worker hears -----------------------------------------------------------------------

    def registered(self, event: Registered) -> None:
        assert self._presented is not None
        registration, address = self._presented
        self._emit(
            ev.WorkerRegistered(
                event.worker_id,
                shown_url(address.url),
                self._kind,
                event.server_version,
                registration.agent_name,
            )
        )
        self._id_changed()

    def disconnected(self, reason: str, retry_in_s: float | None, attempt: int) -> None:
        self._told_why = retry_in_s is None
        self._emit(ev.WorkerDisconnected(reason, retry_in_s, attempt))

    def refused(self, line: str) -> None:
        self._emit(ev.WorkerRefused(line))

    def suspect(self, event: Suspect) -> None:
        self._emit(ev.LinkSuspect(suspect=True))

    def recovered(self) -> None:
        self._emit(ev.LinkSuspect(suspect=False))

    def offer(self, offer: Offer) -> None:
        self._jobs().offer(offer.job, offer.received_at)

    def assigned(self, event: Assigned) -> None:
        self._jobs().assigned(event.job_id, event.url, event.token)

    def terminated(self, job_id: str) -> None:
        self._jobs().terminated(job_id)

    def load(self, measured: float, reported: float) -> None:
        self._emit(ev.LoadMeasured(measured, reported))

    def load_failed(self, problem: str) -> None:
        self._emit(ev.Notice(LogLevel.WARN, problem))

    def undecodable(self, reason: str) -> None:
        self._emit(ev.Notice(LogLevel.WARN, f"a message of the server was passed over: {reason}"))

    async def _run(self, worker: Worker) -> None:
        try:
            await worker.run()
        except ServerError as error:
            if not self._told_why:
                self._emit(ev.WorkerRefused(str(error)))
