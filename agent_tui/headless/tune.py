"""`agent-tui tune` once the agent is ready: runs a sweep, and prints its table and advice."""

import asyncio
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from agent_tui.engine.bus import LaggedError
from agent_tui.engine.engine_api import EngineAPI
from agent_tui.files import shown_path
from agent_tui.model import commands as cmd
from agent_tui.model.child import ProcessKind
from agent_tui.model.errors import ExitCode, UserError
from agent_tui.model.tuning import RunMeasure, SweepPlan, SweepView, Target
from agent_tui.model.wording import counted
from agent_tui.tuning import report, store
from agent_tui.tuning.model import pool_rule_here
from agent_tui.tuning.results import row, rows

RUN_OVERHEAD_S = 1.5
"""About how long a run takes besides its test load and the start of its processes."""

MIN_JOBS = 5
"""The fewest jobs that a test load is shortened to."""


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """The plan and the target. `until`: when the sweep must have ended, on the monotonic clock."""

    plan: SweepPlan
    target: Target
    until: float | None = None
    fit_jobs: bool = False
    """Whether the test load may be shortened, so that every count is measured in time."""


class TuneWork:
    """The work of `agent-tui tune`; see `headless.run.Work`."""

    def __init__(self, engine: EngineAPI, options: TuneOptions) -> None:
        self._engine = engine
        self._options = options
        self._done: SweepView | None = None

    async def run(self, say: Callable[[str], None]) -> ExitCode:
        """Run the sweep. Raises UserError if it cannot start, or its first job is lost."""
        plan = self._plan(say)
        started = await self._engine.send(cmd.StartSweep(plan, self._options.target))
        if not started.ok:
            raise UserError(started.text, ExitCode.JOB_FAILED)
        stopping = asyncio.create_task(self._stop_in_time(), name="--seconds")
        try:
            sweep = await self._follow(plan, say)
        finally:
            stopping.cancel()
        if sweep.outcome is not None and sweep.outcome.error:
            raise UserError(sweep.outcome.error, ExitCode.JOB_FAILED)
        self._done = sweep
        advised = sweep.advice is not None and sweep.advice.count is not None
        return ExitCode.OK if advised else ExitCode.JOB_FAILED

    def last_lines(self) -> Sequence[str]:
        """Return the table, the advice, a comparison with the last sweep, and where this one is saved."""
        sweep = self._done
        if sweep is None or sweep.outcome is None or sweep.advice is None:
            return ()
        table = rows(sweep.result)
        lines = ["", *(report.table(table) if table else ()), ""]
        if sweep.outcome.ended:
            lines.append(f"ended early: {sweep.outcome.ended}")
        lines += sweep.advice.lines
        if sweep.before is not None and table:
            changes = store.compare(table, sweep.before.rows)
            lines += ["", *report.comparison(changes, sweep.before.started)]
        if sweep.outcome.files:
            lines.append(f"saved as {shown_path(Path(sweep.outcome.files[0]), os.environ)} and .csv")
        elif sweep.outcome.not_saved:
            lines.append(f"not saved: {sweep.outcome.not_saved}")
        return lines

    def last_event(self) -> dict[str, Any] | None:
        """Return the event `tune_result`."""
        sweep = self._done
        if sweep is None or sweep.outcome is None or sweep.advice is None:
            return None
        return report.tune_result(sweep.result, sweep.advice, sweep.outcome.files)

    async def _follow(self, plan: SweepPlan, say: Callable[[str], None]) -> SweepView:
        """Print a line for each finished run, and return the finished sweep."""
        batches, said = self._engine.subscribe().batches(), 0
        while True:
            sweep = self._engine.state.tuning.sweep
            assert sweep is not None
            for run in sweep.result.runs[said:]:
                say(_run_line(run, plan))
            said = len(sweep.result.runs)
            if not sweep.running:
                return sweep
            try:
                await anext(batches)
            except LaggedError:  # events were missed, but the state has all runs
                batches = self._engine.subscribe().batches()

    async def _stop_in_time(self) -> None:
        if self._options.until is not None:
            await asyncio.sleep(self._options.until - time.monotonic())
            await self._engine.send(cmd.StopTuning("the time limit (--seconds) was reached"))

    def _plan(self, say: Callable[[str], None]) -> SweepPlan:
        """Return the plan, with fewer jobs if the time requires it and that is allowed."""
        plan, options = self._options.plan, self._options
        if options.until is None or not options.fit_jobs or math.isinf(plan.load.mean_rate):
            return plan
        fitting = jobs_in_time(plan, options.until - time.monotonic(), self._warm_up_s())
        if fitting >= plan.load.jobs:
            return plan
        say(f"{fitting} jobs per run, to measure all counts in time (--jobs sets another number)")
        return replace(plan, load=replace(plan.load, jobs=fitting))

    def _warm_up_s(self) -> float:
        """Return the longest warm-up time of the idle processes, in seconds; 0.5 if there are none."""
        took = [
            each.since - each.started
            for each in self._engine.state.live_processes
            if each.kind is ProcessKind.JOB and each.state == "idle"
        ]
        return max(took, default=0.5)


def jobs_in_time(plan: SweepPlan, seconds: float, warm_up_s: float) -> int:
    """Return how many jobs per run fit into that many seconds, at least `MIN_JOBS`."""
    at_once = pool_rule_here().starts_at_once
    rest = sum(
        RUN_OVERHEAD_S + plan.load.job_length_s + warm_up_s * (1 + math.ceil(count / at_once))
        for count in plan.counts
    )
    runs = len(plan.counts) * plan.repeat
    return max(int((seconds - rest * plan.repeat) / runs * plan.load.mean_rate), MIN_JOBS)


def _run_line(run: RunMeasure, plan: SweepPlan) -> str:
    of = f", {run.repeat + 1} of {plan.repeat}" if plan.repeat > 1 else ""
    measured = row(run.num_idle_processes, [run])
    p95 = "–" if measured.p95_ms is None else f"{measured.p95_ms:.1f} ms"
    return (
        f"  {run.num_idle_processes} idle{of}: {counted(measured.jobs, 'job')}, p95 {p95}, "
        f"{measured.warm_hit_rate:.0%} warm" + (f", {measured.lost} lost" if measured.lost else "")
    )
