"""The waterfall of a turn: which step took how long. Pure functions.

A spoken turn has the latencies that the SDK reports. For typed turns the SDK reports none of them, so their
steps come from the times of agent-tui's own events.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent_tui.model.conversations import ToolView, TurnView
from agent_tui.tui.widgets.text import NONE, Line, Span, Tone, clip, grouped, joined, one_line, pad, width_of

THINKING, REPLY, TOOLS, REST = "thinking", "reply", "tools", "rest"

SPOKEN = (
    ("end of turn", "end_of_turn_delay"),
    ("turn hook", "on_user_turn_completed_delay"),
    ("LLM", "llm_ttft"),
    (TOOLS, ""),
    ("TTS", "tts_ttfb"),
)
"""The steps of a spoken turn in order, and the SDK's latencies that measure them."""

OPTIONAL = ("turn hook", TOOLS)
"""Steps that many turns do not have: without a latency, they are left out."""

MAX_NAME = 24
NAME_WIDTH, MS_WIDTH = 14, 9
MIN_BAR, MAX_BAR = 8, 60


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits above which a turn's answer, or one step of a turn, is marked as slow, in ms; 0 for no limit.

    Above twice the limit, it is marked as very slow.
    """

    turn_ms: float = 1500.0
    part_ms: float = 800.0


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
    """Return the SDK's steps, one after the other. `rest` is the time that they do not account for.

    A latency that is not reported is a step without time. There is no `done`: a spoken turn
    lasts until the agent has stopped speaking.
    """
    assert turn.ended is not None
    metrics = turn.ended.metrics
    tools = sum(tool.duration_ms or 0.0 for tool in _timed_tools(turn))
    steps: list[Step] = []
    now = 0.0
    for name, metric in SPOKEN:
        ms = (tools or None) if name == TOOLS else metrics.get(metric)
        if ms is None and name in OPTIONAL:
            continue
        steps.append(Step(name, now, ms))
        now += ms or 0.0
    whole = metrics.get("e2e")
    if whole is not None and whole - now >= 1:
        steps.append(Step(REST, now, whole - now, is_answer=True))
    if all(step.ms is None for step in steps) and whole is None:
        return Waterfall()
    return Waterfall(tuple(steps), whole)


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


def figures(turn: TurnView, limits: Limits, width: int, generation: int = 0) -> Line:
    """Return the line below a turn: its waterfall, its tokens, and `generation` unless it is 0.

    If the line is too long, steps of the same kind are added up, and then dropped.
    """
    fall = waterfall(turn)
    tokens = int(turn.usage.get("input_tokens", 0) + turn.usage.get("output_tokens", 0))
    done, used, gen = (
        f"done {seconds(fall.done)}" if fall.done is not None else "",
        f"{grouped(tokens)} tok" if tokens > 0 else "",
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
        ((), (done, used, gen)),
    ):
        shown = [(Span(each, Tone.DIM),) for each in ends if each]
        line = joined([_segments(steps, total, limits, fall.answered), *shown], " · ")
        if width_of(line) <= width:
            return line
    return _cut(line, width)


def _segments(steps: Sequence[Step], total: Line, limits: Limits, answered: float | None) -> Line:
    """Return the steps, with the time until the answer started inserted at its place."""
    spans: list[Span] = []
    closed = False
    for step in steps:
        if step.is_answer and step.name == REPLY:
            continue
        if answered is not None and not closed and step.name != REST and step.start >= answered > 0:
            spans += [Span("┤ ", Tone.DIM), *total, Span(" ", Tone.DIM)]
            closed = True
        limit = 0.0 if step.is_answer else limits.part_ms
        shown = NONE if step.ms is None else f"{step.ms:,.0f}"
        spans += [Span("├ ", Tone.DIM), _marked(f"{step.name} {shown}", tone_of(step.ms, limit)), Span(" ")]
    if closed or not total:
        return tuple(spans[:-1])
    return (*spans, Span("┤ ", Tone.DIM), *total) if spans else total


def _merged(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps with those of the same kind added up: thinking, tools."""
    named = {THINKING, REPLY, REST, *(name for name, _ in SPOKEN)}
    sums: dict[str, Step] = {}
    for step in steps:
        name = step.name if step.name in named else TOOLS
        before = sums.get(name)
        ms = step.ms if before is None or before.ms is None else before.ms + (step.ms or 0.0)
        sums[name] = Step(name, before.start if before else step.start, ms, step.is_answer)
    return tuple(sums.values())


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
        if cells >= MIN_BAR and step.ms is not None and end > 0:
            left = min(round(step.start / end * cells), cells - 1)
            size = max(round(step.ms / end * cells), 1)
            row = (*row, Span("  " + " " * left + "━" * min(size, cells - left), tone))
        yield _cut(row, width)
