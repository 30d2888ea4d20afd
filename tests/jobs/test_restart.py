"""A running job on new code: the same job, another process."""

import asyncio
import time
from dataclasses import replace

import pytest

from agent_tui.model import child as ch
from agent_tui.model import events as ev
from agent_tui.model.clock import SystemClock
from agent_tui.model.signing import read, renewed, sign, verify
from agent_tui.processes.pool import Plan
from agent_tui.worker.messages import JobProgress
from tests.fakes.scripted_child import ScriptedChild, until

from .support import IMPATIENT, Bench, bench_of


def starts(bench: Bench) -> list[ScriptedChild]:
    """Return the children that got a job, in order."""
    return [child for child in bench.nursery.children if child.told(ch.StartJob)]


async def restarted(bench: Bench, count: int = 2) -> ScriptedChild:
    """Return the child that runs the restarted job, with its entry started."""
    await until(lambda: len(starts(bench)) == count)
    child = starts(bench)[-1]
    child.say(ch.EntryStarted(SystemClock().time()))
    await until(lambda: len(bench.told(ev.JobStarted)) == count)
    return child


def reluctant(child: ScriptedChild, message: ch.ToChild) -> None:
    """A child that ends only when the test says so."""
    if isinstance(message, ch.Shutdown):
        child.say(ch.ShutdownAck(), ch.Exiting(message.reason))


async def test_the_same_job_goes_on_in_another_process() -> None:
    async with bench_of() as bench:
        old = await bench.run_job()
        assert bench.manager.restart("AJ_1", "new code") is None
        new = await restarted(bench)
        [first], [second] = old.told(ch.StartJob), new.told(ch.StartJob)
        assert isinstance(first, ch.StartJob)
        assert isinstance(second, ch.StartJob)
        assert (second.job, second.accept, second.url) == (first.job, first.accept, first.url)
        assert (second.worker_id, second.token) == (first.worker_id, first.token)
        assert len(old.told(ch.Shutdown)) == 1
        assert old.exit.done()
        [restarting] = bench.told(ev.JobRestarting)
        assert (restarting.job_id, restarting.generation, restarting.reason) == ("AJ_1", 1, "new code")
        [begun, again] = bench.told(ev.JobStarted)
        assert (begun.restarts, again.restarts) == (0, 1)
        assert again.process_id != begun.process_id
        assert again.dispatch_to_entry_ms is None
        assert 0 <= again.offer_to_entry_ms < 1000
        new.say(ch.Exiting("all said"), ch.ShuttingDown())
        new.end()
        end = await bench.ended()
        assert (end.status, end.reason, end.pid) == ("success", "all said", new.pid)
        # The server gets one job that runs and ends once.
        assert [progress for _, progress, _ in bench.updates] == [JobProgress.RUNNING, JobProgress.SUCCESS]


async def test_a_restart_waits_until_the_old_participant_has_left() -> None:
    async with bench_of(target=2) as bench:
        old = await bench.run_job()
        old.answers = reluctant
        bench.manager.restart("AJ_1", "new code")
        await until(lambda: old.told(ch.Shutdown))
        await asyncio.sleep(0)
        assert len(starts(bench)) == 1
        old.end()
        await restarted(bench)


@pytest.mark.parametrize("when", ["while it leaves", "after it left", "after the new one began"])
async def test_the_termination_for_the_old_participant_does_not_hit_the_new(when: str) -> None:
    async with bench_of() as bench:
        bench.settings = replace(bench.settings, fake_job=False)
        old = await bench.run_job()
        old.answers = reluctant
        bench.manager.restart("AJ_1", "new code")
        if when == "while it leaves":
            bench.manager.terminated("AJ_1")
        old.end()
        if when == "after it left":
            bench.manager.terminated("AJ_1")
        new = await restarted(bench)
        if when == "after the new one began":
            bench.manager.terminated("AJ_1")
        await asyncio.sleep(0)
        assert not new.told(ch.Shutdown)
        bench.manager.terminated("AJ_1")  # whatever it is, it counts
        assert (await bench.ended()).status == "terminated"


async def test_without_media_a_termination_ends_the_restarted_job() -> None:
    async with bench_of() as bench:
        await bench.run_job()
        bench.manager.restart("AJ_1", "new code")
        await restarted(bench)
        bench.manager.terminated("AJ_1")
        assert (await bench.ended()).status == "terminated"


async def test_a_job_that_is_ended_while_it_restarts_does_not_come_back() -> None:
    async with bench_of() as bench:
        old = await bench.run_job()
        old.answers = reluctant
        bench.manager.restart("AJ_1", "new code")
        assert bench.manager.end("AJ_1", ev.JobStatus.TERMINATED, "by the user")
        await until(lambda: old.told(ch.Shutdown))
        old.end()
        end = await bench.ended()
        assert (end.status, end.reason) == ("terminated", "by the user")
        assert len(starts(bench)) == 1


async def test_a_job_that_is_ended_while_it_waits_for_its_new_process() -> None:
    async with bench_of() as bench:
        await bench.run_job()
        await until(lambda: bench.pool.idle == 1)
        bench.nursery.prepare = lambda child: None
        bench.pool.use(Plan(2, bench.nursery))
        bench.manager.restart("AJ_1", "new code")
        await until(lambda: bench.manager.records[0].restarts == 1)
        bench.manager.terminated("AJ_1")
        assert (await bench.ended()).status == "terminated"


async def test_errors_of_the_old_process_do_not_fail_the_job() -> None:
    async with bench_of(timings=IMPATIENT) as bench:
        old = await bench.run_job()
        old.answers = lambda child, message: None  # does not answer: it has to be killed
        bench.manager.restart("AJ_1", "new code")
        old.say(ch.JobCrashed("ValueError: in the middle", "Traceback…"))
        new = await restarted(bench)
        assert old.killed
        new.say(ch.Exiting("all said"), ch.ShuttingDown())
        new.end()
        assert (await bench.ended()).status == "success"


@pytest.mark.parametrize("crash", [None, "ValueError: at its end"])
async def test_a_job_that_had_ended_by_itself_is_not_restarted(crash: str | None) -> None:
    async with bench_of() as bench:
        old = await bench.run_job()
        old.answers = lambda child, message: None
        assert bench.manager.restart("AJ_1", "new code") is None
        if crash:
            old.say(ch.JobCrashed(crash, "Traceback…"))
        old.say(ch.Exiting("job crashed" if crash else "all said"), ch.ShutdownAck(), ch.ShuttingDown())
        old.end()
        end = await bench.ended()
        assert (end.status, end.reason) == (("failed", crash) if crash else ("success", "all said"))
        assert len(starts(bench)) == 1


async def test_a_restart_without_a_process_fails_with_the_reason() -> None:
    async with bench_of() as bench:
        await bench.run_job()
        await until(lambda: bench.pool.idle == 1)

        def broken(child: ScriptedChild) -> None:
            child.say(ch.Loading(), ch.Failed("SyntaxError: no", "Traceback…", "agent.py", 3))
            child.end(1)

        bench.nursery.prepare = broken
        bench.pool.use(Plan(2, bench.nursery))
        bench.manager.restart("AJ_1", "new code")
        end = await bench.ended()
        assert end.status == "failed"
        assert "SyntaxError: no" in end.reason


async def test_a_job_that_cannot_be_restarted_says_why() -> None:
    async with bench_of() as bench:
        assert "no job AJ_9" in (bench.manager.restart("AJ_9", "x") or "")
        bench.offer()
        await until(lambda: bench.answers)
        assert "has not started yet" in (bench.manager.restart("AJ_1", "x") or "")
        bench.assign()
        await until(lambda: starts(bench))
        starts(bench)[0].answers = reluctant
        bench.manager.end("AJ_1", ev.JobStatus.TERMINATED, "by the user")
        assert "is already ending" in (bench.manager.restart("AJ_1", "x") or "")
        starts(bench)[0].end()
        await bench.ended()


async def test_a_token_that_has_expired_is_renewed() -> None:
    secret, now = "secret", time.time()
    async with bench_of() as bench:
        bench.settings = replace(bench.settings, api_secret=secret)
        await bench.run_job()
        old = sign({"sub": "agent-x", "exp": int(now) - 5, "video": {"room": "demo"}}, secret)
        bench.manager.records[0].token = old
        bench.manager.restart("AJ_1", "new code")
        new = await restarted(bench)
        [start] = new.told(ch.StartJob)
        assert isinstance(start, ch.StartJob)
        claims = verify(start.token, secret)
        assert (claims["sub"], claims["video"]) == ("agent-x", {"room": "demo"})
        assert claims["exp"] > now + 3000


def test_only_tokens_that_expire_soon_are_renewed_and_only_with_the_secret() -> None:
    fresh, old = (sign({"exp": 1000 + seconds}, "s") for seconds in (3600, 60))
    assert renewed(fresh, "s", 1000) == fresh
    assert read(renewed(old, "s", 1000))["exp"] == 4600
    assert renewed(old, "", 1000) == old
    assert renewed("no token", "s", 1000) == "no token"
