"""Runs a sweep: the same test load at several counts of idle processes, each from a steady state.

A sweep uses the engine as front ends do, through `EngineAPI`. It sets numIdleProcesses, and restores its
value at the end.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from agent_tui.engine.engine_api import EngineAPI
from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model.clock import Clock, SystemClock
from agent_tui.model.tuning import IdleMemory, Phase, Progress, Row, RunMeasure, SweepPlan, SweepResult
from agent_tui.tuning.arrivals import seed_of_repeat
from agent_tui.tuning.dispatching import dispatch_all, dispatch_one
from agent_tui.tuning.machine import ReadCpu, cpu_sampled
from agent_tui.tuning.recorder import SETTLE_WITHIN_S, Recorder, idle_memory, idle_processes, unsettled
from agent_tui.tuning.results import row
from agent_tui.tuning.watching import Watcher
from agent_tui.worker.load import CpuLoad

OPTION = "numIdleProcesses"
RELOADED = "the code was reloaded during the sweep; the results are for the old code"


class SweepError(Exception):
    """The sweep cannot continue; its text is one line. The results so far are in the sweep's `result`."""


@dataclass(frozen=True, slots=True)
class SweepTimings:
    """Time limits, in seconds."""

    settle_s: float = SETTLE_WITHIN_S
    """Limit for the pool to settle. Jobs of others may have to end first."""
    quiet_s: float = 0.2
    """How long the pool must be idle before the test load starts; not a limit."""
    read_s: float = 2.0
    """Limit for reading the memory of the idle processes."""
    tail_s: float = 60.0
    """Limit for the last jobs to end, in addition to their length."""


@dataclass
class Sweep:
    """One sweep. Call `run` once. It calls `on_progress` for every step."""

    engine: EngineAPI
    plan: SweepPlan
    on_progress: Callable[[Progress], None] = lambda _: None
    clock: Clock = field(default_factory=SystemClock)
    timings: SweepTimings = field(default_factory=SweepTimings)
    measure_cpu: Callable[[], ReadCpu] = CpuLoad

    def __post_init__(self) -> None:
        self._watcher = Watcher(self.engine)
        self._stop = ""
        self._leaving = False
        self._stopping = asyncio.Event()
        state, plan = self._watcher.state, self.plan
        self._job = cmd.Dispatch(
            confirmed_host=plan.confirmed_host, length_s=plan.load.job_length_s, test_load=True
        )
        self._generation = state.generation.current
        name = state.settings.options.agent_name
        self.result = SweepResult(state.agent, name, self.clock.time(), plan.load, plan.counts, plan.repeat)
        """The results so far."""
        runs = len(plan.counts) * plan.repeat
        self.progress = Progress(Phase.FIRST_JOB, runs, plan.load.jobs)
        self._running: tuple[Recorder, tuple[IdleMemory, ...]] | None = None

    @property
    def so_far(self) -> Row | None:
        """The figures of the current run; None as long as it has no job."""
        if self._running is None:
            return None
        recorder, memory = self._running
        run = recorder.measure(memory, complete=False)
        return row(run.num_idle_processes, (run,)) if run.jobs else None

    def stop(self, reason: str, *, leaving: bool = False) -> None:
        """End the sweep, and keep its results. With `leaving`, agent-tui ends: do not restore the option."""
        self._stop = self._stop or reason
        self._leaving = leaving
        self._stopping.set()
        self._watcher.wake()

    async def run(self) -> SweepResult:
        """Measure everything, or as much as possible. Raises SweepError if nothing was measured."""
        watching = asyncio.create_task(self._watcher.run(), name="sweep's events")
        try:
            await self._measure_all()
        except SweepError as error:
            if not self.result.runs:
                raise
            self._stop = self._stop or str(error)
        finally:
            self._report(Phase.RESTORING)
            await self._restore()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            self.result = replace(self.result, ended=self._stop)
        self._report(Phase.DONE)
        return self.result

    async def _measure_all(self) -> None:
        """Measure each count once per repeat, so that slow changes of the machine affect all counts."""
        await self._first_job()
        for repeat in range(self.plan.repeat):
            for count in self.plan.counts:
                if self._stop:
                    return
                await self._settle(count)
                if self._stop:
                    return
                await self._run(count, repeat)

    # -- the parts ------------------------------------------------------------------------------------

    async def _first_job(self) -> None:
        """Run one unmeasured job: it shows that jobs arrive, and imports what only the first job needs."""
        self._report(Phase.FIRST_JOB, waits_for="the first job")
        load = self.plan.load
        recorder = Recorder(0, 0, load, self.clock.time(), ())
        self._watcher.on_event = recorder.record
        if refused := await dispatch_one(self.engine, self._job, recorder, self.clock):
            raise SweepError(refused)
        await self._await_jobs(recorder)
        lost = [job.lost for job in recorder.measure((), complete=True).jobs if job.lost]
        if lost and not self._stop:
            raise SweepError(f"the first job was lost: {lost[0]}")

    async def _settle(self, count: int) -> None:
        """Set the count, and wait until that many processes are idle and nothing else happens."""
        self._report(Phase.SETTLING, count=count)
        await self._set(str(count))
        watcher = self._watcher

        def settled() -> bool:
            waits_for = unsettled(watcher.state, count)
            if waits_for and waits_for != self.progress.waits_for:
                self._report(Phase.SETTLING, count=count, waits_for=waits_for)
            return bool(self._stop) or not waits_for or watcher.state.generation.is_broken

        await watcher.until(settled, self.timings.settle_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.timings.quiet_s):
                await self._stopping.wait()
        if watcher.ended and not self._stop:
            raise SweepError(watcher.ended)
        if (why := unsettled(watcher.state, count)) and not self._stop:
            raise SweepError(f"the pool did not become idle with numIdleProcesses {count}: {why}")
        if watcher.state.generation.current != self._generation and self.result.runs:
            raise SweepError(RELOADED)
        self._generation = watcher.state.generation.current

    async def _run(self, count: int, repeat: int) -> None:
        memory = await self._idle_memory()
        load = self.plan.load.reseeded(seed_of_repeat(self.plan.load.seed, repeat))
        recorder = Recorder(count, repeat, load, self.clock.time(), idle_processes(self._watcher.state))
        reported = -1

        def record(stamped: ev.Stamped) -> None:
            nonlocal reported
            recorder.record(stamped)
            if recorder.settled != reported:
                reported = recorder.settled
                self._report(Phase.RUNNING, count=count, repeat=repeat, jobs=reported)

        self._watcher.on_event = record
        self._report(Phase.RUNNING, count=count, repeat=repeat)
        self._running = recorder, memory
        async with cpu_sampled(recorder, self.measure_cpu(), self.clock):
            refused = await dispatch_all(self.engine, self._job, load, recorder, self.clock, self._stopping)
            if not refused:
                await self._await_jobs(recorder)
        self._watcher.on_event = self._running = None
        if self._watcher.state.generation.current != self._generation:
            raise SweepError(RELOADED)
        complete = not self._stop and not refused and recorder.settled >= load.jobs
        run = recorder.measure(memory, complete=complete)
        if run.jobs:
            self.result = replace(self.result, runs=(*self.result.runs, run))
            self._report(Phase.RUNNING, count=count, repeat=repeat, jobs=len(run.jobs), finished=run)
        if refused or self._watcher.ended:
            raise SweepError(refused or self._watcher.ended)

    async def _idle_memory(self) -> tuple[IdleMemory, ...]:
        """Measure the memory of idle processes now, because the last measurement may be seconds old."""
        read: set[str] = set()
        watcher = self._watcher

        def note(stamped: ev.Stamped) -> None:
            if isinstance(stamped.event, ev.ProcessMeasured):
                read.add(stamped.event.id)

        watcher.on_event = note
        await self.engine.send(cmd.MeasureMemory())
        await watcher.until(
            lambda: bool(self._stop) or read.issuperset(idle_processes(watcher.state)), self.timings.read_s
        )
        return idle_memory(watcher.state)

    async def _await_jobs(self, recorder: Recorder) -> None:
        limit_s = self.plan.load.job_length_s + self.timings.tail_s
        await self._watcher.until(lambda: bool(self._stop) or recorder.settled >= recorder.made, limit_s)

    async def _set(self, value: str | None) -> None:
        result = await self.engine.send(cmd.SetOptions({OPTION: value}, measuring=True))
        if not result.ok:
            raise SweepError(f"cannot set {OPTION} to {value}: {result.text}")

    async def _restore(self) -> None:
        """Restore the option, unless agent-tui ends: the pool would start processes that are not needed."""
        self._watcher.on_event = None
        if self._leaving:
            return
        with contextlib.suppress(SweepError):
            await self._set(None)

    def _report(
        self,
        phase: Phase,
        *,
        count: int | None = None,
        repeat: int = 0,
        jobs: int = 0,
        waits_for: str = "",
        finished: RunMeasure | None = None,
    ) -> None:
        self.progress = Progress(
            phase,
            self.progress.runs,
            self.plan.load.jobs,
            len(self.result.runs),
            count,
            repeat,
            jobs,
            waits_for,
            finished,
        )
        self.on_progress(self.progress)
