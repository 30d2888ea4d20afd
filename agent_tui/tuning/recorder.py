"""Computes one run's measurements from the stream of events."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent_tui.model import events as ev
from agent_tui.model.child import ProcessKind
from agent_tui.model.state import AppState
from agent_tui.model.tuning import IdleMemory, JobMeasure, RunMeasure, TestLoad
from agent_tui.model.wording import counted

SETTLE_WITHIN_S = 90.0
"""Time, in s, that a sweep waits for the pool to settle at a count of idle processes."""

END_THEM = "end them, or wait until they end"
"""What to do about other jobs; a front end may replace it with its own way to end them."""


@dataclass(slots=True)
class _Job:
    test_dispatch: int
    accepted: float | None = None
    given: float | None = None
    started: ev.JobStarted | None = None
    end: str | None = None
    """How the job ended, or why it was lost; None until then."""


class Recorder:
    """Records the events of one run, from its start on.

    Other jobs may run too: `dispatched` says which test dispatches belong to the run. `idle` are the
    processes that are idle at the start. `started`, and the times of events, are in Unix seconds.
    """

    def __init__(self, count: int, repeat: int, load: TestLoad, started: float, idle: Iterable[str]) -> None:
        self._count = count
        self._repeat = repeat
        self._load = load
        self._started = started
        self._idle = set(idle)
        self._series = [(0.0, len(self._idle))]
        self._missing_since: float | None = None
        self._refills: list[float] = []
        self._starting: dict[str, float] = {}
        self._warm_ups: list[float] = []
        self._unmeasured: set[str] = set()
        self._cpu: list[float] = []
        self._jobs: dict[str, _Job] = {}
        self._lost: dict[int, str] = {}
        self._dispatched: dict[int, tuple[str, float]] = {}
        """Room and time of the run's dispatches, by their number."""
        self._never_made: list[tuple[float, str]] = []
        self._machine_cpu: list[tuple[float, float]] = []

    # -- input -----------------------------------------------------------------------------------------

    def dispatched(self, dispatches: Mapping[int, str], at: float) -> None:
        """Record test dispatches of the run (number → room), and their time."""
        for number, room in dispatches.items():
            self._dispatched[number] = (room, at)

    def not_dispatched(self, at: float, why: str) -> None:
        """Record a failed dispatch, which counts as a lost job."""
        self._never_made.append((at, why))

    def cpu_used(self, at: float, share: float) -> None:
        """Record the machine's CPU use until `at`, from 0 to 1."""
        self._machine_cpu.append((max(at - self._started, 0.0), share))

    def record(self, stamped: ev.Stamped) -> None:
        """Record one event. Events must come in order."""
        match stamped.event:
            case ev.ProcessChanged(kind=ProcessKind.JOB) as changed:
                self._process(changed, stamped.ts)
            case ev.ProcessMeasured(id=name, cpu_s=float(cpu_s)) if name in self._unmeasured:
                self._unmeasured.discard(name)
                self._cpu.append(cpu_s)
            case ev.OfferReceived(job_id=job_id, test_dispatch=number):
                self._jobs[job_id] = _Job(number)
            case ev.OfferAnswered(job_id=job_id, accepted=accepted) if job_id in self._jobs:
                self._jobs[job_id].accepted = stamped.ts if accepted else None
            case ev.JobStarted(job_id=job_id) as started if job_id in self._jobs:
                self._jobs[job_id].started = started
            case ev.JobEnded(job_id=job_id, reason=reason) if job_id in self._jobs:
                self._jobs[job_id].end = reason or "ended"
            case ev.JobLost(test_dispatch=number, why=why, job_id=lost):
                self._lost[number] = why
                if lost in self._jobs:
                    self._jobs[lost].end = why
            case _:
                pass

    def _process(self, event: ev.ProcessChanged, ts: float) -> None:
        if event.state is ev.ProcessState.STARTING:
            self._starting[event.id] = ts
            return
        started = self._starting.pop(event.id, None)
        if event.state is ev.ProcessState.IDLE:
            if started is not None:
                self._warm_ups.append(max(ts - started, 0.0))
                self._unmeasured.add(event.id)
            self._idle.add(event.id)
        else:
            self._unmeasured.discard(event.id)
            self._idle.discard(event.id)
            if event.state is ev.ProcessState.JOB and event.job_id in self._jobs:
                self._jobs[event.job_id].given = ts
        self._note_idle(ts)

    def _note_idle(self, ts: float) -> None:
        count = len(self._idle)
        if count != self._series[-1][1]:
            self._series.append((max(ts - self._started, 0.0), count))
        if count < self._count and self._missing_since is None:
            self._missing_since = ts
        elif count >= self._count and self._missing_since is not None:
            self._refills.append(ts - self._missing_since)
            self._missing_since = None

    # -- output ----------------------------------------------------------------------------------------

    @property
    def made(self) -> int:
        """The number of dispatches of the run, including failed ones."""
        return len(self._dispatched) + len(self._never_made)

    @property
    def settled(self) -> int:
        """The number of these dispatches whose job has ended or was lost."""
        ended = {job.test_dispatch for job in self._jobs.values() if job.end is not None} | self._lost.keys()
        return len(ended & self._dispatched.keys()) + len(self._never_made)

    def measure(self, memory: tuple[IdleMemory, ...], *, complete: bool) -> RunMeasure:
        """Return the measurements so far, without jobs that are neither entered nor lost yet."""
        by_number = {job.test_dispatch: job for job in self._jobs.values()}
        jobs = [self._job(number, by_number.get(number)) for number in self._dispatched]
        jobs += [JobMeasure("", at - self._started, lost=why) for at, why in self._never_made]
        return RunMeasure(
            self._count,
            self._repeat,
            self._load,
            tuple(sorted((job for job in jobs if job is not None), key=lambda job: job.at_s)),
            tuple(self._warm_ups),
            tuple(self._cpu),
            tuple(self._refills),
            memory,
            tuple(self._series),
            tuple(sorted(at - self._started for _, at in self._dispatched.values())),
            sum(job.test_dispatch not in self._dispatched for job in self._jobs.values()),
            complete,
            tuple(self._machine_cpu),
        )

    def _job(self, number: int, job: _Job | None) -> JobMeasure | None:
        room, at = self._dispatched[number]
        at_s = at - self._started
        if job is None or job.started is None:
            why = self._lost.get(number) or (job.end if job is not None else None)
            return None if why is None else JobMeasure(room, at_s, lost=why)
        started, dispatch_ms = job.started, job.started.dispatch_to_entry_ms
        if dispatch_ms is None:
            return None
        wait_ms = 0.0
        if not started.warm and job.given is not None and job.accepted is not None:
            wait_ms = max(job.given - job.accepted, 0.0) * 1000
        return JobMeasure(
            room,
            at_s,
            dispatch_ms,
            dispatch_ms - started.offer_to_entry_ms,
            started.offer_to_entry_ms,
            wait_ms,
            started.warm,
            started.process_id,
        )


def idle_processes(state: AppState) -> list[str]:
    """Return the ids of the idle job processes."""
    return [
        each.id
        for each in state.live_processes
        if each.kind is ProcessKind.JOB and each.state is ev.ProcessState.IDLE
    ]


def idle_memory(state: AppState) -> tuple[IdleMemory, ...]:
    """Return the last known memory of each idle job process."""
    return tuple(
        IdleMemory(view.pid, view.rss_mb, view.uss_mb, view.pss_mb)
        for view in (state.processes[name] for name in idle_processes(state))
        if view.pid is not None and view.rss_mb is not None
    )


def unsettled(state: AppState, count: int) -> str:
    """Return why the pool does not yet have `count` idle processes and nothing else; empty if it does."""
    if state.generation.is_broken:
        return f"the newest code does not load: {state.generation.error}"
    if jobs := state.live_jobs:
        others = f" and {counted(len(jobs) - 1, 'other')} are" if len(jobs) > 1 else " is"
        return f"the job in {jobs[0].room}{others} still running: {END_THEM}"
    states = [each.state for each in state.live_processes if each.kind is ProcessKind.JOB]
    idle = states.count(ev.ProcessState.IDLE)
    if idle != count or len(states) != count:
        return f"{idle} of {count} processes idle, {len(states) - idle} starting or ending"
    return ""
