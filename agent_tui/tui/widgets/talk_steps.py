"""The waterfall of a turn: which step took how long. Pure functions.

A spoken turn has the latencies that the SDK reports. For typed turns the SDK reports none of them, so their
steps come from the times of agent-tui's own events.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent_tui.model.conversations import MessageView, ToolView, TurnView
from agent_tui.model.session_events import Role
from agent_tui.tui.widgets.text import (
    NONE,
    Line,
    Span,
    Tone,
    clip,
    counted,
    grouped,
    joined,
    one_line,
    pad,
    width_of,
)

THINKING, REPLY, TOOLS = "thinking", "reply", "tools"

REST = "playout and network"
"""The step of a spoken turn that is what the others leave of the whole, if the SDK reports all others."""

GAPS = "rest"
"""Its name where the SDK does not report a step, which is in it then."""

OVERLAP = "overlap"
"""By how much the steps are longer than the whole: the LLM started before the user's turn had ended."""

ENDS = (REST, GAPS, OVERLAP)

BEFORE = (("end of turn", "end_of_turn_delay"), ("turn hook", "on_user_turn_completed_delay"))
AFTER = (("LLM", "llm_ttft"), ("first sentence", "first_sentence"), ("TTS", "tts_ttfb"))
"""The steps of a spoken turn before and after its tools, and the latencies that measure them."""

BLOCKED, MEMORY = "event loop blocked", "memory"
"""What else happened during a turn."""

OPTIONAL = ("turn hook", "first sentence")
"""Steps that many turns do not have: without a latency, they are left out."""

SUMMED = 3
"""From so many answered turns on, the line of a session sums them up."""

MAX_NAME = 24
NAME_WIDTH, MS_WIDTH = 20, 9
MIN_BAR, MAX_BAR = 8, 60


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits above which a turn's answer, or one step of a turn, is marked as slow, in ms; 0 for no limit.

    Above twice the limit, it is marked as very slow.
    """

    turn_ms: float = 1500.0
    part_ms: float = 800.0
    stall_ms: float = 200.0
    """For how long the event loop of the job may be blocked during a turn."""
    memory_mb: float = 50.0
    """By how many MB the job's process may grow during a turn."""


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a turn. `start` is in ms from the start of the turn; `ms` is None if it is not reported."""

    name: str
    start: float
    ms: float | None
    is_answer: bool = False
    """Whether the step is the reply itself, which is never marked as slow."""


@dataclass(frozen=True, slots=True)
class Waterfall:
    """The steps of a turn, and when its answer started and ended, in ms from the start of the turn."""

    steps: tuple[Step, ...] = ()
    answered: float | None = None
    done: float | None = None


def waterfall(turn: TurnView) -> Waterfall:
    """Return the waterfall of a turn that has ended; empty for others."""
    if turn.ended is None:
        return Waterfall()
    return _typed(turn) if turn.typed else _spoken(turn)


def _typed(turn: TurnView) -> Waterfall:
    assert turn.ended is not None
    first, done = turn.ended.first_delta_ms, turn.ended.duration_ms
    steps: list[Step] = []
    now = 0.0

    def between(end: float) -> None:
        """Add the agent's steps until that time: thinking, then the reply from its first text onward."""
        nonlocal now
        middle = end if first is None else min(max(first, now), end)
        if middle > now:
            steps.append(Step(THINKING, now, middle - now))
        if end > middle:
            steps.append(Step(REPLY, middle, end - middle, is_answer=True))
        now = max(now, end)

    for tool in _timed_tools(turn):
        start = (tool.at - turn.started_at) * 1000
        between(min(start, done))
        steps.append(Step(_tool_name(tool), start, tool.duration_ms))
        now = max(now, start + (tool.duration_ms or 0.0))
    if done > now:
        between(done)
    return Waterfall(tuple(steps), first, done)


def _spoken(turn: TurnView) -> Waterfall:
    """Return the SDK's steps, one after the other, and what they leave of the whole.

    The tools, and the LLM calls before them, have the times of agent-tui's own events. A latency that is not
    reported is a step without time. There is no `done`: a spoken turn lasts until the agent is silent again.
    """
    assert turn.ended is not None
    metrics = dict(turn.ended.metrics)
    whole = metrics.get("e2e")
    if "llm_ttfs" in metrics and "llm_ttft" in metrics:
        metrics["first_sentence"] = metrics["llm_ttfs"] - metrics["llm_ttft"]
    if whole is None and not any(name in metrics for _, name in (*BEFORE, *AFTER)):
        return Waterfall()
    steps = _in_a_row(BEFORE, metrics, 0.0)
    now = waited = _end(steps, 0.0)
    for tool in _spoken_tools(turn, waited, whole):
        start, ms = tool.at * 1000 - _user_stopped(turn, waited), tool.duration_ms
        if ms is None:  # the SDK reports only when it returned
            steps.append(Step(f"LLM, {_tool_name(tool)}", now, max(start - now, 0.0)))
            now = max(now, start)
            continue
        if start - now >= 1:
            steps.append(Step("LLM", now, start - now))
        steps.append(Step(_tool_name(tool), start, ms))
        now = max(now, start + ms)
    answer = _in_a_row(AFTER, metrics, now)
    end = _end(answer, now)
    if whole is not None and end - whole >= 1:
        ahead = end - whole
        answer = [Step(each.name, max(each.start - ahead, 0.0), each.ms) for each in answer]
        answer.append(Step(OVERLAP, whole, -ahead))
    elif whole is not None and whole - end >= 1:
        is_known = all(step.ms is not None for step in (*steps, *answer))
        answer.append(Step(REST if is_known else GAPS, end, whole - end, is_answer=True))
    return Waterfall((*steps, *answer), whole)


def _in_a_row(parts: Sequence[tuple[str, str]], metrics: Mapping[str, float], start: float) -> list[Step]:
    """Return steps one after the other. One without a latency has no time; an optional one is left out."""
    steps: list[Step] = []
    for name, metric in parts:
        ms = metrics.get(metric)
        if ms is not None or name not in OPTIONAL:
            steps.append(Step(name, start, ms))
            start += ms or 0.0
    return steps


def _end(steps: Sequence[Step], start: float) -> float:
    return max((each.start + (each.ms or 0.0) for each in steps), default=start)


def _user_stopped(turn: TurnView, waited: float) -> float:
    """Return when the user stopped speaking, in Unix ms: `waited` ms before the turn started."""
    said = (each for each in turn.entries if isinstance(each, MessageView) and each.role is Role.USER)
    stopped = next((each.stopped_speaking_at for each in said), None)
    return stopped * 1000 if stopped is not None else turn.started_at * 1000 - waited


def _spoken_tools(turn: TurnView, waited: float, whole: float | None) -> list[ToolView]:
    """Return the tool calls before the answer started, in order."""
    stopped = _user_stopped(turn, waited)
    tools = [each for each in turn.entries if isinstance(each, ToolView) and each.output is not None]
    before = [each for each in tools if whole is None or each.at * 1000 - stopped < whole]
    return sorted(before, key=lambda tool: tool.at)


def _timed_tools(turn: TurnView) -> list[ToolView]:
    """Return the tool calls whose start was reported, in order."""
    tools = [each for each in turn.entries if isinstance(each, ToolView) and each.duration_ms is not None]
    return sorted(tools, key=lambda tool: tool.at)


def _tool_name(tool: ToolView) -> str:
    return clip(one_line(tool.name), MAX_NAME)


# -- one line ----------------------------------------------------------------------------------------------


def tone_of(ms: float | None, limit: float) -> Tone:
    """Return the tone of a duration: amber above the limit, red above twice the limit."""
    if ms is None or limit <= 0 or ms <= limit:
        return Tone.DIM
    return Tone.BAD if ms > 2 * limit else Tone.WARN


_SIGNS = {Tone.WARN: "▲", Tone.BAD: "▲▲"}
"""Signs that repeat the tones without color."""


def _marked(text: str, tone: Tone) -> Span:
    return Span(f"{_SIGNS.get(tone, '')}{text}", tone)


def seconds(ms: float) -> str:
    """Return a duration in seconds: `0.64 s`, `12.3 s`."""
    return f"{ms / 1000:.2f} s" if ms < 9_995 else f"{ms / 1000:.1f} s"


def dollars(cost: float) -> str:
    """Return an amount of US dollars: `$1.25`, `$0.0042`, `<$0.0001`."""
    if cost < 0.0001:
        return "<$0.0001"
    return f"${cost:.2f}" if cost >= 1 else f"${cost:.4f}"


def figures(turn: TurnView, limits: Limits, width: int, generation: int = 0) -> Line:
    """Return the line below a turn: its waterfall, its tokens, and `generation` unless it is 0.

    Where it is too long, steps of the same kind are added up, then the shorter ones left out, then all.
    """
    fall = waterfall(turn)
    tokens = int(turn.usage.get("input_tokens", 0) + turn.usage.get("output_tokens", 0))
    cost = f" {dollars(turn.cost)}" if turn.cost else ""
    blocked = sum(each.ms for each in turn.stalls)
    stalls: Line = ()
    if blocked:  # at least: only what was left of a stall when its ping was sent is measured
        stalls = (_marked(f"blocked ≥{blocked:,.0f}", tone_of(blocked, limits.stall_ms)),)
    how = "failed after" if turn.ended is not None and turn.ended.error else "done"
    done, used, gen = (
        f"{how} {seconds(fall.done)}" if fall.done is not None else "",
        f"{grouped(tokens)} tok{cost}" if tokens > 0 else "",
        f"gen {generation}" if generation else "",
    )
    total: Line = ()
    if fall.answered is not None:
        total = (_marked(seconds(fall.answered), tone_of(fall.answered, limits.turn_ms)),)
    line: Line = ()
    merged = _merged(fall.steps)
    for steps, ends in (
        (fall.steps, (done, used, gen)),
        (merged, (done, used, gen)),
        (merged, (used, gen)),
        (merged, (gen,)),
        (_longest(merged), ()),
        ((), (done, used, gen)),
    ):
        shown = [(Span(each, Tone.DIM),) for each in ends if each]
        line = joined([_segments(steps, total, limits, fall.answered), stalls, *shown], " · ")
        if width_of(line) <= width:
            return line
    return _cut(line, width)


def session_figures(turns: Sequence[TurnView]) -> tuple[str, ...]:
    """Return how many turns there were, how long their answers took, and which was the slowest one.

    In parts, the more important one first. Empty for fewer than `SUMMED` answered turns.
    """
    answers = [(ms, turn) for turn in turns if (ms := _answer_ms(turn)) is not None]
    if len(answers) < SUMMED:
        return ()
    ranked = sorted(ms for ms, _ in answers)
    half, most = (ranked[math.ceil(len(ranked) * share) - 1] for share in (0.5, 0.95))
    slowest = max(answers, key=lambda each: each[0])[1]
    steps = [each for each in waterfall(slowest).steps if not each.is_answer]
    longest = max(steps, key=lambda step: step.ms or 0.0, default=None)
    why = f" ({longest.name})" if longest is not None else ""
    times = f"p50 {seconds(half)} · p95 {seconds(most)}"
    return f"{counted(len(answers), 'turn')} · {times}", f"slowest: turn {slowest.number}{why}"


def _answer_ms(turn: TurnView) -> float | None:
    """Return how long the user waited for the answer of a turn; None if there was none."""
    if turn.number == 0 or turn.ended is None:
        return None
    return turn.ended.first_delta_ms if turn.typed else turn.ended.metrics.get("e2e")


def _segments(steps: Sequence[Step], total: Line, limits: Limits, answered: float | None) -> Line:
    """Return the steps, with the time until the answer started inserted at its place."""
    spans: list[Span] = []
    closed = False
    for step in steps:
        if step.is_answer and step.name == REPLY:
            continue
        if answered is not None and not closed and step.name not in ENDS and step.start >= answered > 0:
            spans += [Span("┤ ", Tone.DIM), *total, Span(" ", Tone.DIM)]
            closed = True
        limit = 0.0 if step.is_answer else limits.part_ms
        shown = NONE if step.ms is None else f"{step.ms:,.0f}"
        name = GAPS if step.name == REST else step.name
        spans += [Span("├ ", Tone.DIM), _marked(f"{name} {shown}", tone_of(step.ms, limit)), Span(" ")]
    if closed or not total:
        return tuple(spans[:-1])
    return (*spans, Span("┤ ", Tone.DIM), *total) if spans else total


def _merged(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps with those of the same kind added up: thinking, tools."""
    named = {THINKING, REPLY, *ENDS, *(name for name, _ in (*BEFORE, *AFTER))}
    sums: dict[str, Step] = {}
    for step in steps:
        name = step.name if step.name in named else TOOLS
        before = sums.get(name)
        ms = step.ms if before is None or before.ms is None else before.ms + (step.ms or 0.0)
        sums[name] = Step(name, before.start if before else step.start, ms, step.is_answer)
    return tuple(sums.values())


def _longest(steps: Sequence[Step], count: int = 3) -> Sequence[Step]:
    """Return the longest steps, in their order."""
    longest = sorted(steps, key=lambda step: -(step.ms or 0.0))[:count]
    return [step for step in steps if step in longest]


def _cut(line: Line, width: int) -> Line:
    spans: list[Span] = []
    for span in line:
        left = width - width_of(tuple(spans))
        if left <= 0:
            break
        spans.append(Span(clip(span.text, left), span.tone))
    return tuple(spans)


# -- one row per step --------------------------------------------------------------------------------------


def step_rows(turn: TurnView, limits: Limits, width: int) -> Iterator[Line]:
    """Yield a row per step: its name, its time, and a bar on the axis of the turn."""
    fall = waterfall(turn)
    end = max(
        [fall.done or 0.0, fall.answered or 0.0, *(each.start + (each.ms or 0.0) for each in fall.steps)]
    )
    cells = min(width - NAME_WIDTH - MS_WIDTH - 2, MAX_BAR)
    for step in fall.steps:
        tone = tone_of(step.ms, 0.0 if step.is_answer else limits.part_ms)
        sign = _SIGNS.get(tone, "")
        shown = "not reported" if step.ms is None else f"{step.ms:,.0f} ms"
        head = pad(sign + step.name, NAME_WIDTH) + pad(shown, MS_WIDTH, right=True)
        row: Line = (Span(head if step.ms is not None else f"{pad(step.name, NAME_WIDTH)} {shown}", tone),)
        if cells >= MIN_BAR and step.ms is not None and step.ms >= 0 and end > 0:
            left = min(round(step.start / end * cells), cells - 1)
            size = max(round(step.ms / end * cells), 1)
            row = (*row, Span("  " + " " * left + "━" * min(size, cells - left), tone))
        yield _cut(row, width)
    yield from _machine_rows(turn, limits, width, cells, end)


def _machine_rows(turn: TurnView, limits: Limits, width: int, cells: int, end: float) -> Iterator[Line]:
    """Yield a row per stall of the event loop, on the same axis, and one for the memory of the process."""
    heard = () if turn.typed or turn.ended is None else _in_a_row(BEFORE, turn.ended.metrics, 0.0)
    zero = turn.started_at * 1000 if turn.typed else _user_stopped(turn, _end(heard, 0.0))
    for stall in turn.stalls:
        tone = tone_of(stall.ms, limits.stall_ms)
        name, ms = _SIGNS.get(tone, "") + BLOCKED, f"≥{stall.ms:,.0f} ms"
        head = pad(name, NAME_WIDTH) + pad(ms, MS_WIDTH, right=True)
        bar = ""
        if cells >= MIN_BAR and end > 0:
            start = min(max(stall.at * 1000 - zero, 0.0), end)
            left = min(round(start / end * cells), cells - 1)
            size = min(max(round(stall.ms / end * cells), 1), cells - left)
            bar = "  " + " " * left + "━" * size
        where = f"  {one_line(stall.where)}" if stall.where else ""
        yield _cut((Span(head + bar, tone), Span(where, Tone.DIM)), width)
    before, after = turn.memory_before, turn.memory_after
    if before is not None and after is not None:
        tone = tone_of(after - before, limits.memory_mb)
        text = f"{pad(_SIGNS.get(tone, '') + MEMORY, NAME_WIDTH)} {before:,.0f} → {after:,.0f} MB"
        yield _cut((Span(text, tone),), width)
