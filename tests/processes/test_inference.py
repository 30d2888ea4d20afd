"""The inference process over scripted children: requests there and back, and what its death means."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent_tui.model import child as ch
from agent_tui.model.clock import SystemClock
from agent_tui.processes.inference import Inference
from tests.fakes.scripted_child import Nursery, until

REQUEST = ch.InferenceRequest("r1", "eot", b"x")


@asynccontextmanager
async def inference_of(nursery: Nursery) -> AsyncIterator[Inference]:
    inference = Inference(1, launch=nursery, clock=SystemClock(), emit=lambda event: None)
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
        child.say(response, response)  # a second answer has nobody waiting
        await until(lambda: answers)
        assert answers == [response]


async def test_when_it_dies_requests_fail_and_it_is_made_anew() -> None:
    nursery = Nursery()
    answers: list[ch.InferenceResponse] = []
    async with inference_of(nursery) as inference:
        await until(lambda: nursery.children and nursery.children[0].told(ch.Ping))
        inference.ask(REQUEST, answers.append)
        nursery.children[0].end(None, 9)
        await until(lambda: answers)
        assert answers[0].error == "the inference process ended: ended by signal 9"
        await until(lambda: len(nursery.children) == 2)
