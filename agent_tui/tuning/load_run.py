"""One load of test jobs: each dispatched at its time, and what became of it."""

import asyncio

from agent_tui.engine.engine_api import EngineAPI
from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model.clock import Clock
from agent_tui.model.tuning import TestLoad, TestLoadView
from agent_tui.tuning.dispatching import dispatch_all
from agent_tui.tuning.recorder import Recorder, idle_processes
from agent_tui.tuning.watching import Watcher

TAIL_S = 60.0
"""For the last jobs to be over, on top of their length."""


class TestLoadRun:
    """Runs once. numIdleProcesses may change meanwhile: that is what one watches it for."""

    def __init__(self, engine: EngineAPI, load: TestLoad, clock: Clock, confirmed_host: str = "") -> None:
        self._engine = engine
        self._load = load
        self._clock = clock
        self._host = confirmed_host
        self._watcher = Watcher(engine)
        self._watcher.hear = self._hear
        self._started = clock.time()
        self._over_at: float | None = None
        count = self._wanted
        idle = idle_processes(self._watcher.state)
        self._recorder = Recorder(count, 0, load, self._started, idle)
        self._counts = [(0.0, count)]
        self._stop = ""
        self._stopping = asyncio.Event()

    @property
    def view(self) -> TestLoadView:
        """As of now, or of its end."""
        running = self._over_at is None
        now = self._clock.time() if self._over_at is None else self._over_at
        measure = self._recorder.measure((), complete=not running and not self._stop)
        return TestLoadView(
            measure, tuple(self._counts), now - self._started, running, self._stop, self._started
        )

    def stop(self, reason: str) -> None:
        """No more jobs are dispatched; those that run end by themselves."""
        self._stop = self._stop or reason
        self._stopping.set()
        self._watcher.wake()

    async def run(self) -> None:
        """Dispatches everything and waits until all jobs are over."""
        watching = asyncio.create_task(self._watcher.run(), name="load's events")
        recorder = self._recorder
        try:
            job = cmd.Dispatch(confirmed_host=self._host, length_s=self._load.job_length_s)
            refused = await dispatch_all(self._engine, job, self._load, recorder, self._clock, self._stopping)
            if refused:
                self.stop(refused)
            limit_s = self._load.job_length_s + TAIL_S
            done = await self._watcher.until(
                lambda: bool(self._stop) or recorder.settled >= recorder.made, limit_s
            )
            if not done:
                self._stop = self._stop or self._watcher.trouble or "the last jobs are not over"
        finally:
            self._over_at = self._clock.time()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    @property
    def _wanted(self) -> int:
        return self._engine.state.settings.options.num_idle_processes

    def _hear(self, stamped: ev.Stamped) -> None:
        self._recorder.hear(stamped)
        if self._wanted != self._counts[-1][1]:
            self._counts.append((max(stamped.ts - self._started, 0.0), self._wanted))
