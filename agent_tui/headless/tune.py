"""`agent-tui tune` once the agent is ready: a sweep, its table and advice."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent_tui.engine.bus import LaggedError
from agent_tui.engine.engine_api import EngineAPI
from agent_tui.headless import jsonl
from agent_tui.model import commands as cmd
from agent_tui.model.child import ProcessKind
from agent_tui.model.errors import ExitCode, UserError
from agent_tui.model.tuning import RunMeasure, SweepPlan, SweepView, Target
from agent_tui.tuning import report, store
from agent_tui.tuning.model import this_machines_rule
from agent_tui.tuning.results import row, rows

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


class Tuning:
    """The work of a headless run that tunes; see `headless.run.Work`."""

    def __init__(self, engine: EngineAPI, options: TuneOptions) -> None:
        self._engine = engine
        self._options = options
        self._done: SweepView | None = None

    async def run(self, say: Callable[[str], None]) -> ExitCode:
        """Raises UserError when not even the first job comes."""
        plan = self._plan(say)
        started = await self._engine.send(cmd.StartSweep(plan, self._options.target))
        if not started.ok:
            raise UserError(started.text, ExitCode.JOB_FAILED)
        stopping = asyncio.create_task(self._stop_in_time(), name="--seconds")
        try:
            sweep = await self._follow(plan, say)
        finally:
            stopping.cancel()
        if sweep.outcome is not None and sweep.outcome.trouble:
            raise UserError(sweep.outcome.trouble, ExitCode.JOB_FAILED)
        self._done = sweep
        advised = sweep.advice is not None and sweep.advice.count is not None
        return ExitCode.OK if advised else ExitCode.JOB_FAILED

    def last_lines(self) -> Sequence[str]:
        """The table, what is advised, how it was before, and where it is kept."""
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
            lines.append(f"kept in {sweep.outcome.files[0]} and .csv")
        elif sweep.outcome.not_kept:
            lines.append(f"not kept: {sweep.outcome.not_kept}")
        return lines

    def last_event(self) -> dict[str, Any] | None:
        """`tune_result`."""
        sweep = self._done
        if sweep is None or sweep.outcome is None or sweep.advice is None:
            return None
        return jsonl.tune_result(sweep.result, sweep.advice, sweep.outcome.files)

    async def _follow(self, plan: SweepPlan, say: Callable[[str], None]) -> SweepView:
        """Say a line for each run that is finished; return the sweep as it is in the end."""
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
            except LaggedError:  # the state has all runs
                batches = self._engine.subscribe().batches()

    async def _stop_in_time(self) -> None:
        if self._options.until is not None:
            await asyncio.sleep(self._options.until - time.monotonic())
            await self._engine.send(cmd.StopTuning("--seconds are over"))

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


def jobs_in_time(plan: SweepPlan, seconds: float, warm_up_s: float) -> int:
    """How many jobs a run may have for all runs to take that long together."""
    at_once = this_machines_rule().starts_at_once
    rest = sum(
        RUN_COSTS_S + plan.load.job_length_s + warm_up_s * (1 + math.ceil(count / at_once))
        for count in plan.counts
    )
    runs = len(plan.counts) * plan.repeat
    return max(int((seconds - rest * plan.repeat) / runs * plan.load.mean_rate), FEWEST_JOBS)


def _run_line(run: RunMeasure, plan: SweepPlan) -> str:
    of = f", {run.repeat + 1} of {plan.repeat}" if plan.repeat > 1 else ""
    measured = row(run.num_idle_processes, [run])
    p95 = "–" if measured.p95_ms is None else f"{measured.p95_ms:.1f} ms"
    return (
        f"  {run.num_idle_processes} idle{of}: {measured.jobs} jobs, p95 {p95}, "
        f"{measured.warm_hit_rate:.0%} warm" + (f", {measured.lost} lost" if measured.lost else "")
    )
