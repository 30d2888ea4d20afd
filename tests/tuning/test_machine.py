"""The machine's CPU use during a run, and the warning when it was saturated."""

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent_tui.model import commands as cmd
from agent_tui.model.tuning import RunMeasure, SweepPlan, TestLoad
from agent_tui.tuning.advice import advise
from agent_tui.tuning.grammar import parse_target
from agent_tui.tuning.load_run import TestLoadRun
from agent_tui.tuning.machine import cpu_sampled
from agent_tui.tuning.recorder import Recorder
from agent_tui.tuning.results import row, saturated, saturation_warning
from agent_tui.tuning.sweep import Sweep
from tests.fakes.clock import FakeClock
from tests.fakes.scripted_child import until
from tests.tuning.support import RULE, sweep_of
from tests.tuning.test_sweep import LOAD, QUICK, PoolEngine
from tests.tuning.test_tuner import ENDLESS, TARGET, tuned
from tests.tuning.test_tuner import sweep_of as view_of


def run_with(*shares: float) -> RunMeasure:
    return RunMeasure(1, 0, TestLoad(4), machine_cpu=tuple(enumerate(shares)))


def reader(shares: Iterable[float]) -> Callable[[], Callable[[], Awaitable[float]]]:
    """Return a function that makes a source of these CPU figures."""
    left = iter(shares)

    async def read() -> float:
        return next(left)

    return lambda: read


@pytest.mark.parametrize(
    ("runs", "share"),
    [
        ((), 0.0),
        ((run_with(),), 0.0),
        ((run_with(0.5, 0.94, 0.2),), 0.0),
        ((run_with(1.0, 0.95, 0.2, 0.4),), 0.5),
        ((run_with(1.0, 1.0), run_with(0.1, 1.0)), 0.75),
    ],
)
def test_the_share_of_the_time_with_a_saturated_machine(runs: tuple[RunMeasure, ...], share: float) -> None:
    assert saturated(runs) == share
    warning = saturation_warning(runs)
    assert bool(warning) is (share >= 0.5)
    assert not warning or f"saturated for {share:.0%} of the time" in warning


def test_the_row_of_a_count_has_its_average_cpu() -> None:
    assert row(1, (run_with(1.0, 0.5), run_with(0.0))).machine_cpu == 0.5
    assert row(1, (run_with(),)).machine_cpu is None


def test_the_advice_mentions_a_saturated_machine() -> None:
    result = sweep_of(TestLoad(40, 2.0), counts=(0, 1))
    busy = replace(result, runs=tuple(replace(run, machine_cpu=((0.5, 1.0),)) for run in result.runs))
    target = parse_target("p95<50ms")
    assert not any("saturated" in line for line in advise(result, target, RULE).lines)
    assert any(line.startswith("  note: the machine was sat") for line in advise(busy, target, RULE).lines)


async def test_a_sweep_measures_the_cpu_of_each_run() -> None:
    engine = PoolEngine()
    plan = SweepPlan(LOAD, (0, 4))
    result = await Sweep(
        engine, plan, clock=engine.clock, timings=QUICK, measure_cpu=reader([0.25, 1.0] * 50)
    ).run()
    assert [bool(run.machine_cpu) for run in result.runs] == [True, True]
    assert {share for run in result.runs for _, share in run.machine_cpu} <= {0.25, 1.0}


async def test_a_load_measures_the_cpu_also_if_it_is_short() -> None:
    engine = PoolEngine()
    load = TestLoadRun(engine, LOAD, engine.clock, measure_cpu=reader([0.75] * 50))
    await load.run()
    assert load.view.measure.machine_cpu
    assert {share for _, share in load.view.measure.machine_cpu} == {0.75}


async def test_without_a_readable_counter_there_is_no_figure() -> None:
    async def read() -> float:
        raise OSError("no counter")

    recorder = Recorder(0, 0, LOAD, 0.0, ())
    async with cpu_sampled(recorder, read, FakeClock()):
        pass
    assert recorder.measure((), complete=True).machine_cpu == ()


async def test_the_current_run_is_published_from_its_first_job_on(tmp_path: Path) -> None:
    engine = tuned(tmp_path)
    assert (await engine.send(cmd.StartSweep(SweepPlan(ENDLESS, (4,)), TARGET))).ok
    await until(lambda: view_of(engine).progress.so_far is not None)
    so_far = view_of(engine).progress.so_far
    assert so_far is not None
    assert (so_far.num_idle_processes, so_far.jobs, so_far.p50_ms) == (4, 1, 5.0)
    assert view_of(engine).result.runs == ()
    assert (await engine.send(cmd.StopTuning("enough"))).ok
    await until(lambda: not engine.state.tuning.summary)
