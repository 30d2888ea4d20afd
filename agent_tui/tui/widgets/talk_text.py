"""A conversation as lines: messages, tool calls, handoffs, errors, and waterfalls. Pure functions."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

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
    SwapView,
    ToolView,
    TurnView,
)
from agent_tui.tui.widgets.log_text import clock
from agent_tui.tui.widgets.swap_text import keeps_environment, new_notes, note_text, waits_text
from agent_tui.tui.widgets.talk_steps import DEFAULT_LIMITS, Limits, figures, step_rows, waterfall
from agent_tui.tui.widgets.text import Line, Span, Tone, clip, counted, duration, milliseconds, one_line

LABEL = 7
"""Width of the column before the text, which has the speaker or a sign, in cells."""

TIME = 9
"""Width of the time column on the right, with the gap before it, in cells."""

WIDE, NARROW_INDENT = 64, 2
"""Minimum width at which a waterfall is aligned with the text, and its indent below that, in cells."""

MIN_WIDTH = LABEL + 14

FOLDED_CHARACTERS = 2_000
"""A longer message shows only this much of its text until it is unfolded."""

MAX_CHARACTERS = 100_000
"""The most characters of a text that are shown; `y` copies, and an export has, the whole text."""

YOU, AGENT = "you", "agent"


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a conversation that can be selected, with its lines, each at most as wide as the view."""

    key: str
    """Unique in the session, and stable while the conversation continues."""
    lines: tuple[Line, ...]
    text: str = ""
    """The whole text, for `y` and `/`; empty if there is nothing to copy."""
    can_fold: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """How blocks are drawn: the width in cells, and the limits for slow turns."""

    width: int
    limits: Limits = DEFAULT_LIMITS


def turn_blocks(
    turn: TurnView, before: int, look: Look, unfolded: frozenset[str] = frozenset()
) -> tuple[Block, ...]:
    """Return the blocks of a turn. `before` is the generation of the turn before; 0 if there is none.

    `unfolded` has the keys of the blocks that are shown whole.
    """
    # The SDK may report what was typed after an error of the answer.
    entries = sorted(enumerate(turn.entries), key=lambda each: not (turn.typed and _is_said(each[1])))
    end = turn.started_at + turn.ended.duration_ms / 1000 if turn.ended is not None else float("inf")
    blocks: list[Block] = []
    later: list[Block] = []
    for index, entry in entries:
        is_later = isinstance(entry, SwapView | NoteView) and entry.at > end
        block = _entry_block(f"{turn.number}/{index}", entry, look, unfolded)
        (later if is_later else blocks).append(block)
    if turn.text and not any(map(_is_said, turn.entries)):  # it is not part of the conversation yet
        blocks.insert(0, _message(f"{turn.number}/said", YOU, turn.text, turn.started_at, look, unfolded))
    moved = before > 0 and turn.generation != before
    if moved:
        rule = _rule(f"generation {before} → {turn.generation}", look.width)
        blocks.insert(0, Block(f"{turn.number}/generation", (rule,)))
    if turn.streaming:
        key, at = f"{turn.number}/{len(turn.entries)}", turn.first_delta_at or turn.started_at
        blocks.append(_message(key, AGENT, turn.streaming, at, look, unfolded, streams=True))
    if turn.ended is not None:
        if turn.ended.error and not any(_is_error(each, turn.ended.error) for each in turn.entries):
            error = ErrorView(end, "", turn.ended.error)
            blocks.append(_error(f"{turn.number}/error", error, look))
        key, indent = f"{turn.number}/figures", LABEL if look.width >= WIDE else NARROW_INDENT
        if line := figures(turn, look.limits, look.width - indent, turn.generation if moved else 0):
            rows = list(step_rows(turn, look.limits, look.width - indent)) if key in unfolded else []
            lines = [(Span(" " * indent), *row) for row in (line, *rows)]
            blocks.append(Block(key, tuple(lines), can_fold=bool(waterfall(turn).steps)))
    return (*blocks, *later)


ENDS = {
    "user_initiated": "closed",
    "job_shutdown": "the job was shut down",
    "participant_disconnected": "the participant left",
    "task_completed": "the task was completed",
}
"""Why a session ended, in words, by the SDK's reasons."""


def _is_said(entry: Entry) -> bool:
    return isinstance(entry, MessageView) and entry.role is se.Role.USER


def _is_error(entry: Entry, error: str) -> bool:
    return isinstance(entry, ErrorView) and entry.error == error


def generation_after(turn: TurnView) -> int:
    """Return the generation whose code runs at the end of a turn."""
    swaps = (each for each in reversed(turn.entries) if isinstance(each, SwapView))
    reached = (each.to_generation for each in swaps if each.reached is not se.SwapReach.NONE)
    return next(reached, turn.generation)


def _rule(text: str, width: int) -> Line:
    return (Span(clip(f"── {text} ".ljust(width, "─"), width), Tone.WARN),)


def _swap(key: str, swap: SwapView, look: Look) -> Block:
    """Return the separator line of a swap, and a list of what it did not change."""
    old, new = swap.from_generation, swap.to_generation
    text = {
        se.SwapReach.ALL: f"generation {old} → {new} swapped in",
        se.SwapReach.METHODS: f"generation {old} → {new} in part: methods and tools",
        se.SwapReach.NONE: f"generation {new} not swapped in: generation {old} continues",
    }[swap.reached]
    if keeps_environment(swap):
        text = f"generation {old} → {new}: the call keeps its environment"
    if swap.changed and swap.reached is not se.SwapReach.NONE:
        text += f" ({one_line(', '.join(swap.changed))})"
    notes = [note_text(each) for each in swap.notes]
    shown = [note_text(each) for each in new_notes(swap)]
    if swap.known and not shown:
        text += " · not swapped: as before"
    elif swap.known:
        shown.append(f"{counted(swap.known, 'note')} repeated from the previous swap")
    if shown:
        shown.append(f"R restarts the call on generation {new}")
    rows = [row for note in shown for row in rows_of(note, look.width - LABEL)]
    lines = (_rule(text, look.width), *(_indented((Span(row, Tone.DIM),)) for row in rows))
    return Block(key, lines, "\n".join((text, *notes)))


def _indented(line: Line) -> Line:
    return (Span(" " * LABEL), *line)


def _entry_block(key: str, entry: Entry, look: Look, unfolded: frozenset[str]) -> Block:
    match entry:
        case MessageView():
            who = YOU if entry.role is se.Role.USER else AGENT
            at = entry.started_speaking_at or entry.at
            return _message(key, who, entry.text, at, look, unfolded, interrupted=entry.interrupted)
        case ToolView():
            return _tool(key, entry, look, is_open=key in unfolded)
        case HandoffView():
            before, now = one_line(entry.from_agent), one_line(entry.to_agent)
            text = (
                f"handoff: {before} → {now}" if before else f"agent: {now}"
            )  # agents-js reports the first one
            return Block(key, _signed("⇄", text, Tone.KEY, entry.at, look), text)
        case ErrorView():
            return _error(key, entry, look)
        case SwapView():
            return _swap(key, entry, look)
        case NoteView():
            sign, tone = ("✗", Tone.BAD) if entry.is_error else ("·", Tone.DIM)
            lines = _signed(sign, one_line(entry.text), tone, entry.at, look)
            return Block(key, lines, printable(entry.text))


def _error(key: str, error: ErrorView, look: Look) -> Block:
    text = error_text(error)
    lines = _signed("✗", one_line(text), Tone.BAD, error.at, look)
    rows = rows_of(f"→ {one_line(error.todo)}", look.width - LABEL) if error.todo else []
    todo = tuple(_indented((Span(row, Tone.WARN),)) for row in rows)
    return Block(key, (*lines, *todo), printable(f"{text}\n→ {error.todo}" if error.todo else text))


def error_text(error: ErrorView) -> str:
    """Return an error, how often it happened, and whether the SDK retries."""
    count = f"{error.count}× " if error.count > 1 else ""
    component = f"{error.component}: " if error.component else ""
    return f"{count}{component}{error.error}{' · retrying' if error.retrying else ''}"


# -- messages ----------------------------------------------------------------------------------------------


def _message(
    key: str,
    who: str,
    text: str,
    at: float,
    look: Look,
    unfolded: frozenset[str],
    *,
    interrupted: bool = False,
    streams: bool = False,
) -> Block:
    is_long = len(text) > FOLDED_CHARACTERS
    limit = MAX_CHARACTERS if key in unfolded else FOLDED_CHARACTERS
    if streams:  # its end is what is new
        shown, more = printable(text[-limit:]), 0
        shown = f"… {shown}" if len(text) > limit else shown
    else:
        shown, more = printable(text[:limit]), max(len(text) - limit, 0)
    tone = Tone.STRONG if who == YOU else Tone.PLAIN
    rows = rows_of(shown.strip("\n ") or "(empty)", look.width - LABEL, look.width - LABEL - TIME)
    label = Span(f"{who:<{LABEL}}", Tone.KEY if who == YOU else Tone.GOOD)
    lines: list[Line] = [
        (label if number == 0 else Span(" " * LABEL), Span(row, tone)) for number, row in enumerate(rows)
    ]
    lines[0] = _timed(lines[0], at, look.width)
    if interrupted:
        lines.append(_indented((Span("— interrupted", Tone.WARN),)))
    if more:
        hint = "y copies all" if key in unfolded else "Enter shows all"
        note = clip(f"▸ {counted(more, 'more character')} · {hint}", look.width - LABEL)
        lines.append(_indented((Span(note, Tone.DIM),)))
    return Block(key, tuple(lines), text.strip("\n "), can_fold=is_long and not streams)


def _timed(line: Line, at: float, width: int) -> Line:
    """Add the time at the right; the line must leave `TIME` cells."""
    used = sum(cell_len(span.text) for span in line)
    time = clock(at, millis=False)
    return (*line, Span(" " * max(width - used - len(time), 1) + time, Tone.DIM))


def _signed(sign: str, text: str, tone: Tone, at: float, look: Look) -> tuple[Line, ...]:
    """Return a sign and a text, in as many rows as it needs."""
    first, *rest = rows_of(text, look.width - LABEL, look.width - LABEL - TIME)
    head = _timed((Span(f"{sign:>{LABEL - 1}} ", tone), Span(first, tone)), at, look.width)
    return (head, *(_indented((Span(row, tone),)) for row in rest))


def rows_of(text: str, width: int, first: int | None = None) -> list[str]:
    """Return a text as rows of at most `width` cells, the first one of `first`, broken between words."""
    rows: list[str] = []
    limit = max(width if first is None else first, 1)
    width = max(width, 1)
    for line in text.split("\n"):
        size = len if line.isascii() else cell_len
        row, cells, is_new = "", 0, True
        for word in line.split(" "):
            room = size(word)
            if is_new:
                row, cells, is_new = word, room, False
            elif cells + 1 + room <= limit:
                row, cells = f"{row} {word}", cells + 1 + room
            else:
                rows.append(row)
                row, cells, limit = word, room, width
            if cells > limit:
                *whole, row = _chopped(row, limit, width)
                rows += whole
                cells, limit = size(row), width
        rows.append(row)
        limit = width
    return rows


def _chopped(word: str, first: int, width: int) -> list[str]:
    """Return a long word in pieces of at most `width` cells, the first one of `first`."""
    if word.isascii():
        return [word[:first], *(word[at : at + width] for at in range(first, len(word), width))]
    pieces, start, cells, limit = [], 0, 0, first
    for at, char in enumerate(word):
        wide = cell_len(char)
        if cells + wide > limit and at > start:
            pieces.append(word[start:at])
            start, cells, limit = at, 0, width
        cells += wide
    return [*pieces, word[start:]]


# -- tool calls --------------------------------------------------------------------------------------------


def call_text(name: str, arguments: str) -> str:
    """Return a call as in code: `find_rooms(day="Fri")`. Other arguments than a JSON object are unchanged."""
    try:
        named = json.loads(arguments) if len(arguments) <= MAX_CHARACTERS else None
    except (ValueError, RecursionError):
        named = None
    if isinstance(named, dict):
        shown = ", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in named.items())
    else:
        shown = arguments
    return one_line(f"{name}({shown})", FOLDED_CHARACTERS)


def pretty(text: str) -> str:
    """Return JSON with a line per value, and any other text as it is; at most `MAX_CHARACTERS`."""
    if len(text) > MAX_CHARACTERS:
        more = counted(len(text) - MAX_CHARACTERS, "more character")
        return f"{printable(text[:MAX_CHARACTERS])}\n… {more} · y copies all"
    try:
        return printable(json.dumps(json.loads(text), ensure_ascii=False, indent=2))
    except (ValueError, RecursionError):
        return printable(text)


def tool_state(tool: ToolView) -> tuple[str, Tone]:
    """Return the state of a call (running, returned, or failed) and its duration."""
    if tool.output is None:
        return "◌ running", Tone.WARN
    took = "" if tool.duration_ms is None else f" {milliseconds(tool.duration_ms)}"
    return (f"✗ failed{took}", Tone.BAD) if tool.is_error else (f"✓{took}", Tone.GOOD)


def _tool(key: str, tool: ToolView, look: Look, *, is_open: bool) -> Block:
    room = look.width - LABEL
    call, (state, tone) = call_text(tool.name, tool.arguments), tool_state(tool)
    output = one_line(tool.error or tool.output or "", FOLDED_CHARACTERS)
    returned = Tone.BAD if tool.is_error else Tone.DIM
    results = [each for each in (tool.error, tool.output) if each]
    text = "\n→ ".join((f"{call} {state}", *map(printable, results)))
    gear = Span(f"{'⚙':>{LABEL - 1}} ", Tone.KEY)
    if is_open:
        head = (gear, Span(clip(one_line(tool.name), room - len(state) - 1) + " "), Span(state, tone))
        arguments = [(Span(row),) for row in rows_of(pretty(tool.arguments), room)]
        result = [(Span(row, returned),) for each in results for row in rows_of(f"→ {pretty(each)}", room)]
        lines = [head, *map(_indented, arguments), *map(_indented, result)]
        return Block(key, tuple(lines), text, can_fold=True)
    whole = f"{call} {state}" + (f" → {output}" if output else "")
    if cell_len(whole) <= room:
        tail = (Span(f" → {output}", returned),) if output else ()
        return Block(key, ((gear, Span(f"{call} "), Span(state, tone), *tail),), text, can_fold=True)
    lines = [(gear, Span(f"{clip(call, room - len(state) - 1)} "), Span(state, tone))]
    if output:
        lines.append(_indented((Span(clip(f"→ {output}", room), returned),)))
    return Block(key, tuple(lines), text, can_fold=True)


# -- what is not a turn ------------------------------------------------------------------------------------


REALTIME = (
    "realtime model: there are no STT, LLM, or TTS times to show. What people say is shown only if"
    " the model transcribes it. agents-js ends a turn with a tool call before the reply."
)


def first_blocks(session: SessionView, look: Look) -> Iterator[Block]:
    """Yield the blocks before the turns: what is not shown of a session with a realtime model."""
    if session.realtime:
        rows = rows_of(REALTIME, look.width)
        yield Block("realtime", tuple((Span(row, Tone.DIM),) for row in rows), REALTIME)


def last_blocks(session: SessionView, now: float, look: Look) -> Iterator[Block]:
    """Yield the blocks after the turns: what the agent is doing, the queue, and how the session ended."""
    turn = session.turns[-1] if session.turns else None
    is_open = session.ended_at is None
    if is_open and turn is not None and turn.is_running and not turn.streaming:
        since = duration(max(now - turn.started_at, 0.0))
        doing = session.agent_state if session.agent_state not in ("", "listening", "idle") else "waiting"
        text = clip(f"◌ {one_line(doing)} for {since} · Ctrl+G interrupts", look.width - LABEL)
        yield Block("running", (_indented((Span(text, Tone.DIM),)),))
    if (waiting := session.swap_waits) is not None:
        text = f"◌ {waits_text(session, now)} · generation {waiting.to_generation}"
        text = clip(text, look.width - LABEL)
        yield Block("swap", (_indented((Span(text, Tone.WARN),)),))
    for number, queued in enumerate(session.queued):
        text = clip(f"◌ queued  {one_line(queued)}", look.width - LABEL)
        line = (Span(f"{YOU:<{LABEL}}", Tone.DIM), Span(text, Tone.DIM))
        yield Block(f"queued/{number}", (line,), queued)
    if session.ended_at is not None:
        end = ENDS.get(session.end, session.end)
        why = f": {one_line(end)}" if end else ""
        text = f"── session ended at {clock(session.ended_at, millis=False)}{why} "
        yield Block("end", ((Span(clip(text.ljust(look.width, "─"), look.width), Tone.DIM),),), session.end)
