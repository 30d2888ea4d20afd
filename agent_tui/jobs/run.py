"""What one job's process says, kept in the job's record, and how the job counts in the end."""

import asyncio
from collections.abc import Callable

from agent_tui.jobs.record import JobRecord
from agent_tui.model import events as ev
from agent_tui.processes.process import ProcessEnd

MAX_TRACEBACK = 12_000
"""Characters of a traceback that go with a job's end."""


class Run:
    """Hears what one job's process says and keeps it in the record."""

    def __init__(
        self,
        record: JobRecord,
        entered: Callable[[JobRecord], None],
        connected: Callable[[JobRecord, float], None],
        report: Callable[[JobRecord], None],
    ) -> None:
        self._record = record
        self._entered = entered
        self._connected = connected
        self._report = report
        self.end: ProcessEnd | None = None
        self.ended: asyncio.Future[ProcessEnd]
        self._crash: tuple[str, str] | None = None

    def begin(self) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self._crash = None

    def entry_started(self, at: float) -> None:
        if self._record.entry_at is None:
            self._record.entry_at = at
            self._entered(self._record)

    def connected(self, at: float) -> None:
        if self._record.entry_at is not None:
            self._connected(self._record, at)

    def crashed(self, error: str, traceback: str) -> None:
        self._crash = (error, traceback)
        if self._record.restarting is None:
            self._record.crash = self._crash

    def exiting(self, reason: str, *, asked: bool) -> None:
        record = self._record
        if not asked:
            # The job had ended before it received the request to end or restart, whatever arrived first here.
            record.restarting, record.farewell_due = None, False
            record.crash = record.crash or self._crash
        if record.restarting is not None:
            return
        if not asked or record.told_to_end is None:
            record.exiting = reason
        self._report(record)

    def process_ended(self, end: ProcessEnd) -> None:
        self.end = end
        self.ended.set_result(end)


def verdict(record: JobRecord, end: ProcessEnd | None) -> tuple[ev.JobStatus, str]:
    """How the job counts, and why: as it reported itself, then what was wanted, then how its process went."""
    bad = end is not None and (end.killed or end.signal is not None)
    if record.crash is not None:
        return ev.JobStatus.FAILED, record.crash[0]
    if record.exiting is not None:
        return ev.JobStatus.SUCCESS, f"{record.exiting}; then {_how(end)}" if bad else record.exiting
    if record.told_to_end is not None and not (end is not None and end.unasked):
        status, reason = record.told_to_end
        if bad and status is ev.JobStatus.SUCCESS:
            status = ev.JobStatus.FAILED
        return status, f"{reason}; {_how(end)}" if bad else reason
    if end is None:
        return ev.JobStatus.FAILED, "the job never got a process"
    return ev.JobStatus.FAILED, end.reason


def ended_by(record: JobRecord, end: ProcessEnd | None) -> ev.EndedBy:
    """What ended the job, in the order in which `verdict` looks."""
    bad = end is not None and (end.killed or end.signal is not None)
    if record.crash is not None:
        return record.crashed_by
    if record.exiting is not None:
        return end.by if end is not None and bad else ev.EndedBy.ORDER
    if record.told_to_end is not None and not (end is not None and end.unasked):
        if record.told_by is not ev.EndedBy.ORDER:
            return record.told_by
        return end.by if end is not None and bad else ev.EndedBy.ORDER
    return ev.EndedBy.NO_PROCESS if end is None else end.by


def shortened(traceback: str) -> str:
    """A traceback's beginning and end: what was raised stands there, and where."""
    if len(traceback) <= MAX_TRACEBACK:
        return traceback
    head, tail = traceback[: MAX_TRACEBACK // 4], traceback[-MAX_TRACEBACK * 3 // 4 :]
    return f"{head.rpartition(chr(10))[0]}\n  …\n{tail.partition(chr(10))[2]}"


def _how(end: ProcessEnd | None) -> str:
    """How a process went that did not end by itself in good order."""
    if end is None:
        return ""
    return f"killed: {end.reason}" if end.killed else f"its process was ended by signal {end.signal}"
