"""What front ends show: a frozen projection of the events so far. The engine never reads it to decide."""

import math
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from agent_tui.model.child import ProcessKind
from agent_tui.model.conversations import Sessions
from agent_tui.model.events import (
    NO_STEPS,
    EndedBy,
    InterpreterChosen,
    JobStatus,
    LoadSteps,
    MemoryWarned,
    Notice,
    ProcessState,
    ServerChosen,
)
from agent_tui.model.failure_views import Failures
from agent_tui.model.settings import DEFAULTS, SettingsView
from agent_tui.model.time_series import TimeSeries
from agent_tui.model.tuning import TuningView


class RegistrationState(StrEnum):
    """The state of the worker's registration."""

    CONNECTING = "connecting"
    REGISTERED = "registered"
    SUSPECT = "suspect"
    BACKING_OFF = "backing off"
    REFUSED = "refused"
    OFFLINE = "offline"


class JobPhase(StrEnum):
    """The phases of a job."""

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
    """The worker's registration. Times are in Unix seconds."""

    state: RegistrationState = RegistrationState.CONNECTING
    worker_id: str = ""
    agent_name: str = ""
    server: str = ""
    region: str = ""
    node_id: str = ""
    deployment: str = ""
    knows_deployments: bool = True
    since: float = 0.0
    reconnects: int = 0
    reason: str = ""
    todo: str = ""
    """What to do about `reason`; empty if there is no advice."""
    last_loss: str = ""
    """Why the connection was last lost. Kept after it is restored."""
    lost_at: float = 0.0
    retry_in_s: float | None = None
    measured_load: float = 0.0
    reported_load: float = 0.0

    @property
    def is_registered(self) -> bool:
        """Whether it is registered, even if the server does not respond at the moment."""
        return self.state in (RegistrationState.REGISTERED, RegistrationState.SUSPECT)


class GenerationView(Struct, frozen=True):
    """The current generation, and the last failed load unless a later one succeeded."""

    current: int = 0
    runtime: str = ""
    sdk_version: str | None = None
    start_method: str = ""
    start_reason: str = ""
    seconds: float | None = None
    rolled_back_to: int = 0
    """After a rollback, the earlier generation whose code runs; 0 if the code is that on disk."""
    loading: int = 0
    loading_cause: str = ""
    failed: int = 0
    error: str = ""
    file: str | None = None
    line: int | None = None
    traceback: str = ""
    todo: str = ""
    """What to do about `error`; empty if there is no advice."""

    @property
    def is_broken(self) -> bool:
        """Whether the newest code fails to load, or its processes do not become ready."""
        return self.failed > 0 and self.failed >= self.current


class StartsView(Struct, frozen=True):
    """Failed starts of job processes. `failures` counts consecutive ones; 0 while starts succeed."""

    failures: int = 0
    error: str = ""
    retry_at: float = 0.0
    """The time of the next attempt, in Unix seconds."""
    accepting: bool = True
    generation: int = 0
    file: str | None = None
    line: int | None = None
    traceback: str = ""
    """The traceback of the last attempt, or its stacks if it was killed."""
    ended_by: EndedBy | None = None
    todo: str = ""
    """What to do about `error`; empty if there is no advice."""

    @property
    def is_failing(self) -> bool:
        """Whether front ends report that starts fail: after a timeout, or after two failures in a row.

        Any other first failure is retried at once.
        """
        return self.failures >= 2 or (self.failures > 0 and self.ended_by is EndedBy.INIT_TIMEOUT)

    def next_attempt(self, now: float) -> str:
        """Return the time until the next attempt, as text."""
        left = math.ceil(self.retry_at - now)
        return f"retrying in {left} s" if left > 0 else "retrying"


class LoadRecord(Struct, frozen=True):
    """One load of the code, successful or failed. `ts` is in Unix seconds."""

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
    """Whether saves trigger reloads, and the files whose saves are ignored."""

    paused: bool = False
    ignored: tuple[str, ...] = ()


class ProcessView(Struct, frozen=True):
    """One process. Memory is in MB; `since` (its state) and `started` are in Unix seconds."""

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
    blocked_since: float = 0.0
    """When the process's event loop stopped answering, in Unix seconds; 0 while it answers."""
    blocked_at: str = ""
    """The line that blocked the event loop most recently: `agent.py:12 in entry`; empty if unknown."""
    reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    ended_by: EndedBy | None = None
    memory: TimeSeries = field(default_factory=TimeSeries)
    """The process's memory over time, in MB, by the measure to which the limits apply."""


class JobTimes(Struct, frozen=True):
    """The times of a job, in Unix seconds; None for a step that did not happen or whose time is unknown.

    For a restarted job they are those of its first process. `dispatched` is known for test dispatches only.
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
    """One job, from its offer onward."""

    id: str
    room: str
    phase: JobPhase
    offered: float
    accepted: bool | None = None
    """Whether the offer was accepted; None until it is answered."""
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
    """The number of the job's test dispatch; 0 for other jobs."""
    test_load: bool = False
    """Whether a test load or a sweep made that dispatch."""
    restarts: int = 0
    pinned: bool = False
    """Whether the job is pinned: reloads do not change its code."""
    times: JobTimes = field(default_factory=JobTimes)
    ended_by: EndedBy | None = None
    exit_code: int | None = None
    signal: int | None = None
    traceback: str = ""
    todo: str = ""
    """What to do about the failure; empty if there is no advice."""
    memory: TimeSeries = field(default_factory=TimeSeries)
    """The memory of the process when the job ended. For a running job, see `AppState.processes`."""


class DispatchView(Struct, frozen=True):
    """One test dispatch, or (`ours` is False) a lost dispatch that was made elsewhere."""

    room: str
    made: float
    agent_name: str = ""
    dispatch_id: str | None = None
    job_id: str | None = None
    lost: str = ""
    """Why no job started; empty unless it is lost."""
    number: int = 0
    """The number of the dispatch in events; 0 for a dispatch made elsewhere."""

    @property
    def ours(self) -> bool:
        return self.number > 0

    @property
    def waits(self) -> bool:
        """Whether this is a test dispatch that is still waiting: not lost, and without an offered job."""
        return self.ours and self.job_id is None and not self.lost


class Totals(Struct, frozen=True):
    """Counts since the start."""

    dispatched: int = 0
    started: int = 0
    warm: int = 0
    success: int = 0
    failed: int = 0
    terminated: int = 0
    lost: int = 0


class AppState(Struct, frozen=True):
    """Everything that a front end shows."""

    version: str = ""
    agent: str = ""
    interpreter: InterpreterChosen | None = None
    server: ServerChosen | None = None
    http_url: str = ""
    settings: SettingsView = DEFAULTS
    """The settings in effect, with secrets masked."""
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
    impaired: Mapping[str, tuple[float, Notice]] = field(default_factory=dict)
    """The parts of agent-tui that do not work: since when (Unix seconds), and the newest notice on each."""
    tuning: TuningView = field(default_factory=TuningView)
    follows_sessions: bool = True
    """Whether agent-tui attaches to the sessions of jobs."""
    failures: Failures = field(default_factory=dict)
    """Failures of the current code about which users can do something, and that are not over."""
    sessions: Sessions = field(default_factory=dict)
    """Open sessions, and the last `ENDED` sessions that have ended."""
    log_end: int = 0
    logs_dropped: int = 0
    stopping: str = ""
    stop_by: float = 0.0
    """When the remaining processes will be killed, in Unix seconds; 0 unless agent-tui is stopping."""
    stopped: bool = False

    def is_stale(self, process: ProcessView) -> bool:
        """Return whether a process runs its job on code that is no longer current."""
        job = self.jobs.get(process.job_id) if process.job_id else None
        code = process.generation if job is None else self.code_of(job)
        return process.state is ProcessState.JOB and code < self.generation.current

    def code_of(self, job: JobView) -> int:
        """Return the generation whose code a job runs: the oldest of its open sessions, or the job's own.

        0 if the job has no generation yet.
        """
        sessions = self.sessions.values()
        return min(
            (each.generation for each in sessions if each.job_id == job.id and each.ended_at is None),
            default=job.generation,
        )

    def is_ready_for_tests(self, target: int) -> bool:
        """Return whether test jobs can be dispatched. `target` is the number of idle processes to keep.

        The worker must be registered and the code loaded. Unless `target` is 0, a job process must be warm.
        An ended process counts too: processes may be unable to become warm, and the test jobs will report
        why.
        """
        states = {p.state for p in self.processes.values() if p.kind is ProcessKind.JOB}
        warm = target == 0 or not states.isdisjoint({ProcessState.IDLE, ProcessState.ENDED})
        registered = self.worker.state is RegistrationState.REGISTERED
        return registered and self.generation.current > 0 and warm

    def memory_of(self, job: JobView) -> TimeSeries:
        """Return the memory of a job's process over time, even if the job has ended."""
        process = self.processes.get(job.process_id) if job.process_id else None
        return process.memory if process is not None and process.memory.points else job.memory

    @property
    def live_processes(self) -> tuple[ProcessView, ...]:
        return tuple(p for p in self.processes.values() if p.state is not ProcessState.ENDED)

    @property
    def live_jobs(self) -> tuple[JobView, ...]:
        return tuple(job for job in self.jobs.values() if job.phase in LIVE_PHASES)
