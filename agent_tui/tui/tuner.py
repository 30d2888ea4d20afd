"""What is being tuned, and what came of it: owned by the app, so that it goes on while no page shows it."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from agent_tui.engine.engine_api import EngineAPI
from agent_tui.model.clock import Clock, SystemClock
from agent_tui.model.errors import UserError
from agent_tui.tui.load_run import LoadRun
from agent_tui.tuning import store
from agent_tui.tuning.advice import Advice, advise
from agent_tui.tuning.grammar import Target
from agent_tui.tuning.loads import Load
from agent_tui.tuning.results import SweepResult
from agent_tui.tuning.sweep import Progress, Sweep, SweepError, SweepPlan, SweepTimings

LEAVING = "agent-tui is ending"


@dataclass(frozen=True, slots=True)
class SweepView:
    """A sweep as it stands."""

    plan: SweepPlan
    target: Target
    progress: Progress
    result: SweepResult
    running: bool
    """Until there is advice too."""
    advice: Advice | None = None
    before: SweepResult | None = None
    """The last one of the same agent with the same load."""
    kept: str = ""
    """Where it is kept, or why it is not."""
    trouble: str = ""
    """Why it could not even begin."""


class SweepRun:
    """One sweep, then its advice; kept on disk and compared with the one before. Runs once."""

    def __init__(self, sweep: Sweep, target: Target, environ: Mapping[str, str]) -> None:
        self._sweep = sweep
        self._target = target
        self._environ = environ
        self._running, self._leaving = True, False
        self._advice: Advice | None = None
        self._before: SweepResult | None = None
        self._kept = self._trouble = ""

    @property
    def running(self) -> bool:
        return self._running

    @property
    def view(self) -> SweepView:
        """As of now."""
        sweep = self._sweep
        return SweepView(
            sweep.plan,
            self._target,
            sweep.progress,
            sweep.result,
            self._running,
            self._advice,
            self._before,
            self._kept,
            self._trouble,
        )

    @property
    def progress(self) -> str:
        """How far it is, short."""
        return f"sweep {self._sweep.progress.run}/{self._sweep.progress.runs}"

    def stop(self, reason: str, *, leaving: bool = False) -> None:
        """Ends it; what was measured is kept. Nobody reads advice who is `leaving`."""
        self._leaving = self._leaving or leaving
        self._sweep.stop(reason)

    async def run(self) -> None:
        """Measures, advises and keeps."""
        try:
            self._before = await asyncio.to_thread(self._earlier)
            result = await self._sweep.run()
            if result.runs and not self._leaving:
                self._advice = await asyncio.to_thread(advise, result, self._target)
            if result.runs:
                await asyncio.to_thread(self._keep, result)
        except SweepError as error:
            self._trouble = str(error)
        finally:
            self._running = False

    def _earlier(self) -> SweepResult | None:
        now = self._sweep.result
        with suppress(OSError):
            return store.comparable(now, store.earlier(store.folder(self._environ, now.agent), now.started))
        return None

    def _keep(self, result: SweepResult) -> None:
        try:
            names = store.save(store.folder(self._environ, result.agent), result, self._advice)
        except OSError as error:
            self._kept = f"not kept: {store.why_not_kept(error)}"
            return
        self._kept = f"kept in {store.shown(names[0], self._environ)} and .csv"


@dataclass
class Tuner:
    """One load or sweep at a time; the last one of each stays to be looked at."""

    clock: Clock = field(default_factory=SystemClock)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    timings: SweepTimings = field(default_factory=SweepTimings)
    ended: Callable[[str], None] = lambda _: None
    """Hears in a few words of the end of a load or a sweep."""

    def __post_init__(self) -> None:
        self.load: LoadRun | None = None
        self.sweep: SweepRun | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def current(self) -> LoadRun | SweepRun | None:
        """What is under way."""
        return next((each for each in (self.load, self.sweep) if each is not None and each.running), None)

    @property
    def sweeping(self) -> bool:
        """Whether numIdleProcesses is a sweep's to set."""
        return self.sweep is not None and self.sweep.running

    @property
    def summary(self) -> str:
        """What is under way, for a place with little room; empty if nothing."""
        return "" if self.current is None else self.current.progress

    @property
    def advice(self) -> Advice | None:
        """What the last sweep advises."""
        return None if self.sweep is None else self.sweep.view.advice

    def check_free(self) -> None:
        """Raises UserError while something is under way: two loads at once measure each other."""
        if self.current is not None:
            raise UserError(f"{self.current.progress} is still under way: T shows it, and Esc there ends it")

    def start_load(self, engine: EngineAPI, load: Load, confirmed_host: str = "") -> None:
        """Raises UserError while something is under way."""
        self.check_free()
        self.load = LoadRun(engine, load, self.clock, confirmed_host)
        self._start(self.load.run(), "the load")

    def start_sweep(self, engine: EngineAPI, plan: SweepPlan, target: Target) -> None:
        """`plan` names a remote server's host if confirmed. Raises UserError while something is under way."""
        self.check_free()
        sweep = Sweep(engine, plan, clock=self.clock, timings=self.timings)
        self.sweep = SweepRun(sweep, target, self.environ)
        self._start(self.sweep.run(), "the sweep")

    def stop(self, reason: str) -> None:
        """Ends what is under way; what was measured stays."""
        if self.current is not None:
            self.current.stop(reason)

    async def close(self) -> None:
        """Ends what is under way, without advice that nobody will read."""
        if isinstance(self.current, SweepRun):
            self.current.stop(LEAVING, leaving=True)
        self.stop(LEAVING)
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._task = asyncio.create_task(self._follow(work, name), name=name)

    async def _follow(self, work: Coroutine[Any, Any, None], name: str) -> None:
        await work
        self.ended(f"{name} is over")
