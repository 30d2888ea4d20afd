"""Test loads, sweeps, their measurements, and advice, as frozen data."""

import math
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace


class Pattern(StrEnum):
    """How the jobs of a test load arrive."""

    POISSON = "poisson"
    STEADY = "steady"
    BURST = "burst"
    RAMP = "ramp"


class TestLoad(Struct, frozen=True):
    """`jobs` test jobs at `rate` per second, each ended after `job_length_s` unless it ends earlier.

    A burst dispatches all at once, regardless of the rate. A ramp changes linearly from `rate` to `end_rate`.
    Raises ValueError for impossible values.
    """

    jobs: int
    rate: float = 1.0
    pattern: Pattern = Pattern.POISSON
    end_rate: float | None = None
    job_length_s: float = 1.0
    seed: int = 1

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ValueError("a test load needs at least one job")
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise ValueError(f"{self.rate} jobs per second is not a rate above 0")
        if self.pattern is Pattern.RAMP and not (
            self.end_rate is not None and math.isfinite(self.end_rate) and self.end_rate > 0
        ):
            raise ValueError("a ramp needs the rate at its end")
        if not (math.isfinite(self.job_length_s) and self.job_length_s > 0):
            raise ValueError(f"a job cannot last {self.job_length_s} s")

    @property
    def mean_rate(self) -> float:
        """Jobs per second over the whole test load; infinite for a burst."""
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
        """Return the same test load with another seed."""
        return replace(self, seed=seed)


class SweepPlan(Struct, frozen=True):
    """What to measure: the test load at each of `counts`, `repeat` times, with a seed for each repeat."""

    load: TestLoad
    counts: tuple[int, ...]
    repeat: int = 1
    confirmed_host: str = ""
    """The host of the remote server on which test jobs are allowed."""


class Target(Struct, frozen=True):
    """At least `share` of the jobs (more, if `above`) start within `limit_ms` of their dispatch.

    Without a limit, that share must find a warm process. A lost job misses every target.
    """

    share: float
    limit_ms: float | None = None
    above: bool = False
    text: str = ""
    """The target as typed; ignored when targets are compared."""

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
        """Return whether a job hits the target; `latency_ms` is infinite for a lost job."""
        return warm if self.limit_ms is None else latency_ms < self.limit_ms

    def met(self, hits: int, jobs: int) -> bool:
        """Return whether that many hits meet the target; False if there are no jobs."""
        needed = self.share * jobs
        return jobs > 0 and (hits > needed + 1e-9 if self.above else hits >= needed - 1e-9)


# -- measures --------------------------------------------------------------------------------------------


class JobMeasure(Struct, frozen=True):
    """One test job. A field is None if that step did not happen.

    `at_s` is the time from the start of the run to the dispatch. `wait_ms` is the time from the accepted
    offer until the job had a process; 0 if that was a warm one.
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
    """Why the job's entry function was never called; empty if it was."""

    @property
    def latency_ms(self) -> float:
        """From dispatch to entry, in ms; infinite for a lost job."""
        return math.inf if self.dispatch_to_entry_ms is None else self.dispatch_to_entry_ms


class IdleMemory(Struct, frozen=True):
    """The memory of an idle process before the test load, in MB; None if the system does not report it."""

    pid: int
    rss_mb: float
    uss_mb: float | None = None
    pss_mb: float | None = None


class RunMeasure(Struct, frozen=True):
    """One run: a test load at one count of idle processes. Times are in seconds since its start."""

    num_idle_processes: int
    repeat: int
    load: TestLoad
    jobs: tuple[JobMeasure, ...] = ()
    warm_ups_s: tuple[float, ...] = ()
    """Seconds from start to ready, for each process that was started during the run."""
    warming_cpu_s: tuple[float, ...] = ()
    """CPU seconds that each of these processes used until it was ready."""
    refills_s: tuple[float, ...] = ()
    """Duration of each refill: from the first missing idle process until the target number was idle."""
    memory: tuple[IdleMemory, ...] = ()
    idle: tuple[tuple[float, int], ...] = ()
    """The number of idle processes over time, as (time, number)."""
    arrivals_s: tuple[float, ...] = ()
    """When the jobs were dispatched."""
    others: int = 0
    """The number of other jobs during the run; they used processes too."""
    complete: bool = True
    """Whether the whole test load was run."""
    machine_cpu: tuple[tuple[float, float], ...] = ()
    """CPU use of the machine, or of the container, over time, as (time, share from 0 to 1)."""


class SweepResult(Struct, frozen=True):
    """A sweep: its plan, and the measured runs in order."""

    agent: str
    agent_name: str
    started: float
    """Unix seconds."""
    load: TestLoad
    counts: tuple[int, ...]
    repeat: int
    runs: tuple[RunMeasure, ...] = ()
    ended: str = ""
    """Why the sweep ended early; empty if everything was measured."""

    def runs_of(self, count: int) -> tuple[RunMeasure, ...]:
        return tuple(run for run in self.runs if run.num_idle_processes == count)

    @property
    def measured(self) -> tuple[int, ...]:
        """The measured counts, in order."""
        return tuple(sorted({run.num_idle_processes for run in self.runs if run.jobs}))


class Row(Struct, frozen=True):
    """One count of idle processes in the table. Latencies are from dispatch to entry, in ms; memory is in MB.

    A percentile is None if it falls on a lost job. `uss_mb`, `pss_mb`, and `rss_mb` are the average of one
    idle process; `idle_…` is the sum of all. `machine_cpu` is the machine's average CPU use, from 0 to 1.
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
    machine_cpu: float | None = None


# -- advice ----------------------------------------------------------------------------------------------


class MeasuredCount(Struct, frozen=True):
    """One measured count. Shares are from 0 to 1.

    `measured`: share of jobs that hit the target, with Wilson's 95% `interval`. `predicted`: the same
    share by the model. `sure`: share of simulated new runs that meet the target. `confidence`: the interval
    in which the share of hits is expected to be in 95 of 100 new runs with as many jobs.
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
    """`count` is None if no measured count meets the target. `lines` are the advice as text."""

    target: Target
    count: int | None
    candidates: tuple[MeasuredCount, ...]
    lines: tuple[str, ...]

    @property
    def chosen(self) -> MeasuredCount | None:
        """The recommended count; None if no count is recommended."""
        return next((each for each in self.candidates if each.num_idle_processes == self.count), None)


# -- progress --------------------------------------------------------------------------------------------


class Phase(StrEnum):
    """What a sweep is doing."""

    FIRST_JOB = "first job"
    SETTLING = "settling"
    RUNNING = "running"
    RESTORING = "restoring"
    DONE = "done"


class Progress(Struct, frozen=True):
    """The progress of a sweep: `run` of `runs` and `jobs` of `jobs_of` are finished."""

    phase: Phase
    runs: int
    jobs_of: int
    run: int = 0
    count: int | None = None
    """The count of idle processes that is being measured, or that the pool is being adjusted to."""
    repeat: int = 0
    jobs: int = 0
    waits_for: str = ""
    """What the sweep is waiting for while the pool is being adjusted."""
    finished: RunMeasure | None = None
    """The run that has just finished. Each run is in exactly one `Progress`."""
    so_far: Row | None = None
    """The figures of the current run; None while it has no job."""


class TestLoadView(Struct, frozen=True):
    """The state of a test load. `counts` are the values of numIdleProcesses over time, as (second, value)."""

    measure: RunMeasure
    counts: tuple[tuple[float, int], ...]
    elapsed_s: float
    running: bool
    ended: str = ""
    """Why the test load ended early; empty if all jobs ended."""
    started: float = 0.0
    """Unix seconds."""

    @property
    def progress(self) -> str:
        """The progress in a few words."""
        made = len(self.measure.arrivals_s) + sum(not job.room for job in self.measure.jobs)
        return f"test load {made}/{self.measure.load.jobs}"


class EarlierSweep(Struct, frozen=True):
    """The table of the last sweep of the agent with the same test load. `started` is in Unix seconds."""

    started: float
    rows: tuple[Row, ...]


class SweepOutcome(Struct, frozen=True):
    """How a sweep ended."""

    ended: str = ""
    """Why the sweep ended early; empty if everything was measured."""
    error: str = ""
    """Why nothing was measured; empty if something was."""
    advice: Advice | None = None
    files: tuple[str, ...] = ()
    """The saved files, JSON and CSV."""
    not_saved: str = ""
    """Why the results are not saved; empty if they are."""


class SweepView(Struct, frozen=True):
    """The state of a sweep, which runs until it has an outcome. The outcome includes the advice."""

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
    """The last test load and the last sweep. One of them may be running."""

    test_load: TestLoadView | None = None
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
        return self.test_load.progress if self.test_load is not None and self.test_load.running else ""

    @property
    def busy(self) -> str:
        """Why no test load or sweep can start now (two would distort each other); empty if one can."""
        return self.summary and f"{self.summary} is still running: T shows it, and x there ends it"
