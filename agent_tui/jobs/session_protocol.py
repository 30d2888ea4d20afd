"""Reads the SDK's session protocol, as protobuf's JSON (conversation.md §1). Pure functions."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

Data = Mapping[str, Any]

_METRICS = {
    "transcription_delay": "transcription_delay",
    "end_of_turn_delay": "end_of_turn_delay",
    "on_user_turn_completed_delay": "on_user_turn_completed_delay",
    "llm_node_ttft": "llm_ttft",
    "llm_node_ttfs": "llm_ttfs",
    "tts_node_ttfb": "tts_ttfb",
    "e2e_latency": "e2e",
}
"""agent-tui's names of the latencies, by the SDK's names."""

_FAILED = re.compile(
    r"type='(?P<component>\w+?)_error' timestamp=\S+ label='(?P<label>[^']*)' error=(?P<error>.*) "
    r"recoverable=(?P<retries>True|False)",
    re.DOTALL,
)
"""Matches how the SDK writes an error: `type='llm_error' timestamp=… label=… error=… recoverable=True`."""

_RAISED = re.compile(r"(?P<kind>\w+)\((?P<quote>['\"])(?P<text>.*?)(?P=quote)(?:, .*)?\)", re.DOTALL)
"""Matches an exception as `repr` writes it."""

_INFERENCE = "livekit.agents.inference."

NEEDS_PROJECT = (
    "LiveKit Inference needs a project of LiveKit Cloud: set LIVEKIT_INFERENCE_API_KEY and "
    "LIVEKIT_INFERENCE_API_SECRET"
)
"""What to do if a model of LiveKit Inference fails: the key of the embedded server is no project's."""


def latencies(times: Data) -> dict[str, float]:
    """Return the latencies of a message, in ms, by agent-tui's names."""
    return {ours: times[its] * 1000 for its, ours in _METRICS.items() if is_number(times.get(its))}


def failure_of(message: str) -> tuple[str, str]:
    """Return the component that an error is about, such as llm, and the error, its cause first."""
    if (found := _FAILED.fullmatch(message)) is None:
        return "", message
    error = found["error"]
    if raised := _RAISED.fullmatch(error):
        error = f"{raised['text'].strip().removesuffix('.')} ({raised['kind']})"
    parts = [error, "retrying" if found["retries"] == "True" else ""]
    if found["label"].startswith(_INFERENCE) and not parts[1]:
        parts.append(NEEDS_PROJECT)
    return found["component"], " · ".join(filter(None, parts))


def state_of(change: Data, first: str) -> str:
    """Return the new state as agent-tui's events spell it: `listening` for `AS_LISTENING`.

    protobuf's JSON leaves out the value 0 of an enum; `first` is the state that it stands for.
    """
    name = change.get("new_state")
    return first if name is None else name.partition("_")[2].lower()


def seconds(value: str | None) -> float | None:
    """Convert a timestamp of protobuf's JSON to Unix seconds."""
    return None if value is None else datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def units_of(figures: Data) -> dict[str, float]:
    """Return the counts in a model's usage. protobuf's JSON has 64-bit integers as strings."""
    return {
        name: float(each)
        for name, each in figures.items()
        if is_number(each) or (isinstance(each, str) and each.isdigit())
    }
