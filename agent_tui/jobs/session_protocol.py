"""Reads the SDK's session protocol, as protobuf's JSON (conversation.md §1). Pure functions."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from agent_tui.model import failures
from agent_tui.model.failures import INFERENCE, Cause, Failure, FailureKind

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

_LABELS = (
    (re.compile(r"(?:livekit\.agents\.)?inference\."), INFERENCE),
    (re.compile(r"livekit\.plugins\.(\w+)\."), r"\1"),
    (re.compile(r"([a-z]\w*)\.\w*(?:LLM|STT|TTS|Model)$"), r"\1"),
)
"""The provider by a component's label: `livekit.plugins.openai.llm.LLM`, or `openai.LLM` in JavaScript."""


def latencies(times: Data) -> dict[str, float]:
    """Return the latencies of a message, in ms, by agent-tui's names."""
    return {ours: times[its] * 1000 for its, ours in _METRICS.items() if is_number(times.get(its))}


def failure_of(value: Data) -> tuple[str, str, bool, Failure]:
    """Return the component that failed (such as llm), its provider, if the SDK retries, and the failure."""
    if "causes" not in value:  # the child could not describe it
        return "", "", False, Failure(FailureKind.OTHER, value.get("message", ""))
    causes = [Cause(each["type"], each["text"], each["host"], each["status"]) for each in value["causes"]]
    provider = provider_of(value["label"])
    return value["component"], provider, value["retrying"], failures.failure_of(causes, provider)


def provider_of(label: str) -> str:
    """Return the provider that the label of a component names; empty for a class of the agent's file."""
    for pattern, provider in _LABELS:
        if found := pattern.match(label):
            return found.expand(provider)
    return ""


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
    """Return the counts in a model's usage. protobuf's JSON encodes 64-bit integers as strings."""
    return {
        name: float(each)
        for name, each in figures.items()
        if is_number(each) or (isinstance(each, str) and each.isdigit())
    }
