"""A conversation as a file: Markdown to read, JSON to process."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agent_tui.files import create_stamped
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
from agent_tui.tui.widgets.log_text import clock, date
from agent_tui.tui.widgets.talk_steps import seconds, waterfall
from agent_tui.tui.widgets.talk_text import generation_after

MARKDOWN, JSON = "Markdown", "JSON"


def as_json(session: SessionView) -> str:
    """Return the session as one JSON object. Times are in Unix seconds, durations in ms."""
    return json.dumps(
        {
            "job_id": session.job_id,
            "session": session.number,
            "agent": session.agent,
            "text_only": session.text_only,
            "generation": session.generation,
            "started_at": session.started_at,
            "ended_at": session.ended_at,
            "end": session.end or None,
            "usage": [
                {"model": each.model, "provider": each.provider, **each.units, "cost": each.cost}
                for each in session.usage.values()
            ],
            "turns": [_turn_json(turn) for turn in session.turns],
        },
        ensure_ascii=False,
        indent=2,
    )


def _turn_json(turn: TurnView) -> dict[str, Any]:
    ended = turn.ended
    return {
        "turn": turn.number,
        "typed": turn.typed,
        "started_at": turn.started_at,
        "generation": turn.generation,
        "text": turn.text or None,
        "entries": [_entry_json(entry) for entry in turn.entries],
        "usage": dict(turn.usage),
        "duration_ms": ended.duration_ms if ended else None,
        "first_delta_ms": ended.first_delta_ms if ended else None,
        "metrics": dict(ended.metrics) if ended else {},
        "error": (ended.error or None) if ended else None,
    }


def _entry_json(entry: Entry) -> dict[str, Any]:
    match entry:
        case MessageView():
            return {
                "type": "message",
                "at": entry.at,
                "role": entry.role.value,
                "text": entry.text,
                "interrupted": entry.interrupted,
                "metrics": dict(entry.metrics),
            }
        case ToolView():
            return {
                "type": "tool_call",
                "at": entry.at,
                "name": entry.name,
                "arguments": entry.arguments,
                "output": entry.output,
                "is_error": entry.is_error,
                "error": entry.error or None,
                "duration_ms": entry.duration_ms,
            }
        case HandoffView():
            return {"type": "handoff", "at": entry.at, "from": entry.from_agent, "to": entry.to_agent}
        case ErrorView():
            return {
                "type": "error",
                "at": entry.at,
                "component": entry.component,
                "error": entry.error,
                "count": entry.count,
                "todo": entry.todo,
            }
        case NoteView():
            return {"type": "note", "at": entry.at, "text": entry.text}
        case SwapView():
            return {
                "type": "swap",
                "at": entry.at,
                "from_generation": entry.from_generation,
                "to_generation": entry.to_generation,
                "reached": entry.reached.value,
                "notes": list(entry.notes),
            }


def as_markdown(session: SessionView) -> str:
    """Return the session as Markdown. Text of the conversation is quoted, so it cannot change the page."""
    return "\n".join(_markdown(session)) + "\n"


def _markdown(session: SessionView) -> Iterator[str]:
    yield f"# Conversation of job {_code(session.job_id)}, session {session.number}"
    yield ""
    about = [f"agent {_code(session.agent)}"] if session.agent else []
    about += ["text only"] if session.text_only else []
    about.append(f"started {date(session.started_at)}{_time(session.started_at)}")
    if session.ended_at is not None:
        about.append(f"ended {_time(session.ended_at)}" + (f" ({_code(session.end)})" if session.end else ""))
    before = session.turns[0].generation if session.turns else session.generation
    yield f"{', '.join(about)}, on generation {before}."
    for turn in session.turns:
        if turn.generation != before:
            yield from ("", f"---\n\nGeneration {before} → {turn.generation}")
        before = generation_after(turn)
        yield from _turn_markdown(turn)


_REACHED = {
    se.SwapReach.ALL: "all of the agent's code",
    se.SwapReach.METHODS: "methods and tools only",
    se.SwapReach.NONE: "nothing",
}
"""What a swap changed."""


def _turn_markdown(turn: TurnView) -> Iterator[str]:
    if turn.text and not any(
        isinstance(each, MessageView) and each.role is se.Role.USER for each in turn.entries
    ):
        yield from ("", f"**you** {_time(turn.started_at)}", "", *_quoted(turn.text))
    for entry in turn.entries:
        yield ""
        match entry:
            case MessageView():
                who = "you" if entry.role is se.Role.USER else "agent"
                cut = " — interrupted" if entry.interrupted else ""
                at = _time(entry.started_speaking_at or entry.at)
                yield from (f"**{who}** {at}{cut}", "", *_quoted(entry.text))
            case ToolView():
                took = "" if entry.duration_ms is None else f", {entry.duration_ms:.0f} ms"
                state = "running" if entry.output is None else "failed" if entry.is_error else "returned"
                yield f"tool {_code(entry.name)} {state}{took}"
                yield from ("", *_indented(entry.arguments))
                if entry.error:
                    yield from ("", "error", "", *_indented(entry.error))
                if entry.output is not None:
                    yield from ("", "→", "", *_indented(entry.output))
            case HandoffView():
                yield f"handoff: {_code(entry.from_agent)} → {_code(entry.to_agent)}"
            case ErrorView():
                count = f", {entry.count} times" if entry.count > 1 else ""
                text = f"{entry.error}\n→ {entry.todo}" if entry.todo else entry.error
                yield from (f"error {_code(entry.component)}{count}".rstrip(), "", *_indented(text))
            case NoteView():
                yield from ("note", "", *_indented(entry.text))
            case SwapView():
                old, new = entry.from_generation, entry.to_generation
                yield f"swap: generation {old} → {new}, {_REACHED[entry.reached]}"
                if entry.notes:
                    yield from ("", *_indented("\n".join(entry.notes)))
    if turn.ended is not None:
        if turn.ended.error:
            yield from ("", "error", "", *_indented(turn.ended.error))
        fall = waterfall(turn)
        steps = [
            f"{each.name} {'not reported' if each.ms is None else f'{each.ms:.0f} ms'}" for each in fall.steps
        ]
        if fall.answered is not None:
            steps.append(f"answer after {seconds(fall.answered)}")
        if steps:
            yield from ("", f"*{', '.join(steps)}*".replace("_", "\\_"))


def _time(ts: float) -> str:
    return clock(ts, millis=False)


def _code(text: str) -> str:
    return f"`{' '.join(text.replace('`', chr(39)).split())}`" if text else ""


def _quoted(text: str) -> list[str]:
    return [f"> {line}".rstrip() for line in text.split("\n")]


def _indented(text: str) -> list[str]:
    return [f"    {line}" for line in text.split("\n")]


FORMS: dict[str, tuple[str, Callable[[SessionView], str]]] = {
    MARKDOWN: (".md", as_markdown),
    JSON: (".json", as_json),
}
"""The suffix of each form, and what writes it."""


def save(session: SessionView, form: str, folder: Path) -> Path:
    """Write the conversation to a new file in `folder`, which is created; return its path. Raise OSError."""
    suffix, write = FORMS[form]
    text = write(session).encode("utf-8", "replace").decode()
    return create_stamped(folder, "agent-tui-talk", suffix, text)
