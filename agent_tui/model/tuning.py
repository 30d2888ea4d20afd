"""Loads of test jobs, sweeps of them, what they measured and the advice drawn from it, as frozen data."""

import math
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace


class Pattern(StrEnum):
    """How the arrivals of a load lie in time."""

    POISSON = "poisson"
    STEADY = "steady"
    BURST = "burst"
    RAMP = "ramp"


class TestLoad(Struct, frozen=True):
    """`jobs` test jobs at `rate` a second, each ended after `job_length_s` unless it ends before.

    A burst is all at once, whatever the rate; a ramp goes evenly from `rate` to `end_rate`. Raises
    ValueError for what is no load.
    """

    jobs: int
    rate: float = 1.0
    pattern: Pattern = Pattern.POISSON
    end_rate: float | None = None
    job_length_s: float = 1.0
    seed: int = 1

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ValueError("a load has at least one job")
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise ValueError(f"{self.rate} jobs a second is no rate")
        if self.pattern is Pattern.RAMP and not (
            self.end_rate is not None and math.isfinite(self.end_rate) and self.end_rate > 0
        ):
            raise ValueError("a ramp needs the rate that it ends with")
        if not (math.isfinite(self.job_length_s) and self.job_length_s > 0):
            raise ValueError(f"a job cannot last {self.job_length_s} s")

    @property
    def mean_rate(self) -> float:
        """Jobs a second over the whole load; infinite for a burst."""
        if self.pattern is Pattern.BURST:
            return math.inf
        if self.pattern is Pattern.RAMP and self.end_rate is not None:
            return (self.rate + self.end_rate) / 2
        return self.rate

    @property
    def span_s(self) -> float:
        """Seconds from the start to the last arrival, on average."""
        return self.jobs / self.mean_rate

    def reseeded(self, seed: int) -> "TestLoad":
        """The same load with other luck."""
        return replace(self, seed=seed)


class SweepPlan(Struct, frozen=True):
    """What to measure: the load at each of `counts`, `repeat` times with a seed each."""

    load: TestLoad
    counts: tuple[int, ...]
    repeat: int = 1
    confirmed_host: str = ""
    """Of the remote server that may be tested on."""


class Target(Struct, frozen=True):
    """At least `share` of the jobs (more, if `above`) enter within `limit_ms` of their dispatch.

    Without a limit: find a process warm. A lost job misses every target.
    """

    share: float
    limit_ms: float | None = None
    above: bool = False
    text: str = ""
    """As it was written; it makes no difference between two targets."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Target) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[float, float | None, bool]:
        return self.share, self.limit_ms, self.above

    def __str__(self) -> str:
        if self.limit_ms is None:
            return f"warm{'>' if self.above else '>='}{self.share * 100:.10g}%"
        return f"p{self.share * 100:.10g}<{self.limit_ms:.10g}ms"

    def hit(self, latency_ms: float, warm: bool) -> bool:
        """Whether one job is as it should be; `latency_ms` is infinite for a lost one."""
        return warm if self.limit_ms is None else latency_ms < self.limit_ms

    def met(self, hits: int, jobs: int) -> bool:
        """Whether so many hits are enough; no jobs meet nothing."""
        needed = self.share * jobs
        return jobs > 0 and (hits > needed + 1e-9 if self.above else hits >= needed - 1e-9)


# -- measures --------------------------------------------------------------------------------------------


class JobMeasure(Struct, frozen=True):
    """One test job. Times in ms; None for what did not happen.

    `at_s` counts from the start of its run to its dispatch. `wait_ms` is from the accepted offer until a
    process was there, 0 for a warm one.
    """

    room: str
    at_s: float
    dispatch_to_entry_ms: float | None = None
    dispatch_to_offer_ms: float | None = None
    offer_to_entry_ms: float | None = None
    wait_ms: float | None = None
    warm: bool = False
    process_id: str = ""
    lost: str = ""
    """Why it was never entered; empty for one that was."""

    @property
    def latency_ms(self) -> float:
        """From dispatch to entry; infinite for a lost job."""
        return math.inf if self.dispatch_to_entry_ms is None else self.dispatch_to_entry_ms


class IdleMemory(Struct, frozen=True):
    """MB of one idle process before the load; None where the system does not tell."""

    pid: int
    rss_mb: float
    uss_mb: float | None = None
    pss_mb: float | None = None


class RunMeasure(Struct, frozen=True):
    """One load at one count of idle processes. Times in seconds from its start, unless they say ms."""

    num_idle_processes: int
    repeat: int
    load: TestLoad
    jobs: tuple[JobMeasure, ...] = ()
    warm_ups_s: tuple[float, ...] = ()
    """From a process's start until it was ready, for each that was started meanwhile."""
    warming_cpu_s: tuple[float, ...] = ()
    """Processor seconds that it took to become ready."""
    refills_s: tuple[float, ...] = ()
    """From the moment in which idle processes were missing until none was."""
    memory: tuple[IdleMemory, ...] = ()
    idle: tuple[tuple[float, int], ...] = ()
    """How many processes waited idle, from when on."""
    arrivals_s: tuple[float, ...] = ()
    """When the jobs were dispatched."""
    others: int = 0
    """Jobs of somebody else that came meanwhile, and took processes."""
    complete: bool = True
    """Whether the whole load was run."""


class SweepResult(Struct, frozen=True):
    """A whole sweep: what was asked for and what was measured, the runs in the order they were made."""

    agent: str
    agent_name: str
    started: float
    """Unix seconds."""
    load: TestLoad
    counts: tuple[int, ...]
    repeat: int
    runs: tuple[RunMeasure, ...] = ()
    ended: str = ""
    """Why it ended before everything was measured; empty if it did not."""

    def runs_of(self, count: int) -> tuple[RunMeasure, ...]:
        return tuple(run for run in self.runs if run.num_idle_processes == count)

    @property
    def measured(self) -> tuple[int, ...]:
        """The counts that jobs were measured with, in order."""
        return tuple(sorted({run.num_idle_processes for run in self.runs if run.jobs}))


class Row(Struct, frozen=True):
    """One count of the table: latencies from dispatch to entry in ms, memory in MB.

    A percentile is None if a lost job would be it. `uss_mb`, `pss_mb` and `rss_mb` are of one idle process,
    on average; `idle_…` of all of them together.
    """

    num_idle_processes: int
    jobs: int
    lost: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    warm_hit_rate: float
    wait_p95_ms: float | None
    warm_up_p50_ms: float | None
    warming_cpu_ms: float | None
    refill_p50_ms: float | None
    uss_mb: float | None
    pss_mb: float | None
    rss_mb: float | None
    idle_uss_mb: float | None
    idle_pss_mb: float | None


# -- advice ----------------------------------------------------------------------------------------------


class Candidate(Struct, frozen=True):
    """One count that was measured. Shares are from 0 to 1.

    `measured` of its jobs hit the target (`interval`: Wilson's, 95 %); the model predicts `predicted`, and
    that `sure` of all new runs meet the target. `confidence` holds the share of a new run of as many jobs,
    95 times of 100.
    """

    num_idle_processes: int
    jobs: int
    measured: float
    met: bool
    interval: tuple[float, float]
    predicted: float | None
    sure: float | None
    confidence: tuple[float, float]
    warm_measured: float
    warm_predicted: float | None


class Advice(Struct, frozen=True):
    """`count` is None when no count that was measured meets the target. The lines are for people."""

    target: Target
    count: int | None
    candidates: tuple[Candidate, ...]
    lines: tuple[str, ...]

    @property
    def chosen(self) -> Candidate | None:
        """The count that is advised."""
        return next((each for each in self.candidates if each.num_idle_processes == self.count), None)


# -- as it stands ----------------------------------------------------------------------------------------


class Phase(StrEnum):
    """What a sweep is doing."""

    FIRST_JOB = "first job"
    SETTLING = "settling"
    RUNNING = "running"
    RESTORING = "restoring"
    DONE = "done"


class Progress(Struct, frozen=True):
    """Where a sweep stands. `run` and `jobs` count from 0: how many are finished of `runs` and `jobs_of`."""

    phase: Phase
    runs: int
    jobs_of: int
    run: int = 0
    count: int | None = None
    """Idle processes of the current run, or those that it waits for."""
    repeat: int = 0
    jobs: int = 0
    waits_for: str = ""
    """While it settles: what keeps it."""
    finished: RunMeasure | None = None
    """The run whose end this progress reports; only in one progress each."""


class TestLoadView(Struct, frozen=True):
    """A load as it stands. `counts` are the values of numIdleProcesses, from which second on each."""

    measure: RunMeasure
    counts: tuple[tuple[float, int], ...]
    elapsed_s: float
    running: bool
    ended: str = ""
    """Why it ended before all jobs were over; empty if it did not."""
    started: float = 0.0
    """Unix seconds."""

    @property
    def progress(self) -> str:
        """How far it is, in a few words."""
        made = len(self.measure.arrivals_s) + sum(not job.room for job in self.measure.jobs)
        return f"load {made}/{self.measure.load.jobs}"


class EarlierSweep(Struct, frozen=True):
    """The table of the last sweep of the same agent with the same load. `started` is Unix seconds."""

    started: float
    rows: tuple[Row, ...]


class SweepOutcome(Struct, frozen=True):
    """How a sweep ended."""

    ended: str = ""
    """Why before everything was measured; empty if it did not."""
    trouble: str = ""
    """Why it measured nothing at all."""
    advice: Advice | None = None
    files: tuple[str, ...] = ()
    """The result on disk, as JSON and as CSV."""
    not_kept: str = ""
    """Why there are no files of what was measured."""


class SweepView(Struct, frozen=True):
    """A sweep as it stands: it runs, until there is advice too, or has an outcome."""

    plan: SweepPlan
    target: Target
    progress: Progress
    result: SweepResult
    before: EarlierSweep | None = None
    outcome: SweepOutcome | None = None

    @property
    def running(self) -> bool:
        return self.outcome is None

    @property
    def advice(self) -> Advice | None:
        return None if self.outcome is None else self.outcome.advice


class TuningView(Struct, frozen=True):
    """The last load and the last sweep; one of them may be running."""

    load: TestLoadView | None = None
    sweep: SweepView | None = None

    @property
    def sweeping(self) -> bool:
        """Whether a sweep sets numIdleProcesses."""
        return self.sweep is not None and self.sweep.running

    @property
    def summary(self) -> str:
        """What is running, in a few words; empty if nothing is."""
        if self.sweep is not None and self.sweep.running:
            return f"sweep {self.sweep.progress.run}/{self.sweep.progress.runs}"
        return self.load.progress if self.load is not None and self.load.running else ""

    @property
    def busy(self) -> str:
        """Why nothing more can start, for two loads at once measure each other; empty if something can."""
        return self.summary and f"{self.summary} is still under way: T shows it, and Esc there ends it"
