"""The worker: stays registered with a server, whatever happens to the connection. Owns nothing about jobs."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NoReturn

from agent_tui.model.child import AcceptArguments
from agent_tui.model.clock import Clock, SystemClock
from agent_tui.model.errors import ServerError
from agent_tui.worker import backoff, status
from agent_tui.worker.connection import Connect, Link, LinkFailedError, LinkRefusedError, websocket_connect
from agent_tui.worker.gauge import LoadGauge
from agent_tui.worker.listener import WorkerListener, WorkerState
from agent_tui.worker.messages import (
    Assigned,
    Dead,
    Event,
    JobProgress,
    Offer,
    PretendedParticipant,
    Recovered,
    Registered,
    Registration,
    Reject,
    Suspect,
    Terminated,
    Undecodable,
)
from agent_tui.worker.protocol import WorkerProtocol
from agent_tui.worker.refusals import CREDENTIALS_REFUSED, explain_refusal, explain_unreachable
from agent_tui.worker.session import Session
from agent_tui.worker.skew import skew_s
from agent_tui.worker.timings import Timings
from agent_tui.worker.tokens import worker_token
from agent_tui.worker.urls import ServerAddress, worker_url


@dataclass(frozen=True, slots=True)
class _Ended:
    """How one attempt ended. `lasted_s` is how long it was registered, if it was."""

    reason: str
    lasted_s: float | None = None
    refused: bool = False
    is_local: bool = False
    """It says nothing about the server, and does not count as an attempt."""


class Worker:
    """One registration, kept up until `close()`.

    The constructor raises `UserError` for a URL or credentials that cannot work. The load threshold may be
    infinite; `max_retry` counts the attempts after the first, as in the SDKs (agents-js.md §3.5).
    """

    def __init__(
        self,
        *,
        registration: Registration,
        server: ServerAddress,
        listener: WorkerListener,
        measure_load: Callable[[], Awaitable[float]],
        job_count: Callable[[], int],
        production: bool,
        load_threshold: float,
        max_retry: int,
        clock: Clock | None = None,
        timings: Timings | None = None,
        rng: random.Random | None = None,
        connect: Connect = websocket_connect,
    ) -> None:
        self._registration = registration
        self._listener = listener
        self._job_count = job_count
        self._production = production
        self._load_threshold = load_threshold
        self._max_retry = max_retry
        self._clock: Clock = clock or SystemClock()
        self._timings = timings or Timings()
        self._rng = rng or random.Random()
        self._connect = connect
        self._gauge = LoadGauge(measure_load, self._timings.measure_timeout_s)
        self._set_server(server)

        self._state = WorkerState.CONNECTING
        self._worker_id: str | None = None
        self._draining = False
        self._closing = False
        self._ever_registered = False
        self._registered_at: float | None = None
        self._session: Session | None = None
        self._lost_offers: set[str] = set()
        self._runner: asyncio.Task[NoReturn] | None = None
        self._retry_now = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def state(self) -> WorkerState:
        return self._state

    @property
    def worker_id(self) -> str | None:
        """The id of the current registration, None without one; it changes with every connection."""
        return self._worker_id

    @property
    def trouble(self) -> str | None:
        """Why this worker gets no jobs, for a health check; None while it is registered."""
        if self._state in (WorkerState.REGISTERED, WorkerState.SUSPECT):
            return None
        return f"not connected to livekit: {self._state}"

    async def run(self) -> None:
        """Connects, and again, until `close()`.

        Raises `ServerError` when the first attempt and `max_retry` more failed in a row, or when the server
        refuses the credentials of a worker that was never registered.
        """
        if self._runner is not None:
            raise RuntimeError("a worker runs once; make a new one")
        if self._closing:
            return
        self._runner = asyncio.create_task(self._stay_connected(), name="worker connection")
        reporter = asyncio.create_task(self._report_for_ever(), name="worker load")
        try:
            await asyncio.wait({self._runner, reporter}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            results = await _cancel_all(self._runner, reporter)
            await self._gauge.close()
            self._state = WorkerState.CLOSED
            self._ended.set()
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result

    async def close(self) -> None:
        """Ends the connection at once (code 1000, after what was still to be sent) and waits for `run`."""
        self._closing = True
        if self._runner is None:
            self._state = WorkerState.CLOSED
            return
        self._runner.cancel()
        await self._ended.wait()

    def retry(self, server: ServerAddress | None = None) -> None:
        """Tries again now unless it is registered; `server` takes effect with the next attempt.

        Raises `UserError` for a server that cannot work, and then changes nothing.
        """
        if server is not None:
            self._set_server(server)
        if self.trouble is not None:
            self._retry_now.set()

    def answer(self, job_id: str, answer: AcceptArguments | Reject) -> bool:
        """Answers an offer. False: its connection is gone, and the job with it.

        Raises `ValueError` for a second answer, an empty identity or an answer that is too long to send.
        """
        session = self._session
        if session is None or job_id in self._lost_offers or not session.machine.registered:
            self._lost_offers.discard(job_id)
            return False
        session.machine.answer(job_id, answer)
        if isinstance(answer, AcceptArguments):
            self._send_status()  # the server does not count the new job by itself (worker-protocol §14, 8)
        session.touch()
        return True

    def ignore(self, job_id: str) -> None:
        """Leaves an offer without an answer."""
        self._lost_offers.discard(job_id)
        if self._session is not None:
            self._session.machine.ignore(job_id)

    def update_job(self, job_id: str, progress: JobProgress, error: str = "") -> bool:
        """Reports how a job stands. False: there is no registration that knows of it."""
        session = self._session
        if session is None or not session.machine.registered:
            return False
        session.machine.update_job(job_id, progress, error)
        session.touch()
        return True

    def simulate_job(self, room: str, participant: PretendedParticipant | None = None) -> bool:
        """Asks the server to offer a job for a room to this very worker. False: not registered.

        Raises `ValueError` without a room's name.
        """
        session = self._session
        if session is None or not session.machine.registered:
            return False
        session.machine.simulate_job(room, participant)
        session.touch()
        return True

    def set_draining(self, draining: bool) -> None:
        """While draining the worker reports itself full; the connection stays for its jobs' sake."""
        self._draining = draining
        self._report()

    def reconfigure(self, *, load_threshold: float | None = None, max_retry: int | None = None) -> None:
        """Changes what can be changed without a new registration; the status follows at once."""
        if load_threshold is not None:
            if math.isnan(load_threshold):
                raise ValueError("a load threshold cannot be NaN")
            self._load_threshold = load_threshold
        if max_retry is not None:
            self._max_retry = max_retry
        self._report()

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
                await self._wait_for_credentials(ended.reason)
                failures = 0
                continue
            stable = ended.lasted_s is not None and ended.lasted_s >= self._timings.stable_after_s
            if not ended.is_local:
                failures = 1 if stable else failures + 1
            await self._back_off(ended.reason, failures, counted=not ended.is_local)

    async def _attempt(self) -> _Ended:
        headers = {"Authorization": f"Bearer {worker_token(self._server, self._clock.time())}"}
        limit = asyncio.timeout(self._timings.open_timeout_s)
        try:
            async with limit:
                link = await self._connect(self._url, headers)
        except LinkRefusedError as refused:
            skew = skew_s(refused.date, self._clock.time())
            line = explain_refusal(refused.status, refused.body, self._url, self._server.api_key, skew)
            return _Ended(line, refused=refused.status in CREDENTIALS_REFUSED)
        except LinkFailedError as failed:
            return _Ended(str(failed), is_local=failed.is_local)
        except TimeoutError as error:
            if not limit.expired():
                raise
            return _Ended(explain_unreachable(error, self._url))
        return await self._serve(link)

    async def _serve(self, link: Link) -> _Ended:
        machine = WorkerProtocol(self._registration, self._timings)
        session = self._session = Session(link, machine, self._deliver, self._clock, self._timings)
        self._registered_at = None
        try:
            reason = await session.run()
        finally:
            self._session = None
            self._worker_id = None
            self._lost_offers |= machine.open_offers
        reason = f"{reason}, last sent: {machine.last_sent}"
        if self._registered_at is None:
            return _Ended(f"not registered: {reason}")
        return _Ended(reason, lasted_s=self._clock.monotonic() - self._registered_at)

    async def _wait_for_credentials(self, line: str) -> None:
        if not self._ever_registered:
            raise ServerError(line)
        self._state = WorkerState.REFUSED
        self._listener.refused(line)
        await self._retry_now.wait()

    async def _back_off(self, reason: str, failures: int, *, counted: bool) -> None:
        if counted and failures > self._max_retry:
            self._listener.disconnected(reason, None, failures)
            attempts = "1 attempt" if failures == 1 else f"{failures} attempts"
            raise ServerError(f"gave up after {attempts}: {reason}")
        pause = backoff.pause_s(max(failures, 1), self._timings, self._rng)
        self._state = WorkerState.BACKING_OFF
        self._listener.disconnected(reason, pause, failures)
        try:
            async with asyncio.timeout(pause):
                await self._retry_now.wait()
        except TimeoutError:
            pass

    # -- what happens on a connection -----------------------------------------------------------------

    def _deliver(self, event: Event) -> None:
        match event:
            case Registered():
                self._state = WorkerState.REGISTERED
                self._worker_id = event.worker_id
                self._registered_at = self._clock.monotonic()
                self._ever_registered = True
                self._send_status()
                self._listener.registered(event)
            case Offer():
                self._lost_offers.discard(event.job_id)
                self._listener.offer(event)
            case Assigned():
                self._listener.assigned(event)
            case Terminated():
                self._listener.terminated(event.job_id)
            case Undecodable():
                self._listener.undecodable(event.reason)
            case Suspect():
                self._state = WorkerState.SUSPECT
                self._listener.suspect(event)
            case Recovered():
                self._state = WorkerState.REGISTERED
                self._listener.recovered()
            case Dead():
                pass  # the session ends with it

    # -- load -----------------------------------------------------------------------------------------

    async def _report_for_ever(self) -> NoReturn:
        failing = False
        while True:
            problem = (await self._gauge.sample()).problem
            if problem is not None and not failing:
                self._listener.load_failed(problem)
            failing = problem is not None
            self._report()
            await asyncio.sleep(self._timings.load_interval_s)

    def _report(self) -> None:
        report = self._send_status()
        self._listener.load(self._gauge.last.load, report.load)

    def _send_status(self) -> status.Report:
        report = status.report(
            self._gauge.last.load,
            threshold=self._load_threshold,
            draining=self._draining,
            production=self._production,
        )
        session = self._session
        if session is not None and session.machine.registered:
            session.machine.update_status(report.status, report.load, self._job_count())
            session.touch()
        return report


async def _cancel_all(*tasks: asyncio.Task[NoReturn]) -> list[BaseException]:
    for task in tasks:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)
