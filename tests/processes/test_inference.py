"""The inference process over scripted children: requests, answers, and its death."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from agent_tui.model import child as ch
from agent_tui.model.clock import SystemClock
from agent_tui.processes.inference import Inference, SharedInference
from agent_tui.processes.pool import Plan
from agent_tui.processes.process import SupervisedProcess, Supervisor
from agent_tui.processes.timings import ProcessTimings
from tests.fakes.scripted_child import Nursery, until

SUPERVISOR = Supervisor(ProcessTimings, SystemClock(), lambda event: None)
REQUEST = ch.InferenceRequest("r1", "eot", b"x")


@asynccontextmanager
async def inference_of(nursery: Nursery) -> AsyncIterator[Inference]:
    inference = Inference(Plan(1, nursery), SUPERVISOR)
    running = asyncio.create_task(inference.run())
    try:
        yield inference
    finally:
        for child in nursery.children:
            child.end()
        inference.close("test over")
        await asyncio.wait_for(running, 5)


async def test_a_request_that_comes_early_waits_for_the_process() -> None:
    nursery = Nursery(prepare=lambda child: None)
    answers: list[ch.InferenceResponse] = []
    async with inference_of(nursery) as inference:
        await until(lambda: nursery.children)
        (child,) = nursery.children
        inference.ask(REQUEST, answers.append)
        assert child.told(ch.InferenceRequest) == []
        child.say(ch.Loading(), ch.Ready())
        await until(lambda: child.told(ch.InferenceRequest))
        response = ch.InferenceResponse("r1", b"y", "")
        child.say(response, response)  # nothing waits for a second answer
        await until(lambda: answers)
        assert answers == [response]


async def test_when_it_dies_requests_fail_and_it_restarts() -> None:
    nursery = Nursery()
    answers: list[ch.InferenceResponse] = []
    async with inference_of(nursery) as inference:
        await until(lambda: nursery.children and nursery.children[0].told(ch.Ping))
        inference.ask(REQUEST, answers.append)
        nursery.children[0].end(None, 9)
        await until(lambda: answers)
        assert answers[0].error == "the inference process ended: killed by SIGKILL"
        await until(lambda: len(nursery.children) == 2)


MANIFEST = ch.Manifest("livekit-agents", "1", {}, True, False, False, False, ("eot",), "f", (), 1.0)


@asynccontextmanager
async def shared() -> AsyncIterator[SharedInference]:
    inference = SharedInference(SUPERVISOR)
    try:
        yield inference
    finally:
        inference.kill("test over")
        await asyncio.wait_for(inference.close("test over"), 5)


def job_of(generation: int, nursery: Nursery) -> SupervisedProcess:
    return SupervisedProcess(
        SUPERVISOR,
        f"p{generation}",
        ch.ProcessKind.JOB,
        generation,
        launch=nursery,
        relay=lambda process, message: None,
    )


async def test_generations_with_the_same_runners_share_one_process() -> None:
    first, second = Nursery(), Nursery()
    async with shared() as inference:
        inference.use(Plan(1, first), MANIFEST)
        await until(lambda: first.children and first.children[0].told(ch.Ping))
        inference.use(Plan(2, second), replace(MANIFEST, load_ms=2.0))
        inference.keep(lambda generation: generation == 2)  # generation 1 has no job left
        assert [process.id for process in inference.processes] == ["i1"]
        inference.ask(job_of(2, second), REQUEST)
        await until(lambda: first.children[0].told(ch.InferenceRequest))
        first.children[0].end(None, 9)
        await until(lambda: len(second.children) == 1)  # the next one comes from the latest generation
        assert len(first.children) == 1


async def test_an_abandoned_generation_does_not_restart_a_shared_process() -> None:
    first, second = Nursery(), Nursery()
    async with shared() as inference:
        inference.use(Plan(1, first), MANIFEST)
        await until(lambda: first.children and first.children[0].told(ch.Ping))
        inference.use(Plan(2, second), MANIFEST)  # it is loaded beside, and does not become ready
        inference.keep(lambda generation: generation != 2)
        first.children[0].end(None, 9)
        await until(lambda: len(first.children) == 2)
        assert not second.children


@pytest.mark.parametrize(
    "later",
    [replace(MANIFEST, inference_runners=("other",)), replace(MANIFEST, own_runners=True)],
    ids=["others", "own code"],
)
async def test_other_runners_get_another_process_and_the_old_one_serves_old_jobs(
    later: ch.Manifest,
) -> None:
    first, second = Nursery(), Nursery()
    async with shared() as inference:
        inference.use(Plan(1, first), MANIFEST)
        inference.use(Plan(2, second), later)
        await until(lambda: first.children and first.children[0].told(ch.Ping))
        await until(lambda: second.children and second.children[0].told(ch.Ping))
        inference.ask(job_of(1, first), REQUEST)
        inference.ask(job_of(2, second), replace(REQUEST, request_id="r2"))
        await until(lambda: first.children[0].told(ch.InferenceRequest))
        await until(lambda: second.children[0].told(ch.InferenceRequest))
        inference.keep(lambda generation: generation == 2)
        await until(lambda: first.children[0].told(ch.Shutdown))
        first.children[0].end()
        await until(lambda: [process.id for process in inference.processes] == ["i2"])


async def test_a_generation_is_released_when_nothing_runs_on_it_any_more() -> None:
    first, second = Nursery(), Nursery()
    async with shared() as inference:
        await inference.released(1)  # it has no runners
        inference.use(Plan(1, first), replace(MANIFEST, own_runners=True))
        inference.use(Plan(2, second), replace(MANIFEST, own_runners=True))
        released = asyncio.create_task(inference.released(1))
        inference.keep(lambda generation: True)
        await until(lambda: first.children and first.children[0].told(ch.Ping))
        first.children[0].end(None, 9)
        await until(lambda: len(first.children) == 2)
        assert not released.done()
        inference.keep(lambda generation: generation == 2)
        await released
        inference.release()
        await inference.released(2)


async def test_without_runners_a_job_gets_an_error() -> None:
    nursery = Nursery()
    async with shared() as inference:
        inference.use(Plan(1, nursery), replace(MANIFEST, inference_runners=()))
        job = job_of(1, nursery)
        running = asyncio.create_task(job.run())
        await until(lambda: nursery.children and nursery.children[0].told(ch.Ping))
        inference.ask(job, REQUEST)
        await until(lambda: nursery.children[0].told(ch.InferenceResponse))
        [answer] = nursery.children[0].told(ch.InferenceResponse)
        assert isinstance(answer, ch.InferenceResponse)
        assert answer.error == "generation 1 has no inference process"
        assert [process.id for process in inference.processes] == []
        nursery.children[0].end()
        await running


async def test_a_lazy_one_starts_at_the_first_request_and_ends_without_one() -> None:
    nursery = Nursery()
    answers: list[ch.InferenceResponse] = []
    inference = Inference(Plan(1, nursery), SUPERVISOR, lazy=True)
    running = asyncio.create_task(inference.run())
    await asyncio.sleep(0)
    assert inference.process is None
    inference.ask(REQUEST, answers.append)
    await until(lambda: nursery.children and nursery.children[0].told(ch.InferenceRequest))
    nursery.children[0].end()
    inference.close("test over")
    await asyncio.wait_for(running, 5)
    never = Inference(Plan(1, nursery), SUPERVISOR, lazy=True)
    running = asyncio.create_task(never.run())
    await asyncio.sleep(0)
    never.close("test over")
    await asyncio.wait_for(running, 5)
    assert never.process is None
