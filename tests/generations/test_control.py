"""The control process over scripted children: limits for the agent's functions, and restarts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from agent_tui.generations.control import Control, ControlTimings
from agent_tui.model import child as ch
from agent_tui.model.clock import SystemClock
from agent_tui.processes.process import ProcessFailed, Supervisor
from agent_tui.processes.timings import ProcessTimings
from tests.fakes.scripted_child import Nursery, ScriptedChild, _obliging, until
from tests.limits import PATIENCE_S

QUICK = ControlTimings(request_s=0.1, load_s=0.1, blocked_s=0.05)
ACCEPT = ch.AcceptArguments("ann")


def manifest(*, request: bool = True, functions: str = "f") -> ch.Manifest:
    return ch.Manifest("native", None, {}, True, False, request, True, (), functions, (), 1.0)


def loads(child: ScriptedChild) -> None:
    child.say(ch.Loading(), manifest())


@asynccontextmanager
async def control_of(nursery: Nursery, limits: ControlTimings = QUICK) -> AsyncIterator[Control]:
    control = Control(
        1, Supervisor(ProcessTimings, SystemClock(), lambda event: None), nursery, limits=limits
    )
    try:
        yield control
    finally:
        await control.close("test over")
        assert all(child.exit.done() for child in nursery.children)


def answering(answer: Callable[[ScriptedChild, ch.ToChild], None]) -> Nursery:
    """Return children that load, answer pings and shutdowns, and otherwise follow the script."""

    def prepare(child: ScriptedChild) -> None:
        loads(child)

        def both(child: ScriptedChild, message: ch.ToChild) -> None:
            _obliging(child, message)
            answer(child, message)

        child.answers = both

    return Nursery(prepare)


async def test_each_request_gets_its_own_answer() -> None:
    def answer(child: ScriptedChild, message: ch.ToChild) -> None:
        if isinstance(message, ch.AskRequest):
            accept = ACCEPT if message.job_id == "AJ_1" else None
            child.say(ch.RequestAnswer(message.job_id, accept, terminate=True))

    async with control_of(answering(answer)) as control:
        assert await control.start() == manifest()
        first, second = await asyncio.gather(
            control.ask_request(b"", "AJ_1"), control.ask_request(b"", "AJ_2")
        )
        assert (first.accept, second.accept, second.terminate) == (ACCEPT, None, True)
        control.report_outcome("AJ_1", None)


async def test_an_agent_without_request_function_accepts_without_being_asked() -> None:
    nursery = Nursery(prepare=lambda child: child.say(ch.Loading(), manifest(request=False)))
    async with control_of(nursery) as control:
        await control.start()
        answer = await control.ask_request(b"", "AJ_1")
        assert answer.accept == ch.AcceptArguments("agent-AJ_1")
        assert nursery.children[0].told(ch.AskRequest) == []


async def test_a_request_function_that_only_waits_does_not_end_the_process() -> None:
    nursery = answering(lambda child, message: None)
    async with control_of(nursery) as control:
        await control.start()
        answer = await control.ask_request(b"", "AJ_1")
        assert answer.accept is None
        assert not answer.terminate
        assert "did not answer within 0.1 s" in str(answer.error)
        await asyncio.sleep(2 * QUICK.blocked_s)
        assert len(nursery.children) == 1


async def test_a_blocked_process_is_replaced_and_gets_the_worker_data_again() -> None:
    nursery = Nursery(loads)
    async with control_of(nursery) as control:
        await control.start()
        live = ch.WorkerLive("AW_1", (), draining=False)
        control.update_live(live)
        nursery.children[0].answers = lambda child, message: None
        assert (await control.ask_request(b"", "AJ_1")).accept is None
        await until(lambda: len(nursery.children) == 2)
        await until(lambda: nursery.children[1].told(ch.WorkerLive))
        assert nursery.children[0].killed
        assert nursery.children[1].told(ch.WorkerLive) == [live]


async def test_the_workers_data_is_sent_only_when_a_function_is_asked() -> None:
    nursery = Nursery(loads)
    async with control_of(nursery) as control:
        await control.start()
        child = nursery.children[0]
        for count in range(500):
            control.update_live(ch.WorkerLive(f"AW_{count}", (), draining=False))
        assert child.told(ch.WorkerLive) == []
        await asyncio.gather(control.ask_request(b"", "AJ_1"), control.ask_request(b"", "AJ_2"))
        assert child.told(ch.WorkerLive) == [ch.WorkerLive("AW_499", (), draining=False)]


async def test_an_offer_during_a_restart_waits_for_the_new_process() -> None:
    def answer(child: ScriptedChild, message: ch.ToChild) -> None:
        if isinstance(message, ch.AskRequest):
            child.say(ch.RequestAnswer(message.job_id, ACCEPT))

    nursery = answering(answer)
    async with control_of(nursery) as control:
        await control.start()
        nursery.children[0].end(None, 9)
        await until(lambda: len(nursery.children) == 2)
        assert (await control.ask_request(b"", "AJ_1")).accept == ACCEPT
        control.report_outcome("AJ_1", None)


async def test_the_questions_of_a_dead_process_go_to_its_successor() -> None:
    def answer(child: ScriptedChild, message: ch.ToChild) -> None:
        if isinstance(message, ch.AskRequest) and child is not nursery.children[0]:
            child.say(ch.RequestAnswer(message.job_id, ACCEPT))

    nursery = answering(answer)
    async with control_of(nursery, ControlTimings(request_s=5.0)) as control:
        await control.start()
        asking = [asyncio.create_task(control.ask_request(b"", f"AJ_{n}")) for n in range(3)]
        await until(lambda: len(nursery.children[0].told(ch.AskRequest)) == 3)
        nursery.children[0].end(None, 9)
        assert [each.accept for each in await asyncio.gather(*asking)] == [ACCEPT] * 3
        for number in range(3):
            control.report_outcome(f"AJ_{number}", None)
        assert len(nursery.children[1].told(ch.AcceptOutcome)) == 3


async def test_a_question_that_kills_each_process_is_rejected() -> None:
    def answer(child: ScriptedChild, message: ch.ToChild) -> None:
        if isinstance(message, ch.AskRequest):
            child.end(None, 11)

    nursery = answering(answer)
    async with control_of(nursery, ControlTimings(request_s=5.0)) as control:
        await control.start()
        answered = await control.ask_request(b"", "AJ_1")
        assert answered.accept is None
        assert answered.error == "the control process ended: killed by SIGSEGV"
        assert len(nursery.children) in (2, 3)


async def test_the_load_function_answers_fails_or_takes_too_long() -> None:
    replies: list[ch.LoadAnswer | None] = []

    def answer(child: ScriptedChild, message: ch.ToChild) -> None:
        if isinstance(message, ch.AskLoad):
            number = message.request_id
            reply = [ch.LoadAnswer(number, 0.5), ch.LoadAnswer(number, None, "KeyError: 'x'"), None][
                len(replies)
            ]
            replies.append(reply)
            if reply is not None:
                child.say(reply)

    async with control_of(answering(answer)) as control:
        await control.start()
        assert await control.ask_load() == 0.5
        with pytest.raises(ValueError, match="KeyError: 'x'"):
            await control.ask_load()
        with pytest.raises(TimeoutError, match="did not answer within"):
            await control.ask_load()


# -- the end: the generation that got an offer answers it ----------------------------------------------

LONG = ControlTimings(request_s=60.0, load_s=60.0, blocked_s=0.0)


async def turns(count: int = 20) -> None:
    """Let everything happen that can happen now."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_open_questions_are_answered_before_the_end() -> None:
    nursery = answering(lambda child, message: None)
    async with control_of(nursery, LONG) as control:
        await control.start()
        [child] = nursery.children
        no, yes = (asyncio.create_task(control.ask_request(b"", each)) for each in ("AJ_1", "AJ_2"))
        load = asyncio.create_task(control.ask_load())
        await until(lambda: child.told(ch.AskLoad))
        closing = asyncio.create_task(control.close("generation 2 took over"))
        child.say(ch.RequestAnswer("AJ_1", None), ch.LoadAnswer(1, 0.5))
        await asyncio.gather(no, load)
        await turns()
        assert not child.told(ch.Shutdown)
        child.say(ch.RequestAnswer("AJ_2", ACCEPT))
        assert (await yes).accept == ACCEPT
        await turns()
        assert not child.told(ch.Shutdown)  # the function waits for the outcome of its acceptance
        control.report_outcome("AJ_2", None)
        control.report_outcome("AJ_2", "the process died")
        await closing
        assert child.told(ch.AcceptOutcome) == [ch.AcceptOutcome("AJ_2", None)]
        assert child.exit.result() == ch.ChildExit(0, None)


async def test_a_function_that_accepts_too_late_gets_the_outcome() -> None:
    nursery = answering(
        lambda child, message: child.say(ch.Pong(0)) if isinstance(message, ch.Ping) else None
    )
    async with control_of(nursery, QUICK) as control:
        await control.start()
        [child] = nursery.children
        answer = await control.ask_request(b"", "AJ_1")
        assert answer.accept is None
        for _ in range(2):
            control.report_outcome("AJ_1", answer.error)
        assert child.told(ch.AcceptOutcome) == [ch.AcceptOutcome("AJ_1", answer.error)]


async def test_a_function_may_finish_after_the_outcome() -> None:
    def answer(child: ScriptedChild, message: ch.ToChild) -> None:
        if isinstance(message, ch.AskRequest):
            child.say(ch.RequestAnswer(message.job_id, ACCEPT))
        elif isinstance(message, ch.Shutdown):
            child.say(ch.ShutdownAck())

    nursery = Nursery(loads)
    async with control_of(nursery, LONG) as control:
        await control.start()
        [child] = nursery.children
        child.answers = answer
        await control.ask_request(b"", "AJ_1")
        control.report_outcome("AJ_1", None)
        closing = asyncio.create_task(control.close("generation 2 took over"))
        await until(lambda: child.told(ch.Shutdown))
        await turns()
        assert not child.killed
        child.end()
        await closing


@pytest.mark.parametrize("accepted", [False, True])
async def test_a_kill_waits_for_no_answer(accepted: bool) -> None:
    nursery = answering(lambda child, message: None)
    async with control_of(nursery, LONG) as control:
        await control.start()
        asking = asyncio.create_task(control.ask_request(b"", "AJ_1"))
        await until(lambda: nursery.children[0].told(ch.AskRequest))
        if accepted:
            nursery.children[0].say(ch.RequestAnswer("AJ_1", ACCEPT))
            await asking
        closing = asyncio.create_task(control.close("quit"))
        await turns()
        control.kill("killed")
        async with asyncio.timeout(PATIENCE_S):
            await closing
            assert ((await asking).accept is None) is not accepted
        assert len(nursery.children) == 1


async def test_a_retired_control_process_that_dies_with_a_question_is_replaced() -> None:
    nursery = answering(lambda child, message: None)
    async with control_of(nursery, LONG) as control:
        await control.start()
        asking = asyncio.create_task(control.ask_request(b"", "AJ_1"))
        await until(lambda: nursery.children[0].told(ch.AskRequest))
        closing = asyncio.create_task(control.close("generation 2 took over"))
        await turns()
        nursery.children[0].end(1)
        await until(lambda: len(nursery.children) == 2 and nursery.children[1].told(ch.AskRequest))
        nursery.children[1].say(ch.RequestAnswer("AJ_1", None))
        async with asyncio.timeout(PATIENCE_S):
            assert (await asking).error is None
            await closing


async def test_a_retired_control_process_that_dies_after_its_answer_is_not_replaced() -> None:
    nursery = answering(lambda child, message: None)
    async with control_of(nursery, LONG) as control:
        await control.start()
        asking = asyncio.create_task(control.ask_request(b"", "AJ_1"))
        await until(lambda: nursery.children[0].told(ch.AskRequest))
        nursery.children[0].say(ch.RequestAnswer("AJ_1", ACCEPT))
        await asking
        closing = asyncio.create_task(control.close("generation 2 took over"))
        await turns()
        nursery.children[0].end(1)
        async with asyncio.timeout(PATIENCE_S):
            await closing
        assert len(nursery.children) == 1


# -- generations ---------------------------------------------------------------------------------------


async def test_the_manifest_of_a_child_that_dies_first_is_an_error() -> None:
    nursery = Nursery(prepare=lambda child: child.end(None, 11))
    async with control_of(nursery) as control:
        with pytest.raises(ProcessFailed, match="SIGSEGV"):
            await control.start()
        assert len(nursery.children) == 1


async def test_a_control_process_killed_while_loading_is_restarted() -> None:
    nursery = Nursery()
    nursery.prepare = lambda child: child.end(None, 9) if len(nursery.children) == 1 else loads(child)
    async with control_of(nursery) as control:
        assert await control.start() == manifest()
        assert len(nursery.children) == 2


async def test_closing_does_not_wait_for_the_pause_after_failures() -> None:
    nursery = Nursery(loads)
    async with control_of(nursery) as control:
        await control.start()

        def dies(child: ScriptedChild) -> None:
            child.end(1)

        nursery.prepare = dies
        nursery.children[0].end(1)
        await until(lambda: len(nursery.children) >= 4)
        begin = asyncio.get_running_loop().time()
        await control.close("quit")
        assert asyncio.get_running_loop().time() - begin < 0.4
