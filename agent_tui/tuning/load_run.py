"""One test load: dispatches its jobs, and measures them."""

import asyncio
from collections.abc import Callable

from agent_tui.engine.engine_api import EngineAPI
from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model.clock import Clock
from agent_tui.model.tuning import TestLoad, TestLoadView
from agent_tui.tuning.dispatching import dispatch_all
from agent_tui.tuning.machine import ReadCpu, cpu_sampled
from agent_tui.tuning.recorder import Recorder, idle_processes
from agent_tui.tuning.watching import Watcher
from agent_tui.worker.load import CpuLoad

TAIL_S = 60.0
"""Time limit for the last jobs to end, in addition to their length."""


class TestLoadRun:
    """Runs one test load. Users may change numIdleProcesses during it, to compare the counts."""

    def __init__(
        self,
        engine: EngineAPI,
        load: TestLoad,
        clock: Clock,
        confirmed_host: str = "",
        measure_cpu: Callable[[], ReadCpu] = CpuLoad,
    ) -> None:
        self._engine = engine
        self._load = load
        self._clock = clock
        self._host = confirmed_host
        self._measure_cpu = measure_cpu
        self._watcher = Watcher(engine)
        self._watcher.on_event = self._on_event
        self._started = clock.time()
        self._ended_at: float | None = None
        count = self._num_idle_processes
        idle = idle_processes(self._watcher.state)
        self._recorder = Recorder(count, 0, load, self._started, idle)
        self._counts = [(0.0, count)]
        self._stop = ""
        self._stopping = asyncio.Event()

    @property
    def view(self) -> TestLoadView:
        """The current measurements, or the final ones."""
        running = self._ended_at is None
        now = self._clock.time() if self._ended_at is None else self._ended_at
        measure = self._recorder.measure((), complete=not running and not self._stop)
        return TestLoadView(
            measure, tuple(self._counts), now - self._started, running, self._stop, self._started
        )

    def stop(self, reason: str) -> None:
        """Dispatch no more jobs. The running jobs end by themselves."""
        self._stop = self._stop or reason
        self._stopping.set()
        self._watcher.wake()

    async def run(self) -> None:
        """Dispatch all jobs, and wait until they have ended."""
        watching = asyncio.create_task(self._watcher.run(), name="test load's events")
        recorder = self._recorder
        try:
            job = cmd.Dispatch(confirmed_host=self._host, length_s=self._load.job_length_s, test_load=True)
            async with cpu_sampled(recorder, self._measure_cpu(), self._clock):
                refused = await dispatch_all(
                    self._engine, job, self._load, recorder, self._clock, self._stopping
                )
                if refused:
                    self.stop(refused)
                limit_s = self._load.job_length_s + TAIL_S
                done = await self._watcher.until(
                    lambda: bool(self._stop) or recorder.settled >= recorder.made, limit_s
                )
            if not done:
                self._stop = self._stop or self._watcher.ended or "the last jobs did not end"
        finally:
            self._ended_at = self._clock.time()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    @property
    def _num_idle_processes(self) -> int:
        return self._engine.state.settings.options.num_idle_processes

    def _on_event(self, stamped: ev.Stamped) -> None:
        self._recorder.record(stamped)
        if self._num_idle_processes != self._counts[-1][1]:
            self._counts.append((max(stamped.ts - self._started, 0.0), self._num_idle_processes))
