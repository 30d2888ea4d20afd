"""`agent-tui tune` once the agent is ready: the sweep, its table and advice, kept for later."""

import asyncio
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agent_tui.engine.engine_api import EngineAPI
from agent_tui.headless import jsonl
from agent_tui.model.child import ProcessKind
from agent_tui.model.errors import ExitCode, UserError
from agent_tui.tuning import report, store
from agent_tui.tuning.advice import Advice, advise
from agent_tui.tuning.grammar import Target
from agent_tui.tuning.model import this_machines_rule
from agent_tui.tuning.results import SweepResult, row, rows
from agent_tui.tuning.sweep import Progress, Sweep, SweepError, SweepPlan

RUN_COSTS_S = 1.5
"""What a run takes besides its load and the warming of its processes, about."""

FEWEST_JOBS = 5
"""A load is not made shorter than that to fit into the time there is."""


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """What is measured, for which target. `until`: when the sweep has to be over, on the monotonic clock."""

    plan: SweepPlan
    target: Target
    until: float | None = None
    fit_jobs: bool = False
    """Whether the load may be made shorter, so that every count is measured in time."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)


class Tuning:
    """The work of a headless run that tunes; see `headless.run.Work`."""

    def __init__(self, engine: EngineAPI, options: TuneOptions) -> None:
        self._engine = engine
        self._options = options
        self._sweep: Sweep | None = None
        self._result: SweepResult | None = None
        self._advice: Advice | None = None
        self._after: list[str] = []
        self._files: tuple[str, str] | None = None

    @property
    def sweeping(self) -> bool:
        """Whether a sweep is under way that can be stopped."""
        return self._sweep is not None and self._result is None

    def stop(self, reason: str) -> None:
        """Ends the sweep; what was measured is told."""
        if self._sweep is not None:
            self._sweep.stop(reason)

    async def run(self, say: Callable[[str], None]) -> ExitCode:
        """Raises UserError when not even the first job comes."""
        plan = self._plan(say)
        sweep = self._sweep = Sweep(self._engine, plan, lambda progress: _tell(progress, plan, say))
        timer = self._stop_in_time(sweep)
        try:
            result = await sweep.run()
        except SweepError as error:
            raise UserError(str(error), ExitCode.JOB_FAILED) from None
        finally:
            timer.cancel()
        self._result = result
        self._advice = await asyncio.to_thread(advise, result, self._options.target)
        await asyncio.to_thread(self._keep, result, self._advice)
        return ExitCode.OK if self._advice.count is not None else ExitCode.JOB_FAILED

    def last_lines(self) -> Sequence[str]:
        """The table, what is advised, how it was before, and where it is kept."""
        if self._result is None or self._advice is None:
            return ()
        ended = [f"ended early: {self._result.ended}"] if self._result.ended else []
        table = report.table(rows(self._result)) if self._result.runs else []
        return ["", *table, "", *ended, *self._advice.lines, *self._after]

    def last_event(self) -> dict[str, Any] | None:
        """`tune_result`."""
        if self._result is None or self._advice is None:
            return None
        return jsonl.tune_result(self._result, self._advice, self._files)

    def _plan(self, say: Callable[[str], None]) -> SweepPlan:
        """As asked for, with fewer jobs where that is allowed and the time asks for it."""
        plan, options = self._options.plan, self._options
        if options.until is None or not options.fit_jobs or math.isinf(plan.load.mean_rate):
            return plan
        fitting = jobs_in_time(plan, options.until - time.monotonic(), self._warm_up_s())
        if fitting >= plan.load.jobs:
            return plan
        say(f"{fitting} jobs a run, so that all counts are measured in time (--jobs sets another number)")
        return replace(plan, load=replace(plan.load, jobs=fitting))

    def _warm_up_s(self) -> float:
        """What the processes took that are idle already; half a second where there are none."""
        took = [
            each.since - each.started
            for each in self._engine.state.live_processes
            if each.kind is ProcessKind.JOB and each.state == "idle"
        ]
        return max(took, default=0.5)

    def _stop_in_time(self, sweep: Sweep) -> asyncio.TimerHandle:
        until = self._options.until
        left = math.inf if until is None else max(until - time.monotonic(), 0.0)
        # asyncio takes no infinite delays; a day is more than any sweep lasts.
        return asyncio.get_running_loop().call_later(min(left, 86_400.0), sweep.stop, "--seconds are over")

    def _keep(self, result: SweepResult, advice: Advice) -> None:
        """In a thread: writes the sweep, and compares it with the one before."""
        if not result.runs:
            return
        try:
            place = store.folder(self._options.environ, result.agent)
            before = store.comparable(result, store.earlier(place, result.started))
            if before is not None:
                self._after += ["", *report.comparison(store.compare(result, before), before.started)]
            names = store.save(place, result, advice)
        except OSError as error:
            self._after.append(f"not kept: {store.why_not_kept(error)}")
            return
        self._files = (str(names[0]), str(names[1]))
        self._after.append(f"kept in {names[0]} and .csv")


def jobs_in_time(plan: SweepPlan, seconds: float, warm_up_s: float) -> int:
    """How many jobs a run may have for all runs to take that long together."""
    at_once = this_machines_rule().starts_at_once
    rest = sum(
        RUN_COSTS_S + plan.load.job_length_s + warm_up_s * (1 + math.ceil(count / at_once))
        for count in plan.counts
    )
    runs = len(plan.counts) * plan.repeat
    return max(int((seconds - rest * plan.repeat) / runs * plan.load.mean_rate), FEWEST_JOBS)


def _tell(progress: Progress, plan: SweepPlan, say: Callable[[str], None]) -> None:
    """One line for each run that is over."""
    run = progress.finished
    if run is None:
        return
    of = f", {run.repeat + 1} of {plan.repeat}" if plan.repeat > 1 else ""
    measured = row(run.num_idle_processes, [run])
    p95 = "–" if measured.p95_ms is None else f"{measured.p95_ms:.1f} ms"
    say(
        f"  {run.num_idle_processes} idle{of}: {measured.jobs} jobs, p95 {p95}, "
        f"{measured.warm_hit_rate:.0%} warm" + (f", {measured.lost} lost" if measured.lost else "")
    )
