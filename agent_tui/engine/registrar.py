"""The registrations with the server: the current one, a changed one that is being made, and retiring ones.

A changed registration is made beside the current one and replaces it once the server has accepted it. The old
one then takes no more offers and lives until its jobs have ended (design §5.7).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agent_tui.model import events as ev
from agent_tui.model.clock import Clock
from agent_tui.model.dispatches import exposure
from agent_tui.model.errors import InternalError, ServerError
from agent_tui.model.events import CHANGED_REGISTRATION
from agent_tui.model.logs import LogLevel
from agent_tui.options.declare import ServerOptions
from agent_tui.options.urls import shown_url
from agent_tui.settings.manager import registration_for
from agent_tui.worker.messages import (
    Disconnected,
    LoadReported,
    Recovered,
    Refused,
    Registered,
    Registration,
    SimulatedParticipant,
    Suspect,
    Undecodable,
    WorkerEvent,
)
from agent_tui.worker.urls import ServerAddress
from agent_tui.worker.worker import Worker, WorkerOptions

OnEvent = Callable[[Worker, WorkerEvent], None]
MeasureLoad = Callable[[], Awaitable[float]]

LOAD_FUNCTION = "load function"
"""The value of `Notice.about` for notices about the load function."""


@dataclass(frozen=True, slots=True)
class WorkerReadiness:
    """Whether and why the worker can get jobs. `ids` includes those of retiring registrations."""

    ids: frozenset[str]
    problem: str | None
    agent_name: str
    server_type: str
    load: float
    """The load last reported to the server."""


class Registrar:
    """Keeps the current registration up, and old ones until their jobs have ended.

    While a changed registration is being made, it is kept beside the current one.
    """

    def __init__(
        self,
        *,
        on_event: OnEvent,
        changed: Callable[[], None],
        clock: Clock,
        emit: Callable[[ev.Event], None],
        failed: Callable[[str, Exception], float | None],
        make_worker: Callable[..., Worker] = Worker,
    ) -> None:
        """`on_event` gets all events of the workers, and passes those that are not about jobs to `handle`.
        `changed` is called when the worker id changes. `failed` reports an internal error and returns the
        pause before the restart, in s (`Supervision`).
        """
        self._on_event = on_event
        self._changed = changed
        self._clock = clock
        self._emit = emit
        self._failed = failed
        self._make_worker = make_worker
        self._current: Worker | None = None
        self._next: Worker | None = None
        self._accepted: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """The outcome of the changed registration: why it was abandoned; empty if it was accepted."""
        self._running: dict[Worker, asyncio.Task[None]] = {}
        """All workers, including retiring ones."""
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False
        self._stopping = False
        self._full = ""
        """Why no offers are accepted for now."""
        self._refused = ""
        """Why nothing is registered yet."""
        self._options: ServerOptions | None = None
        """The latest options given to `reconfigure`."""
        self._kind = ev.ServerKind.CONFIGURED
        self._reported_load = 0.0
        self._warned_of_exposure = False
        self._is_load_failing = False
        self._is_change_refused = False

    async def register(
        self,
        options: ServerOptions,
        address: ServerAddress,
        kind: ev.ServerKind,
        version: str,
        measure_load: MeasureLoad,
    ) -> None:
        """Register under these options, unless such a registration exists.

        This does not wait for the server's answer. If the options cannot be used, raise UserError and change
        nothing.
        """
        registration = registration_for(options, version)
        if self._closed:
            return
        both = (self._current, self._next)
        standing = next((each for each in both if self._matches(each, registration, address)), None)
        # Created before anything changes: it raises for an unusable server.
        worker = standing or self._make_worker(
            registration=registration,
            server=address,
            on_event=self._on_event,
            measure_load=measure_load,
            production=options.production,
            options=_worker_options(options),
            clock=self._clock,
        )
        self._kind = kind
        self.reconfigure(options)
        if standing is not None:
            if standing is self._current:
                self._drop_next("a later change replaced it")
                if self._is_change_refused:
                    text = "the registration is as configured again"
                    self._emit(ev.Notice(LogLevel.INFO, text, CHANGED_REGISTRATION))
                self._is_change_refused = False
            standing.retry()
            return
        self._drop_next("a later change replaced it")
        self._running[worker] = asyncio.create_task(self._run_worker(worker), name="worker")
        if self._current is not None and self._current.worker_id is not None:
            self._next = worker
            self._accepted = asyncio.get_running_loop().create_future()
        else:
            if self._current is not None:
                self._end(self._current)
            self._current = worker
        worker.set_draining(self._is_draining)

    def refuse(self, error: ServerError) -> None:
        """Report credentials as refused, as if by the server. If there is a registration, raise the error."""
        if self._current is not None:
            raise error
        self._refused = str(error)
        self._emit(ev.WorkerRefused(error.cause, error.todo))

    def reconfigure(self, options: ServerOptions) -> None:
        """Apply the options that need no new registration."""
        self._options = options
        for worker in self._running:
            worker.reconfigure(_worker_options(options))

    async def wait_until_accepted(self) -> str:
        """Wait until no changed registration is pending.

        Return why the last one was abandoned; empty if it was accepted.
        """
        return await asyncio.shield(self._accepted) if self._next is not None else ""

    @property
    def problem(self) -> str | None:
        """Why the worker gets no jobs, for the health check; None if it can get some."""
        if self._current is None:
            return self._refused or "the agent's file has not loaded"
        return self._current.problem or self._full or None

    @property
    def worker_id(self) -> str | None:
        return self._current.worker_id if self._current else None

    @property
    def readiness(self) -> WorkerReadiness:
        """The facts that may explain why the server offers no job."""
        return WorkerReadiness(
            frozenset(each.worker_id for each in self._running if each.worker_id),
            self.problem,
            self._options.agent_name if self._options else "",
            self._options.server_type if self._options else "room",
            self._reported_load,
        )

    def simulate_job(self, room: str, participant: SimulatedParticipant | None) -> bool:
        """Ask the server to offer a job to the current registration; return False if there is none."""
        return self._current is not None and self._current.simulate_job(room, participant)

    def set_full(self, reason: str) -> None:
        """Report the worker as full for this reason; empty means no longer full."""
        changed, self._full = bool(reason) != bool(self._full), reason
        if changed:
            self._update_draining()

    def drain(self) -> None:
        """Report the worker as full from now on."""
        self._stopping = True
        self._drop_next("agent-tui is stopping")
        self._update_draining()

    async def close(self) -> None:
        """End all connections."""
        self._closed = True
        for worker in tuple(self._running):
            self._end(worker)
        self._current = self._next = None
        while self._ending:
            await asyncio.gather(*self._ending)

    def handle(self, worker: Worker, event: WorkerEvent) -> None:
        """Handle a worker's event. Retiring workers only report warnings."""
        match event:
            case Registered():
                self._registered(worker, event)
            case Undecodable(reason=reason):
                self._notice(f"ignored a message from the server: {reason}")
            case Disconnected(reason=reason, retry_in_s=pause_s, attempt=attempt) if worker is self._next:
                if pause_s is None:
                    self._abandon_next(reason, event.todo)
                elif attempt == 1:
                    self._notice_kept(reason, event.todo)
            case Refused(reason=reason) if worker is self._next:
                self._abandon_next(reason, event.todo)
            case _ if worker is not self._current:
                pass
            case Disconnected(reason=reason, retry_in_s=pause_s, attempt=attempt, todo=todo):
                self._emit(ev.WorkerDisconnected(reason, pause_s, attempt, todo))
            case Refused(reason=reason, todo=todo):
                self._emit(ev.WorkerRefused(reason, todo))
            case Suspect() | Recovered():
                self._emit(ev.ConnectionSuspect(suspect=isinstance(event, Suspect)))
            case LoadReported(measured=measured, reported=reported, problem=problem):
                self._reported_load = reported
                self._note_load_function(problem)
                self._emit(ev.WorkerLoadMeasured(measured, reported))
            case _:
                pass

    # -- parts ----------------------------------------------------------------------------------------

    def _matches(self, worker: Worker | None, registration: Registration, address: ServerAddress) -> bool:
        """Return whether the worker is, or is becoming, this registration."""
        if worker is None or self._running[worker].done():
            return False
        return (worker.registration, worker.server) == (registration, address)

    async def _run_worker(self, worker: Worker) -> None:
        """Run a worker until it closes or its server refuses it; restart it after internal errors."""
        while True:
            try:
                await worker.run()
                break
            except ServerError:
                break  # its last event gave the reason
            except Exception as error:
                pause_s = self._worker_failed(worker, error)
            if pause_s is None:
                break
            await asyncio.sleep(pause_s)
        if worker not in (self._current, self._next):
            self._running.pop(worker, None)

    def _worker_failed(self, worker: Worker, error: Exception) -> float | None:
        """Report an internal error of a worker; return the pause before the restart, in s, or None to
        stop.
        """
        line, pause_s = str(InternalError("worker", error)), self._failed("worker", error)
        if worker is self._current:
            self._emit(ev.WorkerDisconnected(line, pause_s))
        elif worker is self._next and pause_s is None:
            self._abandon_next(line)
        return pause_s

    def _registered(self, worker: Worker, event: Registered) -> None:
        if worker is self._next:
            before, self._current, self._next = self._current, worker, None
            self._accepted.set_result("")
            if before is not None:
                before.retire()
        if worker is not self._current:
            return
        self._is_change_refused = False
        self._emit(
            ev.WorkerRegistered(
                event.worker_id,
                shown_url(worker.server.url),
                self._kind,
                event.server_version,
                worker.registration.agent_name,
                event.region,
                event.node_id,
                worker.registration.deployment,
                event.knows_deployments,
            )
        )
        exposed = exposure(
            worker.server.url,
            worker.registration.deployment,
            knows_deployments=event.knows_deployments,
            production=self._options is not None and self._options.production,
        )
        if exposed and not self._warned_of_exposure:
            self._notice(exposed)
        self._warned_of_exposure = bool(exposed)
        self._changed()

    @property
    def _is_draining(self) -> bool:
        return self._stopping or bool(self._full)

    def _update_draining(self) -> None:
        for worker in tuple(self._running):
            worker.set_draining(self._is_draining)

    def _abandon_next(self, why: str, todo: str = "") -> None:
        """Abandon the changed registration."""
        self._notice_kept(why, todo)
        self._drop_next(why)

    def _notice_kept(self, why: str, todo: str) -> None:
        assert self._current is not None
        name = self._current.registration.agent_name
        self._is_change_refused = True
        self._notice(
            f"{why}: the changed registration is not in effect; still registered "
            f"{f'as {name}' if name else 'without a name'} at {shown_url(self._current.server.url)}",
            CHANGED_REGISTRATION,
            todo,
        )

    def _note_load_function(self, problem: str) -> None:
        """Report a load function that fails, once, and that it works again."""
        failing, self._is_load_failing = self._is_load_failing, bool(problem)
        if problem and not failing:
            self._notice(problem, LOAD_FUNCTION, "fix loadFunc and save")
        elif failing and not problem:
            self._emit(ev.Notice(LogLevel.INFO, "the load function works again", LOAD_FUNCTION))

    def _notice(self, text: str, about: str = "", todo: str = "") -> None:
        self._emit(ev.Notice(LogLevel.WARN, text, about, todo))

    def _drop_next(self, why: str) -> None:
        if self._next is not None:
            worker, self._next = self._next, None
            self._accepted.set_result(why)
            self._end(worker)

    def _end(self, worker: Worker) -> None:
        task = asyncio.create_task(
            self._close(worker, self._running.pop(worker)), name="end of a registration"
        )
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    @staticmethod
    async def _close(worker: Worker, running: asyncio.Task[None]) -> None:
        await worker.close()
        running.cancel()  # it may be waiting to restart after an internal error
        await asyncio.gather(running, return_exceptions=True)


def _worker_options(options: ServerOptions) -> WorkerOptions:
    return WorkerOptions(options.load_threshold, options.max_retry)
