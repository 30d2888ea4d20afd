"""Runs a test load or a sweep beside the engine: commands start and stop it, and events report it."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from agent_tui.engine.config import RunConfig
from agent_tui.engine.engine import Engine
from agent_tui.engine.engine_api import EngineAPI
from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model.clock import Clock, SystemClock
from agent_tui.model.errors import InternalError, UserError
from agent_tui.model.logs import LogLevel
from agent_tui.model.tuning import (
    Advice,
    EarlierSweep,
    Progress,
    SweepOutcome,
    SweepResult,
    SweepView,
    Target,
    TestLoad,
)
from agent_tui.model.wording import counted
from agent_tui.tuning import store
from agent_tui.tuning.advice import advise
from agent_tui.tuning.load_run import TestLoadRun
from agent_tui.tuning.results import rows
from agent_tui.tuning.sweep import Sweep, SweepError, SweepTimings

LEAVING = "agent-tui is stopping"

PUBLISH_S = 0.25
"""How often the progress of a test load, or of a run of a sweep, is published."""

LARGEST_SHARE = 0.05
"""The share of time that publishing may take: a test load with thousands of jobs is published less often."""

CLOSE_S = 5.0
"""Time limit for a test load or sweep to end when agent-tui ends."""


def make_engine(config: RunConfig) -> Engine:
    """Return an engine with a tuner. Raises UserError for an option that cannot be used."""
    engine = Engine(config)
    tuner = Tuner(engine, engine.publish)
    engine.add_handlers(tuner.handlers, tuner.close)
    return engine


class Tuner:
    """Runs one test load or sweep at a time."""

    def __init__(
        self,
        engine: EngineAPI,
        emit: Callable[[ev.Event], None],
        clock: Clock | None = None,
        environ: Mapping[str, str] = os.environ,
        timings: SweepTimings = SweepTimings(),  # noqa: B008  it is frozen
    ) -> None:
        self._engine = engine
        self._emit = emit
        self._clock = clock or SystemClock()
        self._environ = environ
        self._timings = timings
        self._starting = asyncio.Lock()
        self._current: TestLoadRun | Sweep | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._published: Progress | None = None
        """The last published progress of the sweep."""
        self.handlers: dict[type[object], Callable[[Any], Coroutine[Any, Any, cmd.CommandResult]]] = {
            cmd.StartTestLoad: self._start_load,
            cmd.StartSweep: self._start_sweep,
            cmd.StopTuning: self._stop,
        }
        """The handlers of the commands for the tuner, by command class."""

    async def close(self) -> None:
        """End the running test load or sweep, without computing advice."""
        async with self._starting:
            self._closing = True
        match self._current:
            case Sweep() as sweep:
                sweep.stop(LEAVING, leaving=True)
            case TestLoadRun() as load:
                load.stop(LEAVING)
        if self._task is not None:
            # With a limit, because a server may not answer a dispatch.
            await asyncio.wait({self._task}, timeout=CLOSE_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # -- commands --------------------------------------------------------------------------------------

    async def _start_load(self, command: cmd.StartTestLoad) -> cmd.CommandResult:
        async with self._starting:
            self._check_free()
            load = TestLoadRun(self._engine, command.load, self._clock, command.confirmed_host)
            self._emit(ev.TestLoadChanged(load.view))
            self._current = load
            self._task = asyncio.create_task(self._load(load), name="test load")
        return cmd.CommandResult(True, counted(command.load.jobs, "test job"))

    async def _start_sweep(self, command: cmd.StartSweep) -> cmd.CommandResult:
        plan, target = command.plan, command.target
        # Earlier sweeps are read in a thread. Until then, the lock prevents other commands from starting one.
        async with self._starting:
            self._check_free()
            before = await asyncio.to_thread(self._earlier, self._engine.state.agent, plan.load)
            sweep = Sweep(self._engine, plan, self._progressed, self._clock, self._timings)
            self._published = sweep.progress
            self._emit(ev.SweepStarted(SweepView(plan, target, sweep.progress, sweep.result, before)))
            self._current = sweep
            self._task = asyncio.create_task(self._sweep(sweep, target), name="sweep")
        runs = counted(len(plan.counts) * plan.repeat, "run")
        return cmd.CommandResult(True, f"{runs} of {counted(plan.load.jobs, 'test job')}")

    async def _stop(self, command: cmd.StopTuning) -> cmd.CommandResult:
        if self._current is not None:
            self._current.stop(command.reason)
        return cmd.CommandResult(True, command.reason)

    def _check_free(self) -> None:
        if why := LEAVING if self._closing else self._engine.state.tuning.busy:
            raise UserError(why)

    # -- test loads ------------------------------------------------------------------------------------

    async def _load(self, load: TestLoadRun) -> None:
        publishing = asyncio.create_task(self._publish_load(load), name="test load's figures")
        try:
            await load.run()
        except Exception as error:
            load.stop(self._report(error))
        finally:
            publishing.cancel()
            self._current = None
            self._emit(ev.TestLoadChanged(load.view))

    async def _publish_load(self, load: TestLoadRun) -> None:
        pause_s = PUBLISH_S
        while True:
            await asyncio.sleep(pause_s)
            started = self._clock.monotonic()
            self._emit(ev.TestLoadChanged(load.view))
            pause_s = max(PUBLISH_S, (self._clock.monotonic() - started) / LARGEST_SHARE)

    # -- sweeps ----------------------------------------------------------------------------------------

    async def _sweep(self, sweep: Sweep, target: Target) -> None:
        outcome = SweepOutcome()
        publishing = asyncio.create_task(self._publish_jobs(sweep), name="sweep's figures")
        try:
            outcome = await self._measure(sweep, target)
        except SweepError as error:
            outcome = SweepOutcome(error=str(error))
        except Exception as error:
            outcome = SweepOutcome(ended=self._report(error))
        except asyncio.CancelledError:
            # Keep the finished runs, even if a run hangs.
            outcome = self._saved(sweep.result, None)
            raise
        finally:
            publishing.cancel()
            self._current = None
            self._emit(ev.SweepEnded(outcome))

    async def _measure(self, sweep: Sweep, target: Target) -> SweepOutcome:
        """Run the sweep, compute the advice, and save both. Raises SweepError if nothing was measured."""
        result = await sweep.run()
        advice = None if self._closing else await asyncio.to_thread(advise, result, target)
        return await asyncio.to_thread(self._saved, result, advice)

    def _progressed(self, progress: Progress) -> None:
        """Publish the progress immediately. A change of only the number of jobs may wait: there are many."""
        if self._published is None or progress != replace(self._published, jobs=progress.jobs):
            self._published = progress
            self._emit(ev.SweepProgressed(progress))

    async def _publish_jobs(self, sweep: Sweep) -> None:
        pause_s = PUBLISH_S
        while True:
            await asyncio.sleep(pause_s)
            if sweep.progress == self._published:
                continue
            started = self._clock.monotonic()
            self._published = sweep.progress
            self._emit(ev.SweepProgressed(replace(sweep.progress, so_far=sweep.so_far)))
            pause_s = max(PUBLISH_S, (self._clock.monotonic() - started) / LARGEST_SHARE)

    def _earlier(self, agent: str, load: TestLoad) -> EarlierSweep | None:
        with suppress(OSError):
            kept = store.earlier(store.folder(self._environ, agent), self._clock.time())
            if before := store.comparable(load, kept):
                return EarlierSweep(before.started, rows(before))
        return None

    def _saved(self, result: SweepResult, advice: Advice | None) -> SweepOutcome:
        outcome = SweepOutcome(result.ended, advice=advice)
        if not result.runs:
            return outcome
        try:
            names = store.save(store.folder(self._environ, result.agent), result, advice)
        except OSError as error:
            return replace(outcome, not_saved=store.why_not_saved(error))
        return replace(outcome, files=tuple(map(str, names)))

    def _report(self, error: Exception) -> str:
        """Publish an internal error, and return its text. The engine continues."""
        text = str(InternalError("tuner", error))
        self._emit(ev.Notice(LogLevel.ERROR, text))
        return text
