"""Conversations as lines: every line fits, folds, and says what happened where it happened."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len

from agent_tui.logs.sanitize import printable
from agent_tui.model import session_events as se
from agent_tui.model.conversations import (
    Entry,
    ErrorView,
    HandoffView,
    MessageView,
    NoteView,
    SessionView,
    Stall,
    SwapView,
    ToolView,
    TurnView,
)
from agent_tui.tui.widgets.context_text import context_lines
from agent_tui.tui.widgets.talk_notes import head_line
from agent_tui.tui.widgets.talk_rows import TalkRows
from agent_tui.tui.widgets.talk_steps import (
    MS_WIDTH,
    NAME_WIDTH,
    OVERLAP,
    REST,
    Limits,
    Step,
    figures,
    session_figures,
    step_rows,
    tone_of,
    waterfall,
)
from agent_tui.tui.widgets.talk_text import (
    FOLDED_CHARACTERS,
    LABEL,
    MIN_WIDTH,
    REALTIME,
    Block,
    Look,
    call_text,
    first_blocks,
    generation_after,
    last_blocks,
    rows_of,
    turn_blocks,
)
from agent_tui.tui.widgets.text import Line, Tone, width_of
from tests.fakes.engine import FakeEngine
from tests.tui import histories
from tests.tui.hostile import TEXTS

LOOK = Look(80)
KEY = ("AJ_1", 1)
T0 = 1_700_000_000.0


def plain(line: Line) -> str:
    return "".join(span.text for span in line).rstrip()


def texts(blocks: tuple[Block, ...] | list[Block]) -> list[str]:
    """Return all rows without the times at the right."""
    rows = [plain(line) for block in blocks for line in block.lines]
    return [row[:-8].rstrip() if row[-3:-2] == ":" and row[-6:-5] == ":" else row for row in rows]


def message(role: se.Role, text: str, at: float = T0, **more: object) -> MessageView:
    interrupted = bool(more.get("interrupted"))
    return MessageView(at, role, text, interrupted, 1, {})


def tool(start: float, ms: float | None, name: str = "find_rooms", **more: object) -> ToolView:
    output = more.get("output", "two")
    arguments = str(more.get("arguments", '{"day": "Fri"}'))
    error = str(more.get("error", ""))
    return ToolView(T0 + start, "c1", name, arguments, output, bool(more.get("is_error")), ms, error)  # type: ignore[arg-type]


def ended(duration: float, first: float | None, error: str = "", **metrics: float) -> se.TurnEnded:
    return se.TurnEnded(*KEY, 1, not metrics, duration, first, metrics, error)


def turn(*entries: object, typed: bool = True, end: se.TurnEnded | None = None, **more: object) -> TurnView:
    generation = int(str(more.pop("generation", 1)))
    return TurnView(1, typed, T0, generation, entries=entries, ended=end, **more)  # type: ignore[arg-type]


# -- rows of text ------------------------------------------------------------------------------------------


@given(
    st.text(st.sampled_from("ab 漢é\U0001f389\u200d\n"), max_size=200),
    st.integers(2, 30),
    st.integers(2, 30),
)
def test_rows_fit_their_width_and_lose_nothing_but_blanks(text: str, width: int, first: int) -> None:
    rows = rows_of(text, width, first)
    assert cell_len(rows[0]) <= first
    assert all(cell_len(row) <= width for row in rows[1:])
    assert "".join("".join(rows).split()) == "".join(text.split())


def test_lines_and_indentation_stay() -> None:
    assert rows_of("one\n\n  two three", 7) == ["one", "", "  two", "three"]


# -- turns -------------------------------------------------------------------------------------------------


def test_a_typed_turn_with_a_tool_call() -> None:
    shown = turn_blocks(
        turn(
            message(se.Role.USER, "any room?"),
            tool(0.1, 120.0),
            message(se.Role.ASSISTANT, "Yes, two."),
            end=ended(640.0, 420.0),
        ),
        1,
        LOOK,
    )
    assert texts(shown) == [
        "you    any room?",
        '     ⚙ find_rooms(day="Fri") ✓ 120 ms → two',
        "agent  Yes, two.",
        "       ├ thinking 100 ├ find_rooms 120 ├ thinking 200 ┤ 0.42 s · done 0.64 s",
    ]


def test_what_was_typed_is_shown_before_it_is_part_of_the_conversation() -> None:
    shown = turn_blocks(turn(text="any room?"), 1, LOOK)
    assert texts(shown) == ["you    any room?"]
    assert texts(turn_blocks(turn(message(se.Role.USER, "any room?"), text="any room?"), 1, LOOK)) == texts(
        shown
    )


def test_what_was_typed_comes_first_even_if_it_is_reported_after_an_error() -> None:
    entries = (ErrorView(T0, "llm", "429"), message(se.Role.USER, "any room?"))
    assert texts(turn_blocks(turn(*entries), 1, LOOK)) == ["you    any room?", "     ✗ llm: 429"]
    spoken = turn_blocks(turn(*entries, typed=False), 1, LOOK)
    assert texts(spoken) == ["     ✗ llm: 429", "you    any room?"]


def test_equal_errors_are_counted_with_what_to_do_and_are_why_the_turn_failed() -> None:
    error = ErrorView(T0, "llm", "could not connect", 3, retrying=True, todo="check the network")
    shown = turn_blocks(turn(error, end=ended(100.0, None, "could not connect")), 1, LOOK)
    assert texts(shown)[:2] == [
        "     ✗ 3× llm: could not connect · retrying",
        "       → check the network",
    ]
    assert len([line for line in texts(shown) if "could not connect" in line]) == 1


def test_notes_are_where_they_happened_and_an_environment_is_not_swapped_in() -> None:
    note = NoteView(T0, "generation 3 failed to load: SyntaxError", is_error=True)
    pinned = NoteView(T0, "pinned to generation 2: reloads do not change it")
    kept = SwapView(T0, 1, 2, se.SwapReach.ALL, ("environment (A_KEY)",), 0.5)
    shown = texts(turn_blocks(turn(note, pinned, kept), 1, LOOK))
    assert shown[:2] == [
        "     ✗ generation 3 failed to load: SyntaxError",
        "     · pinned to generation 2: reloads do not change it",
    ]
    assert shown[2].startswith("── generation 1 → 2: the call keeps its environment ──")
    assert shown[3:5] == [
        "       not swapped: environment (A_KEY)",
        "       R restarts the call on generation 2",
    ]


def test_interruptions_handoffs_and_errors_are_where_they_happened() -> None:
    shown = turn_blocks(
        turn(
            message(se.Role.ASSISTANT, "As for", interrupted=True),
            HandoffView(T0, "", "desk"),
            HandoffView(T0, "desk", "billing"),
            ErrorView(T0, "llm", "429"),
            end=ended(100.0, None, "no answer within 60 s"),
        ),
        1,
        LOOK,
    )
    assert texts(shown)[:6] == [
        "agent  As for",
        "       — interrupted",
        "     ⇄ agent: desk",
        "     ⇄ handoff: desk → billing",
        "     ✗ llm: 429",
        "     ✗ no answer within 60 s",
    ]


def test_another_generation_is_a_rule_and_named_below_the_turn() -> None:
    shown = texts(turn_blocks(turn(end=ended(100.0, 50.0), generation=7), 6, LOOK))
    assert shown[0].startswith("── generation 6 → 7 ──")
    assert shown[-1].endswith("done 0.10 s · gen 7")
    assert not any("gen" in row for row in texts(turn_blocks(turn(end=ended(100.0, 50.0)), 1, LOOK)))


def test_a_swap_is_a_rule_and_names_what_it_did_not_reach() -> None:
    notes = ("agent.py:12 body of entry()",)
    for reach, rule in (
        (se.SwapReach.ALL, "── generation 1 → 2 swapped in (agent.py:42) ──"),
        (se.SwapReach.METHODS, "── generation 1 → 2 in part: methods and tools (agent.py:42) ──"),
        (se.SwapReach.NONE, "── generation 2 not swapped in: generation 1 continues ──"),
    ):
        swapped = turn(SwapView(T0, 1, 2, reach, notes, 0.5, ("agent.py:42",)))
        shown = texts(turn_blocks(swapped, 1, LOOK))
        assert shown[0].startswith(rule)
        assert shown[1:] == [
            "       not swapped: agent.py:12 body of entry()",
            "       R restarts the call on generation 2",
        ]
        assert generation_after(swapped) == (1 if reach is se.SwapReach.NONE else 2)


def test_notes_that_the_swap_before_had_too_are_counted() -> None:
    swapped = turn(SwapView(T0, 2, 3, se.SwapReach.ALL, ("a.py:1 x", "userdata", "llm"), 0.5, (), 2))
    assert texts(turn_blocks(swapped, 1, LOOK))[1:] == [
        "       not swapped: a.py:1 x",
        "       2 notes repeated from the previous swap",
        "       R restarts the call on generation 3",
    ]


def test_a_swap_with_the_notes_of_the_one_before_is_one_line() -> None:
    swapped = turn(SwapView(T0, 3, 4, se.SwapReach.ALL, ("userdata", "llm"), 0.5, (), 2))
    (rule,) = texts(turn_blocks(swapped, 1, LOOK))
    assert rule.startswith("── generation 3 → 4 swapped in · not swapped: as before ──")


def test_three_answered_turns_are_summed_up() -> None:
    turns = [
        replace(turn(end=ended(1000.0, ms)), number=at) for at, ms in enumerate((300.0, 900.0, 400.0), 1)
    ]
    greeting = replace(turns[1], number=0)
    assert session_figures([greeting, *turns[:2]]) == ()
    shown = ("3 turns · p50 0.40 s · p95 0.90 s", "slowest: turn 2 (thinking)")
    assert session_figures([greeting, *turns]) == shown


def test_a_swap_after_a_turn_is_below_its_figures() -> None:
    swap = SwapView(T0 + 5, 1, 2, se.SwapReach.ALL, (), 0.5)
    shown = texts(turn_blocks(turn(swap, end=ended(100.0, 50.0)), 1, LOOK))
    assert shown[-2].endswith("done 0.10 s")
    assert shown[-1].startswith("── generation 1 → 2 swapped in ──")
    during = texts(turn_blocks(turn(replace(swap, at=T0 + 0.05), end=ended(100.0, 50.0)), 1, LOOK))
    assert during[-1].endswith("done 0.10 s")


def test_a_swap_that_waits_says_for_what() -> None:
    waits = se.SwapWaiting(*KEY, 1, 2, "find_rooms")
    session = SessionView(*KEY, T0, "desk", True, 1, swap_waits=waits, swap_since=T0 - 12)
    (shown,) = texts(list(last_blocks(session, T0, LOOK)))
    assert shown == "       ◌ swap waits for find_rooms, 12 s · generation 2"


def test_a_tool_call_that_is_too_long_is_folded_to_two_rows() -> None:
    long = tool(0, None, arguments='{"q": "%s"}' % ("x" * 200), output="y" * 200)
    (folded,) = turn_blocks(turn(long), 1, LOOK)
    assert [len(each) <= 80 for each in texts([folded])] == [True, True]
    assert folded.can_fold
    (whole,) = turn_blocks(turn(long), 1, LOOK, frozenset({"1/0"}))
    assert "".join(texts([whole])).count("x") == 200
    assert "".join(texts([whole])).count("y") == 200


def test_a_tool_call_runs_fails_and_may_have_arguments_that_are_not_json() -> None:
    (running,) = turn_blocks(turn(tool(0, None, output=None)), 1, LOOK)
    (failed,) = turn_blocks(turn(tool(0, 5.0, is_error=True, output="no")), 1, LOOK)
    assert texts([running]) == ['     ⚙ find_rooms(day="Fri") ◌ running']
    assert texts([failed]) == ['     ⚙ find_rooms(day="Fri") ✗ failed 5 ms → no']
    assert call_text("f", "{not json") == "f({not json)"
    assert call_text("f", "[1]") == "f([1])"


def test_what_a_tool_raised_comes_before_what_the_llm_gets() -> None:
    raised = turn(tool(0, 5.0, is_error=True, output="An error occurred", error="rooms.py:4: KeyError: 'a'"))
    (folded,) = turn_blocks(raised, 1, LOOK)
    assert texts([folded])[-1].endswith("→ rooms.py:4: KeyError: 'a'")
    assert "An error occurred" not in "".join(texts([folded]))
    (whole,) = turn_blocks(raised, 1, LOOK, frozenset({"1/0"}))
    assert [row.strip() for row in texts([whole])[-2:]] == [
        "→ rooms.py:4: KeyError: 'a'",
        "→ An error occurred",
    ]
    assert whole.text.endswith("→ rooms.py:4: KeyError: 'a'\n→ An error occurred")


def test_a_long_message_is_folded_and_shown_whole() -> None:
    long = turn(message(se.Role.ASSISTANT, "word " * FOLDED_CHARACTERS))
    (folded,) = turn_blocks(long, 1, LOOK)
    assert texts([folded])[-1] == "       ▸ 8,000 more characters · Enter shows all"
    (whole,) = turn_blocks(long, 1, LOOK, frozenset({"1/0"}))
    assert len(whole.lines) > 4 * len(folded.lines)
    assert whole.text == folded.text == long.entries[0].text.strip()  # type: ignore[union-attr]


def test_a_long_reply_that_streams_shows_its_end() -> None:
    (block,) = turn_blocks(turn(streaming="x " * FOLDED_CHARACTERS + "the end"), 1, LOOK)
    assert texts([block])[-1].endswith("the end")
    assert len(block.lines) < FOLDED_CHARACTERS / 30


@pytest.mark.parametrize("width", [21, 60, 110])
def test_a_realtime_model_says_what_is_missing(width: int) -> None:
    session = SessionView(*KEY, T0, "desk", True, 1, realtime=True)
    [block] = first_blocks(session, Look(width))
    assert " ".join(plain(line) for line in block.lines) == REALTIME == block.text
    assert all(width_of(line) <= width for line in block.lines)
    assert "realtime model" in plain(head_line(session, 1, 60))
    assert not [*first_blocks(SessionView(*KEY, T0, "desk", True, 1), Look(width))]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("width", [MIN_WIDTH, 43, 120])
def test_hostile_text_fits_in_every_place(text: str, width: int) -> None:
    look = Look(width)
    view = turn(
        message(se.Role.USER, text, interrupted=True),
        tool(0.1, 5.0, name=text, arguments=json.dumps({text[:300]: text}), output=text),
        tool(0.2, 5.0, arguments=text, is_error=True, output=text),
        HandoffView(T0, text, text),
        ErrorView(T0, text, text),
        SwapView(T0, 1, 2, se.SwapReach.METHODS, (text[:9_000],), 0.5),
        end=ended(300.0, 200.0, text),
        streaming=text,
        usage={"input_tokens": 1e9},
    )
    everything = frozenset({"1/0", "1/1", "1/2", "1/figures"})
    session = SessionView(*KEY, T0, text, True, 1, text, text, (turn(),), (text,), ended_at=None)
    blocks = [
        *turn_blocks(view, 9, look),
        *turn_blocks(view, 9, look, everything),
        *last_blocks(session, T0 + 5, look),
    ]
    for line in (line for block in blocks for line in block.lines):
        assert width_of(line) <= width, plain(line)
        assert printable(plain(line)) == plain(line)


# -- figures -----------------------------------------------------------------------------------------------


def test_a_spoken_turn_has_the_sdk_s_latencies_and_a_rest() -> None:
    spoken = turn(
        typed=False,
        end=ended(5000.0, None, end_of_turn_delay=410.0, llm_ttft=312.0, tts_ttfb=96.0, e2e=860.0),
    )
    assert plain(figures(spoken, Limits(), 100)) == (
        "├ end of turn 410 ├ LLM 312 ├ TTS 96 ├ rest 42 ┤ 0.86 s"
    )


def test_a_latency_that_is_not_reported_is_a_gap_with_its_name() -> None:
    spoken = turn(typed=False, end=ended(5000.0, None, llm_ttft=312.0, e2e=860.0))
    line = plain(figures(spoken, Limits(), 100))
    assert line == "├ end of turn – ├ LLM 312 ├ TTS – ├ rest 548 ┤ 0.86 s"
    rows = [plain(row) for row in step_rows(spoken, Limits(), 60)]
    assert rows[0] == "end of turn          not reported"
    assert "312 ms" in rows[1]
    assert rows[-1].startswith("rest ")


def spoken(*entries: Entry, **metrics: float) -> TurnView:
    """Return a spoken turn whose user stopped speaking at `T0`, and which started 0.44 s later."""
    said = MessageView(T0 + 0.44, se.Role.USER, "any room?", False, 1, {}, stopped_speaking_at=T0)
    latencies = {"end_of_turn_delay": 410.0, "on_user_turn_completed_delay": 30.0, **metrics}
    return TurnView(
        1, False, T0 + 0.44, 1, entries=(said, *entries), ended=ended(5000.0, None, "", **latencies)
    )


def test_the_rest_of_a_spoken_turn_is_named_and_the_steps_add_up_to_the_whole() -> None:
    fall = waterfall(spoken(llm_ttft=200.0, llm_ttfs=240.0, tts_ttfb=100.0, e2e=800.0))
    assert [(each.name, each.ms) for each in fall.steps] == [
        ("end of turn", 410.0),
        ("turn hook", 30.0),
        ("LLM", 200.0),
        ("first sentence", 40.0),
        ("TTS", 100.0),
        (REST, 20.0),
    ]
    assert sum(each.ms or 0.0 for each in fall.steps) == fall.answered == 800.0


def test_tools_of_a_spoken_turn_have_the_time_of_the_llm_call_before_them() -> None:
    called = tool(0.6, 120.0)
    fall = waterfall(spoken(called, tool(3.0, 5.0), llm_ttft=200.0, tts_ttfb=100.0, e2e=1040.0))
    names = ["end of turn", "turn hook", "LLM", "find_rooms", "LLM", "TTS", REST]
    assert [each.name for each in fall.steps] == names  # without the call after the answer
    assert [round(each.ms or 0.0) for each in fall.steps] == [410, 30, 160, 120, 200, 100, 20]
    untimed = waterfall(spoken(tool(0.7, None), llm_ttft=200.0, tts_ttfb=100.0, e2e=1040.0))
    assert [each.name for each in untimed.steps][2:4] == ["LLM, find_rooms", "LLM"]
    assert round(untimed.steps[2].ms or 0.0) == 260


def test_an_llm_that_starts_before_the_turn_ends_overlaps() -> None:
    fall = waterfall(spoken(llm_ttft=400.0, tts_ttfb=100.0, e2e=600.0))
    assert fall.steps[-1] == Step(OVERLAP, 600.0, -340.0)
    assert sum(each.ms or 0.0 for each in fall.steps) == fall.answered
    assert [each.start for each in fall.steps[2:4]] == [100.0, 500.0]
    rows = [plain(row) for row in step_rows(spoken(llm_ttft=400.0, tts_ttfb=100.0, e2e=600.0), Limits(), 60)]
    assert rows[-1].split() == ["overlap", "-340", "ms"]


def test_stalls_and_memory_are_on_the_axis_of_the_turn() -> None:
    view = replace(
        turn(end=ended(1000.0, 500.0)),
        stalls=(Stall(T0 + 0.5, 250.0, "agent.py:12 in entry"),),
        memory_before=24.0,
        memory_after=31.4,
    )
    assert "┤ 0.50 s · ▲blocked ≥250 · done 1.00 s" in plain(figures(view, Limits(), 100))
    *_, stall, memory = (plain(row) for row in step_rows(view, Limits(), 90))
    assert stall.split("  ")[0] == "▲event loop blocked"
    assert stall.index("━") == pytest.approx(NAME_WIDTH + MS_WIDTH + 2 + 59 / 2, abs=1)
    assert stall.count("━") == 15
    assert "≥250 ms" in stall
    assert memory.split() == ["memory", "24", "→", "31", "MB"]
    assert "▲▲" in plain(list(step_rows(view, Limits(memory_mb=3.0), 90))[-1])
    assert "▲" not in plain(figures(view, Limits(stall_ms=0), 100))


def test_a_turn_that_failed_is_not_called_done() -> None:
    view = turn(end=replace(ended(300.0, None), error="no route to host"))
    assert plain(figures(view, Limits(), 100)).endswith("failed after 0.30 s")


def test_the_cost_of_a_turn_follows_its_tokens() -> None:
    view = turn(end=ended(300.0, 200.0), usage={"input_tokens": 400.0, "output_tokens": 12.0})
    for cost, shown in (
        (None, "412 tok"),
        (0.0004, "412 tok $0.0004"),
        (2.5, "412 tok $2.50"),
        (1e-6, "412 tok <$0.0001"),
    ):
        assert plain(figures(replace(view, cost=cost), Limits(), 100)).endswith(f"done 0.30 s · {shown}")


def test_the_cost_of_a_session_says_whether_it_is_all() -> None:
    known = se.UsageChanged(*KEY, "gpt-5", "openai", {"input_tokens": 1000.0}, 0.0125)
    view = SessionView(*KEY, T0, "desk", True, 1, "listening", usage={"gpt-5": known})
    assert plain(head_line(view, 1, 100)).endswith("1,000 tok $0.0125")
    unknown = se.UsageChanged(*KEY, "voice", "", {"characters_count": 40.0})
    some = replace(view, usage={"gpt-5": known, "voice": unknown})
    assert plain(head_line(some, 1, 100)).endswith("1,000 tok ≥$0.0125")


def test_a_narrow_line_has_the_longest_steps() -> None:
    view = spoken(llm_ttft=200.0, llm_ttfs=240.0, tts_ttfb=100.0, e2e=800.0)
    assert plain(figures(view, Limits(), 60)) == "├ end of turn 410 ├ LLM 200 ├ TTS 100 ┤ 0.80 s"


def test_a_spoken_turn_without_any_latency_has_no_waterfall() -> None:
    assert waterfall(turn(typed=False, end=ended(1.0, None, other=1.0))).steps == ()


def test_the_steps_of_a_typed_turn_are_one_after_the_other_and_add_up() -> None:
    both = turn(tool(0.1, 200.0, "a"), tool(0.2, 300.0, "b"), end=ended(900.0, 600.0))
    assert waterfall(both).steps == (
        Step("thinking", 0.0, pytest.approx(100.0)),  # type: ignore[arg-type]
        Step("a", pytest.approx(100.0), 200.0),  # type: ignore[arg-type]
        Step("b", pytest.approx(200.0), 300.0),  # type: ignore[arg-type]
        Step("thinking", pytest.approx(500.0), pytest.approx(100.0)),  # type: ignore[arg-type]
        Step("reply", pytest.approx(600.0), pytest.approx(300.0), is_answer=True),  # type: ignore[arg-type]
    )
    early = turn(tool(0.5, 200.0), end=ended(900.0, 100.0))
    assert [step.name for step in waterfall(early).steps] == ["thinking", "reply", "find_rooms", "reply"]
    silent = turn(end=ended(900.0, None))
    assert [step.name for step in waterfall(silent).steps] == ["thinking"]


def test_slow_steps_have_a_sign_and_a_tone() -> None:
    limits = Limits(turn_ms=500.0, part_ms=100.0)
    slow = turn(tool(0.15, 250.0), end=ended(9000.0, 620.0))
    line = figures(slow, limits, 120)
    assert plain(line) == "├ ▲thinking 150 ├ ▲▲find_rooms 250 ├ ▲▲thinking 220 ┤ ▲0.62 s · done 9.00 s"
    assert [tone_of(ms, 100.0) for ms in (100.0, 101.0, 201.0)] == [Tone.DIM, Tone.WARN, Tone.BAD]
    assert tone_of(1e9, 0.0) is Tone.DIM


@pytest.mark.parametrize("width", range(1, 100))
def test_figures_fit_every_width(width: int) -> None:
    slow = turn(tool(0.15, 250.0), tool(0.5, 2500.0), end=ended(9000.0, 620.0), usage={"input_tokens": 412.0})
    assert width_of(figures(slow, Limits(), width, 7)) <= width
    assert all(width_of(row) <= width for row in step_rows(slow, Limits(), width))


def test_figures_keep_the_time_longest() -> None:
    slow = turn(
        tool(0.15, 250.0), end=ended(900.0, 620.0), usage={"input_tokens": 400.0, "output_tokens": 12.0}
    )
    shown = {plain(figures(slow, Limits(), width)) for width in (100, 62, 46, 36, 30)}
    assert shown == {
        "├ thinking 150 ├ find_rooms 250 ├ thinking 220 ┤ 0.62 s · done 0.90 s · 412 tok",
        "├ thinking 370 ├ tools 250 ┤ 0.62 s · done 0.90 s · 412 tok",
        "├ thinking 370 ├ tools 250 ┤ 0.62 s · 412 tok",
        "├ thinking 370 ├ tools 250 ┤ 0.62 s",
        "0.62 s · done 0.90 s · 412 tok",
    }


# -- rows of a session -------------------------------------------------------------------------------------


def session_of(engine: FakeEngine) -> SessionView:
    return next(iter(engine.state.sessions.values()))


def test_a_delta_builds_only_the_blocks_of_its_turn() -> None:
    engine = FakeEngine()
    histories.talk(engine)
    rows = TalkRows()
    assert rows.show(session_of(engine), engine.clock.time(), LOOK)
    before = list(rows.blocks)
    assert not rows.show(session_of(engine), engine.clock.time(), LOOK)
    engine.publish(se.MessageDelta(histories.TALKING, 1, 4, " yours."))
    assert rows.show(session_of(engine), engine.clock.time(), LOOK)
    same = [old is new for old, new in zip(before, rows.blocks, strict=True)]
    assert same.count(False) <= 3  # the turn that streams, and what follows it
    assert all(same[:-4])


def test_rows_lead_to_their_blocks() -> None:
    engine = FakeEngine()
    histories.talk(engine)
    rows = TalkRows()
    rows.show(session_of(engine), engine.clock.time(), Look(50))
    all_lines = [(at, line) for at, block in enumerate(rows.blocks) for line in block.lines]
    assert [rows.at(row) for row in range(len(rows))] == all_lines
    assert all(rows.at(rows.row_of(at))[0] == at for at in range(len(rows.blocks)))


def test_a_search_finds_blocks_and_can_hide_the_others() -> None:
    engine = FakeEngine()
    histories.talk(engine)
    rows = TalkRows()
    rows.show(session_of(engine), engine.clock.time(), LOOK)
    rows.search("ATTIC")
    assert len(rows.matches) == 4
    first = rows.match_after(0)
    assert first == rows.matches[0]
    assert rows.match_before(rows.matches[0]) == rows.matches[-1]
    assert rows.rank(rows.matches[1]) == 2
    rows.search("attic", only_matches=True)
    assert len(rows.blocks) == 4
    rows.search("")
    assert rows.matches == []


def test_another_width_or_session_builds_all_rows_again() -> None:
    engine = FakeEngine()
    histories.talk(engine)
    rows = TalkRows()
    rows.show(session_of(engine), engine.clock.time(), LOOK)
    wide = len(rows)
    assert rows.show(session_of(engine), engine.clock.time(), Look(40))
    assert len(rows) > wide
    assert rows.show(None, 0.0, LOOK)
    assert len(rows) == 0


# -- the context of the LLM --------------------------------------------------------------------------------

CONTEXT = {
    "id": "desk",
    "instructions": "Be brief.",
    "tools": ["find_rooms"],
    "chat_ctx": [
        {"message": {"role": "SYSTEM", "content": [{"text": "Be brief."}]}},
        {"function_call": {"name": "find_rooms", "arguments": '{"day": "Fri"}'}},
        {"function_call_output": {"output": "no", "is_error": True}},
        {"agent_config_update": {"id": "x", "tools_added": ["find_rooms"]}},
        {"message": {"role": "USER", "content": [{"image": {}}]}},
    ],
}


def test_the_context_has_instructions_tools_and_items() -> None:
    shown = [plain(line) for line in context_lines(json.dumps(CONTEXT), 80)]
    assert shown == [
        "Agent        desk",
        "",
        "Instructions",
        "  Be brief.",
        "",
        "Tools  1",
        "  find_rooms",
        "",
        "Context  5 items  oldest first",
        "system     (the instructions above)",
        'call       find_rooms(day="Fri")',
        "✗ result   no",
        'config     {"tools_added": ["find_rooms"]}',
        "user       (image)",
    ]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_hostile_context_fits(text: str) -> None:
    hostile = {
        "id": text,
        "instructions": text,
        "tools": [text, 7],
        "chat_ctx": [
            {text[:50]: {text[:50]: text}},
            {"message": {"role": text, "content": [{"text": text}, text, 7]}},
            {"function_call": {"name": text, "arguments": text}},
            {"function_call_output": 7},
            "no item",
        ],
    }
    for value in (json.dumps(hostile), text, "[]", "[" * 100_000):
        for line in context_lines(value, 60):
            assert printable(plain(line)) == plain(line)
            assert width_of(line) <= 60


def test_labels_are_as_wide_as_they_say() -> None:
    (block,) = turn_blocks(turn(message(se.Role.ASSISTANT, "hi")), 1, LOOK)
    assert cell_len(block.lines[0][0].text) == LABEL
