"""The sweep against a fake engine: the values it sets, measures, and keeps, and how it ends."""

import asyncio
from collections.abc import Callable

import pytest

from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model.child import ProcessKind
from agent_tui.model.tuning import Pattern, Phase, Progress, SweepPlan, SweepResult, TestLoad
from agent_tui.tuning.recorder import Recorder
from agent_tui.tuning.results import rows
from agent_tui.tuning.sweep import OPTION, Sweep, SweepError, SweepTimings
from tests.fakes.engine import FakeEngine
from tests.limits import PATIENCE_S

LOAD = TestLoad(4, pattern=Pattern.BURST)
QUICK = SweepTimings(settle_s=5.0, quiet_s=0.0, read_s=5.0, tail_s=5.0)
JOB, IDLE, STARTING, ENDED = (
    ev.ProcessState.JOB,
    ev.ProcessState.IDLE,
    ev.ProcessState.STARTING,
    ev.ProcessState.ENDED,
)


class PoolEngine(FakeEngine):
    """An engine whose jobs use an idle process, or start one, and end at once."""

    def __init__(self) -> None:
        super().__init__(numIdleProcesses="1")
        self.idle: list[str] = []
        self.numbers = 0
        self.lose: Callable[[int], str] = lambda _: ""
        """Why the n-th dispatch is lost; empty for one that is not."""
        self.hang_after: int | None = None
        """The number of dispatches after which the server does not answer."""
        self.hanging = asyncio.Event()
        self.refuse_after: int | None = None
        """The number of dispatches after which all are refused."""
        self.dispatches = 0
        self.sources = list[tuple[str, str]]()
        """The source of the count, at each change."""
        self.publish(ev.GenerationReady(1, None, "start", "native", None, ev.StartMethod.FORK))
        self.refill(1)

    async def send(self, command: cmd.Command) -> cmd.CommandResult:
        result = await super().send(command)
        if not result.ok:
            return result
        match command:
            case cmd.SetOptions():
                self.sources.append(self.resolution.sources[OPTION])
                self.refill(self.resolution.options.num_idle_processes)
            case cmd.MeasureMemory():
                self.publish(*(ev.ProcessMeasured(name, 30.0, 4.0, 8.0) for name in self.idle))
            case cmd.Dispatch():
                if self.refuse_after is not None and self.dispatches >= self.refuse_after:
                    return cmd.CommandResult(False, "needs --allow-remote", refused=True)
                if self.hang_after is not None and self.dispatches >= self.hang_after:
                    self.hanging.set()
                    await asyncio.Event().wait()
                return self.dispatch()
        return result

    def dispatch(self) -> cmd.CommandResult:
        self.dispatches += 1
        number, room = self.dispatches, f"room-{self.dispatches}"
        self.publish(ev.Dispatched(room, "", None, number))
        if why := self.lose(number):
            self.publish(ev.JobLost(room, why, None, number))
            return cmd.CommandResult(True, room, dispatches={number: room})
        job = f"AJ_{number}"
        self.publish(ev.OfferReceived(job, room, "", 1, number), ev.OfferAnswered(job, accepted=True))
        self.publish(ev.JobAssigned(job, room))
        warm = bool(self.idle)
        if not warm:
            self.clock.advance(0.3)
            self.start()
        name = self.idle.pop(0)
        self.change(name, JOB, job)
        self.publish(
            ev.JobStarted(job, room, name, 1, 1, warm, 4.0 if warm else 304.0, 5.0 if warm else 305.0)
        )
        self.publish(ev.JobEnded(job, room, 1, 1, ev.JobStatus.SUCCESS, "length", 0.1))
        self.change(name, ENDED)
        return cmd.CommandResult(True, room, dispatches={number: room})

    def refill(self, count: int) -> None:
        while len(self.idle) < count:
            self.start()
        while len(self.idle) > count:
            self.change(self.idle.pop(), ENDED)

    def start(self) -> None:
        self.numbers += 1
        name = f"p{self.numbers}"
        self.change(name, STARTING)
        self.clock.advance(0.2)
        self.change(name, IDLE)
        self.publish(ev.ProcessMeasured(name, 30.0, 4.0, 8.0, cpu_s=0.05))
        self.idle.append(name)

    def change(self, name: str, state: ev.ProcessState, job: str | None = None) -> None:
        self.publish(ev.ProcessChanged(name, int(name[1:]), ProcessKind.JOB, state, 1, job))

    @property
    def counts_set(self) -> list[str | None]:
        return [each.values[OPTION] for each in self.commands if isinstance(each, cmd.SetOptions)]


def sweep(
    engine: PoolEngine,
    *counts: int,
    repeat: int = 1,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Sweep:
    return Sweep(engine, SweepPlan(LOAD, counts, repeat), on_progress, engine.clock, QUICK)


async def run(made: Sweep) -> SweepResult:
    async with asyncio.timeout(PATIENCE_S):
        return await made.run()


async def test_each_count_is_measured_from_a_steady_state_and_the_old_value_is_restored() -> None:
    engine, seen = PoolEngine(), list[Progress]()
    result = await run(sweep(engine, 0, 4, repeat=2, on_progress=seen.append))
    assert engine.counts_set == ["0", "4", "0", "4", None]
    assert engine.resolution.options.num_idle_processes == 1
    assert engine.settings.history == ()  # a sweep is nothing to undo
    assert [layer for layer, _ in engine.sources[:-1]] == ["sweep"] * 4  # and its counts are no edits
    assert [(each.num_idle_processes, each.repeat, each.complete) for each in result.runs] == [
        (0, 0, True),
        (4, 0, True),
        (0, 1, True),
        (4, 1, True),
    ]
    none, four = rows(result)
    assert (none.jobs, none.warm_hit_rate, none.p50_ms, none.idle_uss_mb) == (8, 0.0, 305.0, 0.0)
    assert (four.jobs, four.warm_hit_rate, four.p95_ms, four.wait_p95_ms) == (8, 1.0, 5.0, 0.0)
    assert (four.uss_mb, four.pss_mb, four.rss_mb, four.idle_pss_mb) == (4.0, 8.0, 30.0, 32.0)
    assert none.warm_up_p50_ms == pytest.approx(200)
    assert none.warming_cpu_ms == pytest.approx(50)
    assert none.wait_p95_ms == pytest.approx(500)
    assert seen[0].phase is Phase.FIRST_JOB
    assert seen[-1].phase is Phase.DONE
    assert [each.finished.repeat for each in seen if each.finished] == [0, 0, 1, 1]
    assert max(each.jobs for each in seen) == 4


async def test_edits_before_and_during_a_sweep_are_saved() -> None:
    engine = PoolEngine()
    await engine.send(cmd.SetOptions({OPTION: "3"}))
    made = sweep(engine, 0, 4)
    await made.engine.send(cmd.SetOptions({OPTION: "4"}, measuring=True))
    assert engine.resolution.options.num_idle_processes == 4
    assert {name: each.raw for name, each in engine.settings.edits.items()} == {OPTION: "3"}
    await engine.send(cmd.SetOptions({OPTION: "2"}))
    assert engine.resolution.options.num_idle_processes == 4
    await run(made)
    assert engine.resolution.options.num_idle_processes == 2
    assert engine.settings.undone().options.num_idle_processes == 3


async def test_a_stopped_sweep_keeps_its_results() -> None:
    engine = PoolEngine()

    def stop_after_the_first(progress: Progress) -> None:
        if progress.finished is not None:
            made.stop("enough")

    made = sweep(engine, 0, 1, 2, on_progress=stop_after_the_first)
    result = await run(made)
    assert (result.measured, result.ended) == ((0,), "enough")
    assert engine.resolution.options.num_idle_processes == 1


async def test_a_sweep_stopped_within_a_run_keeps_the_entered_jobs() -> None:
    engine = PoolEngine()

    def stop_halfway(progress: Progress) -> None:
        if progress.phase is Phase.RUNNING and progress.jobs == 1:
            made.stop("enough")

    made = Sweep(
        engine, SweepPlan(TestLoad(30, 20.0, Pattern.STEADY), (2,)), stop_halfway, engine.clock, QUICK
    )
    (run_,) = (await run(made)).runs
    assert 1 <= len(run_.jobs) < 30
    assert not run_.complete


async def test_a_cancelled_sweep_restores_the_option() -> None:
    engine = PoolEngine()
    made = sweep(engine, 3)
    engine.hang_after = 1
    running = asyncio.create_task(made.run())
    await engine.hanging.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert engine.counts_set[-1] is None


async def test_without_a_first_job_the_sweep_does_not_start() -> None:
    engine = PoolEngine()
    engine.lose = lambda _: "the server offered no job"
    with pytest.raises(SweepError, match="the first job was lost: the server offered no job"):
        await run(sweep(engine, 0))
    assert engine.counts_set == [None]


async def test_a_refused_sweep_does_not_start() -> None:
    engine = PoolEngine()
    engine.results = [cmd.CommandResult(False, "needs --allow-remote", refused=True)]
    with pytest.raises(SweepError, match="allow-remote"):
        await run(sweep(engine, 0))


async def test_a_refusal_during_a_run_ends_the_sweep_with_its_reason() -> None:
    engine = PoolEngine()

    def refuse_from_the_second_job_on(progress: Progress) -> None:
        if progress.phase is Phase.RUNNING and progress.jobs == 1:
            engine.refuse_after = engine.dispatches

    plan = SweepPlan(TestLoad(30, 20.0, Pattern.STEADY), (4, 0))
    result = await run(Sweep(engine, plan, refuse_from_the_second_job_on, engine.clock, QUICK))
    (run_,) = result.runs
    assert 1 <= len(run_.jobs) < 30
    assert not run_.complete
    assert result.ended == "needs --allow-remote"
    assert engine.counts_set == ["4", None]


async def test_a_pool_that_does_not_become_idle_ends_the_sweep_with_the_reason() -> None:
    engine = PoolEngine()
    engine.publish(ev.ProcessChanged("p77", 77, ProcessKind.JOB, STARTING, 1))
    made = sweep(engine, 1)
    made.timings = SweepTimings(settle_s=0.05, quiet_s=0.0)
    with pytest.raises(SweepError, match="the pool did not become idle with numIdleProcesses 1: 1 of 1"):
        await run(made)


async def test_lost_jobs_are_measured_as_lost() -> None:
    engine = PoolEngine()
    engine.lose = lambda number: "no worker" if number == 3 else ""
    (row,) = rows(await run(sweep(engine, 4)))
    assert (row.jobs, row.lost, row.warm_hit_rate) == (4, 1, 0.75)


async def test_a_reload_ends_the_sweep() -> None:
    engine = PoolEngine()

    def reload_after_the_first(progress: Progress) -> None:
        if progress.finished is not None and progress.run == 1:
            engine.publish(ev.GenerationReady(2, 0.1, "agent.py", "native", None, ev.StartMethod.FORK))

    result = await run(sweep(engine, 0, 1, on_progress=reload_after_the_first))
    assert result.measured == (0,)
    assert "the code was reloaded" in result.ended


async def test_the_sweep_ends_with_the_engine() -> None:
    engine = PoolEngine()

    def end_after_the_first(progress: Progress) -> None:
        if progress.finished is not None:
            engine.bus.close()

    result = await run(sweep(engine, 0, 1, on_progress=end_after_the_first))
    assert result.measured == (0,)
    assert result.ended == "agent-tui is stopping"


def test_the_pool_over_time_and_how_long_it_takes_to_refill() -> None:
    recorder = Recorder(1, 0, LOAD, 100.0, ["p1"])
    events: list[tuple[float, ev.Event]] = [
        (100.5, ev.OfferReceived("AJ_1", "mine", "", 1, 3)),
        (100.5, ev.OfferReceived("AJ_2", "somebody's", "", 1)),
        (101.0, ev.ProcessChanged("p1", 1, ProcessKind.JOB, JOB, 1, "AJ_2")),
        (101.1, ev.ProcessChanged("p2", 2, ProcessKind.JOB, STARTING, 1)),
        (101.6, ev.ProcessChanged("p2", 2, ProcessKind.JOB, IDLE, 1)),
        (101.7, ev.ProcessChanged("c1", 3, ProcessKind.CONTROL, STARTING, 1)),
    ]
    for number, (ts, event) in enumerate(events):
        recorder.record(ev.Stamped(number, ts, event))
    recorder.dispatched({3: "mine"}, 100.4)
    run_ = recorder.measure((), complete=True)
    assert [count for _, count in run_.idle] == [1, 0, 1]
    assert [at for at, _ in run_.idle] == pytest.approx([0.0, 1.0, 1.6])
    assert list(run_.refills_s) == pytest.approx([0.6])
    assert list(run_.warm_ups_s) == pytest.approx([0.5])
    assert list(run_.arrivals_s) == pytest.approx([0.4])
    assert (run_.jobs, run_.others) == ((), 1)  # it was neither entered nor lost yet
