"""The test load or sweep beside the engine: commands start and stop it, events report it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model.codec import DATA
from agent_tui.model.tuning import (
    Advice,
    Pattern,
    SweepPlan,
    SweepResult,
    SweepView,
    Target,
    TestLoad,
    TestLoadView,
)
from agent_tui.tuning import load_run
from agent_tui.tuning import tuner as module
from agent_tui.tuning.grammar import parse_target
from agent_tui.tuning.load_run import TestLoadRun
from agent_tui.tuning.store import earlier, folder
from agent_tui.tuning.sweep import OPTION
from agent_tui.tuning.tuner import LEAVING, Tuner
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.limits import PATIENCE_S
from tests.tuning.test_sweep import QUICK, PoolEngine

BURST = TestLoad(4, pattern=Pattern.BURST)
ENDLESS = TestLoad(1000, 0.001, Pattern.STEADY)
TARGET = parse_target("p95<50ms")


def tuned(state: Path) -> PoolEngine:
    """An engine with a tuner that saves its sweeps in that folder."""
    engine = PoolEngine()
    tuner = Tuner(engine, engine.publish, engine.clock, {"XDG_STATE_HOME": str(state)}, QUICK)
    engine.add_handlers(tuner.handlers, tuner.close)
    return engine


def no_advice(_: SweepResult, target: Target) -> Advice:
    """Return advice without simulating."""
    return Advice(target, None, (), ("no advice",))


async def finished(engine: FakeEngine) -> None:
    await until(lambda: not engine.state.tuning.summary)


async def swept(engine: FakeEngine, plan: SweepPlan) -> SweepView:
    """Wait for the end of the sweep, and return it."""
    assert (await engine.send(cmd.StartSweep(plan, TARGET))).ok
    await finished(engine)
    return sweep_of(engine)


def sweep_of(engine: FakeEngine) -> SweepView:
    sweep = engine.state.tuning.sweep
    assert sweep is not None
    return sweep


def load_of(engine: FakeEngine) -> TestLoadView:
    load = engine.state.tuning.test_load
    assert load is not None
    return load


async def test_a_sweep_gets_advice_is_saved_and_compared_with_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tuned(tmp_path)
    plan = SweepPlan(BURST, (0, 4))
    assert (await engine.send(cmd.StartSweep(plan, TARGET))).ok
    assert engine.state.tuning.summary == "sweep 0/2"
    await finished(engine)
    first = sweep_of(engine)
    assert first.advice is not None
    assert first.advice.count == 4
    assert first.before is None
    assert DATA.decode(DATA.encode(engine.state)) == engine.state
    engine.clock.advance(60)
    monkeypatch.setattr(module, "advise", no_advice)
    second = await swept(engine, plan)
    assert second.before is not None
    assert second.before.started == first.result.started
    assert [row.num_idle_processes for row in second.before.rows] == [0, 4]
    kept = earlier(folder({"XDG_STATE_HOME": str(tmp_path)}, second.result.agent))
    assert [each.runs for each in kept] == [second.result.runs, first.result.runs]
    assert second.outcome is not None
    assert [Path(name).suffix for name in second.outcome.files] == [".json", ".csv"]


async def test_each_run_is_published_once_and_the_state_has_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "advise", no_advice)
    engine = tuned(tmp_path)
    stream, events = engine.subscribe(), list[ev.Event]()
    sweep = await swept(engine, SweepPlan(BURST, (0, 4), 2))
    engine.bus.close()
    async for batch in stream.batches():
        events += [each.event for each in batch]
    runs = [each.progress.finished for each in events if isinstance(each, ev.SweepProgressed)]
    assert tuple(each for each in runs if each is not None) == sweep.result.runs
    assert len(sweep.result.runs) == 4
    assert sweep.progress.finished is None
    assert sum(isinstance(each, (ev.SweepStarted, ev.SweepEnded)) for each in events) == 2


async def test_one_test_load_or_sweep_at_a_time(tmp_path: Path) -> None:
    engine = tuned(tmp_path)
    plan = SweepPlan(ENDLESS, (0,))
    started = await asyncio.gather(*(engine.send(cmd.StartSweep(plan, TARGET)) for _ in range(2)))
    assert [each.ok for each in started] == [True, False]
    refused = await engine.send(cmd.StartTestLoad(ENDLESS))
    assert refused.text == "sweep 0/1 is still running: T shows it, and x there ends it"
    await engine.send(cmd.StopTuning("enough"))
    await finished(engine)
    assert (await engine.send(cmd.StartTestLoad(ENDLESS))).ok
    await until(lambda: load_of(engine).progress == "test load 1/1000")
    assert (await engine.send(cmd.StartSweep(plan, TARGET))).text.startswith(
        "test load 1/1000 is still running"
    )
    await engine.send(cmd.Stop("quit"))


async def test_a_test_load_counts_its_jobs_and_sees_the_count_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PUBLISH_S", 0.01)
    engine = tuned(tmp_path)
    await engine.send(cmd.StartTestLoad(ENDLESS))
    await until(lambda: len(load_of(engine).measure.jobs) == 1)
    await engine.send(cmd.SetOptions({OPTION: "3"}))
    await until(lambda: [count for _, count in load_of(engine).counts] == [1, 3])
    assert load_of(engine).running
    assert not load_of(engine).measure.complete
    await engine.send(cmd.StopTuning("enough"))
    await finished(engine)
    load = load_of(engine)
    assert (load.ended, load.measure.complete) == ("enough", False)
    assert load.measure.jobs[0].warm


async def test_a_refused_test_load_ends_with_the_reason(tmp_path: Path) -> None:
    engine = tuned(tmp_path)
    engine.results = [cmd.CommandResult(False, "needs its name", refused=True)]
    await engine.send(cmd.StartTestLoad(TestLoad(3, 50.0, Pattern.STEADY)))
    await finished(engine)
    assert load_of(engine).ended == "needs its name"
    assert engine.dispatches == 0


async def test_a_refusal_within_a_burst_ends_it_with_the_reason() -> None:
    engine = FakeEngine()
    engine.results = [
        cmd.CommandResult(True, "", dispatches={1: "a"}),
        cmd.CommandResult(False, "needs its name", refused=True),
    ]
    load = TestLoadRun(engine, TestLoad(2, pattern=Pattern.BURST), engine.clock)
    async with asyncio.timeout(PATIENCE_S):
        await load.run()
    assert (load.view.ended, load.view.running) == ("needs its name", False)


async def test_a_sweep_that_cannot_start_says_why(tmp_path: Path) -> None:
    engine = tuned(tmp_path)
    engine.lose = lambda _: "no worker"
    sweep = await swept(engine, SweepPlan(BURST, (0,)))
    assert sweep.outcome is not None
    assert sweep.outcome.error == "the first job was lost: no worker"
    assert not (tmp_path / "agent-tui").exists()


async def test_results_that_cannot_be_saved_are_reported(tmp_path: Path) -> None:
    (tmp_path / "agent-tui").write_text("in the way")
    engine = tuned(tmp_path)
    sweep = await swept(engine, SweepPlan(BURST, (4,)))
    assert sweep.outcome is not None
    assert "cannot write " in sweep.outcome.not_saved
    assert sweep.outcome.files == ()
    assert sweep.advice is not None


async def test_a_stopped_sweep_saves_its_results_and_gives_advice(tmp_path: Path) -> None:
    engine = tuned(tmp_path)
    await engine.send(cmd.StartSweep(SweepPlan(replace(ENDLESS, jobs=20), (1, 2)), TARGET))
    await until(lambda: engine.dispatches >= 2)
    await engine.send(cmd.StopTuning("cancelled"))
    await finished(engine)
    sweep = sweep_of(engine)
    assert sweep.outcome is not None
    assert (sweep.outcome.ended, sweep.result.ended) == ("cancelled", "cancelled")
    assert len(sweep.result.runs) == 1
    assert len(sweep.outcome.files) == 2
    assert sweep.advice is not None
    assert engine.counts_set == ["1", None]


async def test_at_the_end_of_the_engine_the_sweep_ends_first_and_nothing_starts(tmp_path: Path) -> None:
    engine = tuned(tmp_path)
    await engine.send(cmd.StartSweep(SweepPlan(ENDLESS, (3,)), TARGET))
    await until(lambda: engine.dispatches >= 2)
    await engine.send(cmd.Stop("quit"))
    sweep = sweep_of(engine)
    assert sweep.outcome is not None
    assert sweep.outcome.ended == LEAVING
    assert sweep.advice is None
    assert len(sweep.outcome.files) == 2
    assert engine.counts_set == ["3"]  # a pool that ends gets no new target
    assert (await engine.send(cmd.StartTestLoad(BURST))).text == LEAVING


async def test_a_test_load_ends_with_the_engine(tmp_path: Path) -> None:
    engine = tuned(tmp_path)
    await engine.send(cmd.StartTestLoad(ENDLESS))
    await engine.send(cmd.Stop("quit"))
    assert load_of(engine).ended == LEAVING


async def test_a_dispatch_without_an_answer_does_not_delay_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_S", 0.01)
    engine = tuned(tmp_path)
    engine.hang_after = 5  # the first job, a run of four, and then no more
    await engine.send(cmd.StartSweep(SweepPlan(BURST, (0, 4)), TARGET))
    await engine.hanging.wait()
    async with asyncio.timeout(PATIENCE_S):
        await engine.send(cmd.Stop("quit"))
    sweep = sweep_of(engine)
    assert sweep.outcome is not None
    assert len(sweep.outcome.files) == 2  # the run that was finished
    assert not sweep.running


def fails(*_: object) -> None:
    raise LookupError("no such figure")


@pytest.mark.parametrize(
    ("command", "ended"),
    [
        (cmd.StartSweep(SweepPlan(BURST, (0,)), TARGET), lambda state: state.tuning.sweep.outcome.ended),
        (cmd.StartTestLoad(BURST), lambda state: state.tuning.test_load.ended),
    ],
    ids=["sweep", "load"],
)
async def test_an_internal_error_is_reported_and_the_engine_continues(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: cmd.Command,
    ended: Callable[[object], str],
) -> None:
    monkeypatch.setattr(module, "advise", fails)
    monkeypatch.setattr(load_run, "dispatch_all", fails)
    engine = tuned(tmp_path)
    stream = engine.subscribe()
    assert (await engine.send(command)).ok
    await finished(engine)
    text = "internal error (tuner): LookupError: no such figure"
    assert ended(engine.state) == text
    assert (await engine.send(command)).ok  # the next test load starts
    await finished(engine)
    engine.bus.close()
    events = [each.event async for batch in stream.batches() for each in batch]
    assert [each.text for each in events if isinstance(each, ev.Notice)] == [text] * 2
