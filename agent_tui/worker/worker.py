"""The worker: stays registered with a server, and reconnects when the connection is lost.

It knows only the ids of its jobs that have not ended, because a retiring worker lives until they have.
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from agent_tui.model.child import AcceptArguments
from agent_tui.model.clock import Clock, SystemClock
from agent_tui.model.errors import ServerError
from agent_tui.worker import load
from agent_tui.worker.connection import (
    Connect,
    ConnectFailedError,
    Session,
    Transport,
    UpgradeRefusedError,
    websocket_connect,
)
from agent_tui.worker.messages import (
    Disconnected,
    JobProgress,
    LoadReported,
    Offer,
    Recovered,
    Refused,
    Registered,
    Registration,
    Reject,
    SimulatedParticipant,
    Suspect,
    WorkerEvent,
)
from agent_tui.worker.protocol import Timings, WorkerProtocol
from agent_tui.worker.refusals import (
    CREDENTIALS_REFUSED,
    Explanation,
    explain_refusal,
    explain_unreachable,
    lacks_descriptors,
    skew_s,
)
from agent_tui.worker.urls import ServerAddress, worker_token, worker_url


class WorkerState(StrEnum):
    """The state of the worker's connection and registration."""

    CONNECTING = "connecting"
    REGISTERED = "registered"
    SUSPECT = "suspect"
    BACKING_OFF = "backing off"
    REFUSED = "refused"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class _Ended:
    """How one attempt to register ended. If it succeeded, `lasted_s` is how long the registration lasted."""

    why: Explanation
    lasted_s: float | None = None
    refused: bool = False
    is_local: bool = False
    """Whether the cause is on this machine, so that it does not count as a failed attempt."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Options that can change without a new registration.

    The load threshold may be infinite; `max_retry` counts the attempts after the first, as in the SDKs
    (agents-js.md §3.5).
    """

    load_threshold: float
    max_retry: int

    def __post_init__(self) -> None:
        if math.isnan(self.load_threshold):
            raise ValueError("a load threshold cannot be NaN")


class Worker:
    """One registration, kept up until `close()`, or, once it retires, until its last job has ended.

    `on_event` gets every event, in order, on the event loop. `run` raises any error of `on_event`.

    The constructor raises `UserError` for an unusable URL or credentials.
    """

    def __init__(
        self,
        *,
        registration: Registration,
        server: ServerAddress,
        on_event: "Callable[[Worker, WorkerEvent], None]",
        measure_load: Callable[[], Awaitable[float]],
        production: bool,
        options: WorkerOptions,
        clock: Clock | None = None,
        timings: Timings | None = None,
        rng: random.Random | None = None,
        connect: Connect = websocket_connect,
    ) -> None:
        self.registration = registration
        self._on_event = on_event
        self._production = production
        self._options = options
        self._clock: Clock = clock or SystemClock()
        self._timings = timings or Timings()
        self._rng = rng or random.Random()
        self._connect = connect
        self._gauge = load.LoadGauge(measure_load, self._timings.measure_timeout_s)
        self._set_server(server)

        self._state = WorkerState.CONNECTING
        self._worker_id: str | None = None
        self._draining = False
        self._retiring = False
        self._closing = False
        self._ever_registered = False
        self._registered_at: float | None = None
        self._session: Session | None = None
        self._lost_offers: set[str] = set()
        self._jobs: set[str] = set()
        """Accepted jobs that have not ended, including those of earlier connections."""
        self._runner: asyncio.Task[NoReturn] | None = None
        self._retry_now = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def state(self) -> WorkerState:
        return self._state

    @property
    def server(self) -> ServerAddress:
        return self._server

    @property
    def worker_id(self) -> str | None:
        """The id of the current registration, or None; it changes with every connection."""
        return self._worker_id

    @property
    def problem(self) -> str | None:
        """Why this worker gets no jobs, for the health check; None while it is registered."""
        if self._state in (WorkerState.REGISTERED, WorkerState.SUSPECT):
            return None
        return f"not connected to LiveKit: {self._state}"

    async def run(self) -> None:
        """Connect, and reconnect, until closed. After an internal error it can be run again.

        Raise `ServerError` if the first attempt and `max_retry` more failed in a row, or if the server
        refuses the credentials of a worker that was never registered; the last event gives the reason too.
        """
        if self._runner is not None:
            raise RuntimeError("a worker runs once at a time")
        if self._closing:
            return
        self._ended.clear()
        self._runner = asyncio.create_task(self._stay_connected(), name="worker connection")
        reporter = asyncio.create_task(self._report_forever(), name="worker load")
        try:
            await asyncio.wait({self._runner, reporter}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            results = await _cancel_all(self._runner, reporter)
            await self._gauge.close()
            self._state = WorkerState.CLOSED
            self._runner = None
            self._ended.set()
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result

    async def close(self) -> None:
        """Close the connection now (code 1000, after pending messages) and wait for `run`."""
        self._closing = True
        if self._runner is None:
            self._state = WorkerState.CLOSED
            return
        self._runner.cancel()
        await self._ended.wait()

    def retire(self) -> None:
        """Take no more offers, and close once the last job has ended."""
        self._retiring = True
        self._report()
        self._close_if_done()

    def retry(self, server: ServerAddress | None = None) -> None:
        """Connect now instead of after the pause, unless registered.

        `server` applies from the next attempt on. If it is unusable, raise `UserError` and change nothing.
        """
        if server is not None:
            self._set_server(server)
        if self.problem is not None:
            self._retry_now.set()

    def answer(self, job_id: str, answer: AcceptArguments | Reject) -> bool:
        """Answer an offer. Return False if its connection is gone: the job is then lost.

        Raise `ValueError` for a second answer, an empty identity, or an answer that is too long to send.
        """
        session = self._session
        if session is None or job_id in self._lost_offers or not session.machine.registered:
            self._lost_offers.discard(job_id)
            return False
        session.machine.answer(job_id, answer)
        if isinstance(answer, AcceptArguments):
            self._jobs.add(job_id)
            self._send_status()  # the server does not count the new job itself (worker-protocol §14, 8)
        session.touch()
        self._close_if_done()
        return True

    def ignore(self, job_id: str) -> None:
        """Drop an offer without answering it."""
        self._lost_offers.discard(job_id)
        if self._session is not None:
            self._session.machine.ignore(job_id)
        self._close_if_done()

    def update_job(self, job_id: str, progress: JobProgress, error: str = "") -> bool:
        """Report a job's status; return False without a registration."""
        session = self._session
        if session is None or not session.machine.registered:
            return False
        session.machine.update_job(job_id, progress, error)
        session.touch()
        return True

    def job_ended(self, job_id: str) -> None:
        """Forget a job that has ended."""
        self._jobs.discard(job_id)
        self._close_if_done()

    def simulate_job(self, room: str, participant: SimulatedParticipant | None = None) -> bool:
        """Ask the server to offer this worker a job for a room; return False if it is not registered.

        Raise `ValueError` without a room's name.
        """
        session = self._session
        if session is None or not session.machine.registered:
            return False
        session.machine.simulate_job(room, participant)
        session.touch()
        return True

    def set_draining(self, draining: bool) -> None:
        """Report the worker as full while draining; the connection stays up for its jobs."""
        self._draining = draining
        self._report()

    def reconfigure(self, options: WorkerOptions) -> None:
        """Apply options that need no new registration, and report the status."""
        self._options = options
        self._report()

    def _close_if_done(self) -> None:
        open_offers = self._session.machine.open_offers if self._session is not None else ()
        if self._retiring and not self._jobs and not open_offers:
            self._closing = True
            if self._runner is not None:
                self._runner.cancel()

    # -- connecting ---------------------------------------------------------------------------------

    def _set_server(self, server: ServerAddress) -> None:
        url = worker_url(server.url, server.worker_token)
        worker_token(server, self._clock.time())
        self._server, self._url = server, url

    async def _stay_connected(self) -> NoReturn:
        failures = 0
        while True:
            self._state = WorkerState.CONNECTING
            self._retry_now.clear()
            ended = await self._attempt()
            if ended.refused:
                await self._wait_for_credentials(ended.why)
                failures = 0
                continue
            stable = ended.lasted_s is not None and ended.lasted_s >= self._timings.stable_after_s
            if not ended.is_local:
                failures = 1 if stable else failures + 1
            await self._back_off(ended.why, failures, counted=not ended.is_local)

    async def _attempt(self) -> _Ended:
        headers = {"Authorization": f"Bearer {worker_token(self._server, self._clock.time())}"}
        limit = asyncio.timeout(self._timings.open_timeout_s)
        try:
            async with limit:
                transport = await self._connect(self._url, headers)
        except UpgradeRefusedError as refused:
            skew = skew_s(refused.date, self._clock.time())
            why = explain_refusal(refused.status, refused.body, self._url, self._server, skew)
            return _Ended(why, refused=refused.status in CREDENTIALS_REFUSED)
        except ConnectFailedError as failed:
            why = explain_unreachable(failed.error, self._server, self._url)
            return _Ended(why, is_local=lacks_descriptors(failed.error))
        except TimeoutError as error:
            if not limit.expired():
                raise
            return _Ended(explain_unreachable(error, self._server, self._url))
        return await self._serve(transport)

    async def _serve(self, transport: Transport) -> _Ended:
        machine = WorkerProtocol(self.registration, self._timings)
        session = self._session = Session(transport, machine, self._handle, self._clock, self._timings)
        self._registered_at = None
        try:
            reason = await session.run()
        finally:
            self._session = None
            self._worker_id = None
            self._lost_offers |= machine.open_offers
            self._close_if_done()
        reason = f"{reason}, last sent: {machine.last_sent}"
        if self._registered_at is None:
            return _Ended(Explanation(f"not registered: {reason}"))
        return _Ended(Explanation(reason), lasted_s=self._clock.monotonic() - self._registered_at)

    async def _wait_for_credentials(self, why: Explanation) -> None:
        self._state = WorkerState.REFUSED
        self._on_event(self, Refused(why.cause, why.todo))
        if not self._ever_registered:
            raise ServerError(why.cause, why.todo)
        await self._retry_now.wait()

    async def _back_off(self, why: Explanation, failures: int, *, counted: bool) -> None:
        if counted and failures > self._options.max_retry:
            self._on_event(self, Disconnected(why.cause, None, failures, why.todo))
            attempts = "1 attempt" if failures == 1 else f"{failures} attempts"
            raise ServerError(f"no connection after {attempts}: {why.cause}", why.todo)
        pause = pause_s(max(failures, 1), self._timings, self._rng)
        self._state = WorkerState.BACKING_OFF
        self._on_event(self, Disconnected(why.cause, pause, failures, why.todo))
        try:
            async with asyncio.timeout(pause):
                await self._retry_now.wait()
        except TimeoutError:
            pass

    # -- what happens on a connection -----------------------------------------------------------------

    def _handle(self, event: WorkerEvent) -> None:
        """Update the worker's own state for an event, then pass it on."""
        match event:
            case Registered():
                self._state = WorkerState.REGISTERED
                self._worker_id = event.worker_id
                self._registered_at = self._clock.monotonic()
                self._ever_registered = True
                self._send_status()
            case Offer() if self._retiring:
                self.answer(event.job_id, Reject())  # the server then offers it to the new registration
                return
            case Offer():
                self._lost_offers.discard(event.job_id)
            case Suspect():
                self._state = WorkerState.SUSPECT
            case Recovered():
                self._state = WorkerState.REGISTERED
            case _:
                pass
        self._on_event(self, event)

    # -- load -----------------------------------------------------------------------------------------

    async def _report_forever(self) -> NoReturn:
        while True:
            await self._gauge.sample()
            self._report()
            await asyncio.sleep(self._timings.load_interval_s)

    def _report(self) -> None:
        report = self._send_status()
        last = self._gauge.last
        self._on_event(self, LoadReported(last.load, report.load, last.problem or ""))

    def _send_status(self) -> load.Report:
        report = load.report(
            self._gauge.last.load,
            threshold=self._options.load_threshold,
            draining=self._draining or self._retiring,
            production=self._production,
        )
        session = self._session
        if session is not None and session.machine.registered:
            session.machine.update_status(report.status, report.load, len(self._jobs))
            session.touch()
        return report


def pause_s(attempt: int, timings: Timings, rng: random.Random) -> float:
    """Return the pause after the `attempt`-th failure in a row (from 1), in s: `min(2·n, 10)`, with jitter.

    The schedule is the SDKs' (agents-js.md §3.5); the jitter keeps a fleet from reconnecting all at once.
    """
    base = min(timings.backoff_step_s * attempt, timings.backoff_limit_s)
    return base * (1 + rng.uniform(-timings.backoff_jitter, timings.backoff_jitter))


async def _cancel_all(*tasks: asyncio.Task[NoReturn]) -> list[BaseException]:
    for task in tasks:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)
