"""What the LLM of a session will see, as lines. Pure functions."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from agent_tui.logs.sanitize import printable
from agent_tui.tui.widgets.talk_text import call_text, pretty, rows_of
from agent_tui.tui.widgets.text import Line, Span, Tone, clip, counted, one_line

LABEL = 11
"""Width of the author's column, in cells."""

AS_ABOVE = "(the instructions above)"

LONGEST = 4_000
"""Maximum characters shown of one item; `c` copies the whole item."""


def context_lines(text: str, width: int) -> tuple[Line, ...]:
    """Return the answer to `InspectSession`, which is JSON, as instructions, tools, and items."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return tuple((Span(row),) for row in rows_of(printable(text), width))
    return tuple(_lines(value, max(width, LABEL + 8)))


def _lines(value: Mapping[str, Any], width: int) -> Iterator[Line]:
    items = [each for each in _list(value.get("chat_ctx")) if isinstance(each, dict)]
    tools = [one_line(str(each)) for each in _list(value.get("tools"))]
    yield (Span("Agent        ", Tone.STRONG), Span(clip(one_line(str(value.get("id", ""))), width - 13)))
    yield ()
    yield (Span("Instructions", Tone.STRONG),)
    yield from _rows(_text(value.get("instructions")) or "none", width, Tone.PLAIN)
    yield ()
    yield (Span(f"Tools  {len(tools)}", Tone.STRONG),)
    yield from _rows(", ".join(tools) or "none", width, Tone.PLAIN)
    yield ()
    yield (Span(f"Context  {counted(len(items), 'item')}", Tone.STRONG), Span("  oldest first", Tone.DIM))
    instructions = _text(value.get("instructions"))
    for item in items:
        for kind, content in item.items():
            known = _without(instructions, content) if isinstance(content, dict) else {}
            yield from _item(kind, known, width)


def _without(instructions: str, item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an item of the context; instructions that are shown above are not repeated."""
    if not instructions:
        return item
    if item.get("instructions") == instructions:
        return {**item, "instructions": AS_ABOVE}
    if [_part(each) for each in _list(item.get("content"))] == [instructions]:
        return {**item, "content": [AS_ABOVE]}
    return item


def _item(kind: str, value: Mapping[str, Any], width: int) -> Iterator[Line]:
    match kind:
        case "message":
            role = one_line(str(value.get("role", ""))).lower()
            parts = [_part(each) for each in _list(value.get("content"))]
            tone = Tone.GOOD if role == "assistant" else Tone.KEY
            yield from _labelled(role, "\n".join(parts) or "(empty)", width, tone)
        case "function_call":
            text = call_text(str(value.get("name", "")), _text(value.get("arguments")))
            yield from _labelled("call", text, width, Tone.KEY)
        case "function_call_output":
            failed = bool(value.get("is_error"))
            text = pretty(_text(value.get("output")))
            yield from _labelled(
                "✗ result" if failed else "result", text, width, Tone.BAD if failed else Tone.DIM
            )
        case _:
            told = {name: each for name, each in value.items() if name not in ("id", "created_at")}
            text = json.dumps(told, ensure_ascii=False, default=str)
            yield from _labelled(kind.removeprefix("agent_").split("_")[0], text, width, Tone.DIM)


def _part(part: object) -> str:
    """Return a part of a message: its text, or for other data its kind."""
    if isinstance(part, dict):
        return _text(part["text"]) if "text" in part else f"({', '.join(map(str, part))})"
    return _text(part)


def _labelled(label: str, text: str, width: int, tone: Tone) -> Iterator[Line]:
    more = len(text) - LONGEST
    shown = printable(text[:LONGEST]) + (
        f"\n… {counted(more, 'more character')} · c copies all" if more > 0 else ""
    )
    for number, row in enumerate(rows_of(shown, width - LABEL)):
        head = f"{clip(one_line(label), LABEL - 1):<{LABEL}}" if number == 0 else " " * LABEL
        yield (Span(head, tone), Span(row, Tone.DIM if tone is Tone.DIM else Tone.PLAIN))


def _rows(text: str, width: int, tone: Tone) -> Iterator[Line]:
    return ((Span("  "), Span(row, tone)) for row in rows_of(printable(text[:LONGEST]), width - 2))


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, default=str)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
