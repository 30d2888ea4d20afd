"""The pool: keeps the wanted number of job processes warm, and gives one to each accepted job.

One rule: idle and starting processes together should be `target` plus one for each lease without a process. A
reconcile step, run after each change, starts or ends processes until that holds.

Failed starts are retried while the generation is current, after growing pauses. If no start has succeeded for
too long, offers are refused, and accepted jobs wait for the next attempt for a limited time.
"""

import asyncio
import contextlib
import itertools
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from agent_tui.model.child import FromChild, Launch, ProcessKind
from agent_tui.model.events import ProcessState
from agent_tui.processes.process import (
    ProcessEnd,
    ProcessFailed,
    SupervisedProcess,
    Supervisor,
    has_external_cause,
)
from agent_tui.processes.timings import BackOff, StartPatience

REFILL_AFTER_S = 0.02
"""Seconds between an accepted offer and the start of a replacement for the idle process that it uses.

By then, a warm process runs the entry function.
"""

STABLE_S = 30.0
"""An idle process that lived this long, in s, resets the count of those that died idle."""

RESTARTS_WHILE_WARMING = 3
"""How many processes of the next generation may fail, not because of its code, before its load fails."""

_NOT_READY = (ProcessState.STARTING, ProcessState.IDLE)
"""States in which the pool counts a process as starting. A process becomes IDLE one step of the event loop
before `_became_ready` is called.
"""

MIN_FAILURES = 2
"""Jobs fail and offers are refused only after this many failed starts in a row."""


@dataclass(frozen=True, slots=True)
class Warmed:
    """A process is ready for a job. `is_awaited`: a job is waiting for a process."""

    process: SupervisedProcess
    is_awaited: bool


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A process sent a message that is not about its job."""

    process: SupervisedProcess
    message: FromChild


@dataclass(frozen=True, slots=True)
class ProcessReaped:
    """A process has ended and is reaped."""

    process: SupervisedProcess


@dataclass(frozen=True, slots=True)
class StartsSucceed:
    """Processes of the current generation start again, after starts had failed."""


@dataclass(frozen=True, slots=True)
class StartsFail:
    """Several process starts in a row failed."""

    generation: int
    failures: int
    error: ProcessFailed
    """Why the last start failed."""
    retry_in_s: float
    refusing: bool
    """Whether to refuse offers: no process is idle, and none has become ready for too long."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A loaded generation, and the function that starts its job processes."""

    generation: int
    launch: Launch


PoolEvent = Warmed | MessageReceived | ProcessReaped | StartsFail | StartsSucceed
"""Everything that the pool reports."""


@dataclass(slots=True)
class _Warming:
    """The next generation's idle processes, prepared while the current one serves."""

    plan: Plan
    count: int
    done: "asyncio.Future[None]"
    ready: list[SupervisedProcess] = field(default_factory=list)
    restarts: int = 0


class Lease:
    """A claim on one process, made when an offer is accepted, so that the pool can prepare it."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self.waiting: asyncio.Future[SupervisedProcess] | None = None
        self.waiting_until = math.inf
        """The monotonic time until which the job waits for a process."""
        self.failures = 0
        """Starts that have failed in a row while the job waits, including those just before."""
        self.taken = False
        self.warm = False
        """Whether a process was idle when the job asked for it."""

    async def claim(self) -> SupervisedProcess:
        """Return an idle process, or wait for one.

        Raise ProcessFailed if starts keep failing for too long, or the lease is released.
        """
        return await self._pool._claim(self)

    def release(self) -> None:
        """Cancel the claim. This is safe at any time, even after `claim` has returned."""
        self._pool._release(self)


class Pool:
    """Owns all job processes. `run()` reconciles until it is cancelled; `close()` ends the processes."""

    def __init__(
        self,
        supervisor: Supervisor,
        on_event: Callable[[PoolEvent], None],
        *,
        starting_at_once: int,
        target: int = 0,
        back_off: BackOff | None = None,
        refill_after_s: float = 0.0,
        patience: StartPatience | None = None,
    ) -> None:
        self._target = target
        self._starting_at_once = starting_at_once
        self._supervisor = supervisor
        self._clock = supervisor.clock
        self._on_event = on_event
        self._back_off = back_off or BackOff()
        self._refill_after_s = refill_after_s
        self._patience = patience or StartPatience()
        self._plan: Plan | None = None
        self._warming: _Warming | None = None
        self._numbers = itertools.count(1)
        self._processes: dict[str, SupervisedProcess] = {}
        self._expected: dict[SupervisedProcess, float] = {}
        """Processes that are starting, oldest first, with the time of their start (monotonic)."""
        self._lives: set[asyncio.Task[None]] = set()
        self._idle: deque[SupervisedProcess] = deque()
        self._leases: set[Lease] = set()
        self._waiting: deque[Lease] = deque()
        self._assigned: set[SupervisedProcess] = set()
        """Processes assigned to a waiting job whose task has not resumed yet, so `use` must not end them."""
        self._failures = 0
        """Failed attempts in a row; processes started together count as one attempt."""
        self._failing_since = self._failed_at = 0.0
        """The monotonic times at which the first failed attempt started, and the last one failed."""
        self._error = ProcessFailed("")
        """Why the last attempt failed."""
        self._refusing = False
        self._idle_deaths = 0
        """Processes in a row that died idle soon after their start; reset when a job gets an idle one."""
        self._idle_since: dict[SupervisedProcess, float] = {}
        self._not_before = 0.0
        self._refill_at = 0.0
        self._wake = asyncio.Event()
        self._closing = False

    # -- for the owners -----------------------------------------------------------------------------

    @property
    def processes(self) -> tuple[SupervisedProcess, ...]:
        """All processes that are not reaped yet."""
        return tuple(self._processes.values())

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def target(self) -> int:
        return self._target

    @property
    def jobs_wait(self) -> bool:
        """Whether jobs wait for a process."""
        return bool(self._waiting)

    @property
    def failures(self) -> int:
        """Starts that failed in a row."""
        return self._failures

    @property
    def refusing(self) -> str:
        """Why offers should be refused: processes fail to start; empty otherwise."""
        return str(self._error) if self._refusing else ""

    def set_target(self, count: int) -> None:
        """Set how many processes wait idle; applies at once."""
        self._target = count
        self._wake.set()

    async def warm(self, plan: Plan, count: int) -> None:
        """Prepare `count` idle processes of a generation while the current one serves.

        `use` puts them into service. If one fails to become ready, end all of them and raise ProcessFailed.
        End them too when cancelled.
        """
        if not count:
            return
        warming = self._warming = _Warming(plan, count, asyncio.get_running_loop().create_future())
        self._wake.set()
        try:
            await warming.done
        except BaseException:  # also a cancelled load: its processes would serve no generation
            self.abandon(plan)
            raise

    def abandon(self, plan: Plan) -> None:
        """End the processes of a generation that will not be used."""
        if self._warming is not None and self._warming.plan is plan:
            self._warming = None
        self._end_idle(lambda process: process.generation == plan.generation, "its generation was abandoned")

    def use(self, plan: Plan) -> None:
        """Start new jobs on this generation from now on. End the idle processes of other generations."""
        warming, self._warming = self._warming, None
        self._plan = plan
        # Failures and pauses were the old code's; the new code starts without them.
        self._idle_deaths, self._not_before = 0, 0.0
        self._starts_succeed()
        took_over = f"generation {plan.generation} took over"
        self._end_idle(lambda process: process.generation != plan.generation, took_over)
        for process in warming.ready if warming is not None and warming.plan is plan else ():
            self._make_available(process)
        self._wake.set()

    def _end_idle(self, which: Callable[[SupervisedProcess], bool], reason: str) -> None:
        for process in self.processes:
            if which(process) and not process.had_job and process not in self._assigned:
                self._unlist(process)
                process.shutdown(reason)

    def lease(self) -> Lease:
        """Claim a process for an accepted job."""
        lease = Lease(self)
        self._leases.add(lease)
        # The job is about to use an idle process; its replacement must not compete for the CPU yet.
        self._refill_at = self._clock.monotonic() + self._refill_after_s
        self._wake.set()
        return lease

    async def run(self) -> None:
        """Reconcile after each change, and at the end of each pause, until cancelled."""
        while True:
            self._wake.clear()
            self._reconcile()
            until = max(self._not_before, self._refill_at)
            wait = until - self._clock.monotonic() if self._missing() > 0 else None
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the wake-up.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait if wait is None or wait > 0 else None):
                    await self._wake.wait()

    async def close(self, reason: str) -> None:
        """End every process gracefully and wait until all are reaped."""
        self._closing = True
        for lease in tuple(self._leases):
            self._release(lease)
        for process in self.processes:
            process.shutdown(reason)
        await self.wait_reaped()

    def kill(self, reason: str) -> None:
        """Kill every process now; `close()` or `wait_reaped()` waits for them."""
        self._closing = True
        for process in self.processes:
            process.kill(reason)

    async def wait_reaped(self) -> None:
        """Wait until no process is left."""
        while self._lives:
            await asyncio.gather(*self._lives, return_exceptions=True)

    # -- reconciling --------------------------------------------------------------------------------

    def _starting(self, plan: Plan | None = None) -> list[SupervisedProcess]:
        plan = plan or self._plan
        return [
            process
            for process in self._expected
            if plan and process.state in _NOT_READY and process.generation == plan.generation
        ]

    def _missing(self) -> int:
        """Return how many processes are missing. If negative, that many idle ones are too many."""
        if self._plan is None or self._closing:
            return 0
        # An accepted offer may never be assigned, so leases that no job waits for start only a few processes,
        # however many offers come at once.
        claims = min(len(self._leases) - len(self._waiting), self._starting_at_once)
        short = self._target + len(self._waiting) + claims - len(self._idle) - len(self._starting())
        if self._failures and not self._idle and not self._starting():
            return max(short, 1)  # even with a target of 0: only a start can show that starts succeed again
        return short

    def _wanted(self) -> int:
        """Return how many processes to start now. If negative, end that many idle ones.

        A process that an accepted job needs starts at once. The replacement of an idle process starts a
        moment later, once the job has started, so that the two do not share the CPU.
        """
        short = self._missing()
        if short > 0 and self._clock.monotonic() < self._refill_at:
            return max(short - self._target, 0)
        return short

    def _reconcile(self) -> None:
        # The two generations share the processors; each of them may always start one process.
        warming = self._warming
        if warming is not None and (self._closing or warming.done.done()):
            warming = None
        warming_now = len(self._starting(warming.plan)) if warming is not None else 0
        wanted = self._wanted()
        if wanted < 0:
            for _ in range(min(-wanted, len(self._idle))):
                self._idle.pop().shutdown("more idle processes than numIdleProcesses")
        elif wanted > 0 and self._clock.monotonic() >= self._not_before:
            # After a failure, one process at a time: the others would fail for the same reason.
            most = 1 if self._failures else self._starting_at_once - warming_now
            for _ in range(min(wanted, max(most, 1) - len(self._starting()))):
                self._start(self._plan)
        if warming is not None:
            most = self._starting_at_once - len(self._starting())
            missing = warming.count - len(warming.ready) - warming_now
            for _ in range(min(missing, max(most, 1) - warming_now)):
                self._start(warming.plan)

    def _start(self, plan: Plan | None) -> None:
        assert plan is not None
        process = SupervisedProcess(
            self._supervisor,
            f"p{next(self._numbers)}",
            ProcessKind.JOB,
            plan.generation,
            launch=plan.launch,
            relay=lambda process, message: self._on_event(MessageReceived(process, message)),
        )
        self._processes[process.id] = process
        self._expected[process] = self._clock.monotonic()
        life = asyncio.create_task(self._live(process), name=f"process {process.id}")
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)

    async def _live(self, process: SupervisedProcess) -> None:
        process.ready.add_done_callback(lambda ready: self._became_ready(process, ready))
        try:
            await process.run()
        finally:
            # A warmed process that dies before the switch counts as one that failed to start.
            warming = self._warming
            if process.died_idle and warming is not None and process in warming.ready:
                codes_fault = not has_external_cause(process.ended.result())
                died = "it died while idle"
                self._warmed(warming, process, ProcessFailed(died, is_codes_fault=codes_fault))
            self._unlist(process)
            self._processes.pop(process.id, None)
            self._on_event(ProcessReaped(process))
            lived = self._clock.monotonic() - self._idle_since.pop(process, 0.0)
            if process.died_idle and self._plan is not None and process.generation == self._plan.generation:
                self._died_idle(process.ended.result(), lived)
            self._wake.set()

    def _died_idle(self, end: ProcessEnd, lived: float) -> None:
        if has_external_cause(end):
            # Not the code's fault, so it does not count. But its cause may kill the next process immediately.
            self._pause(MIN_FAILURES)
            return
        self._idle_deaths = 1 if lived >= STABLE_S else self._idle_deaths + 1
        self._pause(self._idle_deaths)

    def _became_ready(self, process: SupervisedProcess, ready: asyncio.Future[None]) -> None:
        started_at = self._expected.pop(process, 0.0)
        error = None if ready.cancelled() else ready.exception()
        current = self._plan is not None and process.generation == self._plan.generation
        if self._warming is not None and process.generation == self._warming.plan.generation:
            self._warmed(self._warming, process, error)
        elif error is None and current:
            self._idle_since[process] = self._clock.monotonic()
            self._on_event(Warmed(process, bool(self._waiting)))
            self._make_available(process)
            self._starts_succeed()
        elif error is None:
            process.shutdown("its generation is no longer current")
        elif current and not self._closing and isinstance(error, ProcessFailed):
            self._start_failed(started_at, error)
        self._wake.set()

    def _warmed(self, warming: _Warming, process: SupervisedProcess, error: BaseException | None) -> None:
        if error is None:
            self._on_event(Warmed(process, is_awaited=False))
            warming.ready.append(process)
            if len(warming.ready) >= warming.count and not warming.done.done():
                warming.done.set_result(None)
        elif _can_be_retried(error) and warming.restarts < RESTARTS_WHILE_WARMING:
            warming.restarts += 1
            if process in warming.ready:
                warming.ready.remove(process)
        elif not warming.done.done():
            warming.done.set_exception(error)

    def _make_available(self, process: SupervisedProcess) -> None:
        """Give a ready process to the job that has waited longest, else keep it idle."""
        if self._waiting:
            self._assign(self._waiting.popleft(), process)
        else:
            self._idle.append(process)

    def _pause(self, failures: int) -> None:
        pause = self._back_off.after(failures)
        self._not_before = max(self._not_before, self._clock.monotonic() + pause)

    def _start_failed(self, started_at: float, error: ProcessFailed) -> None:
        """Schedule the next attempt; fail the jobs for which it comes too late."""
        now = self._clock.monotonic()
        if self._failures and started_at < self._failed_at:
            return  # started together with one that has failed: the same attempt
        self._failures += 1
        self._failing_since = started_at if self._failures == 1 else self._failing_since
        self._failed_at, self._error = now, error
        self._pause(self._failures)
        too_long = now - self._failing_since >= self._patience.refuse_after_s
        self._refusing = self._failures >= MIN_FAILURES and too_long and not self._idle
        for lease in tuple(self._waiting):
            lease.failures += 1
            if self._comes_too_late(lease):
                self._fail(lease, error)
        assert self._plan is not None
        self._on_event(
            StartsFail(
                self._plan.generation, self._failures, error, max(self._not_before - now, 0.0), self._refusing
            )
        )

    def _starts_succeed(self) -> None:
        if self._failures:
            self._failures, self._refusing = 0, False
            self._on_event(StartsSucceed())

    def _comes_too_late(self, lease: Lease) -> bool:
        """Return whether the next attempt comes too late for a waiting job."""
        return lease.failures >= MIN_FAILURES and self._not_before > lease.waiting_until

    def _fail(self, lease: Lease, error: ProcessFailed) -> None:
        self._waiting.remove(lease)
        self._leases.discard(lease)
        if lease.waiting is not None and not lease.waiting.done():
            lease.waiting.set_exception(error)

    # -- leases ---------------------------------------------------------------------------------------

    async def _claim(self, lease: Lease) -> SupervisedProcess:
        while self._idle:
            process = self._idle.popleft()
            # A process may have ended before `_live` has resumed to remove it from the queue.
            if process.state is ProcessState.IDLE:
                lease.warm = lease.taken = True
                self._idle_deaths = 0
                self._leases.discard(lease)
                self._wake.set()
                return process
        lease.waiting_until = self._clock.monotonic() + self._patience.job_s
        # Earlier failures count too, so that a job that comes late does not wait for two more.
        lease.failures = self._failures
        if self._failures and self._comes_too_late(lease):
            self._leases.discard(lease)
            raise ProcessFailed(str(self._error), self._error.failure, by=self._error.by)
        lease.waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(lease)
        self._wake.set()
        process = await lease.waiting
        lease.taken = True
        self._assigned.discard(process)
        return process

    def _assign(self, lease: Lease, process: SupervisedProcess) -> None:
        self._leases.discard(lease)
        if lease.waiting is not None and not lease.waiting.done():
            # The job's task resumes later; until then the process is neither idle nor in use.
            self._assigned.add(process)
            lease.waiting.set_result(process)
        else:
            self._idle.append(process)

    def _release(self, lease: Lease) -> None:
        self._leases.discard(lease)
        if lease in self._waiting:
            self._waiting.remove(lease)
        waiting = lease.waiting
        if waiting is not None and not waiting.done():
            waiting.set_exception(ProcessFailed("the claim was cancelled"))
            waiting.exception()  # marks it as retrieved, so that asyncio does not log it
        elif waiting is not None and not lease.taken and not (waiting.cancelled() or waiting.exception()):
            # A process was assigned, but the job was cancelled before its task resumed.
            lease.taken = True
            self._return_to_idle(waiting.result())
        self._wake.set()

    def _return_to_idle(self, process: SupervisedProcess) -> None:
        self._assigned.discard(process)
        if self._plan is not None and process.generation == self._plan.generation:
            self._idle.append(process)
        else:
            process.shutdown("its generation is no longer current")

    def _unlist(self, process: SupervisedProcess) -> None:
        if self._warming is not None and process in self._warming.ready:
            self._warming.ready.remove(process)
        if process in self._idle:
            self._idle.remove(process)


def _can_be_retried(error: BaseException) -> bool:
    """Return whether the process failed for a reason other than its code."""
    return isinstance(error, ProcessFailed) and not error.is_codes_fault
