"""The desk between a scripted server, a scripted agent and scripted processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from livekit.protocol.agent import Job
from livekit.protocol.models import Room

from agent_tui.jobs.desk import Desk, DeskTimings, JobSettings
from agent_tui.jobs.record import JobRecord
from agent_tui.model import child as ch
from agent_tui.model import events as ev
from agent_tui.model.clock import SystemClock
from agent_tui.processes.pool import Lease, Plan, Pool
from agent_tui.processes.timings import ProcessTimings
from agent_tui.worker.messages import JobProgress, Reject
from tests.fakes.scripted_child import Nursery, ScriptedChild, until


class Bench:
    """All of a desk's surroundings, scripted; `events` is what it told."""

    generation = 1
    worker_id = "AW_1"

    def __init__(self, nursery: Nursery, target: int = 1, assignment_s: float = 5.0) -> None:
        self.nursery = nursery
        self.events: list[Any] = []
        self.answers: list[tuple[str, ch.AcceptArguments | Reject]] = []
        self.updates: list[tuple[str, JobProgress, str]] = []
        self.outcomes: list[tuple[str, str | None]] = []
        self.connected = True
        self.refuses = False
        self.loaded = True
        self.answer_with = ch.RequestAnswer("", ch.AcceptArguments("agent-x", "Name", "meta", {"a": "b"}))
        self.over_records: list[JobRecord] = []
        self.pool = Pool(
            target=target,
            starting_at_once=2,
            timings=lambda: ProcessTimings(shutdown_s=0.1, session_end_s=-74.9),
            clock=SystemClock(),
            emit=self.events.append,
            relay=lambda *_: None,
        )
        self.desk = Desk(
            server=lambda: self,
            agent=lambda: self if self.loaded else None,
            settings=lambda: JobSettings("ws://worker", fake_job=True),
            around=self,
            clock=SystemClock(),
            emit=self.events.append,
            timings=DeskTimings(assignment_s),
        )

    # the server
    def answer(self, job_id: str, answer: ch.AcceptArguments | Reject) -> bool:
        if self.refuses and isinstance(answer, ch.AcceptArguments):
            raise ValueError("the identity is empty")
        self.answers.append((job_id, answer))
        return self.connected

    def update_job(self, job_id: str, progress: JobProgress, error: str = "") -> bool:
        self.updates.append((job_id, progress, error))
        return True

    # the agent
    async def ask_request(self, job: bytes, job_id: str) -> ch.RequestAnswer:
        return self.answer_with

    def outcome(self, job_id: str, error: str | None) -> None:
        self.outcomes.append((job_id, error))

    # the surroundings
    def lease(self) -> Lease:
        return self.pool.lease()

    def offered(self, job: Job) -> None: ...

    def dispatched_at(self, job: Job) -> float | None:
        return None

    def launched(self, record: JobRecord) -> None: ...
    def entered(self, record: JobRecord) -> None: ...

    def over(self, record: JobRecord) -> None:
        self.over_records.append(record)

    # what tests do
    def offer(self, job_id: str = "AJ_1") -> None:
        self.desk.offer(Job(id=job_id, room=Room(name="demo")), SystemClock().time())

    async def run_job(self, job_id: str = "AJ_1") -> ScriptedChild:
        """Offers, assigns, and returns the child that runs the job, its entry started."""
        self.offer(job_id)
        await until(lambda: self.answers)
        self.desk.assigned(job_id, None, "token")
        await until(lambda: any(child.told(ch.StartJob) for child in self.nursery.children))
        child = next(child for child in self.nursery.children if child.told(ch.StartJob))
        child.say(ch.EntryStarted(SystemClock().time()))
        await until(lambda: self.told(ev.JobStarted))
        return child

    def told(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def ended(self) -> ev.JobEnded:
        await until(lambda: self.told(ev.JobEnded))
        (event,) = self.told(ev.JobEnded)
        assert isinstance(event, ev.JobEnded)
        return event


@asynccontextmanager
async def bench_of(nursery: Nursery | None = None, **options: Any) -> AsyncIterator[Bench]:
    bench = Bench(nursery or Nursery(), **options)
    running = asyncio.create_task(bench.pool.run())
    bench.pool.use(Plan(1, bench.nursery))
    if bench.pool.target:
        await until(lambda: bench.pool.idle == bench.pool.target)
    try:
        yield bench
    finally:
        await asyncio.gather(bench.desk.close("test over"), bench.pool.close("test over"))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert bench.desk.records == ()
        assert bench.pool.processes == ()


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
        assert not child.exit.done()  # told before the agent leaves the room (worker-protocol §8)
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
async def test_offers_that_cannot_be_taken_are_rejected_at_once(why: str) -> None:
    async with bench_of() as bench:
        if why == "not loaded":
            bench.loaded = False
        elif why == "draining":
            bench.desk.drain()
        else:
            await bench.run_job()
            bench.answers.clear()
        before = len(bench.told(ev.OfferReceived))
        bench.offer()
        assert bench.answers == [("AJ_1", Reject(terminate=False))]
        # A second offer of a job that is here tells no story that contradicts the first.
        assert len(bench.told(ev.OfferReceived)) == before + (why != "here already")


async def test_an_assignment_that_never_comes_cancels_the_acceptance() -> None:
    async with bench_of(assignment_s=0.02) as bench:
        bench.offer()
        await until(lambda: bench.over_records)
        (lost,) = bench.told(ev.JobLost)
        assert "did not assign it within 0.02 s" in lost.why
        assert bench.outcomes == [("AJ_1", lost.why)]
        bench.desk.assigned("AJ_1", None, "token")  # too late: ignored
        await until(lambda: bench.pool.idle == 1)
        assert not any(child.told(ch.StartJob) for child in bench.nursery.children)


async def test_a_connection_lost_before_the_answer_costs_nothing() -> None:
    async with bench_of() as bench:
        bench.connected = False
        bench.offer()
        await until(lambda: bench.over_records)
        assert bench.over_records[0].declined == "the connection was lost before it was answered"
        await until(lambda: bench.pool.idle == 1)


async def test_an_answer_that_cannot_be_sent_is_a_rejection_and_leaks_nothing() -> None:
    async with bench_of() as bench:
        bench.refuses = True
        bench.offer()
        await until(lambda: bench.over_records)
        assert "cannot be sent: the identity is empty" in str(bench.over_records[0].declined)
        assert bench.answers == [("AJ_1", Reject(terminate=False))]
        await until(lambda: bench.pool.idle == 1)
        assert len(bench.pool.processes) == 1
        assert bench.desk._assignments == {}


@pytest.mark.parametrize("how", ["killed", "signal"])
async def test_a_test_job_that_does_not_end_well_after_its_length_is_no_success(how: str) -> None:
    async with bench_of() as bench:
        child = await bench.run_job()

        def answer(child: ScriptedChild, message: ch.ToChild) -> None:
            if how == "signal" and isinstance(message, ch.Shutdown):
                child.end(None, 11)

        child.answers = answer
        bench.desk.end("AJ_1", ev.JobStatus.SUCCESS, "job length reached")
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
    [(0, None, "ended by itself with exit code 0"), (3, None, "exit code 3"), (None, 11, "signal 11")],
)
async def test_a_process_that_goes_without_a_word_is_a_failed_job(
    code: int | None, signal: int | None, reason: str
) -> None:
    async with bench_of() as bench:
        child = await bench.run_job()
        child.end(code, signal)
        end = await bench.ended()
        assert end.status == "failed"
        assert reason in end.reason
        assert bench.updates[-1][1] is JobProgress.FAILED


async def test_termination_ends_the_job_once_and_the_server_is_told_nothing_more() -> None:
    async with bench_of() as bench:
        child = await bench.run_job()
        bench.desk.terminated("AJ_1")
        bench.desk.terminated("AJ_1")
        end = await bench.ended()
        assert (end.status, end.reason) == ("terminated", "terminated by the server")
        assert len(child.told(ch.Shutdown)) == 1
        assert [progress for _, progress, _ in bench.updates] == [JobProgress.RUNNING]
        bench.desk.terminated("AJ_1")  # and long after the end
        bench.desk.terminated("AJ_unknown")


async def test_termination_while_the_job_waits_for_a_process() -> None:
    async with bench_of(Nursery(prepare=lambda child: None), target=0) as bench:
        bench.offer()
        await until(lambda: bench.answers)
        bench.desk.assigned("AJ_1", None, "token")
        await until(lambda: bench.desk.running)
        bench.desk.terminated("AJ_1")
        end = await bench.ended()
        assert (end.status, end.pid) == ("terminated", None)


async def test_ending_before_the_assignment_loses_the_job() -> None:
    async with bench_of() as bench:
        bench.offer()
        await until(lambda: bench.answers)
        assert bench.desk.end("AJ_1", ev.JobStatus.TERMINATED, "by the user")
        await until(lambda: bench.over_records)
        assert bench.told(ev.JobLost)[0].why == "by the user"
        assert not bench.desk.end("AJ_1", ev.JobStatus.TERMINATED, "again")


async def test_no_process_to_be_had_fails_the_job_with_the_reason() -> None:
    def prepare(child: ScriptedChild) -> None:
        child.say(ch.Loading(), ch.Failed("OSError: no model", "Traceback…"))
        child.end(1)

    async with bench_of(Nursery(prepare), target=0) as bench:
        bench.offer()
        await until(lambda: bench.answers)
        bench.desk.assigned("AJ_1", None, "token")
        end = await bench.ended()
        assert (end.status, end.reason) == ("failed", "no process: OSError: no model")
        assert bench.updates == [("AJ_1", JobProgress.FAILED, "no process: OSError: no model")]
        assert bench.outcomes == [("AJ_1", "the job could not be launched")]


async def test_a_process_that_was_dead_already_costs_the_job_nothing() -> None:
    nursery = Nursery()
    async with bench_of(nursery) as bench:
        nursery.children[0].answers = lambda child, message: (
            child.end(None, 9) if isinstance(message, ch.StartJob) else None
        )
        bench.offer()
        await until(lambda: bench.answers)
        bench.desk.assigned("AJ_1", None, "token")
        await until(lambda: any(child.told(ch.StartJob) for child in nursery.children[1:]))
        child = next(child for child in nursery.children[1:] if child.told(ch.StartJob))
        child.say(ch.EntryStarted(1.0), ch.Exiting("fine"), ch.ShuttingDown())
        child.end()
        end = await bench.ended()
        assert (end.status, end.pid) == ("success", child.pid)
        assert [progress for _, progress, _ in bench.updates] == [JobProgress.RUNNING, JobProgress.SUCCESS]
        assert bench.outcomes == [("AJ_1", None), ("AJ_1", None)]


async def test_close_ends_running_jobs_in_good_order() -> None:
    async with bench_of() as bench:
        child = await bench.run_job()
        await bench.desk.close("agent-tui ends")
        assert len(child.told(ch.Shutdown)) == 1
        end = await bench.ended()
        assert (end.status, end.reason) == ("terminated", "agent-tui ends")
        assert bench.updates[-1][1] is JobProgress.SUCCESS
