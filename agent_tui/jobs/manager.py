"""The job manager: one answer per offer, one record and one end per job, and reports to the server."""

import asyncio
import contextlib
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from agent_tui.generations.control import Control
from agent_tui.jobs.describe import Descriptions, describe
from agent_tui.jobs.record import JobRecord, Stage, TestDispatch, ended_by, shortened, verdict
from agent_tui.jobs.sessions import TURN_TIMEOUT_S, JobSessions
from agent_tui.model import child as ch
from agent_tui.model import events as ev
from agent_tui.model.clock import Clock
from agent_tui.model.errors import InternalError, UserError
from agent_tui.model.logs import LogLevel
from agent_tui.model.signing import renewed
from agent_tui.model.wording import duration_text
from agent_tui.options.prices import Prices
from agent_tui.processes.pool import Pool
from agent_tui.processes.process import JobExiting, JobMessage, ProcessEnd, ProcessFailed, SupervisedProcess
from agent_tui.worker.messages import Assigned, JobProgress, Offer, Reject
from agent_tui.worker.worker import Worker

TOO_LATE = "the offer was too old to answer: agent-tui, the machine, or the connection had stalled"

ASSIGNMENT_S = 7.5
"""Seconds to wait for an assignment, which may never come (worker-protocol §6.3). The SDKs wait as long."""

SLICE_S = 0.5
"""Length of the slices that waits are divided into, in s: a stall of this process uses up at most one."""

MAX_LAUNCHES = 2
"""Maximum launches of a job. A process that dies before the entry function runs is replaced once."""


@dataclass(frozen=True, slots=True)
class JobSettings:
    """The values that a job needs from the options and the server, read when the job starts."""

    url: str
    fake_job: bool
    api_secret: str = field(repr=False)
    """Signs a new token for a restarted job; without it the old token is used until it expires."""
    debug_port: int = 0
    """The port on which a job waits for a debugger; 0 for none."""
    test_length_s: float | None = None
    """How long a test job may run, in seconds; None for no limit."""
    sessions: bool = False
    """Whether to attach to the job's sessions."""
    text_only: bool = False
    """Whether the job's sessions run without audio."""
    turn_timeout_s: float = TURN_TIMEOUT_S
    """Time limit of a typed turn, in s."""
    pinned: bool = False
    """Whether the job is pinned to the code that it starts with."""
    prices: Prices = field(default_factory=dict)
    """What models cost, by the config file."""


class JobManager:
    """Owns all job records. Server events, process messages, and commands call its methods."""

    def __init__(
        self,
        *,
        pool: Pool,
        settings: Callable[[], JobSettings],
        changed: Callable[[JobRecord], None],
        clock: Clock,
        emit: Callable[[ev.Event], None],
        clean: Callable[[str, int], str],
        assignment_s: float = ASSIGNMENT_S,
    ) -> None:
        """`changed` is called when a job gets its process, and once per offer when it has ended.

        `clean(text, limit)` masks secrets and shortens the text to `limit` characters.
        """
        self._pool = pool
        self._control: Control | None = None
        """The control process of the current generation, which runs the agent's functions."""
        self._settings = settings
        self._changed = changed
        self._clock = clock
        self._emit = emit
        self._assignment_s = assignment_s
        self._records: dict[str, JobRecord] = {}
        self._assignments: dict[str, asyncio.Future[bool]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._descriptions = Descriptions(clean)
        self.draining = False
        """Whether the manager has stopped accepting jobs."""

    # -- from the server ------------------------------------------------------------------------------

    def offer(self, offer: Offer, worker: Worker, test: TestDispatch | None = None) -> None:
        """Handle an offer: start a task that answers it and runs its job.

        An offer of a job that is already known is rejected. If `answer_by` has passed (on the clock's
        `boottime`), send no answer: the server has forgotten the offer.
        """
        job = offer.job
        if job.id in self._records:
            with contextlib.suppress(ValueError):
                worker.answer(job.id, Reject())  # the job is already here and keeps its record
            return
        control = None if self._pool.refusing else self._control
        generation = control.generation if control else 0
        settings = self._settings()
        record = JobRecord(job, worker, offer.received_at, generation, offer.answer_by, test)
        record.pinned = settings.pinned
        record.sessions = JobSessions(
            job.id, self._emit, self._clock, settings.turn_timeout_s, prices=settings.prices
        )
        self._emit(
            ev.OfferReceived(
                record.id,
                record.room,
                job.dispatch_id,
                generation,
                record.test_dispatch,
                test_load=test is not None and test.test_load,
            )
        )
        if self._is_too_late(record):
            self._ignore(record)
            self._end_offer(record)
        elif self.draining:
            self._turn_away(record, "agent-tui is stopping")
        elif control is None:
            self._turn_away(record, "the agent's file has not loaded, or its processes fail to start")
        else:
            self._records[record.id] = record
            task = asyncio.create_task(self._handle(record, control), name=f"job {record.id}")
            self._tasks[record.id] = task
            task.add_done_callback(lambda task: self._handled(record.id, task))

    def assigned(self, event: Assigned) -> None:
        """Handle an assignment. Ignore it if no job waits for it (worker-protocol §6.3)."""
        record = self._records.get(event.job_id)
        waiting = self._assignments.get(event.job_id)
        if record is None or waiting is None or waiting.done():
            return
        record.url = event.url or self._settings().url
        record.token = event.token
        record.worker_id = record.worker.worker_id or ""
        record.assigned_at = self._clock.time()
        waiting.set_result(True)

    def terminated(self, job_id: str) -> None:
        """End a job that the server terminated. Unknown jobs are ignored (worker-protocol §14.11).

        When the old participant of a restarted job leaves, the server terminates the job once and forgets it
        (§9). This termination is ignored. It does not come if the agent had not joined its room. Then a
        later, real one is ignored instead, but with it the server removes the agent from the room, which ends
        the job too.
        """
        record = self._records.get(job_id)
        if record is not None and record.termination_due:
            record.termination_due = False
        elif record is not None:
            record.terminated = True
            reason = "terminated by the server"
            self._request_end(record, ev.JobStatus.TERMINATED, reason, ev.EndedBy.SERVER)

    # -- from commands ------------------------------------------------------------------------------

    @property
    def records(self) -> tuple[JobRecord, ...]:
        """All jobs that have not ended."""
        return tuple(self._records.values())

    @property
    def running(self) -> tuple[JobRecord, ...]:
        """Jobs that have a process or are waiting for one."""
        return tuple(r for r in self._records.values() if r.stage in (Stage.LAUNCHING, Stage.RUNNING))

    def describe(self, job_id: str) -> str | None:
        """Return the job and its token as text, without secrets; None if the job is no longer known."""
        record = self._records.get(job_id)
        return self._descriptions.of_ended(job_id) if record is None else describe(record)

    def end(self, job_id: str, status: ev.JobStatus, reason: str, by: ev.EndedBy = ev.EndedBy.ORDER) -> bool:
        """End a job gracefully; return False if there is no such job."""
        record = self._records.get(job_id)
        if record is None:
            return False
        self._request_end(record, status, reason, by)
        return True

    def restart(self, job_id: str, reason: str) -> str | None:
        """Restart a job on the current code, as the same agent: end its process gracefully and start another.

        Return why that is impossible, or None. From now on, what the old process reports is ignored.
        """
        record = self._records.get(job_id)
        if record is None:
            return f"no job {job_id} is running"
        if record.restarting is not None:
            return None
        if record.stage is not Stage.RUNNING or record.process is None:
            return f"job {job_id} has not started yet: it will start on the current code"
        if record.end_request is not None or record.exiting is not None or record.crash is not None:
            return f"job {job_id} is already ending"
        record.restarting = reason
        record.sessions.cancel_swap()
        record.termination_due = not self._settings().fake_job
        self._emit(ev.JobRestarting(record.id, record.room, record.process.generation, reason))
        record.process.shutdown(reason)
        return None

    def switched(self, control: Control) -> None:
        """Send offers to the new generation from now on."""
        self._control = control

    def find(self, job_id: str) -> JobRecord:
        """Return the record of a running job. Raise UserError if no such job is running."""
        record = self._records.get(job_id)
        if record is None:
            raise UserError(f"no job {job_id} is running")
        return record

    def sessions(self, job_id: str) -> JobSessions:
        """Return the sessions of a running job. Raise UserError if no such job is running."""
        return self.find(job_id).sessions

    def drain(self) -> None:
        """Accept no more offers."""
        self.draining = True

    async def finished(self) -> None:
        """Wait until every accepted job has ended."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks.values()))

    async def close(self, reason: str) -> None:
        """Accept no more offers, end all jobs gracefully, and wait until they have ended."""
        self.drain()
        for record in self.records:
            self._request_end(record, ev.JobStatus.TERMINATED, reason)
        await self.finished()

    # -- one offer ------------------------------------------------------------------------------------

    async def _handle(self, record: JobRecord, control: Control) -> None:
        try:
            if await self._answer(record, control):
                try:
                    await self._run(record, control)
                finally:
                    record.lease.release()
        except Exception as error:
            self._fail_internally(record, control, error)
        finally:
            self._assignments.pop(record.id, None)
            self._records.pop(record.id, None)
            self._descriptions.keep(record)
            self._end_offer(record)

    def _end_offer(self, record: JobRecord) -> None:
        record.stage = Stage.ENDED
        if record.length_timer is not None:
            record.length_timer.cancel()
        record.worker.job_ended(record.id)
        self._changed(record)

    def _handled(self, job_id: str, task: "asyncio.Task[None]") -> None:
        self._tasks.pop(job_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._emit(ev.Notice(LogLevel.ERROR, str(InternalError(f"handling job {job_id}", error))))

    def _fail_internally(self, record: JobRecord, control: Control, error: Exception) -> None:
        """End the job with an internal error. Later errors of the part that failed are suppressed."""
        why = str(InternalError("handling the job", error))
        if record.stage is Stage.ASKING:
            record.declined = why
            self._emit(ev.OfferAnswered(record.id, accepted=False, error=why))
            with contextlib.suppress(Exception):
                record.worker.answer(record.id, Reject())
        elif record.stage is Stage.ACCEPTED:
            record.lost = why
        else:
            trace = "".join(traceback.format_exception(error))
            record.crash, record.crashed_by = (why, trace), ev.EndedBy.INTERNAL_ERROR
            if record.process is not None:
                record.process.kill(why, ev.EndedBy.INTERNAL_ERROR)
            record.end = None
            with contextlib.suppress(Exception):
                self._report(record)
            self._finish(record)
        with contextlib.suppress(Exception):
            control.report_outcome(record.id, why)

    async def _answer(self, record: JobRecord, control: Control) -> bool:
        """Answer the offer, once. Return True if it was accepted and the server was informed."""
        answer = await control.ask_request(record.job.SerializeToString(), record.id)
        if self._is_too_late(record):
            control.report_outcome(record.id, TOO_LATE)
            self._ignore(record)
            return False
        why = answer.error
        if answer.accept is not None:
            why = record.end_request[1] if record.end_request else self._accept(record, answer.accept)
            if why is None:
                return True
        record.declined = why or "the request function rejected it"
        # `await req.accept()` of the agent waits for this, even if the time limit for the answer has passed.
        control.report_outcome(record.id, record.declined)
        self._decline(record, why, terminate=answer.terminate)
        return False

    def _accept(self, record: JobRecord, accept: ch.AcceptArguments) -> str | None:
        """Claim a process and accept the offer; return why the answer could not be sent, or None."""
        record.accept = accept
        record.accepted_at = self._clock.time()
        # Claimed before the answer, so that the pool prepares a process while the server assigns the job.
        record.lease = self._pool.lease()
        self._assignments[record.id] = asyncio.get_running_loop().create_future()
        sent = False
        try:
            sent = record.worker.answer(record.id, accept)
        except ValueError as error:
            return f"the request function's answer cannot be sent: {error}"
        finally:
            if not sent:
                del self._assignments[record.id]
                record.lease.release()
        return None if sent else "the connection was lost before the answer was sent"

    def _turn_away(self, record: JobRecord, why: str) -> None:
        """Decline without asking the agent."""
        record.declined, record.turned_away = why, True
        self._decline(record, why)
        self._end_offer(record)

    def _decline(self, record: JobRecord, error: str | None, *, terminate: bool = False) -> None:
        with contextlib.suppress(ValueError):  # it was answered before
            record.worker.answer(record.id, Reject(terminate))
        self._emit(ev.OfferAnswered(record.id, accepted=False, terminate=terminate, error=error))

    def _is_too_late(self, record: JobRecord) -> bool:
        return self._clock.boottime() >= record.answer_by

    def _ignore(self, record: JobRecord) -> None:
        """Leave the offer unanswered: the server no longer waits for an answer (worker-protocol §6.3)."""
        record.worker.ignore(record.id)
        record.lost = TOO_LATE

    # -- one job --------------------------------------------------------------------------------------

    async def _run(self, record: JobRecord, control: Control) -> None:
        record.stage = Stage.ACCEPTED
        self._emit(ev.OfferAnswered(record.id, accepted=True))
        if not await self._await_assignment(record, control):
            return
        self._emit(ev.JobAssigned(record.id, record.room))
        record.stage = Stage.LAUNCHING
        while (process := await self._claim_process(record)) is not None:
            end = await self._launch(record, process, control)
            if record.restarting is not None and record.end_request is None:
                self._prepare_restart(record)
            elif not self._should_relaunch(record, end):
                break
            record.lease.release()
            record.lease = self._pool.lease()
        if not record.launched_at:
            control.report_outcome(record.id, "the job failed to launch")
        self._finish(record)

    def _prepare_restart(self, record: JobRecord) -> None:
        """Reset the record for the job's next process, which can use the same identity.

        The old process has ended, and its participant has left the room.
        """
        record.restarting = None
        record.restarts += 1
        record.launches = 0
        record.process = record.entry_at = None
        record.stage = Stage.LAUNCHING
        record.ready_at = self._clock.time()
        record.token = renewed(record.token, self._settings().api_secret, record.ready_at)

    async def _await_assignment(self, record: JobRecord, control: Control) -> bool:
        waiting = self._assignments[record.id]
        try:
            if not await _done_within(waiting, self._assignment_s):
                limit = duration_text(self._assignment_s)
                record.lost = f"accepted, but the server did not assign it within {limit}"
            elif not waiting.result():
                record.lost = record.end_request[1] if record.end_request else "cancelled"
        finally:
            del self._assignments[record.id]
        if record.lost:
            control.report_outcome(record.id, record.lost)
        return not record.lost

    async def _claim_process(self, record: JobRecord) -> SupervisedProcess | None:
        """Return a process for the job; None if the job must end without one."""
        if record.end_request is not None:
            return None
        try:
            process = await record.lease.claim()
        except ProcessFailed as error:
            if record.end_request is None:
                record.crash = (f"no process: {error}", error.failure.traceback if error.failure else "")
                record.crashed_by = error.by
            return None
        record.warm = record.lease.warm and record.launches == 0
        return process

    async def _launch(self, record: JobRecord, process: SupervisedProcess, control: Control) -> ProcessEnd:
        assert record.accept is not None
        record.launches += 1
        if process.state is not ev.ProcessState.IDLE:
            return await process.ended
        record.process = process
        record.launched_at = self._clock.time()
        record.stage = Stage.RUNNING
        record.end = record.process_crash = None
        ended: asyncio.Future[ProcessEnd] = asyncio.get_running_loop().create_future()
        record.process_ended = ended
        settings = self._settings()
        start = ch.StartJob(
            record.job.SerializeToString(),
            record.accept,
            record.url,
            record.token,
            record.worker_id,
            settings.fake_job,
            record.received_at,
            record.accepted_at,
            record.assigned_at,
            record.launched_at,
            settings.debug_port,
            settings.sessions,
            settings.text_only,
        )
        record.sessions.attach(process.send, process.generation)
        self._changed(record)
        process.start_job(start, record.id, partial(self._on_job_message, record))
        control.report_outcome(record.id, None)
        if record.launches == 1 and not record.restarts:
            record.worker.update_job(record.id, JobProgress.RUNNING)
        if record.end_request is not None:
            process.shutdown(record.end_request[1])
        return await ended

    def _should_relaunch(self, record: JobRecord, end: ProcessEnd) -> bool:
        """Return whether the process died before the job started, and the job did not cause it."""
        untouched = record.entry_at is None and record.crash is None and record.exiting is None
        return untouched and not end.killed and record.end_request is None and record.launches < MAX_LAUNCHES

    def _on_job_message(self, record: JobRecord, signal: JobMessage) -> None:
        """Record what the job's process reports."""
        match signal:
            case ch.EntryStarted(at=at) if record.entry_at is None:
                record.entry_at = at
                if record.stage is not Stage.ENDED:  # else its process is being killed
                    self._entered(record, at)
            case ch.JobConnected(at=at) if record.entry_at is not None:
                ms = max(at - record.entry_at, 0.0) * 1000
                self._emit(ev.JobConnected(record.id, record.room, ms))
            case ch.JobCrashed(error=error, traceback=trace):
                record.process_crash = (error, trace)
                if record.restarting is None:
                    record.crash = record.process_crash
            case JobExiting():
                self._exiting(record, signal)
            case (
                ch.SessionStarted()
                | ch.SessionData()
                | ch.SessionDelta()
                | ch.SessionClosed()
                | ch.Swapped()
                | ch.SwapWaits()
            ):
                record.sessions.receive(signal)
            case ProcessEnd():
                record.sessions.end("the process ended")
                record.end = signal
                assert record.process_ended is not None
                record.process_ended.set_result(signal)
            case _:
                pass

    def _entered(self, record: JobRecord, at: float) -> None:
        process, test = record.process, record.test
        assert process is not None
        assert process.pid is not None
        since_dispatch = (at - test.at) * 1000 if test is not None and not record.restarts else None
        self._emit(
            ev.JobStarted(
                record.id,
                record.room,
                process.id,
                process.pid,
                process.generation,
                record.warm,
                (at - (record.ready_at or record.received_at)) * 1000,
                since_dispatch,
                record.restarts,
                record.test_dispatch,
            )
        )
        if record.pinned and not record.restarts:
            self._emit(ev.JobPinned(record.id, record.room, process.generation, pinned=True))
        if test is not None and record.length_timer is None:
            length = self._settings().test_length_s if test.length_s is None else test.length_s
            if length is not None:
                over = (record.id, ev.JobStatus.SUCCESS, f"job length of {duration_text(length)} reached")
                record.length_timer = asyncio.get_running_loop().call_later(length, self.end, *over)

    def _exiting(self, record: JobRecord, exiting: JobExiting) -> None:
        if not exiting.asked:
            # The job had ended before it read the request to end or restart, whichever arrived here first.
            record.restarting, record.termination_due = None, False
            record.crash = record.crash or record.process_crash
        if record.restarting is not None:
            return
        if not exiting.asked or record.end_request is None:
            record.exiting = exiting.reason
        self._report(record)

    def _report(self, record: JobRecord) -> None:
        """Report to the server how the job ended, before the agent leaves the room (worker-protocol §8)."""
        if record.reported or record.terminated:
            return
        record.reported = True
        status, reason = verdict(record)
        if status is ev.JobStatus.FAILED:
            record.worker.update_job(record.id, JobProgress.FAILED, reason)
        else:
            record.worker.update_job(record.id, JobProgress.SUCCESS)

    def _finish(self, record: JobRecord) -> None:
        status, reason = verdict(record)
        self._report(record)
        started_at = record.entry_at or record.launched_at or record.assigned_at
        process, end = record.process, record.end
        self._emit(
            ev.JobEnded(
                record.id,
                record.room,
                process.pid if process else None,
                process.generation if process else record.generation,
                status,
                reason,
                max(self._clock.time() - started_at, 0.0),
                ended_by(record),
                end.exit_code if end else None,
                end.signal if end else None,
                shortened(record.crash[1]) if record.crash else "",
                record.test_dispatch,
            )
        )

    def _request_end(
        self, record: JobRecord, status: ev.JobStatus, reason: str, by: ev.EndedBy = ev.EndedBy.ORDER
    ) -> None:
        if record.exiting is not None and record.process is not None:
            record.process.shutdown(reason)  # the job ended by itself first, which stays its reason
            return
        if record.end_request is not None:
            return
        record.end_request, record.end_requested_by = (status, reason), by
        record.sessions.cancel_swap()
        waiting = self._assignments.get(record.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(False)
        if record.process is not None:
            record.process.shutdown(reason)
        elif record.stage is Stage.LAUNCHING:
            record.lease.release()


async def _done_within(waiting: "asyncio.Future[bool]", limit_s: float) -> bool:
    """Return whether the future is done within `limit_s`, not counting a stall beyond `SLICE_S`.

    After agent-tui was stalled, timers fire before the event loop reads the messages that arrived.
    """
    left = limit_s
    while left > 0:
        done, _ = await asyncio.wait({waiting}, timeout=min(SLICE_S, left))
        if done:
            return True
        left -= SLICE_S
    return False
