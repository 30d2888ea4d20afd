"""The pool over scripted children: what is kept warm, which job gets which process, and failures."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from agent_tui.model import child as ch
from agent_tui.model.clock import SystemClock
from agent_tui.model.events import Event, ProcessChanged, ProcessState
from agent_tui.processes.pool import Lease, Plan, Pool, PoolEvent, StartsFail, StartsSucceed, Warmed
from agent_tui.processes.process import ProcessFailed, SupervisedProcess, Supervisor
from agent_tui.processes.timings import BackOff, ProcessTimings, StartPatience
from tests.fakes.scripted_child import Nursery, ScriptedChild, until
from tests.processes.test_process import start_job


@asynccontextmanager
async def pool_of(
    nursery: Nursery,
    target: int,
    *,
    at_once: int = 2,
    back_off: BackOff | None = None,
    refill_after_s: float = 0.0,
    patience: StartPatience | None = None,
    on_event: Callable[[PoolEvent], None] = lambda _: None,
) -> AsyncIterator[Pool]:
    events: list[Event] = []
    pool = Pool(
        Supervisor(ProcessTimings, SystemClock(), events.append),
        on_event,
        target=target,
        starting_at_once=at_once,
        back_off=back_off or BackOff(first_s=0.01, most_s=0.02),
        refill_after_s=refill_after_s,
        patience=patience,
    )
    running = asyncio.create_task(pool.run(), name="pool")
    pool.use(Plan(1, nursery))
    try:
        yield pool
    finally:
        await pool.close("test over")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert pool.processes == ()
        ended = [e.id for e in events if isinstance(e, ProcessChanged) and e.state is ProcessState.ENDED]
        assert len(ended) == len(set(ended)) == len(nursery.children)


def prepared(ready: Callable[[int], bool]) -> Nursery:
    """Return children that become ready or fail, by number."""
    nursery = Nursery()

    def prepare(child: ScriptedChild) -> None:
        if ready(len(nursery.children)):
            child.say(ch.Loading(), ch.Ready())
        else:
            child.say(ch.Loading(), ch.Failed("OSError: no model"))
            child.end(1)

    nursery.prepare = prepare
    return nursery


async def test_the_target_is_kept_warm_and_refilled_after_a_job_took_one() -> None:
    nursery = Nursery()
    async with pool_of(nursery, 2) as pool:
        await until(lambda: pool.idle == 2)
        lease = pool.lease()
        process = await lease.claim()
        assert lease.warm
        process.start_job(start_job(), "AJ_1", lambda _: None)
        await until(lambda: pool.idle == 2)
        assert len(pool.processes) == 3
        assert len(nursery.children) == 3


async def test_reconciling_again_starts_no_surplus() -> None:
    nursery = Nursery()
    async with pool_of(nursery, 5) as pool:
        for _ in range(500):
            pool.set_target(5)
            await asyncio.sleep(0)
        assert pool.idle == len(nursery.children) == 5


async def test_a_refill_lets_the_job_start_first() -> None:
    nursery = Nursery()
    async with pool_of(nursery, 1, refill_after_s=0.05) as pool:
        await until(lambda: pool.idle == 1)
        at = asyncio.get_running_loop().time()
        process = await pool.lease().claim()
        process.start_job(start_job(), "AJ_1", lambda _: None)
        await until(lambda: len(nursery.children) == 2)
        assert asyncio.get_running_loop().time() - at >= 0.05
        await until(lambda: pool.idle == 1)


@pytest.mark.parametrize("ticks", range(5))
async def test_the_loop_ends_when_cancelled_at_any_moment_of_a_wake_up(ticks: int) -> None:
    nursery = Nursery()
    async with pool_of(nursery, 1, refill_after_s=60) as pool:
        await until(lambda: pool.idle == 1)
        process = await pool.lease().claim()
        process.start_job(start_job(), "AJ_1", lambda _: None)
        await asyncio.sleep(0)
        (running,) = [t for t in asyncio.all_tasks() if t.get_name() == "pool"]
        pool.use(Plan(1, nursery))
        for _ in range(ticks):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running], timeout=1)
        assert running.cancelled()


async def test_processes_for_accepted_jobs_start_at_once_despite_the_refill_pause() -> None:
    nursery = Nursery()
    async with pool_of(nursery, 1, refill_after_s=60.0) as pool:
        await until(lambda: pool.idle == 1)
        leases = [pool.lease(), pool.lease()]
        for lease in leases:
            await lease.claim()
        assert len(nursery.children) == 2


async def test_a_lease_makes_the_pool_prepare_before_the_claim() -> None:
    async with pool_of(Nursery(), 0) as pool:
        await asyncio.sleep(0.01)
        assert pool.processes == ()
        lease = pool.lease()
        await until(lambda: pool.idle == 1)
        assert (await lease.claim()).state is ProcessState.IDLE
        lease.release()


async def test_a_ready_process_reports_whether_a_job_waits_for_it() -> None:
    told: list[PoolEvent] = []
    async with pool_of(Nursery(), 1, on_event=told.append) as pool:
        await until(lambda: pool.idle == 1)
        leases = [pool.lease(), pool.lease()]
        await asyncio.gather(*(lease.claim() for lease in leases))
        await until(lambda: pool.idle == 1)
        assert [each.is_awaited for each in told if isinstance(each, Warmed)] == [False, True, False]


async def test_on_demand_waits_for_a_process_and_says_that_it_was_cold() -> None:
    async with pool_of(Nursery(), 0) as pool:
        lease = pool.lease()
        process = await lease.claim()
        assert process.state is ProcessState.IDLE
        assert not lease.warm


async def test_a_released_lease_leaves_no_surplus() -> None:
    async with pool_of(Nursery(), 1) as pool:
        await until(lambda: pool.idle == 1)
        lease = pool.lease()
        await until(lambda: pool.idle == 2)
        lease.release()
        await until(lambda: len(pool.processes) == 1)
        assert pool.idle == 1


async def given(
    pool: Pool, nursery: Nursery, at_once: Callable[[], None], *, released: bool
) -> "asyncio.Task[SupervisedProcess]":
    """Let a job wait for a process and get it while something else happens. The task is done."""
    lease = pool.lease()
    taking = asyncio.create_task(lease.claim())
    await until(lambda: nursery.children and lease.waiting)
    give = pool._assign

    def give_and_more(lease: Lease, process: SupervisedProcess) -> None:
        give(lease, process)
        at_once()
        if released:
            taking.cancel()
            lease.release()

    pool._assign = give_and_more  # type: ignore[method-assign]
    nursery.children[0].say(ch.Loading(), ch.Ready())
    await asyncio.wait({taking})
    return taking


async def test_a_lease_released_during_the_assignment_loses_no_process() -> None:
    nursery = Nursery(prepare=lambda child: None)
    async with pool_of(nursery, 0) as pool:
        await given(pool, nursery, lambda: None, released=True)
        await until(lambda: not pool.processes)  # a surplus now, and ended as such


async def test_changing_the_target_acts_at_once_both_ways() -> None:
    async with pool_of(Nursery(), 1) as pool:
        pool.set_target(4)
        await until(lambda: pool.idle == 4)
        pool.set_target(0)
        await until(lambda: not pool.processes)


async def test_no_more_start_at_once_than_allowed() -> None:
    nursery = Nursery(prepare=lambda child: None)
    async with pool_of(nursery, 6, at_once=3) as pool:
        await until(lambda: len(nursery.children) == 3)
        await asyncio.sleep(0.01)
        assert len(nursery.children) == 3
        nursery.prepare = lambda child: child.say(ch.Loading(), ch.Ready())
        for child in nursery.children:
            child.say(ch.Loading(), ch.Ready())
        await until(lambda: pool.idle == 6)


async def test_two_generations_share_what_may_start_at_once() -> None:
    old, new = Nursery(lambda child: None), Nursery(lambda child: None)
    async with pool_of(old, 0, at_once=3) as pool:
        claims = [asyncio.create_task(pool.lease().claim()) for _ in range(3)]
        await until(lambda: len(old.children) == 3)
        warming = asyncio.create_task(pool.warm(Plan(2, new), 3))
        await until(lambda: len(new.children) == 1)  # one may always start
        old.children[0].say(ch.Loading(), ch.Ready())
        await until(lambda: claims[0].done())
        assert len(new.children) == 1
        old.children[1].say(ch.Loading(), ch.Ready())
        await until(lambda: len(new.children) == 2)
        assert len(old.children) == 3
        for task in (warming, *claims):
            task.cancel()
        await asyncio.gather(warming, *claims, return_exceptions=True)
        old.children.extend(new.children)  # counted by the fixture


async def test_an_idle_process_that_dies_is_replaced_and_never_assigned() -> None:
    nursery = Nursery()
    async with pool_of(nursery, 1) as pool:
        await until(lambda: pool.idle == 1)
        nursery.children[0].end(None, 9)
        await until(lambda: len(nursery.children) == 2)
        process = await pool.lease().claim()
        assert process.pid == nursery.children[1].pid


AT_ONCE = StartPatience(refuse_after_s=0.0, job_s=0.0)


class Told(list[StartsFail | StartsSucceed]):
    """The reported starts."""

    def hear(self, event: PoolEvent) -> None:
        if isinstance(event, (StartsFail, StartsSucceed)):
            self.append(event)

    @property
    def failures(self) -> list[StartsFail]:
        return [each for each in self if isinstance(each, StartsFail)]


async def test_failing_starts_back_off_one_at_a_time_and_recover() -> None:
    nursery, told = prepared(lambda number: number > 4), Told()
    async with pool_of(nursery, 2, on_event=told.hear) as pool:
        await until(lambda: pool.idle == 2)
        assert pool.failures == 0
        assert len(nursery.children) == 6
        failed, recovered = told.failures, told[-1]
        assert [each.failures for each in failed] == [1, 2, 3]  # the first two were started together
        assert {(each.generation, str(each.error), each.refusing) for each in failed} == {
            (1, "OSError: no model", False)
        }
        assert recovered == StartsSucceed()


@pytest.mark.parametrize("target", [0, 2])
async def test_code_that_keeps_failing_is_retried_until_a_start_succeeds(target: int) -> None:
    nursery, told = prepared(lambda number: number > 8), Told()
    async with pool_of(nursery, target, patience=AT_ONCE, on_event=told.hear) as pool:
        lease = pool.lease()
        await until(lambda: pool.refusing)
        assert pool.refusing == "OSError: no model"
        lease.release()  # nothing is needed any more, but the pool still tries whether starts succeed
        await until(lambda: not pool.refusing)
        assert told[-1] == StartsSucceed()
        assert [each.refusing for each in told.failures] == [False] + [True] * (len(told) - 2)
        await until(lambda: pool.idle == target)


async def test_offers_are_not_refused_while_a_process_is_idle() -> None:
    nursery, told = prepared(lambda number: number < 2), Told()
    async with pool_of(nursery, 1, patience=AT_ONCE, on_event=told.hear) as pool:
        await until(lambda: pool.idle == 1)
        pool.set_target(2)
        await until(lambda: len(told) > 4)
        assert not pool.refusing
        process = await pool.lease().claim()
        process.start_job(start_job(), "AJ_1", lambda _: None)
        await until(lambda: pool.refusing)


async def test_a_new_generation_resets_failed_starts() -> None:
    nursery, fixed, told = prepared(lambda number: False), Nursery(), Told()
    async with pool_of(nursery, 2, patience=AT_ONCE, on_event=told.hear) as pool:
        await until(lambda: pool.refusing)
        pool.use(Plan(2, fixed))
        assert (pool.refusing, told[-1]) == ("", StartsSucceed())
        await until(lambda: pool.idle == 2)
        nursery.children.extend(fixed.children)  # counted by the fixture


async def test_failing_starts_are_retried_forever() -> None:
    nursery = Nursery()
    left = iter(range(6))

    async def launch(kind: ch.ProcessKind, process_id: str) -> ScriptedChild:
        if next(left, None) is not None:
            raise OSError("too many open files")
        return await nursery(kind, process_id)

    async with pool_of(nursery, 0) as pool:
        pool.use(Plan(1, launch))
        pool.set_target(1)
        await until(lambda: pool.idle == 1)
        assert pool.refusing == ""
        nursery.children[:0] = [ScriptedChild(ch.ProcessKind.JOB, "none")] * 6  # counted by the fixture


async def test_a_waiting_job_is_failed_with_the_reason_when_the_next_attempt_comes_too_late() -> None:
    nursery = prepared(lambda number: False)
    async with pool_of(nursery, 0, at_once=1, patience=StartPatience(job_s=0.0)) as pool:
        with pytest.raises(ProcessFailed, match="OSError: no model"):
            await pool.lease().claim()
        assert len(nursery.children) == 2
        with pytest.raises(ProcessFailed, match="OSError: no model"):
            await pool.lease().claim()  # the next attempt is too late
        assert len(nursery.children) == 2


async def test_accepted_jobs_wait_until_starts_succeed_again() -> None:
    nursery = prepared(lambda number: number > 6)
    async with pool_of(nursery, 0, at_once=1) as pool:
        leases = [pool.lease() for _ in range(5)]
        assert len(await asyncio.gather(*(lease.claim() for lease in leases))) == 5


@pytest.mark.parametrize(
    ("signal", "codes_fault"), [(9, False), (15, False), (1, False), (11, True), (6, True), (None, True)]
)
async def test_only_signals_from_outside_do_not_count_against_the_code(
    signal: int | None, codes_fault: bool
) -> None:
    nursery, told = Nursery(), Told()
    nursery.prepare = lambda child: child.end(None if signal else 1, signal)
    async with pool_of(nursery, 1, on_event=told.hear):
        await until(lambda: told)
        assert told.failures[0].error.is_codes_fault is codes_fault


async def test_a_process_killed_while_warming_up_does_not_fail_the_load() -> None:
    nursery, new = Nursery(), Nursery()
    new.prepare = lambda child: (
        child.end(None, 9) if len(new.children) < 3 else child.say(ch.Loading(), ch.Ready())
    )
    async with pool_of(nursery, 1) as pool:
        await pool.warm(Plan(2, new), 2)
        assert len(new.children) == 4
        new.prepare = lambda child: child.end(None, 9)
        pool.abandon(Plan(2, new))
        with pytest.raises(ProcessFailed, match="SIGKILL"):
            await pool.warm(Plan(3, new), 1)
        nursery.children.extend(new.children)  # counted by the fixture


async def test_claims_without_a_job_start_few_processes() -> None:
    nursery = Nursery()
    async with pool_of(nursery, 1, at_once=2) as pool:
        leases = [pool.lease() for _ in range(50)]
        await until(lambda: pool.idle == 3)
        await asyncio.sleep(0.01)
        assert len(nursery.children) == 3
        for lease in leases:
            lease.release()
        await until(lambda: len(pool.processes) == 1)


def test_the_pauses_grow_to_a_minute_with_a_jitter() -> None:
    plain = BackOff(uniform=lambda low, high: 0.0)
    assert [plain.after(n) for n in range(11)] == [0, 0, 0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert plain.after(5000) == 60
    assert BackOff(uniform=lambda low, high: low).after(4) == 1.6
    assert BackOff(uniform=lambda low, high: high).after(4) == 2.4
    assert BackOff(uniform=lambda low, high: high).after(50) == 60


async def test_a_new_generation_replaces_idle_processes_but_no_jobs() -> None:
    old, new = Nursery(), Nursery()
    async with pool_of(old, 1) as pool:
        process = await pool.lease().claim()
        process.start_job(start_job(), "AJ_1", lambda _: None)
        await until(lambda: pool.idle == 1)
        pool.use(Plan(2, new))
        await until(lambda: pool.idle == 1 and old.children[1].exit.done())
        assert not old.children[0].exit.done()
        assert (await pool.lease().claim()).generation == 2
        old.children.extend(new.children)  # counted by the fixture
        process.kill("test over")


async def test_starting_processes_of_the_old_generation_end_before_new_ones_start() -> None:
    nursery = Nursery(prepare=lambda child: child.say(ch.Loading()))
    async with pool_of(nursery, 2) as pool:
        await until(lambda: len(nursery.children) == 2)
        old = tuple(nursery.children)
        pool.use(Plan(2, nursery))
        assert all(child.killed for child in old)
        assert len(nursery.children) == 2
        await until(lambda: len(nursery.children) == 4)


@pytest.mark.parametrize("released", [False, True])
async def test_a_process_just_assigned_survives_a_new_generation(released: bool) -> None:
    nursery = Nursery(prepare=lambda child: None)
    async with pool_of(nursery, 0) as pool:
        taking = await given(pool, nursery, lambda: pool.use(Plan(2, nursery)), released=released)
        if released:
            await until(lambda: not pool.processes)
            return
        process = taking.result()
        process.start_job(start_job(), "AJ_1", lambda _: None)
        await asyncio.sleep(0)
        assert nursery.children[0].told(ch.Shutdown) == []


async def test_idle_processes_that_keep_dying_are_replaced_with_pauses() -> None:
    nursery = Nursery()
    async with pool_of(nursery, 1, back_off=BackOff(first_s=0.2, most_s=0.2)) as pool:
        for number in range(1, 4):
            await until(lambda n=number: len(nursery.children) == n and pool.idle == 1)  # type: ignore[misc]
            nursery.children[-1].end(1)
        begin = asyncio.get_running_loop().time()
        await until(lambda: len(nursery.children) == 4)
        assert asyncio.get_running_loop().time() - begin > 0.1
