"""The worker as the engine keeps it: its events into the stream, its offers to the desk.

A changed registration comes up beside the one that stands and takes over once the server has accepted it; the
old one takes no more offers then and lives as long as its jobs (design §5.6).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from livekit.protocol.agent import Job

from agent_tui.engine.registration import Held, MakeWorker
from agent_tui.model import events as ev
from agent_tui.model.child import AcceptArguments
from agent_tui.model.clock import Clock
from agent_tui.model.errors import OwnError, ServerError
from agent_tui.model.logs import LogLevel
from agent_tui.options.declare import ServerOptions
from agent_tui.options.urls import shown_url
from agent_tui.worker.messages import (
    Assigned,
    JobProgress,
    JobType,
    Offer,
    PretendedParticipant,
    Registered,
    Registration,
    Reject,
)
from agent_tui.worker.urls import ServerAddress
from agent_tui.worker.worker import Worker

_JOB_TYPES = {
    "room": JobType.ROOM,
    "publisher": JobType.PUBLISHER,
    "participant": JobType.PARTICIPANT,
}


class Jobs(Protocol):
    """Who takes what the server says about jobs."""

    def offer(self, job: Job, received_at: float, answer_by: float) -> None: ...
    def assigned(self, job_id: str, url: str | None, token: str) -> None: ...
    def terminated(self, job_id: str) -> None: ...


def registration_for(options: ServerOptions, version: str) -> Registration:
    """How the worker presents itself under these options. Raises UserError."""
    return Registration(
        options.agent_name, _JOB_TYPES[options.server_type], options.permissions, options.deployment, version
    )


class Registrar:
    """Keeps one registration up, another while it takes over, and old ones until their jobs are over.

    It is what the desk answers through.
    """

    def __init__(
        self,
        *,
        jobs: Callable[[], Jobs],
        measure_load: Callable[[], Awaitable[float]],
        job_count: Callable[[], int],
        live_changed: Callable[[], None],
        clock: Clock,
        emit: Callable[[ev.Event], None],
        failed: Callable[[str, Exception], float | None],
        make_worker: Callable[..., Worker] = Worker,
    ) -> None:
        """`failed` reports an internal error; it returns after how many s to restart (`Supervision`)."""
        self._jobs = jobs
        self._measure_load = measure_load
        self._job_count = job_count
        self._live_changed = live_changed
        self._clock = clock
        self._emit = emit
        self._failed = failed
        self._make_worker = make_worker
        self._current: Held | None = None
        self._next: Held | None = None
        self._draining: set[Held] = set()
        self._by_job: dict[str, Held] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False
        self._stopping = False
        self._full = ""
        """Why no offers are taken for now."""
        self._refused = ""
        """Why nothing could be registered yet."""
        self._options: ServerOptions | None = None
        """The latest of `reconfigure`."""
        self._kind = ev.ServerKind.CONFIGURED

    async def present(
        self, options: ServerOptions, address: ServerAddress, kind: ev.ServerKind, version: str
    ) -> None:
        """Registers under these options, if that is not what already stands; does not wait for the server.

        Raises UserError, with everything as it was.
        """
        registration = registration_for(options, version)
        if self._closed:
            return
        both = (self._current, self._next)
        standing = next((held for held in both if held and held.matches(registration, address)), None)
        # Made before anything is changed: it raises for a server that cannot work.
        held = standing or Held(registration, address, self, self._maker(options, registration, address))
        self._kind = kind
        self.reconfigure(options)
        if standing is not None:
            if standing is self._current:
                self._drop_next()
            standing.worker.retry()
            return
        self._drop_next()
        if self._current is not None and self._current.is_registered:
            self._next = held
        else:
            if self._current is not None:
                self._end(self._current)
            self._current = held
        self._hold_back(held)

    def refuse(self, error: ServerError) -> None:
        """Register nowhere, as if the server had refused it. Raises the error where a registration stands."""
        if self._current is not None:
            raise error
        self._refused = str(error)
        self._emit(ev.WorkerRefused(self._refused))

    def reconfigure(self, options: ServerOptions) -> None:
        """Applies what needs no new registration."""
        self._options = options
        for held in self._all():
            held.worker.reconfigure(load_threshold=options.load_threshold, max_retry=options.max_retry)

    async def taken_over(self) -> str:
        """Waits until no changed registration is under way; why the last one was given up, empty if not."""
        return await asyncio.shield(self._next.settled) if self._next is not None else ""

    @property
    def trouble(self) -> str | None:
        """Why no jobs come, for the health check."""
        if self._current is None:
            return self._refused or "the agent's file has not loaded"
        return self._current.worker.trouble or self._full or None

    def set_full(self, reason: str) -> None:
        """Reports full, for that reason; no longer with an empty one."""
        changed, self._full = bool(reason) != bool(self._full), reason
        if changed:
            self._hold_back(*self._all())

    def drain(self) -> None:
        """Reports full from now on, whatever comes."""
        self._stopping = True
        self._drop_next()
        self._hold_back(*self._all())

    async def close(self) -> None:
        """Ends all connections for good."""
        self._closed = True
        for held in self._all():
            self._end(held)
        self._current = self._next = None
        while self._ending:
            await asyncio.gather(*self._ending)

    # -- what the desk says --------------------------------------------------------------------------

    @property
    def worker_id(self) -> str | None:
        return self._current.worker.worker_id if self._current else None

    @property
    def worker_ids(self) -> frozenset[str]:
        """Those of all registrations that stand."""
        return frozenset(held.worker.worker_id for held in self._all() if held.worker.worker_id)

    def worker_id_for(self, job_id: str) -> str | None:
        """The id under which that job came."""
        held = self._by_job.get(job_id)
        return held.worker.worker_id if held else self.worker_id

    def answer(self, job_id: str, answer: AcceptArguments | Reject) -> bool:
        held = self._by_job.get(job_id, self._current)
        if isinstance(answer, Reject):
            self.job_over(job_id)
        return held is not None and held.worker.answer(job_id, answer)

    def ignore(self, job_id: str) -> None:
        held = self._by_job.get(job_id, self._current)
        if held is not None:
            held.worker.ignore(job_id)
        self.job_over(job_id)

    def update_job(self, job_id: str, progress: JobProgress, error: str = "") -> bool:
        held = self._by_job.get(job_id, self._current)
        return held is not None and held.worker.update_job(job_id, progress, error)

    def simulate_job(self, room: str, participant: PretendedParticipant | None) -> bool:
        """Asks the server to offer a job to the registration that stands. False: there is none."""
        return self._current is not None and self._current.worker.simulate_job(room, participant)

    def job_over(self, job_id: str) -> None:
        """Nothing more will be said of that job."""
        held = self._by_job.pop(job_id, None)
        if held is not None:
            held.jobs.discard(job_id)
            self._end_if_done(held)

    # -- what the registrations hear (`Owner`) --------------------------------------------------------

    def registered(self, held: Held, event: Registered) -> None:
        held.settle("")
        if held is self._next:
            before, self._current, self._next = self._current, held, None
            if before is not None:
                self._draining.add(before)
                self._hold_back(before)
                self._end_if_done(before)
        if held is not self._current:
            return
        self._emit(
            ev.WorkerRegistered(
                event.worker_id,
                shown_url(held.address.url),
                self._kind,
                event.server_version,
                held.registration.agent_name,
                event.region,
                event.node_id,
            )
        )
        self._live_changed()

    def disconnected(self, held: Held, reason: str, retry_in_s: float | None, attempt: int) -> None:
        if held is self._current:
            self._emit(ev.WorkerDisconnected(reason, retry_in_s, attempt))
        elif held is self._next and (attempt == 1 or retry_in_s is None):
            self._tell_kept(reason)

    def refused(self, held: Held, line: str) -> None:
        if held is self._current:
            self._emit(ev.WorkerRefused(line))
        elif held is self._next:
            held.settle(line)
            self._tell_kept(line)
            self._drop_next()

    def broke(self, held: Held, error: Exception) -> float | None:
        """An internal error took it off the server. Return after how many s to restart it, if at all."""
        line, pause_s = str(OwnError("worker", error)), self._failed("worker", error)
        if held is self._current:
            self._emit(ev.WorkerDisconnected(line, pause_s))
        if pause_s is None:
            held.settle(line)
            if held is self._next:
                self._tell_kept(line)
                self._drop_next()
        return pause_s

    def remade(self, held: Held) -> None:
        """It has a new worker."""
        if self._options is not None:
            self.reconfigure(self._options)
        self._hold_back(held)

    def suspect(self, held: Held, *, suspect: bool) -> None:
        if held is self._current:
            self._emit(ev.LinkSuspect(suspect=suspect))

    def offer(self, held: Held, offer: Offer) -> None:
        if held in self._draining:
            held.worker.answer(offer.job.id, Reject())
            return
        if offer.job.id not in self._by_job:
            self._by_job[offer.job.id] = held
            held.jobs.add(offer.job.id)
        self._jobs().offer(offer.job, offer.received_at, offer.answer_by)

    def assigned(self, event: Assigned) -> None:
        self._jobs().assigned(event.job_id, event.url, event.token)

    def terminated(self, job_id: str) -> None:
        self._jobs().terminated(job_id)

    def load(self, held: Held, measured: float, reported: float) -> None:
        if held is self._current:
            self._emit(ev.LoadMeasured(measured, reported))

    def notice(self, text: str) -> None:
        self._emit(ev.Notice(LogLevel.WARN, text))

    # -- parts ----------------------------------------------------------------------------------------

    def _all(self) -> list[Held]:
        return [held for held in (self._current, self._next, *self._draining) if held is not None]

    def _hold_back(self, *registrations: Held) -> None:
        """The one place that says whether a registration takes offers."""
        for held in registrations:
            none = self._stopping or bool(self._full) or held in self._draining
            held.worker.set_draining(none)

    def _maker(
        self, options: ServerOptions, registration: Registration, address: ServerAddress
    ) -> MakeWorker:
        return lambda listener: self._make_worker(
            registration=registration,
            server=address,
            listener=listener,
            measure_load=self._measure_load,
            job_count=self._job_count,
            production=options.production,
            load_threshold=options.load_threshold,
            max_retry=options.max_retry,
            clock=self._clock,
        )

    def _tell_kept(self, why: str) -> None:
        assert self._current is not None
        kept = self._current
        name = f"as {kept.registration.agent_name}" if kept.registration.agent_name else "without a name"
        self.notice(
            f"the changed registration is not accepted ({why}); still registered "
            f"{name} at {shown_url(kept.address.url)}"
        )

    def _drop_next(self) -> None:
        if self._next is not None:
            held, self._next = self._next, None
            self._end(held)

    def _end_if_done(self, held: Held) -> None:
        if held in self._draining and not held.jobs:
            self._end(held)

    def _end(self, held: Held) -> None:
        self._draining.discard(held)
        task = asyncio.create_task(held.close(), name="end of a registration")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
