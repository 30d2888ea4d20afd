"""The job manager between a scripted server, a scripted agent and scripted processes."""

import asyncio
import time
from dataclasses import replace

import pytest

from agent_tui.jobs.manager import TOO_LATE
from agent_tui.jobs.record import MAX_TRACEBACK, TestDispatch, shortened
from agent_tui.model import child as ch
from agent_tui.model import events as ev
from agent_tui.model.clock import SystemClock
from agent_tui.worker.messages import JobProgress, Reject
from tests.fakes.scripted_child import Nursery, ScriptedChild, until

from .support import IMPATIENT, bench_of


async def test_a_job_from_offer_to_success() -> None:
    async with bench_of() as bench:
        child = await bench.run_job()
        (start,) = child.told(ch.StartJob)
        assert isinstance(start, ch.StartJob)
        assert (start.url, start.token, start.worker_id, start.fake_job) == (
            "ws://worker",
            "token",
            "AW_1",
            True,
        )
        assert start.received_at <= start.accepted_at <= start.assigned_at <= start.launched_at
        child.say(ch.ShuttingDown(), ch.Exiting("all said"))
        await until(lambda: len(bench.updates) == 2)
        assert not child.exit.done()  # reported before the agent leaves the room (worker-protocol §8)
        child.end()
        end = await bench.ended()
        assert (end.status, end.reason, end.room, end.pid) == ("success", "all said", "demo", child.pid)
        assert bench.updates == [("AJ_1", JobProgress.RUNNING, ""), ("AJ_1", JobProgress.SUCCESS, "")]
        assert bench.outcomes == [("AJ_1", None)]
        (started,) = bench.told(ev.JobStarted)
        assert started.warm
        assert 0 <= started.offer_to_entry_ms < 5000


async def test_acceptance_carries_the_agents_arguments() -> None:
    async with bench_of() as bench:
        bench.offer()
        await until(lambda: bench.answers)
        assert bench.answers == [("AJ_1", ch.AcceptArguments("agent-x", "Name", "meta", {"a": "b"}))]


@pytest.mark.parametrize("terminate", [False, True])
async def test_a_rejection_says_whether_others_may_be_asked(terminate: bool) -> None:
    async with bench_of() as bench:
        bench.answer_with = ch.RequestAnswer("AJ_1", None, terminate=terminate, error="busy")
        bench.offer()
        await until(lambda: bench.over_records)
        assert bench.answers == [("AJ_1", Reject(terminate))]
        assert bench.over_records[0].declined == "busy"
        assert bench.told(ev.OfferAnswered) == [
            ev.OfferAnswered("AJ_1", accepted=False, terminate=terminate, error="busy")
        ]


@pytest.mark.parametrize("why", ["not loaded", "draining", "here already"])
async def test_offers_that_cannot_be_accepted_are_rejected_at_once(why: str) -> None:
    async with bench_of(loaded=why != "not loaded") as bench:
        if why == "draining":
            bench.manager.drain()
        elif why == "here already":
            await bench.run_job()
            bench.answers.clear()
        before = len(bench.told(ev.OfferReceived))
        bench.offer()
        assert bench.answers == [("AJ_1", Reject(terminate=False))]
        # A second offer of a known job emits no contradicting events.
        assert len(bench.told(ev.OfferReceived)) == before + (why != "here already")
        # Without a record, only this event says that the job was declined, and why.
        declined = [
            (event.job_id, event.error) for event in bench.told(ev.OfferAnswered) if not event.accepted
        ]
        turned_away = [(each.id, each.declined) for each in bench.over_records if each.turned_away]
        assert turned_away == declined
        assert len(declined) == (why != "here already")


async def test_an_assignment_that_never_comes_cancels_the_acceptance() -> None:
    async with bench_of(assignment_s=0.02) as bench:
        bench.offer()
        await until(lambda: bench.over_records)
        (record,) = bench.over_records
        assert "did not assign it within 20 ms" in record.lost
        assert bench.outcomes == [("AJ_1", record.lost)]
        bench.assign()  # too late: ignored
        await until(lambda: bench.pool.idle == 1)
        assert not any(child.told(ch.StartJob) for child in bench.nursery.children)


async def test_an_offer_that_is_too_old_gets_no_answer_and_no_process() -> None:
    async with bench_of(target=0) as bench:
        bench.offer(answer_by=SystemClock().boottime())
        assert [(each.id, each.lost) for each in bench.over_records] == [("AJ_1", TOO_LATE)]
        assert (bench.answers, bench.ignored, bench.manager.records) == ([], ["AJ_1"], ())
        assert bench.nursery.children == []


async def test_an_offer_that_became_too_old_while_the_agent_was_asked_gets_no_answer() -> None:
    async with bench_of(target=0) as bench:
        bench.thinking.clear()
        bench.offer(answer_by=SystemClock().boottime() + 0.02)
        await asyncio.sleep(0.03)
        bench.thinking.set()
        await until(lambda: bench.over_records)
        assert [each.lost for each in bench.over_records] == [TOO_LATE]
        assert (bench.answers, bench.ignored, bench.outcomes) == ([], ["AJ_1"], [("AJ_1", TOO_LATE)])
        assert bench.nursery.children == []


async def test_an_assignment_that_came_while_the_host_stalled_counts() -> None:
    async with bench_of(assignment_s=0.6) as bench:
        bench.offer()
        await until(lambda: bench.answers)
        time.sleep(0.7)  # noqa: ASYNC251  so does a stopped host: its timers pass, and what came lies unread
        for _ in range(5):
            await asyncio.sleep(0)
        bench.assign()
        await until(lambda: any(child.told(ch.StartJob) for child in bench.nursery.children))


async def test_a_connection_lost_before_the_answer_costs_nothing() -> None:
    async with bench_of() as bench:
        bench.connected = False
        bench.offer()
        await until(lambda: bench.over_records)
        why = "the connection was lost before the answer was sent"
        assert bench.over_records[0].declined == why
        assert bench.outcomes == [("AJ_1", why)]  # otherwise the request function would wait for a minute
        await until(lambda: bench.pool.idle == 1)


async def test_an_answer_that_cannot_be_sent_is_a_rejection_and_leaks_nothing() -> None:
    async with bench_of() as bench:
        bench.refuses = True
        bench.offer()
        await until(lambda: bench.over_records)
        assert "cannot be sent: the identity is empty" in str(bench.over_records[0].declined)
        assert bench.answers == [("AJ_1", Reject(terminate=False))]
        assert bench.outcomes == [("AJ_1", bench.over_records[0].declined)]
        await until(lambda: bench.pool.idle == 1)
        assert len(bench.pool.processes) == 1
        assert bench.manager._assignments == {}


@pytest.mark.parametrize("accepts", [True, False])
async def test_a_job_that_is_ended_while_the_request_function_thinks(accepts: bool) -> None:
    async with bench_of() as bench:
        bench.thinking.clear()
        if not accepts:
            bench.answer_with = ch.RequestAnswer("AJ_1", None)
        bench.offer()
        assert bench.manager.end("AJ_1", ev.JobStatus.TERMINATED, "by the user")
        bench.thinking.set()
        await until(lambda: bench.over_records)
        assert bench.answers == [("AJ_1", Reject(terminate=False))]
        said = "by the user" if accepts else "the request function rejected it"
        assert bench.over_records[0].declined == said
        assert bench.told(ev.OfferAnswered)[0].error == ("by the user" if accepts else None)
        assert bench.outcomes == [("AJ_1", said)]


@pytest.mark.parametrize("how", ["killed", "signal"])
async def test_a_test_job_that_is_killed_after_its_length_has_failed(how: str) -> None:
    async with bench_of(timings=IMPATIENT) as bench:
        child = await bench.run_job()

        def answer(child: ScriptedChild, message: ch.ToChild) -> None:
            if how == "signal" and isinstance(message, ch.Shutdown):
                child.say(ch.ShutdownAck())
                child.end(None, 11)

        child.answers = answer
        bench.manager.end("AJ_1", ev.JobStatus.SUCCESS, "job length reached")
        end = await bench.ended()
        assert end.status == "failed"
        assert end.reason.startswith("job length reached; ")
        assert bench.updates[-1][1] is JobProgress.FAILED


async def test_a_crash_is_failed_with_its_last_line_although_the_process_exits_with_zero() -> None:
    async with bench_of() as bench:
        child = await bench.run_job()
        child.say(ch.JobCrashed("ValueError: no", "Traceback…"), ch.Exiting("job crashed"), ch.ShuttingDown())
        child.end(0)
        end = await bench.ended()
        assert (end.status, end.reason) == ("failed", "ValueError: no")
        assert bench.updates[-1] == ("AJ_1", JobProgress.FAILED, "ValueError: no")


@pytest.mark.parametrize(
    ("code", "signal", "reason"),
    [(0, None, "exited with code 0"), (3, None, "exited with code 3"), (None, 11, "SIGSEGV")],
)
async def test_a_process_that_dies_silently_is_a_failed_job(
    code: int | None, signal: int | None, reason: str
) -> None:
    async with bench_of() as bench:
        child = await bench.run_job()
        child.end(code, signal)
        end = await bench.ended()
        assert end.status == "failed"
        assert reason in end.reason
        assert bench.updates[-1][1] is JobProgress.FAILED


async def test_termination_ends_the_job_once_without_a_report() -> None:
    async with bench_of() as bench:
        child = await bench.run_job()
        bench.manager.terminated("AJ_1")
        bench.manager.terminated("AJ_1")
        end = await bench.ended()
        assert (end.status, end.reason) == ("terminated", "terminated by the server")
        assert len(child.told(ch.Shutdown)) == 1
        assert [progress for _, progress, _ in bench.updates] == [JobProgress.RUNNING]
        bench.manager.terminated("AJ_1")  # also long after the end
        bench.manager.terminated("AJ_unknown")


@pytest.mark.parametrize("ends", ["server", "user", "stop"])
@pytest.mark.parametrize("crash", [None, "ValueError: at its end"])
async def test_the_end_that_the_job_reported_wins_whichever_arrives_first(
    ends: str, crash: str | None
) -> None:
    async with bench_of() as bench:
        child = await bench.run_job()
        child.answers = lambda child, message: None
        if ends == "server":
            bench.manager.terminated("AJ_1")
        elif ends == "user":
            bench.manager.end("AJ_1", ev.JobStatus.TERMINATED, "by the user")
        else:
            closing = asyncio.create_task(bench.manager.close("agent-tui ends"))
        if crash:
            child.say(ch.JobCrashed(crash, "Traceback…"))
        child.say(ch.Exiting("job crashed" if crash else "all said"), ch.ShuttingDown(), ch.ShutdownAck())
        child.end()
        end = await bench.ended()
        if crash:
            assert (end.status, end.reason, end.ended_by) == ("failed", crash, ev.EndedBy.CRASH)
        else:
            assert (end.status, end.reason, end.ended_by) == ("success", "all said", ev.EndedBy.ORDER)
        reported = [JobProgress.FAILED if crash else JobProgress.SUCCESS]
        told = [progress for _, progress, _ in bench.updates]
        assert told == [JobProgress.RUNNING] + ([] if ends == "server" else reported)
        if ends == "stop":
            await closing


@pytest.mark.parametrize(
    ("code", "signal", "by"), [(3, None, ev.EndedBy.EXIT), (None, 11, ev.EndedBy.SIGNAL)]
)
async def test_a_process_that_died_before_it_received_the_termination_is_a_failed_job(
    code: int | None, signal: int | None, by: ev.EndedBy
) -> None:
    async with bench_of() as bench:
        child = await bench.run_job()
        child.answers = lambda child, message: None
        bench.manager.terminated("AJ_1")
        await until(lambda: child.told(ch.Shutdown))
        child.end(code, signal)
        end = await bench.ended()
        assert (end.status, end.ended_by, end.exit_code, end.signal) == ("failed", by, code, signal)


async def test_termination_while_the_job_waits_for_a_process() -> None:
    async with bench_of(Nursery(prepare=lambda child: None), target=0) as bench:
        bench.offer()
        await until(lambda: bench.answers)
        bench.assign()
        await until(lambda: bench.manager.running)
        bench.manager.terminated("AJ_1")
        end = await bench.ended()
        assert (end.status, end.pid) == ("terminated", None)


async def test_ending_before_the_assignment_loses_the_job() -> None:
    async with bench_of() as bench:
        bench.offer()
        await until(lambda: bench.answers)
        assert bench.manager.end("AJ_1", ev.JobStatus.TERMINATED, "by the user")
        await until(lambda: bench.over_records)
        assert bench.over_records[0].lost == "by the user"
        assert not bench.manager.end("AJ_1", ev.JobStatus.TERMINATED, "again")


async def test_a_job_without_a_process_fails_with_the_reason() -> None:
    def prepare(child: ScriptedChild) -> None:
        child.say(ch.Loading(), ch.Failed("OSError: no model", "Traceback…"))
        child.end(1)

    async with bench_of(Nursery(prepare), target=0) as bench:
        bench.offer()
        await until(lambda: bench.answers)
        bench.assign()
        end = await bench.ended()
        assert (end.status, end.reason) == ("failed", "no process: OSError: no model")
        assert bench.updates == [("AJ_1", JobProgress.FAILED, "no process: OSError: no model")]
        assert bench.outcomes == [("AJ_1", "the job failed to launch")]


async def test_a_process_that_was_already_dead_is_replaced() -> None:
    nursery = Nursery()
    async with bench_of(nursery) as bench:
        nursery.children[0].answers = lambda child, message: (
            child.end(None, 9) if isinstance(message, ch.StartJob) else None
        )
        bench.offer()
        await until(lambda: bench.answers)
        bench.assign()
        await until(lambda: any(child.told(ch.StartJob) for child in nursery.children[1:]))
        child = next(child for child in nursery.children[1:] if child.told(ch.StartJob))
        child.say(ch.EntryStarted(1.0), ch.Exiting("fine"), ch.ShuttingDown())
        child.end()
        end = await bench.ended()
        assert (end.status, end.pid) == ("success", child.pid)
        assert [progress for _, progress, _ in bench.updates] == [JobProgress.RUNNING, JobProgress.SUCCESS]
        assert bench.outcomes == [("AJ_1", None), ("AJ_1", None)]


FAULTS = {
    "ask_request": ev.OfferAnswered,
    "lease": ev.OfferAnswered,
    "answer": ev.OfferAnswered,
    "the assignment": ev.OfferAnswered,
    "report_outcome": ev.JobEnded,
    "launched": ev.JobEnded,
    "update_job": ev.JobEnded,
}
"""Internal errors, and how they end the job."""


@pytest.mark.parametrize("broken", FAULTS)
async def test_an_internal_error_ends_the_job_with_its_reason(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench_of() as bench:

        def fails(*_: object) -> None:
            raise KeyError("no such thing")

        if broken != "the assignment":
            monkeypatch.setattr(bench.pool if broken == "lease" else bench, broken, fails)
        bench.offer()
        await until(lambda: bench.over_records or bench.answers)
        if broken == "the assignment":
            bench.manager._assignments["AJ_1"].set_exception(KeyError("no such thing"))
        bench.assign()
        await until(lambda: bench.over_records)
        *_, end = bench.told(FAULTS[broken])
        said = "internal error (handling the job): KeyError: 'no such thing'"
        (record,) = bench.over_records
        match end:
            case ev.OfferAnswered() if broken == "the assignment":
                assert (end.accepted, record.lost) == (True, said)
                assert bench.outcomes == [("AJ_1", said)]
            case ev.OfferAnswered():
                assert (end.accepted, end.error, record.declined) == (False, said, said)
            case ev.JobEnded():
                assert (end.status, end.reason) == ("failed", said)
                assert 'raise KeyError("no such thing")' in end.traceback
        assert len(bench.told(ev.JobEnded)) + bool(record.lost) == (
            FAULTS[broken] is not ev.OfferAnswered or broken == "the assignment"
        )
        assert bench.manager._assignments == {}
        await until(lambda: bench.pool.idle == len(bench.pool.processes) == 1)


async def test_an_internal_error_after_the_end_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench_of() as bench:

        def fails(*_: object) -> None:
            raise KeyError("no such thing")

        bench.answer_with = ch.RequestAnswer("AJ_1", None)
        monkeypatch.setattr(bench, "changed", fails)
        bench.offer()
        await until(lambda: bench.told(ev.Notice))
        assert bench.told(ev.Notice)[0].text.startswith("internal error (handling job AJ_1): KeyError")


async def test_every_event_of_a_job_has_its_dispatch_number() -> None:
    async with bench_of() as bench:
        made = SystemClock().time()
        child = await bench.run_job(test=TestDispatch(7, "demo", made))
        child.end()
        end = await bench.ended()
        (offered,), (started,) = bench.told(ev.OfferReceived), bench.told(ev.JobStarted)
        assert (offered.test_dispatch, started.test_dispatch, end.test_dispatch) == (7, 7, 7)
        assert 0 <= started.offer_to_entry_ms <= started.dispatch_to_entry_ms < 5000


@pytest.mark.parametrize(("own", "of_the_run"), [(0.02, None), (0.02, 3600.0), (None, 0.02)])
async def test_a_test_job_ends_after_its_length(own: float | None, of_the_run: float | None) -> None:
    async with bench_of() as bench:
        bench.settings = replace(bench.settings, test_length_s=of_the_run)
        await bench.run_job(test=TestDispatch(1, "demo", SystemClock().time(), own))
        end = await bench.ended()
        assert (end.status, end.reason) == ("success", "job length of 20 ms reached")


async def test_a_job_that_was_not_dispatched_here_has_no_length() -> None:
    async with bench_of() as bench:
        bench.settings = replace(bench.settings, test_length_s=0.0)
        await bench.run_job()
        (record,) = bench.manager.records
        assert record.length_timer is None


async def test_the_worker_is_notified_once_when_an_offer_has_ended() -> None:
    async with bench_of() as bench:
        (await bench.run_job()).end()
        await bench.ended()
        bench.answer_with = ch.RequestAnswer("", None)
        bench.offer("AJ_2")
        await until(lambda: len(bench.over_records) == 2)
        bench.manager.drain()
        bench.offer("AJ_3")
        assert bench.worker_over == ["AJ_1", "AJ_2", "AJ_3"]


async def test_close_ends_running_jobs_gracefully() -> None:
    async with bench_of() as bench:
        child = await bench.run_job()
        await bench.manager.close("agent-tui ends")
        assert len(child.told(ch.Shutdown)) == 1
        end = await bench.ended()
        assert (end.status, end.reason) == ("terminated", "agent-tui ends")
        assert bench.updates[-1][1] is JobProgress.SUCCESS


async def test_the_end_of_a_crashed_job_has_its_traceback() -> None:
    async with bench_of() as bench:
        child = await bench.run_job()
        child.say(ch.JobConnected(SystemClock().time()), ch.JobCrashed("ValueError: no", "Traceback…"))
        child.say(ch.ShuttingDown(), ch.Exiting("job crashed"))
        child.end()
        end = await bench.ended()
        assert (end.status, end.ended_by, end.exit_code, end.signal) == ("failed", "crash", 0, None)
        assert end.traceback == "Traceback…"
        (connected,) = bench.told(ev.JobConnected)
        assert (connected.job_id, connected.room) == ("AJ_1", "demo")
        assert 0 <= connected.entry_to_connected_ms < 5000


@pytest.mark.parametrize(
    ("how", "by"),
    [
        ("signal", ev.EndedBy.SIGNAL),
        ("exit", ev.EndedBy.EXIT),
        ("order", ev.EndedBy.ORDER),
        ("limit", ev.EndedBy.MEMORY_LIMIT),
        ("server", ev.EndedBy.SERVER),
        ("killed", ev.EndedBy.KILLED),
    ],
)
async def test_each_cause_of_an_end_is_named(how: str, by: ev.EndedBy) -> None:
    async with bench_of() as bench:
        child = await bench.run_job()
        (process,) = (each for each in bench.pool.processes if each.job_id == "AJ_1")
        if how == "limit":
            assert bench.manager.end("AJ_1", ev.JobStatus.FAILED, "over", ev.EndedBy.MEMORY_LIMIT)
        elif how == "server":
            bench.manager.terminated("AJ_1")
        elif how == "killed":
            process.kill("at once")
        elif how == "order":
            child.say(ch.ShuttingDown(), ch.Exiting("all said"))
        if how in ("limit", "server"):
            await until(lambda: child.told(ch.Shutdown))
        child.end(*{"signal": (None, 11), "exit": (3, None)}.get(how, (0, None)))
        end = await bench.ended()
        assert end.ended_by is by
        assert end.exit_code == {"exit": 3, "signal": None}.get(how, end.exit_code)
        assert end.signal == (11 if how == "signal" else end.signal)


async def test_a_job_without_a_process_ends_with_the_failed_start() -> None:
    def fails(child: ScriptedChild) -> None:
        child.say(ch.Loading(), ch.Failed("RuntimeError: no", "Traceback of prewarm"))
        child.end(1)

    async with bench_of(Nursery(fails), target=0) as bench:
        bench.offer()
        await until(lambda: bench.answers)
        bench.assign()
        end = await bench.ended()
        assert (end.status, end.ended_by) == ("failed", ev.EndedBy.LOADING)
        assert end.traceback == "Traceback of prewarm"


def test_a_long_traceback_keeps_start_and_end() -> None:
    lines = [f"  line {number}" for number in range(5_000)]
    short = shortened("\n".join(lines))
    assert len(short) <= MAX_TRACEBACK + 10
    assert short.startswith("  line 0\n")
    assert "\n  …\n  line " in short
    assert short.endswith("  line 4999")
    assert shortened("a\nb") == "a\nb"
