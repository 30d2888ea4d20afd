"""The job manager and the pool with real children shaped like those of agents-js: they report no entry."""

import os
import signal

import pytest

from agent_tui.model import child as ch
from agent_tui.model import events as ev
from tests.fakes.node_runtime import launch_node
from tests.fakes.scripted_child import Nursery, until
from tests.runtimes.support import Sink

from .support import Bench, bench_of

pytestmark = pytest.mark.real


class Nodes(Nursery):
    """Starts node-shaped children instead of scripted ones."""

    def __init__(self, behaviour: str = "waits") -> None:
        super().__init__()
        self.behaviour = behaviour
        self.sink = Sink()
        self.pids: list[int] = []

    async def __call__(self, kind: ch.ProcessKind, process_id: str) -> ch.Child:  # type: ignore[override]
        child = await launch_node(self.behaviour, self.sink)
        self.pids.append(child.pid)
        return child

    @property
    def entries(self) -> int:
        return sum(text == "entered demo" for _, text in self.sink.lines)


async def started(bench: Bench) -> ev.JobStarted:
    """Offer a job; it is reported as running."""
    bench.offer()
    await until(lambda: bench.answers)
    bench.assign()
    await until(lambda: bench.told(ev.JobStarted))
    (event,) = bench.told(ev.JobStarted)
    assert isinstance(event, ev.JobStarted)
    return event


async def test_a_job_runs_and_ends_on_request() -> None:
    nodes = Nodes()
    async with bench_of(nodes) as bench:
        event = await started(bench)
        assert event.pid in nodes.pids
        assert event.warm
        await until(lambda: nodes.entries == 1)
        bench.manager.end("AJ_1", ev.JobStatus.TERMINATED, "asked to")
        end = await bench.ended()
        assert end.status == "terminated"
        assert end.reason == "asked to"


async def test_a_job_whose_process_dies_is_not_run_twice() -> None:
    nodes = Nodes()
    async with bench_of(nodes) as bench:
        event = await started(bench)
        await until(lambda: nodes.entries == 1)
        os.kill(event.pid, signal.SIGKILL)
        end = await bench.ended()
        assert (end.status, end.signal, end.pid) == ("failed", signal.SIGKILL, event.pid)
        assert nodes.entries == 1
        assert len(bench.told(ev.JobStarted)) == 1


async def test_a_job_that_raises_has_failed() -> None:
    nodes = Nodes("raises")
    async with bench_of(nodes) as bench:
        await started(bench)
        end = await bench.ended()
        assert (end.status, end.reason) == ("failed", "job crashed")
