"""What front ends show: a frozen projection of the events so far. Nobody acts on it."""

import math
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from agent_tui.model.child import ProcessKind
from agent_tui.model.events import (
    NO_STEPS,
    EndedBy,
    InterpreterChosen,
    JobStatus,
    LoadSteps,
    MemoryWarned,
    ProcessState,
    ServerChosen,
)
from agent_tui.model.settings import DEFAULTS, SettingsView
from agent_tui.model.time_series import TimeSeries
from agent_tui.model.tuning import TuningView


class Registration(StrEnum):
    """Where the worker stands with its server."""

    CONNECTING = "connecting"
    REGISTERED = "registered"
    SUSPECT = "suspect"
    BACKING_OFF = "backing off"
    REFUSED = "refused"
    OFFLINE = "offline"


class JobPhase(StrEnum):
    """How far a job has come."""

    OFFERED = "offered"
    ACCEPTED = "accepted"
    ASSIGNED = "assigned"
    RUNNING = "running"
    RESTARTING = "restarting"
    ENDED = "ended"
    LOST = "lost"
    DECLINED = "declined"


LIVE_PHASES = frozenset(
    {JobPhase.OFFERED, JobPhase.ACCEPTED, JobPhase.ASSIGNED, JobPhase.RUNNING, JobPhase.RESTARTING}
)


class WorkerView(Struct, frozen=True):
    """The registration strip."""

    state: Registration = Registration.CONNECTING
    worker_id: str = ""
    agent_name: str = ""
    server: str = ""
    region: str = ""
    node_id: str = ""
    since: float = 0.0
    reconnects: int = 0
    reason: str = ""
    last_loss: str = ""
    """Why the connection was lost last, also when it is back."""
    lost_at: float = 0.0
    retry_in_s: float | None = None
    measured_load: float = 0.0
    reported_load: float = 0.0


class GenerationView(Struct, frozen=True):
    """The current generation, and the last load that failed if nothing good came after it."""

    current: int = 0
    runtime: str = ""
    sdk_version: str | None = None
    start_method: str = ""
    start_reason: str = ""
    seconds: float | None = None
    rolled_back_to: int = 0
    """The generation whose code runs, while that is not what is on disk."""
    loading: int = 0
    loading_cause: str = ""
    failed: int = 0
    error: str = ""
    file: str | None = None
    line: int | None = None
    traceback: str = ""

    @property
    def is_broken(self) -> bool:
        """The newest code does not load, or its processes do not become ready."""
        return self.failed > 0 and self.failed >= self.current


class StartsView(Struct, frozen=True):
    """Starts of job processes that fail in a row; `failures` is 0 while they succeed."""

    failures: int = 0
    error: str = ""
    retry_at: float = 0.0
    """Of the next attempt, in Unix seconds."""
    accepting: bool = True

    def next_attempt(self, now: float) -> str:
        """Return when the next attempt follows, in words."""
        left = math.ceil(self.retry_at - now)
        return f"retrying in {left} s" if left > 0 else "retrying"


class LoadRecord(Struct, frozen=True):
    """One load, good or bad, as the generations page lists it. `ts` is Unix seconds."""

    number: int
    ts: float
    good: bool
    cause: str
    seconds: float | None
    start_method: str = ""
    start_reason: str = ""
    load_ms: float = 0.0
    changed: tuple[str, ...] = ()
    error: str = ""
    file: str | None = None
    line: int | None = None
    traceback: str = ""
    steps: LoadSteps = NO_STEPS
    rolled_back_to: int = 0


class WatchingView(Struct, frozen=True):
    """Whether saves are loaded."""

    paused: bool = False
    passed_over: tuple[str, ...] = ()


class ProcessView(Struct, frozen=True):
    """One row of the process table. Memory in MB, `since` and `started` in Unix seconds."""

    id: str
    pid: int | None
    kind: ProcessKind
    state: ProcessState
    generation: int
    started: float
    since: float
    job_id: str | None = None
    rss_mb: float | None = None
    uss_mb: float | None = None
    pss_mb: float | None = None
    children_mb: float = 0.0
    cpu_pct: float | None = None
    ping_ms: float | None = None
    reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    ended_by: EndedBy | None = None
    memory: TimeSeries = field(default_factory=TimeSeries)
    """MB by the measure that counts."""


class JobTimes(Struct, frozen=True):
    """When a job came how far, in Unix seconds; None for what did not happen or was not told.

    Those of its first process, where it was restarted. `dispatched` is known of dispatches made here.
    """

    dispatched: float | None = None
    offered: float | None = None
    answered: float | None = None
    assigned: float | None = None
    launched: float | None = None
    entered: float | None = None
    connected: float | None = None
    ended: float | None = None


class JobView(Struct, frozen=True):
    """One job from its offer on."""

    id: str
    room: str
    phase: JobPhase
    offered: float
    accepted: bool | None = None
    """None until the offer was answered."""
    generation: int = 0
    process_id: str | None = None
    pid: int | None = None
    warm: bool | None = None
    offer_to_entry_ms: float | None = None
    dispatch_to_entry_ms: float | None = None
    status: JobStatus | None = None
    reason: str = ""
    seconds: float | None = None
    dispatch_id: str = ""
    test_dispatch: int = 0
    """The number of the dispatch made here that it comes from; 0 for none."""
    restarts: int = 0
    times: JobTimes = field(default_factory=JobTimes)
    ended_by: EndedBy | None = None
    exit_code: int | None = None
    signal: int | None = None
    traceback: str = ""
    memory: TimeSeries = field(default_factory=TimeSeries)
    """Its process's when the job ended; a running job's is in `AppState.processes`."""


class DispatchView(Struct, frozen=True):
    """One test dispatch made here, or (`ours` is False) one of somebody else that is known to be lost."""

    room: str
    made: float
    agent_name: str = ""
    dispatch_id: str | None = None
    job_id: str | None = None
    lost: str = ""
    """Why it became no job."""
    number: int = 0
    """Under which events speak of it; 0 for somebody else's."""

    @property
    def ours(self) -> bool:
        return self.number > 0

    @property
    def waits(self) -> bool:
        """It was made here and has neither a job nor a loss."""
        return self.ours and self.job_id is None and not self.lost


class Totals(Struct, frozen=True):
    """Counts over the whole run."""

    dispatched: int = 0
    started: int = 0
    warm: int = 0
    success: int = 0
    failed: int = 0
    terminated: int = 0
    lost: int = 0


class AppState(Struct, frozen=True):
    """Everything a front end needs to draw itself from nothing."""

    version: str = ""
    agent: str = ""
    interpreter: InterpreterChosen | None = None
    server: ServerChosen | None = None
    http_url: str = ""
    settings: SettingsView = DEFAULTS
    """Secrets masked."""
    worker: WorkerView = field(default_factory=WorkerView)
    generation: GenerationView = field(default_factory=GenerationView)
    starts: StartsView = field(default_factory=StartsView)
    loads: tuple[LoadRecord, ...] = ()
    """The last loads, oldest first."""
    watching: WatchingView = field(default_factory=WatchingView)
    processes: Mapping[str, ProcessView] = field(default_factory=dict)
    jobs: Mapping[str, JobView] = field(default_factory=dict)
    dispatches: tuple[DispatchView, ...] = ()
    breaches: tuple[tuple[float, MemoryWarned], ...] = ()
    totals: Totals = field(default_factory=Totals)
    tuning: TuningView = field(default_factory=TuningView)
    log_end: int = 0
    logs_dropped: int = 0
    stopping: str = ""
    stop_by: float = 0.0
    """When what then still runs is killed, in Unix seconds; 0 while nothing stops."""
    stopped: bool = False

    def is_stale(self, process: ProcessView) -> bool:
        """Whether a process runs its job on code that is no longer current."""
        return process.state is ProcessState.JOB and process.generation < self.generation.current

    def is_ready_for_tests(self, target: int) -> bool:
        """Whether test jobs can be dispatched, `target` being the count of processes to keep idle.

        That is: registered, loaded, and with a warm process unless none is to be kept. One that has ended
        already is as good: where none can become warm, the jobs will say why.
        """
        states = {p.state for p in self.processes.values() if p.kind is ProcessKind.JOB}
        warm = target == 0 or not states.isdisjoint({ProcessState.IDLE, ProcessState.ENDED})
        registered = self.worker.state is Registration.REGISTERED
        return registered and self.generation.current > 0 and warm

    def memory_of(self, job: JobView) -> TimeSeries:
        """The memory of a job's process, of one that is over too."""
        process = self.processes.get(job.process_id) if job.process_id else None
        return process.memory if process is not None and process.memory.points else job.memory

    @property
    def live_processes(self) -> tuple[ProcessView, ...]:
        return tuple(p for p in self.processes.values() if p.state is not ProcessState.ENDED)

    @property
    def live_jobs(self) -> tuple[JobView, ...]:
        return tuple(job for job in self.jobs.values() if job.phase in LIVE_PHASES)
