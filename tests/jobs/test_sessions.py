"""Sessions of a job, over a scripted child: turns, the queue of typed ones, and their events."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from agent_tui.jobs.session_protocol import provider_of
from agent_tui.jobs.sessions import JobSessions
from agent_tui.model import child as ch
from agent_tui.model import session_events as se
from agent_tui.model.errors import UserError
from tests.fakes.clock import FakeClock
from tests.fakes.scripted_child import until


class Bench:
    """A job with one session, whose child the test plays."""

    def __init__(self, *, greets: bool = False, turn_timeout_s: float = 60.0) -> None:
        self.clock = FakeClock()
        self.events: list[se.SessionEvent] = []
        self.sent: list[ch.ToChild] = []
        settle = 0.02 if greets else 0.0
        self.job = JobSessions("AJ_1", self.events.append, self.clock, turn_timeout_s, settle_s=settle)
        self.start()

    def start(self, generation: int = 1) -> None:
        """Start a process with one session."""
        self.job.attach(self.sent.append, generation)
        self.job.receive(ch.SessionStarted(1, "talker", True))

    def event(self, name: str, **value: Any) -> None:
        self.event_at(self.clock.time(), name, **value)

    def event_at(self, created: float | str, name: str, **value: Any) -> None:
        """Receive an event that the job created at that time."""
        if not isinstance(created, str):
            created = datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")
        self.job.receive(ch.SessionData(1, {"event": {"created_at": created, name: value}}))

    def state(self, name: str) -> None:
        self.event("agent_state_changed", new_state=f"AS_{name.upper()}")

    def message(self, role: str, text: str, **more: Any) -> None:
        message = {"id": f"{role}-{text}", "role": role, "content": [{"text": text}], **more}
        self.event("conversation_item_added", item={"message": message})

    def respond(self, request_id: str, *items: dict[str, Any], error: str = "") -> None:
        response = {"request_id": request_id, "run_input": {"items": list(items)}}
        self.job.receive(ch.SessionData(1, {"response": response | ({"error": error} if error else {})}))

    @property
    def inputs(self) -> list[tuple[str, str]]:
        """The id and text of each typed turn that was sent."""
        requests = [each.data["request"] for each in self.sent if isinstance(each, ch.SessionRequest)]
        return [(each["request_id"], each["run_input"]["text"]) for each in requests]  # type: ignore[index]

    def all(self, kind: type[Any]) -> Sequence[Any]:
        return [each for each in self.events if isinstance(each, kind)]


async def test_typed_turns_run_one_after_the_other() -> None:
    bench = Bench()
    bench.job.say("one")
    bench.job.say("two")
    assert [text for _, text in bench.inputs] == ["one"]
    assert [each.text for each in bench.all(se.TurnQueued)] == ["one", "two"]
    bench.message("USER", "one")
    bench.message("ASSISTANT", "reply", metrics={"llm_node_ttft": 0.25})
    bench.respond(bench.inputs[0][0])
    assert [text for _, text in bench.inputs] == ["one", "two"]
    bench.respond(bench.inputs[1][0], error="no model")
    assert [(each.turn, each.error) for each in bench.all(se.TurnEnded)] == [(1, ""), (2, "no model")]
    assert bench.all(se.TurnEnded)[0].metrics == {"llm_ttft": 250.0}
    assert not bench.job.has_work


async def test_what_the_protocol_cannot_carry_is_replaced() -> None:
    bench = Bench()
    bench.job.say("one \ud800")
    assert [text for _, text in bench.inputs] == ["one ?"]


async def test_the_first_typed_turn_waits_for_the_greeting() -> None:
    bench = Bench(greets=True)
    bench.state("thinking")
    bench.job.say("one")
    await asyncio.sleep(0.05)
    assert bench.inputs == []
    bench.message("ASSISTANT", "Hello!")
    bench.state("listening")
    bench.clock.advance(1.0)
    await until(lambda: bench.inputs)
    assert [(each.turn, each.text) for each in bench.all(se.MessageAdded)] == [(0, "Hello!")]


async def test_a_greeting_that_never_ends_holds_a_turn_for_ten_seconds() -> None:
    bench = Bench(greets=True)
    bench.state("speaking")
    bench.job.say("one")
    bench.clock.advance(11.0)
    await until(lambda: bench.inputs)


async def test_a_turn_without_an_answer_ends_and_the_next_starts() -> None:
    bench = Bench(turn_timeout_s=0.02)
    bench.job.say("one")
    bench.job.say("two")
    await until(lambda: len(bench.inputs) == 2)
    assert bench.all(se.TurnEnded)[0].error == "no answer within 20 ms"
    late = bench.inputs[0][0]
    bench.respond(late)
    assert len(bench.all(se.TurnEnded)) == 1


async def test_an_item_that_the_response_repeats_is_one_message() -> None:
    bench = Bench()
    bench.job.say("one")
    bench.message("ASSISTANT", "reply")
    item = {"message": {"id": "ASSISTANT-reply", "role": "ASSISTANT", "content": [{"text": "reply"}]}}
    late = {"message": {"id": "m2", "role": "ASSISTANT", "content": [{"text": "and more"}]}}
    bench.respond(bench.inputs[0][0], item, late)
    assert [each.text for each in bench.all(se.MessageAdded)] == ["reply", "and more"]
    assert isinstance(bench.events[-1], se.TurnEnded)


async def test_a_spoken_turn_ends_when_the_agent_is_silent_again() -> None:
    bench = Bench()
    spoken = {"started_speaking_at": "2026-11-28T10:00:00Z", "stopped_speaking_at": "2026-11-28T10:00:01.5Z"}
    bench.message("USER", "hi", metrics={**spoken, "end_of_turn_delay": 0.5})
    bench.state("thinking")
    bench.state("listening")  # a pause before the reply
    assert bench.all(se.TurnEnded) == []
    bench.message("ASSISTANT", "hello", interrupted=True, metrics={"e2e_latency": 0.75})
    bench.state("listening")
    user, agent = bench.all(se.MessageAdded)
    assert user.stopped_speaking_at - user.started_speaking_at == 1.5
    assert agent.interrupted
    (ended,) = bench.all(se.TurnEnded)
    assert (ended.turn, ended.typed) == (1, False)
    assert ended.metrics == {"end_of_turn_delay": 500.0, "e2e": 750.0}


async def test_a_spoken_turn_ends_when_the_next_one_starts() -> None:
    bench = Bench()
    bench.message("USER", "one")
    bench.message("USER", "two")
    assert [each.turn for each in bench.all(se.TurnStarted)] == [1, 2]
    assert [each.turn for each in bench.all(se.TurnEnded)] == [1]


async def test_the_first_delta_is_timed() -> None:
    bench = Bench()
    bench.job.say("one")
    bench.clock.advance(0.25)
    bench.job.receive(ch.SessionDelta(1, "Yes"))
    bench.job.receive(ch.SessionDelta(1, ", two."))
    bench.clock.advance(0.5)
    bench.respond(bench.inputs[0][0])
    (ended,) = bench.all(se.TurnEnded)
    assert (ended.first_delta_ms, ended.duration_ms) == (250.0, 750.0)
    assert [each.text for each in bench.all(se.MessageDelta)] == ["Yes", ", two."]


async def test_tools_are_timed_where_their_start_is_reported() -> None:
    bench = Bench()
    call = {"call_id": "c1", "name": "find_rooms", "arguments": "{}"}
    bench.event("tool_execution_updated", started={"function_call": call})
    bench.clock.advance(0.125)
    output = {"call_id": "c1", "output": "two"}
    bench.event("function_tools_executed", function_calls=[call], function_call_outputs=[output])
    bench.event("function_tools_executed", function_calls=[{**call, "call_id": "c2"}])
    first, second = bench.all(se.ToolCalled)
    assert (first.output, first.duration_ms, first.is_error) == ("two", 125.0, False)
    assert (second.output, second.duration_ms) == ("", None)


async def test_what_a_tool_raised_is_apart_from_what_the_llm_gets() -> None:
    bench = Bench()
    call = {"call_id": "c1", "name": "find_rooms", "arguments": "{}"}
    output = {"call_id": "c1", "output": "it failed", "is_error": True, "error": "rooms.py:4: KeyError: 'a'"}
    bench.event("function_tools_executed", function_calls=[call], function_call_outputs=[output])
    (called,) = bench.all(se.ToolCalled)
    assert (called.output, called.is_error, called.error) == ("it failed", True, "rooms.py:4: KeyError: 'a'")


async def test_a_tool_that_blocks_the_event_loop_has_the_time_of_its_own_events() -> None:
    """Its job sends all events of the call when the loop runs again."""
    bench = Bench()
    bench.job.say("one")
    bench.clock.advance(0.5)
    start = bench.clock.time()
    bench.clock.advance(1.25)
    call = {"call_id": "c1", "name": "block", "arguments": "{}"}
    bench.event_at(start, "tool_execution_updated", started={"function_call": call})
    bench.event_at(start + 1.0, "tool_execution_updated", ended={"call_id": "c1"})
    bench.event_at(start + 1.25, "function_tools_executed", function_calls=[call])
    (started,), (called,) = bench.all(se.ToolStarted), bench.all(se.ToolCalled)
    assert started.started_at == called.started_at == pytest.approx(start, abs=1e-5)
    assert called.duration_ms == pytest.approx(1000, abs=0.01)


@pytest.mark.parametrize("created", ["2001-01-01T00:00:00Z", "2099-01-01T00:00:00.123456789Z", "noon"])
async def test_a_tool_is_within_its_turn_whatever_the_clock_of_its_events_says(created: str) -> None:
    bench = Bench()
    bench.clock.advance(5.0)
    bench.job.say("one")
    first = bench.clock.time()
    bench.clock.advance(0.5)
    call = {"call_id": "c1", "name": "find_rooms", "arguments": "{}"}
    bench.event_at(created, "tool_execution_updated", started={"function_call": call})
    bench.clock.advance(0.5)
    bench.event("function_tools_executed", function_calls=[call])
    (called,) = bench.all(se.ToolCalled)
    assert first <= called.started_at <= first + 0.5
    assert called.started_at + called.duration_ms / 1000 == pytest.approx(first + 1.0, abs=1e-5)


async def test_states_that_json_leaves_out_are_the_first_ones() -> None:
    bench = Bench()
    bench.event("agent_state_changed", old_state="AS_IDLE")
    bench.event("user_state_changed", old_state="US_LISTENING")
    assert bench.all(se.AgentStateChanged)[0].state == "initializing"
    assert bench.all(se.UserStateChanged)[0].state == "speaking"


async def test_other_events_become_ours() -> None:
    bench = Bench()
    handoff = {"id": "h1", "old_agent_id": "a", "new_agent_id": "b"}
    bench.event("conversation_item_added", item={"agent_handoff": handoff})
    bench.event("eot_prediction", probability=0.9, threshold=0.5)
    bench.event("error", message="429")
    usage = {"llm": {"model": "gpt-5", "provider": "openai", "input_tokens": "412"}}
    bench.event("session_usage_updated", usage={"model_usage": [usage]})
    bench.event("something_new", value=1)
    assert bench.events[1:] == [
        se.HandedOff("AJ_1", 1, 0, "a", "b"),
        se.EndOfTurnPredicted("AJ_1", 1, 0, 0.9, 0.5),
        se.SessionFailed("AJ_1", 1, "", "429"),
        se.UsageChanged("AJ_1", 1, "gpt-5", "openai", {"input_tokens": 412.0}, 412 * 1.25 / 1e6),
    ]


@pytest.mark.parametrize("closed", [True, False])
async def test_the_end_of_a_session_ends_its_turns(closed: bool) -> None:
    bench = Bench()
    bench.job.say("one")
    bench.job.say("two")
    if closed:
        bench.job.receive(ch.SessionClosed(1, "error", "no model"))
    bench.job.end("the process ended")
    why = "no model" if closed else "the process ended"
    assert [each.error for each in bench.all(se.TurnEnded)] == [
        f"the session ended: {why}",
        f"not sent: the session ended: {why}",
    ]
    assert [each.text for each in bench.all(se.TurnStarted)] == ["one", "two"]
    assert len(bench.all(se.SessionEnded)) == 1
    with pytest.raises(UserError, match="no open session"):
        bench.job.say("three")


async def test_sessions_of_a_restarted_job_count_on() -> None:
    bench = Bench()
    bench.job.end("the process ended")
    bench.start(generation=2)
    assert [(each.session, each.generation) for each in bench.all(se.SessionStarted)] == [(1, 1), (2, 2)]
    bench.job.say("one")
    (request,) = [each for each in bench.sent if isinstance(each, ch.SessionRequest)]
    assert request.session == 1  # the first one of its process
    bench.job.interrupt(2)
    assert bench.sent[-1] == ch.InterruptSession(1)


async def test_a_question_gets_its_answer() -> None:
    bench = Bench()
    asking = asyncio.create_task(bench.job.ask("get_agent_info"))
    await until(lambda: bench.sent)
    bench.job.receive(
        ch.SessionData(1, {"response": {"request_id": "1", "get_agent_info": {"instructions": "be kind"}}})
    )
    assert await asking == {"instructions": "be kind"}
    asking = asyncio.create_task(bench.job.ask("get_agent_info"))
    await until(lambda: len(bench.sent) == 2)
    bench.job.end("the process ended")
    with pytest.raises(UserError, match="the session has ended"):
        await asking


def swapped(generation: int, reached: se.SwapReach = se.SwapReach.ALL, *notes: str) -> ch.Swapped:
    return ch.Swapped(1, generation, reached, notes, 0.8)


async def test_a_typed_turn_waits_for_a_swap_and_has_its_generation() -> None:
    bench = Bench()
    bench.job.swap(2, {"/agent.py": b"new"})
    assert bench.sent == [ch.SwapCode(2, {"/agent.py": b"new"})]
    bench.job.say("one")
    assert not bench.inputs
    bench.job.receive(swapped(2))
    assert bench.all(se.Swapped) == [se.Swapped("AJ_1", 1, 0, 1, 2, se.SwapReach.ALL, (), 0.8)]
    assert [text for _, text in bench.inputs] == ["one"]
    assert bench.all(se.TurnStarted)[0].generation == 2
    bench.message("assistant", "yes")
    assert bench.all(se.MessageAdded)[0].generation == 2


async def test_a_swap_that_reaches_nothing_keeps_the_generation() -> None:
    bench = Bench()
    bench.job.swap(2, {})
    bench.job.receive(swapped(2, se.SwapReach.NONE, "agent.py:1 why"))
    bench.job.say("one")
    assert bench.all(se.TurnStarted)[0].generation == 1
    assert bench.all(se.Swapped)[0].notes == ("agent.py:1 why",)


async def test_a_reply_that_was_coming_keeps_the_generation_that_produced_it() -> None:
    bench = Bench()
    bench.job.say("one")
    bench.job.receive(ch.SessionDelta(1, "half"))
    bench.job.swap(2, {})
    bench.job.receive(swapped(2))
    bench.message("assistant", "half a reply")
    bench.message("assistant", "and more")
    assert [each.generation for each in bench.all(se.MessageAdded)] == [1, 2]


async def test_turns_go_on_while_a_swap_waits_for_a_tool_or_gets_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    bench.job.swap(2, {})
    bench.job.receive(ch.SwapWaits(1, 2, "slow"))
    assert bench.all(se.SwapWaiting) == [se.SwapWaiting("AJ_1", 1, 0, 2, "slow")]
    bench.job.say("one")
    assert [text for _, text in bench.inputs] == ["one"]
    bench.respond("1")
    monkeypatch.setattr("agent_tui.jobs.session.SWAP_S", 0.0)
    bench.job.swap(3, {})
    bench.job.say("two")
    assert len(bench.inputs) == 1
    await until(lambda: len(bench.inputs) == 2)


async def test_a_session_that_ends_during_a_swap_sends_nothing() -> None:
    bench = Bench()
    bench.job.swap(2, {})
    bench.job.say("one")
    bench.job.end("the process ended")
    assert not bench.inputs
    assert bench.all(se.TurnEnded)[0].error == "not sent: the session ended: the process ended"


async def test_sessions_that_start_after_a_swap_have_its_generation_until_the_job_restarts() -> None:
    bench = Bench()
    bench.job.swap(2, {})
    bench.job.receive(swapped(2))
    bench.job.receive(ch.SessionStarted(2, "talker", True))
    bench.start(generation=3)
    assert [each.generation for each in bench.all(se.SessionStarted)] == [1, 2, 3]


def failed(text: str, status: int = 0, *, label: str = "livekit.plugins.openai.llm.LLM") -> dict[str, object]:
    """Return an error event of the LLM as children describe it."""
    cause = {"type": "APIStatusError", "text": text, "host": "", "status": status}
    return {"component": "llm", "label": label, "retrying": True, "causes": [cause]}


async def test_equal_failures_of_a_turn_are_counted_and_are_why_it_has_no_answer() -> None:
    bench = Bench()
    bench.job.say("one")
    bench.event("error", **failed("Unauthorized", 401))
    bench.event("error", **failed("Unauthorized", 401))
    bench.event("error", **failed("no such model", 404))
    bench.respond(bench.inputs[0][0], error="agent produced no response items")
    bench.job.say("two")
    bench.event("error", **failed("Unauthorized", 401))
    bench.respond(bench.inputs[1][0])
    bench.job.say("three")
    bench.event("error", **failed("Unauthorized", 401))
    bench.message("assistant", "Yes.")
    bench.respond(bench.inputs[2][0])
    seen = [(each.error, each.provider, each.count, each.retrying) for each in bench.all(se.SessionFailed)]
    assert seen == [
        ("openai refused the key: 401", "openai", 1, True),
        ("openai refused the key: 401", "openai", 2, True),
        ("no such model 404 (APIStatusError)", "openai", 1, True),
        *[("openai refused the key: 401", "openai", 1, True)] * 2,
    ]
    assert [each.error for each in bench.all(se.TurnEnded)] == [
        "no such model 404 (APIStatusError)",
        "openai refused the key: 401",
        "",
    ]


async def test_a_session_that_a_failure_ended_names_its_cause() -> None:
    bench = Bench()
    bench.job.say("one")
    bench.event("error", **failed("Unauthorized", 401))
    bench.job.receive(ch.SessionClosed(1, "error", "message='Unauthorized', status_code=401"))
    assert bench.all(se.SessionEnded)[0].error == "openai refused the key: 401"
    assert bench.all(se.TurnEnded)[0].error == "the session ended: openai refused the key: 401"


@pytest.mark.parametrize(
    ("label", "provider"),
    [
        ("livekit.plugins.deepgram.stt.STT", "deepgram"),
        ("livekit.agents.inference.llm.LLM", "LiveKit Inference"),
        ("inference.LLM", "LiveKit Inference"),
        ("elevenlabs.TTS", "elevenlabs"),
        ("__main__.ScriptedLLM", ""),
        ("scripted", ""),
    ],
)
def test_a_label_names_the_provider_of_a_component(label: str, provider: str) -> None:
    assert provider_of(label) == provider
