"""A job manager between a scripted worker, a scripted agent and scripted processes."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from livekit.protocol.agent import Job
from livekit.protocol.models import Room

from agent_tui.jobs.manager import JobManager, JobSettings
from agent_tui.jobs.record import JobRecord, Stage, TestDispatch
from agent_tui.model import child as ch
from agent_tui.model import events as ev
from agent_tui.model.clock import SystemClock
from agent_tui.processes.pool import Plan, Pool
from agent_tui.processes.process import Supervisor
from agent_tui.processes.timings import ProcessTimings, StartPatience
from agent_tui.worker.messages import Assigned, JobProgress, Offer, Reject
from tests.fakes.scripted_child import Nursery, ScriptedChild, until

DEFAULT_TIMINGS = ProcessTimings()
IMPATIENT = ProcessTimings(shutdown_s=0.05, stacks_s=0.05)
"""For tests in which a process does not end when it is asked to."""


class Bench:
    """Everything that a job manager works with, scripted: it is also the worker and the control process."""

    generation = 1
    worker_id = "AW_1"

    def __init__(
        self,
        nursery: Nursery,
        target: int = 1,
        assignment_s: float = 5.0,
        *,
        loaded: bool = True,
        timings: ProcessTimings = DEFAULT_TIMINGS,
    ) -> None:
        self.nursery = nursery
        self.events: list[Any] = []
        self.answers: list[tuple[str, ch.AcceptArguments | Reject]] = []
        self.updates: list[tuple[str, JobProgress, str]] = []
        self.outcomes: list[tuple[str, str | None]] = []
        self.connected = True
        self.refuses = False
        self.thinking = asyncio.Event()
        """Set once the request function may answer."""
        self.thinking.set()
        self.answer_with = ch.RequestAnswer("", ch.AcceptArguments("agent-x", "Name", "meta", {"a": "b"}))
        self.over_records: list[JobRecord] = []
        self.ignored: list[str] = []
        self.worker_over: list[str] = []
        self.settings = JobSettings("ws://worker", fake_job=True, api_secret="", debug_port=0)
        self.pool = Pool(
            Supervisor(lambda: timings, SystemClock(), self.events.append),
            on_event=lambda _: None,
            target=target,
            starting_at_once=2,
            patience=StartPatience(job_s=0.0),
        )
        self.manager = JobManager(
            pool=self.pool,
            settings=lambda: self.settings,
            changed=lambda record: self.changed(record),
            clock=SystemClock(),
            emit=self.events.append,
            clean=lambda text, limit: text[:limit],
            assignment_s=assignment_s,
        )
        if loaded:
            self.manager.switched(cast("Any", self))

    # for the worker
    def answer(self, job_id: str, answer: ch.AcceptArguments | Reject) -> bool:
        if self.refuses and isinstance(answer, ch.AcceptArguments):
            raise ValueError("the identity is empty")
        self.answers.append((job_id, answer))
        return self.connected

    def update_job(self, job_id: str, progress: JobProgress, error: str = "") -> bool:
        self.updates.append((job_id, progress, error))
        return True

    def ignore(self, job_id: str) -> None:
        self.ignored.append(job_id)

    def job_ended(self, job_id: str) -> None:
        self.worker_over.append(job_id)

    # for the control process
    async def ask_request(self, job: bytes, job_id: str) -> ch.RequestAnswer:
        await self.thinking.wait()
        return self.answer_with

    def report_outcome(self, job_id: str, error: str | None) -> None:
        self.outcomes.append((job_id, error))

    # for the engine
    def changed(self, record: JobRecord) -> None:
        if record.stage is Stage.ENDED:
            self.over_records.append(record)
        else:
            self.launched(record)

    def launched(self, record: JobRecord) -> None: ...

    # for the tests
    def offer(
        self, job_id: str = "AJ_1", answer_by: float = math.inf, test: TestDispatch | None = None
    ) -> None:
        job = Job(id=job_id, room=Room(name="demo"))
        offer = Offer(job, resuming=False, received_at=SystemClock().time(), answer_by=answer_by)
        self.manager.offer(offer, cast("Any", self), test)

    def assign(self, job_id: str = "AJ_1") -> None:
        self.manager.assigned(Assigned(job_id, Job(id=job_id), None, "token"))

    async def run_job(self, job_id: str = "AJ_1", test: TestDispatch | None = None) -> ScriptedChild:
        """Offer and assign a job; return the child that runs it, with its entry started."""
        self.offer(job_id, test=test)
        await until(lambda: self.answers)
        self.assign(job_id)
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
        await asyncio.gather(bench.manager.close("test over"), bench.pool.close("test over"))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert bench.manager.records == ()
        assert bench.pool.processes == ()
