"""Supervises one child process from its start until it is reaped: stages, pings, how to end it, how it ended.

`RespawningProcess` keeps a process alive by starting another one when it ends.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass

from agent_tui.model import child as ch
from agent_tui.model.clock import Clock
from agent_tui.model.events import (
    EndedBy,
    Event,
    Notice,
    ProcessBlocked,
    ProcessChanged,
    ProcessPinged,
    ProcessState,
)
from agent_tui.model.logs import LogLevel
from agent_tui.model.wording import duration_text
from agent_tui.processes.kernel import OomWatch, is_paused
from agent_tui.processes.stacks import innermost, place, slow_start
from agent_tui.processes.timings import BackOff, ProcessTimings

_OOM = OomWatch()

Emit = Callable[[Event], None]

SEEN_PING_MS = 2.0
FAULT_SIGNALS = frozenset(
    {
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGSEGV,
        signal.SIGSYS,
        signal.SIGTRAP,
        signal.SIGXCPU,
        signal.SIGXFSZ,
    }
)
"""Signals that a process causes itself. Any other signal that agent-tui did not send comes from outside."""

STALL_S = 1.0
"""A timer later than this, in s, means that the host stalled: suspended, stopped, or short of CPU."""

EXIT_S = 0.5
"""Seconds that a child may take to exit by itself after it has reported a failure or closed its channel."""


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """How a process ended. `reason` is text for users; `killed` is True if the host killed the process."""

    reason: str
    exit_code: int | None
    signal: int | None
    killed: bool
    by: EndedBy = EndedBy.ORDER
    unasked: bool = False
    """Whether the process died by itself: the host did not kill it, and it acknowledged no request to end."""


class ProcessFailed(Exception):
    """A process did not become ready. `failure` is what the child reported, if anything.

    `by` is what ended it. `is_codes_fault` is True if its code failed, so that another start will probably
    fail too, and False if it could not start or was ended from outside.
    """

    def __init__(
        self,
        error: str,
        failure: ch.Failed | None = None,
        *,
        is_codes_fault: bool = False,
        by: EndedBy = EndedBy.NO_PROCESS,
    ) -> None:
        super().__init__(error)
        self.failure = failure
        self.by = by
        self.is_codes_fault = is_codes_fault


@dataclass(frozen=True, slots=True)
class JobExiting:
    """The job is ending. `asked`: because its process was asked to end."""

    reason: str
    asked: bool


JobMessage = ch.EntryStarted | ch.JobConnected | ch.JobCrashed | ch.SessionMessage | JobExiting | ProcessEnd
"""What a process reports about its job, in order; `ProcessEnd` is the last one."""


Relay = Callable[["SupervisedProcess", ch.FromChild], None]
"""Handles messages that are neither about the job nor part of the supervision."""


@dataclass(frozen=True, slots=True)
class Supervisor:
    """What all supervised processes of a run share: timeouts, clock, and where events go."""

    timings: Callable[[], ProcessTimings]
    clock: Clock
    emit: Emit


class SupervisedProcess:
    """Runs one child process. `run()` starts the process, and returns once it and its group have ended."""

    def __init__(
        self,
        supervisor: Supervisor,
        process_id: str,
        kind: ch.ProcessKind,
        generation: int,
        *,
        launch: ch.Launch,
        relay: Relay,
        paused: Callable[[int], bool] = is_paused,
        out_of_memory: Callable[[], bool] = _OOM.happened,
    ) -> None:
        self.id = process_id
        self.kind = kind
        self.generation = generation
        self.state = ProcessState.STARTING
        self.job_id: str | None = None
        self.had_job = False
        self.child: ch.Child | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.loading_at: float | None = None
        """The monotonic time at which it started to load the agent's file."""
        self.ended: asyncio.Future[ProcessEnd] = asyncio.get_running_loop().create_future()
        self._launch = launch
        self._timings, self._clock, self._emit = supervisor.timings, supervisor.clock, supervisor.emit
        self._relay = relay
        self._paused = paused
        self._out_of_memory = out_of_memory
        self._on_job_message: Callable[[JobMessage], None] | None = None
        self._debugging = self._told_held = False
        self._failure: ch.Failed | None = None
        self._exiting: str | None = None
        self._end_reason: str | None = None
        self._killed_for: str | None = None
        self._killed_by = EndedBy.KILLED
        self._change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loading = False
        self._is_ready = False
        self._acked = False
        self._session_closed = False
        self._channel_closed = False
        self._last_pong = 0.0
        self._reported_ping_ms: float | None = None
        self._stacks: asyncio.Future[str] | None = None

    @property
    def pid(self) -> int | None:
        return self.child.pid if self.child else None

    @property
    def memory_measure(self) -> ch.MemoryMeasure:
        """The memory measure that the limits apply to, unless the user chooses another one."""
        return self.child.traits.memory if self.child else ch.MemoryMeasure.RSS

    @property
    def can_swap(self) -> bool:
        """Whether it can give new code to the sessions of its job."""
        return self.child is not None and self.child.traits.swaps

    @property
    def died_idle(self) -> bool:
        """Whether the process was ready, had no job, and ended without being asked to."""
        return self._is_ready and not self.had_job and self._end_reason is None

    def start_job(
        self, start: ch.StartJob, job_id: str, on_job_message: Callable[[JobMessage], None]
    ) -> None:
        """Run a job in this idle process; `on_job_message` gets what the process reports about it."""
        if self.state is not ProcessState.IDLE or self.child is None:
            raise RuntimeError(f"process {self.id} is {self.state} and cannot run a job")
        self._on_job_message = on_job_message
        self.job_id = job_id
        self.had_job = True
        self._enter(ProcessState.JOB)
        self.child.send(start)
        if not self.child.traits.reports_entry:
            on_job_message(ch.EntryStarted(self._clock.time()))

    def send(self, message: ch.ToChild) -> None:
        """Send a message to the child, if it has started."""
        if self.child is not None:
            self.child.send(message)

    def shutdown(self, reason: str) -> None:
        """Ask the process to end gracefully. Later calls change nothing.

        A process that is not ready is killed before this returns. For a Node child that has no file yet, this
        means that it is a blank again and back in the stock.
        """
        if self._end_reason is not None:
            return
        self._end_reason = reason
        if self.child is not None and not self._is_ready and self._failure is None:
            self._enter(ProcessState.ENDING)
            self.kill(reason)
        self._note_change()

    def kill(self, reason: str, by: EndedBy = EndedBy.KILLED) -> None:
        """Kill the process group now. Of several calls, the reason of the first one is reported."""
        if self._killed_for is None:
            self._killed_for, self._killed_by = reason, by
        if self._end_reason is None:
            self._end_reason = reason
        if self.child is not None:
            self.child.kill()
        self._note_change()

    @property
    def held(self) -> bool:
        """Whether a debugger or a stop signal holds the process, so that no timeout counts."""
        return self._debugging or (self.pid is not None and self._paused(self.pid))

    async def answers_ping(self, limit_s: float) -> bool:
        """Return whether the child's event loop answers a ping within the limit."""
        if self.child is None:
            return False
        asked = self._clock.monotonic()
        self.child.send(ch.Ping(round(asked * 1000)))
        deadline = asked + limit_s
        while self._last_pong < asked and not self._channel_closed:
            if (remaining := deadline - self._clock.monotonic()) <= 0:
                break
            await self._changed(remaining)
        return self._last_pong >= asked

    async def stacks(self) -> str:
        """Return the stacks of its threads and tasks, even with a blocked loop; empty if it reports none."""
        if self.child is None or self._channel_closed or not self.child.traits.stacks:
            return ""
        if self._stacks is None or self._stacks.done():
            self._stacks = asyncio.get_running_loop().create_future()
            self.child.send(ch.DumpStacks())
        done, _ = await asyncio.wait({self._stacks}, timeout=self._timings().stacks_s)
        return done.pop().result() if done else ""

    async def run(self) -> None:
        """Launch the child, and return once it is reaped. Nothing that the child does makes this raise."""
        try:
            self.child = await self._launch(self.kind, self.id)
        except Exception as error:
            # Whatever the error, `ready` and `ended` must be resolved: callers wait for them without a limit.
            what = f"{error}" if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            reason = f"failed to start: {what}"
            self._finish(ProcessEnd(reason, None, None, killed=False, by=EndedBy.NO_PROCESS))
            return
        self._enter(ProcessState.STARTING)
        # From the start: what the child has started may hold its channel open, so only its exit is sure to
        # close the channel on this side.
        exiting = asyncio.ensure_future(self.child.wait())
        helpers = [asyncio.create_task(self._read()), asyncio.create_task(self._ping())]
        try:
            await self._live()
        finally:
            exit = await self._exit(self.child, exiting)
            # Not earlier: until the child is reaped, `_read` may still deliver its last messages.
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            self._finish(self._describe(exit))

    # -- stages -----------------------------------------------------------------------------------

    async def _live(self) -> None:
        if await self._become_ready():
            if self.kind is ch.ProcessKind.JOB:
                self._enter(ProcessState.IDLE)
            self.ready.set_result(None)
            await self._until(lambda: self._end_reason is not None or self._exiting is not None)
        await self._wind_down()

    async def _become_ready(self) -> bool:
        assert self.child is not None
        if self._killed_for is not None:
            return False
        if self.child.traits.reports_loading:
            limit = self._timings().import_s
            if not await self._until(lambda: self._loading or self._started_or_over(), limit):
                self.kill(f"importing the SDK took longer than {duration_text(limit)}", EndedBy.INIT_TIMEOUT)
        limit = self._timings().initialize_s
        if not await self._until(self._started_or_over, limit):
            await self._kill_slow_load(limit)
        return self._is_ready and self._end_reason is None

    async def _kill_slow_load(self, limit: float) -> None:
        """Kill a child that loads for too long. Report the line at which it hangs."""
        stacks = await self.stacks()
        if self._started_or_over():
            return  # it became ready, or failed, while it printed its stacks
        why = slow_start(stacks, limit, is_job=self.kind is ch.ProcessKind.JOB)
        if (found := innermost(stacks)) is not None:
            file, line, _ = found
            self._failure = ch.Failed(why, stacks, file, line)
        self.kill(why, EndedBy.INIT_TIMEOUT)

    def _started_or_over(self) -> bool:
        return self._is_ready or self._failure is not None or self._end_reason is not None

    async def _wind_down(self) -> None:
        """End the child step by step: request, acknowledgement, closed session, exit.

        If it misses the limit of a step, kill it.
        """
        assert self.child is not None
        if self._channel_closed or self._killed_for is not None:
            return
        self._enter(ProcessState.ENDING)
        if self._failure is not None or not self._is_ready:
            # There is no job to wind down yet. A child that reported `Failed` exits by itself: wait a moment
            # for its own exit code.
            if self._failure is None:
                self.kill(self._end_reason or "not ready")
            await self._until(lambda: False, EXIT_S)
            return
        # A step is (reached, limit, what the message calls it). Nothing "reaches" the last one: the closed
        # channel ends every `_until`.
        ladder = [(lambda: self._session_closed, self._timings().wind_down_s, "end its job")]
        if self._end_reason is not None:
            # Otherwise the job ended by itself: the child is already winding down and acknowledges nothing.
            self.child.send(ch.Shutdown(self._end_reason))
            answer = (lambda: self._acked or self._session_closed, self._timings().shutdown_s, "answer")
            ladder.insert(0, answer)
        ladder.append((lambda: False, self._timings().shutdown_s, "exit"))
        for reached, limit, what in ladder:
            if not await self._until(reached, limit):
                at = f", at {where}" if (where := place(await self.stacks())) else ""
                why = f"did not {what} within {duration_text(limit)} of the request to end{at}"
                self.kill(why, EndedBy.UNRESPONSIVE)
            if self._killed_for is not None:
                return

    async def _exit(self, child: ch.Child, exiting: asyncio.Future[ch.ChildExit]) -> ch.ChildExit:
        """Return how the child exited. Kill what it left in its process group, also after a graceful exit."""
        try:
            if self._channel_closed and self._killed_for is None:
                # A runtime may close the channel before it exits. Killed now, it would lose its exit code.
                await asyncio.wait({exiting}, timeout=EXIT_S)
        finally:
            child.kill()
        return await exiting

    async def _until(self, condition: Callable[[], bool], limit: float | None = None) -> bool:
        """Wait for a condition, the channel's end, or a kill; return False if the limit passed first.

        The limit does not pass while a debugger or a stop signal holds the process, nor while the host is
        suspended: after that, timers fire before the host reads what the child has sent.
        """
        deadline = None if limit is None else self._clock.monotonic() + limit
        while not (condition() or self._channel_closed or self._killed_for is not None):
            remaining = None if deadline is None else deadline - self._clock.monotonic()
            if remaining is not None and remaining <= 0:
                if not self.held:
                    return False
                self._tell_held()
                # Nothing reports that a debugger detached, so check again soon; then the limit has passed.
                remaining = self._timings().debug_poll_s
            before = self._clock.monotonic()
            await self._changed(remaining)
            if remaining is not None and self._stalled(before, remaining):
                # The child was suspended too, so it gets the rest of its time again.
                deadline = self._clock.monotonic() + remaining
        return True

    def _tell_held(self) -> None:
        """Say once that the process is stopped: what waits for it may wait without end."""
        if self._debugging or self._told_held:
            return
        self._told_held = True
        what = f"process {self.id} (pid {self.pid}) is stopped by a signal or a debugger"
        todo = f"kill -CONT {self.pid} continues it after a signal"
        self._emit(Notice(LogLevel.WARN, f"{what}: its time limits do not count; {todo}"))

    def _stalled(self, since: float, expected_s: float) -> bool:
        """Return whether the host stalled in a wait that should have taken at most `expected_s` seconds."""
        return self._clock.monotonic() - since > expected_s + STALL_S

    async def _changed(self, limit: float | None) -> None:
        """Wait for the next change, at most `limit` seconds."""
        # `wait` does not cancel the future when the limit passes: all callers share it.
        await asyncio.wait({self._change}, timeout=limit)

    def _note_change(self) -> None:
        # A new future per change instead of an Event: a waiter that starts between two changes must not see
        # the first one, and no waiter can clear it before the others have woken.
        change, self._change = self._change, asyncio.get_running_loop().create_future()
        change.set_result(None)

    # -- the channel ------------------------------------------------------------------------------

    async def _read(self) -> None:
        assert self.child is not None
        try:
            while (message := await self.child.receive()) is not None:
                self._handle(message)
                self._note_change()
        except Exception as error:
            # A child whose messages are no longer read would look healthy and never end, so kill it.
            why = f"internal error while handling its message: {type(error).__name__}: {error}"
            self.kill(why, EndedBy.UNRESPONSIVE)
        finally:
            self._channel_closed = True
            self._note_change()

    def _handle(self, message: ch.FromChild) -> None:
        match message:
            case ch.Loading():
                self._loading = True
                self.loading_at = self._clock.monotonic()
            case ch.Ready():
                self._is_ready = True
                self._last_pong = self._clock.monotonic()
            case ch.Manifest():
                self._is_ready = True
                self._last_pong = self._clock.monotonic()
                self._relay(self, message)
            case ch.Failed():
                self._failure = message
            case ch.Pong(sent_ms=sent):
                self._last_pong = self._clock.monotonic()
                self._report_ping(max(self._last_pong * 1000 - sent, 0.0))
            case (
                ch.EntryStarted()
                | ch.JobConnected()
                | ch.JobCrashed()
                | ch.SessionStarted()
                | ch.SessionData()
                | ch.SessionDelta()
                | ch.SessionClosed()
                | ch.Swapped()
                | ch.SwapWaits()
            ):
                if self._on_job_message is not None:
                    self._on_job_message(message)
            case ch.Exiting(reason=reason):
                self._exiting = reason
                if self._on_job_message:
                    # A child reports the reason that came first: its own, or that of the `Shutdown`.
                    self._on_job_message(JobExiting(reason, asked=reason == self._end_reason))
            case ch.ShutdownAck():
                self._acked = True
            case ch.ShuttingDown():
                self._session_closed = True
            case ch.Stacks(text=text) if self._stacks is not None and not self._stacks.done():
                self._stacks.set_result(text)
            case ch.Debugging(attached=attached):
                self._debugging = attached
            case _:
                self._relay(self, message)

    def _report_ping(self, ms: float) -> None:
        """Report a round trip if it differs visibly from the last one: every event repaints the screen."""
        if self._reported_ping_ms is None or abs(ms - self._reported_ping_ms) >= max(SEEN_PING_MS, ms / 5):
            self._reported_ping_ms = ms
            self._emit(ProcessPinged(self.id, ms))

    async def _ping(self) -> None:
        await self._until(lambda: self._is_ready)
        reported = False
        while not self._channel_closed:
            assert self.child is not None
            sent = self._clock.monotonic()
            self.child.send(ch.Ping(round(sent * 1000)))
            timings = self._timings()
            # Two sleeps per interval: a late answer is reported after the first, the timeout after both.
            stalled = await self._sleep(timings.slow_ping_s)
            answered = self._last_pong >= sent or stalled
            if not answered and not reported and not self.held:
                await self._report_blocked(sent)
            reported = not answered
            stalled |= await self._sleep(timings.ping_interval_s - timings.slow_ping_s)
            if self._last_pong >= sent:
                continue
            if self.held or stalled:
                # Silence that is not the child's fault does not count: its timeout starts over.
                self._last_pong = self._clock.monotonic()
            elif self._clock.monotonic() - self._last_pong > timings.ping_timeout_s:
                at = f", at {where}" if (where := place(await self.stacks())) else ""
                limit = duration_text(timings.ping_timeout_s)
                why = f"did not answer a ping for {limit}: its event loop is blocked{at}"
                self.kill(why, EndedBy.UNRESPONSIVE)

    async def _sleep(self, seconds: float) -> bool:
        """Sleep; return whether the host stalled."""
        before = self._clock.monotonic()
        await asyncio.sleep(seconds)
        return self._stalled(before, seconds)

    async def _report_blocked(self, since: float) -> None:
        if self.kind not in (ch.ProcessKind.JOB, ch.ProcessKind.CONTROL):
            return  # a base imports for seconds
        stacks = await self.stacks()
        if self.pid is not None and not self._channel_closed:
            silent = self._clock.monotonic() - since
            self._emit(ProcessBlocked(self.id, self.pid, self.job_id, silent, place(stacks), stacks))

    # -- the end ----------------------------------------------------------------------------------

    def _describe(self, exit: ch.ChildExit) -> ProcessEnd:
        # From the surest cause to the least sure: agent-tui, the kernel, the child's report, its exit status.
        answered = self._acked or self._session_closed or self._exiting is not None
        # A process that dies just when it is asked to end has not ended on request if it had a job.
        asked = self._end_reason is not None and (answered or not self.had_job)
        if self._killed_for is not None:
            by, reason = self._killed_by, self._killed_for
        elif exit.signal == signal.SIGKILL and self._out_of_memory():
            # `_out_of_memory` reports each kill of the kernel once, so it is asked only for this signal.
            by, reason = EndedBy.OUT_OF_MEMORY, "killed by the kernel: out of memory"
        elif self._failure is not None:
            by, reason = EndedBy.LOADING, self._failure.error
        elif asked or self._exiting is not None:
            by = EndedBy.ORDER if exit.signal is None else EndedBy.SIGNAL
            reason = self._exiting or self._end_reason or ""
        elif exit.signal is not None:
            by, reason = EndedBy.SIGNAL, f"killed by {signal_name(exit.signal)}"
        else:
            by, reason = EndedBy.EXIT, f"exited with code {exit.exit_code}"
        killed = self._killed_for is not None
        return ProcessEnd(reason, exit.exit_code, exit.signal, killed, by, unasked=not (killed or answered))

    def _finish(self, end: ProcessEnd) -> None:
        self.state = ProcessState.ENDED
        self._emit(
            ProcessChanged(
                self.id,
                self.pid,
                self.kind,
                self.state,
                self.generation,
                self.job_id,
                end.reason,
                end.exit_code,
                end.signal,
                end.by,
            )
        )
        if not self.ready.done():
            codes_fault = self.child is not None and not has_external_cause(end)
            failed = ProcessFailed(end.reason, self._failure, is_codes_fault=codes_fault, by=end.by)
            self.ready.set_exception(failed)
            self.ready.exception()  # marks it as retrieved, so that asyncio does not log it
        if self._on_job_message is not None:
            self._on_job_message(end)
        self.ended.set_result(end)

    def _enter(self, state: ProcessState) -> None:
        self.state = state
        self._emit(ProcessChanged(self.id, self.pid, self.kind, state, self.generation, self.job_id))


class RespawningProcess:
    """Runs one process after another until it is closed, with growing pauses while they keep failing.

    `make` gets 1, 2, … and returns the next process.
    """

    def __init__(
        self,
        make: Callable[[int], SupervisedProcess],
        *,
        ended: Callable[[SupervisedProcess, ProcessEnd], bool],
        back_off: BackOff | None = None,
    ) -> None:
        """`ended` is called at each end, and returns whether another process should follow."""
        self._make = make
        self._ended = ended
        self._back_off = back_off or BackOff()
        self._closing = asyncio.Event()
        self.process: SupervisedProcess | None = None

    @property
    def closing(self) -> bool:
        return self._closing.is_set()

    async def run(self) -> None:
        """Keep a process alive; return once closed and the last one is reaped."""
        failures = number = 0
        while not self.closing:
            number += 1
            process = self.process = self._make(number)
            await process.run()
            again = self._ended(process, process.ended.result())
            if self.closing or not again:
                return
            failures = failures + 1 if process.ready.exception() else 0
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._back_off.after(failures))

    def close(self, reason: str) -> None:
        """Ask the process to end gracefully, and start no other."""
        self._closing.set()
        if self.process is not None:
            self.process.shutdown(reason)

    def kill(self, reason: str) -> None:
        """Kill the process now, and start no other."""
        self._closing.set()
        if self.process is not None:
            self.process.kill(reason)


def signal_name(number: int) -> str:
    """Return a signal's name ("SIGSEGV"), or "signal 99" for a number without one."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def has_external_cause(end: ProcessEnd) -> bool:
    """Return whether the process ended for an outside reason: a signal not from agent-tui, or no memory."""
    if end.by is EndedBy.OUT_OF_MEMORY:
        return True
    return end.by is EndedBy.SIGNAL and end.signal not in FAULT_SIGNALS
