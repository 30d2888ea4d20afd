"""What events make of the conversations that front ends show."""

from msgspec.structs import replace

from agent_tui.model import session_events as se
from agent_tui.model.conversations import (
    ENDED,
    KEPT_CHARACTERS,
    ErrorView,
    HandoffView,
    MessageView,
    NoteView,
    Sessions,
    SessionView,
    Stall,
    SwapView,
    ToolView,
    changed,
    measured,
    noted,
    stalled,
)

KEY = ("AJ_1", 1)


def after(*events: se.SessionEvent) -> SessionView:
    """Return the session AJ_1/1 after these events, one per second."""
    sessions: Sessions = changed({}, se.SessionStarted(*KEY, "talker", True, 1), 0.0)
    for at, event in enumerate(events, 1):
        sessions = changed(sessions, event, float(at))
    return sessions["AJ_1/1"]


def said(turn: int, text: str, role: se.Role = se.Role.ASSISTANT) -> se.MessageAdded:
    return se.MessageAdded(*KEY, turn, role, text, False, 1)


def test_a_greeting_belongs_to_turn_0() -> None:
    session = after(se.MessageDelta(*KEY, 0, "Hel"), said(0, "Hello!"))
    (turn,) = session.turns
    assert (turn.number, turn.is_running, turn.streaming) == (0, False, "")
    assert [each.text for each in turn.entries if isinstance(each, MessageView)] == ["Hello!"]


def test_a_typed_turn_from_queue_to_end() -> None:
    queued = [se.TurnQueued(*KEY, "one"), se.TurnQueued(*KEY, "two")]
    started = se.TurnStarted(*KEY, 1, True, 1, "one")
    session = after(*queued)
    assert session.queued == ("one", "two")
    session = after(*queued, started, se.MessageDelta(*KEY, 1, "Yes"), se.MessageDelta(*KEY, 1, ", two"))
    assert session.queued == ("two",)
    (turn,) = session.turns
    assert (turn.streaming, turn.first_delta_at, turn.is_running) == ("Yes, two", 4.0, True)
    ended = se.TurnEnded(*KEY, 1, True, 640.0, 330.0, {})
    session = after(*queued, started, se.MessageDelta(*KEY, 1, "Yes"), said(1, "Yes, two."), ended)
    (turn,) = session.turns
    assert (turn.streaming, turn.is_running, turn.ended) == ("", False, ended)


def test_what_came_of_a_reply_that_failed_stays() -> None:
    started = se.TurnStarted(*KEY, 1, True, 1, "one")
    failed = se.TurnEnded(*KEY, 1, True, 640.0, 330.0, {}, "no answer")
    (turn,) = after(started, se.MessageDelta(*KEY, 1, "Yes"), failed).turns
    (entry,) = turn.entries
    assert isinstance(entry, MessageView)
    assert (entry.text, entry.interrupted) == ("Yes", True)


def test_a_tool_call_is_one_entry_from_start_to_end() -> None:
    started = se.ToolStarted(*KEY, 1, "find", "{}", "c1")
    (turn,) = after(started).turns
    assert turn.entries == (ToolView(1.0, "c1", "find", "{}"),)
    called = se.ToolCalled(*KEY, 1, "find", "{}", "two", False, 120.0, "c1")
    (turn,) = after(started, called).turns
    assert turn.entries == (ToolView(1.0, "c1", "find", "{}", "two", False, 120.0),)
    (turn,) = after(replace(called, duration_ms=None)).turns
    assert turn.entries == (ToolView(1.0, "c1", "find", "{}", "two", False, None),)


def test_a_handoff_an_error_states_and_usage() -> None:
    usage = se.UsageChanged(*KEY, "gpt-5", "openai", {"input_tokens": 4.0})
    session = after(
        se.HandedOff(*KEY, 0, "talker", "billing"),
        se.SessionFailed(*KEY, "llm", "429"),
        se.AgentStateChanged(*KEY, "thinking"),
        se.UserStateChanged(*KEY, "away"),
        se.EndOfTurnPredicted(*KEY, 0, 0.9, 0.5),
        usage,
    )
    assert session.turns[0].entries == (HandoffView(1.0, "talker", "billing"), ErrorView(2.0, "llm", "429"))
    assert (session.agent, session.agent_state, session.user_state) == ("billing", "thinking", "away")
    assert session.usage == {"gpt-5": usage}


def test_equal_errors_of_a_turn_are_one_entry() -> None:
    first = se.SessionFailed(*KEY, "llm", "429", retrying=True)
    again = replace(first, count=2, retrying=False, todo="wait")
    tts = se.SessionFailed(*KEY, "tts", "429")
    session = after(first, tts, again)
    assert session.turns[0].entries == (
        ErrorView(3.0, "llm", "429", 2, False, "wait"),
        ErrorView(2.0, "tts", "429"),
    )


def test_a_note_is_in_the_last_turn_of_the_open_sessions_of_its_jobs() -> None:
    sessions = changed({}, se.SessionStarted(*KEY, "talker", True, 1), 0.0)
    sessions = changed(sessions, se.SessionStarted("AJ_other", 1, "talker", True, 1), 0.0)
    sessions = changed(sessions, se.TurnStarted(*KEY, 1, True, 1, "one"), 0.0)
    note = NoteView(1.0, "pinned")
    after_note = noted(sessions, note, {KEY[0]})
    assert after_note["AJ_other/1"].turns == ()
    assert after_note[f"{KEY[0]}/1"].turns[0].entries == (note,)
    ended = changed(sessions, se.SessionEnded(*KEY, "done"), 1.0)
    assert noted(ended, note, {KEY[0]}) == ended


def test_swaps_are_entries_and_change_the_generation_if_they_reach_something() -> None:
    waiting = se.SwapWaiting(*KEY, 0, 2, "find")
    assert after(waiting).swap_waits == waiting
    kept = se.Swapped(*KEY, 0, 1, 2, se.SwapReach.NONE, ("why",), 0.5)
    session = after(waiting, kept)
    assert (session.swap_waits, session.generation) == (None, 1)
    session = after(kept, se.Swapped(*KEY, 0, 1, 3, se.SwapReach.METHODS, ("why", "new"), 0.5))
    assert session.last_swap is not None
    assert (session.last_swap.notes, session.last_swap.known) == (("new", "why"), 1)
    assert session.generation == 3
    assert session.turns[0].entries == (
        SwapView(1.0, 1, 2, se.SwapReach.NONE, ("why",), 0.5),
        SwapView(2.0, 1, 3, se.SwapReach.METHODS, ("new", "why"), 0.5, (), 1),
    )


def test_a_turn_has_what_was_typed_and_what_its_models_used() -> None:
    def used(tokens: float, model: str = "gpt-5") -> se.UsageChanged:
        return se.UsageChanged(*KEY, model, "openai", {"input_tokens": tokens})

    started = se.TurnStarted(*KEY, 1, True, 1, "one")
    again = replace(started, turn=2, text="two")
    session = after(used(100.0), started, used(140.0), used(7.0, "tts"), again, used(141.0))
    assert [turn.text for turn in session.turns] == ["one", "two"]
    assert [turn.usage for turn in session.turns] == [{"input_tokens": 47.0}, {"input_tokens": 1.0}]


def test_a_turn_has_what_its_models_cost_without_those_whose_price_is_not_known() -> None:
    def used(cost: float | None, model: str = "gpt-5") -> se.UsageChanged:
        return se.UsageChanged(*KEY, model, "openai", {"input_tokens": 1.0}, cost)

    started = se.TurnStarted(*KEY, 1, True, 1, "one")
    again = replace(started, turn=2, text="two")
    session = after(used(0.5), started, used(0.75), used(None, "tts"), again, used(None, "tts"))
    assert [turn.cost for turn in session.turns] == [0.25, None]


def test_a_stall_belongs_to_the_turns_during_it() -> None:
    one = se.TurnStarted(*KEY, 1, True, 1, "one")
    session = after(one, se.TurnEnded(*KEY, 1, True, 1000.0, None, {}))
    (turn,) = session.turns
    ended_at = turn.started_at + 1.0
    sessions = {session.key: session}
    for at, ms, seen in ((ended_at - 0.5, 300.0, 1), (ended_at + 1, 300.0, 0), (turn.started_at - 9, 1.0, 0)):
        found = stalled(sessions, KEY[0], Stall(at, ms, "agent.py:12"))[session.key].turns[0].stalls
        assert len(found) == seen
    assert stalled(sessions, "another", Stall(ended_at, 1.0, "")) == sessions


def test_a_turn_has_the_memory_of_its_process_before_and_after_it() -> None:
    sessions = {(session := after(se.TurnStarted(*KEY, 1, True, 1, "one"))).key: session}
    started, ended = se.TurnStarted(*KEY, 1, True, 1), se.TurnEnded(*KEY, 1, True, 1.0, None, {})
    sessions = measured(measured(sessions, started, 24.0), ended, 31.0)  # type: ignore[assignment]
    (turn,) = sessions[session.key].turns
    assert (turn.memory_before, turn.memory_after) == (24.0, 31.0)
    assert measured(sessions, ended, None) == sessions


def test_an_ended_session_stays_and_the_oldest_are_dropped() -> None:
    sessions: Sessions = {}
    for number in range(1, ENDED + 3):
        sessions = changed(sessions, se.SessionStarted("AJ_1", number, "talker", True, 1), 0.0)
        sessions = changed(sessions, se.SessionEnded("AJ_1", number, "done"), 1.0)
    assert len(sessions) == ENDED
    assert "AJ_1/2" not in sessions
    assert sessions["AJ_1/3"].end == "done"


def test_long_conversations_that_ended_are_dropped_earlier() -> None:
    long = "x" * (KEPT_CHARACTERS // 2)
    sessions: Sessions = {}
    for number in range(1, 5):
        sessions = changed(sessions, se.SessionStarted("AJ_1", number, "talker", True, 1), 0.0)
        message = se.MessageAdded("AJ_1", number, 0, se.Role.ASSISTANT, long, False, 1)
        sessions = changed(sessions, message, 0.0)
        if number < 4:
            sessions = changed(sessions, se.SessionEnded("AJ_1", number, "done"), 1.0)
    assert list(sessions) == ["AJ_1/2", "AJ_1/3", "AJ_1/4"]  # one that has not ended does not count


def test_events_of_unknown_sessions_are_ignored() -> None:
    assert changed({}, said(1, "hello"), 0.0) == {}
