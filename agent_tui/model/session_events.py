"""Events of conversations: what happens in the `AgentSession`s of jobs.

`session` counts the sessions of a job from 1, and `turn` counts the turns of a session from 1. A turn starts
with what the user says or types. Everything that the agent says before the first turn belongs to turn 0.
"""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from agent_tui.model.failures import FailureKind


class Role(StrEnum):
    """The author of a message."""

    USER = "user"
    ASSISTANT = "assistant"


class SessionStarted(Struct, frozen=True):
    """A session of a job started. `agent` is the id of its first agent; `text_only` means no audio."""

    job_id: str
    session: int
    agent: str
    text_only: bool
    generation: int
    realtime: bool = False
    """Whether a realtime model takes the place of STT, LLM, and TTS."""


class AgentStateChanged(Struct, frozen=True):
    """The agent's state: initializing, idle, listening, thinking, or speaking."""

    job_id: str
    session: int
    state: str


class UserStateChanged(Struct, frozen=True):
    """The user's state: speaking, listening, or away."""

    job_id: str
    session: int
    state: str


class TurnQueued(Struct, frozen=True):
    """A turn was typed. It starts when the turns before it have ended."""

    job_id: str
    session: int
    text: str


class TurnStarted(Struct, frozen=True):
    """A turn started: its text was sent to the session, or the user's speech ended."""

    job_id: str
    session: int
    turn: int
    typed: bool
    generation: int
    text: str = ""
    """What was typed; empty for speech, whose text comes in a `MessageAdded`."""


class MessageDelta(Struct, frozen=True):
    """The next part of the agent's reply. A delta may be dropped; `MessageAdded` has the whole text."""

    job_id: str
    session: int
    turn: int
    text: str


class MessageAdded(Struct, frozen=True):
    """A message was added to the conversation.

    `metrics` has the latencies that the SDK reported, in ms, by name.
    """

    job_id: str
    session: int
    turn: int
    role: Role
    text: str
    interrupted: bool
    generation: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    started_speaking_at: float | None = None
    """When the speech started, in Unix seconds by the job's clock; None for a typed message."""
    stopped_speaking_at: float | None = None


class ToolStarted(Struct, frozen=True):
    """A tool started. livekit-agents before 1.8 does not report this. `arguments` is JSON."""

    job_id: str
    session: int
    turn: int
    name: str
    arguments: str
    call_id: str
    started_at: float | None = None
    """In Unix seconds. A tool that blocks the event loop is reported after its end."""


class ToolCalled(Struct, frozen=True):
    """A tool returned `output`, or failed. `duration_ms` is None if its start was not reported."""

    job_id: str
    session: int
    turn: int
    name: str
    arguments: str
    output: str
    is_error: bool
    duration_ms: float | None
    call_id: str
    started_at: float | None = None
    """In Unix seconds; None if its start was not reported."""
    error: str = ""
    """What the tool raised, and where. The SDK keeps that from the LLM, which gets `output`."""


class HandedOff(Struct, frozen=True):
    """Another agent took over the session. Both fields are ids of agents."""

    job_id: str
    session: int
    turn: int
    from_agent: str
    to_agent: str


class EndOfTurnPredicted(Struct, frozen=True):
    """The turn detector estimated how probably the user has finished. Above `threshold`, the turn ends."""

    job_id: str
    session: int
    turn: int
    probability: float
    threshold: float


class TurnEnded(Struct, frozen=True):
    """A turn ended. `error` says why the agent did not answer; empty if it did.

    `duration_ms` and `first_delta_ms` count from the start of the turn. agent-tui measures them, because the
    SDK reports no latencies for typed turns (conversation.md §1).
    """

    job_id: str
    session: int
    turn: int
    typed: bool
    duration_ms: float
    first_delta_ms: float | None
    metrics: Mapping[str, float]
    error: str = ""


class UsageChanged(Struct, frozen=True):
    """What a model has used in the session so far. `units` are counts by name, such as input_tokens."""

    job_id: str
    session: int
    model: str
    provider: str
    units: Mapping[str, float]
    cost: float | None = None
    """The cost in US dollars; None if the price of the model is not known."""


class SessionFailed(Struct, frozen=True):
    """A component of the session (llm, stt, tts) reported an error. The session may continue.

    `error` starts with the cause. `host` and `status` (HTTP) are those that the error names.
    """

    job_id: str
    session: int
    component: str
    error: str
    provider: str = ""
    """The plugin of the component, such as openai; empty if it is not known."""
    kind: FailureKind = FailureKind.OTHER
    names: tuple[str, ...] = ()
    """The variables that are not set, or the packages that are not installed."""
    host: str = ""
    status: int = 0
    retrying: bool = False
    count: int = 1
    """How often the component has failed in this way since the turn started, this time included."""
    todo: str = ""
    """What to do about it; empty if there is no advice."""


class SwapReach(StrEnum):
    """How much of the new code a session got."""

    ALL = "all"
    METHODS = "methods"
    """The methods and tools of its agents, but not their instructions and added tools."""
    NONE = "none"


class SwapWaiting(Struct, frozen=True):
    """The session gets the code of a generation once `tool` has returned.

    `tool` is empty if the SDK does not report which one runs. A `to_generation` of 0 means that the swap was
    cancelled: the job was pinned, or ends.
    """

    job_id: str
    session: int
    turn: int
    to_generation: int
    tool: str


ENVIRONMENT = "environment"
"""Starts the note of a swap about environment variables: a process keeps those that it started with."""


class Swapped(Struct, frozen=True):
    """The session got the code of another generation in `turn`, or, if it reached nothing, keeps its code.

    `notes` say what the swap did not reach, as `agent.py:12 body of entry()`, or why it failed. `changed` has
    the first changed line of each file that differs, as `agent.py:42`.
    """

    job_id: str
    session: int
    turn: int
    from_generation: int
    to_generation: int
    reached: SwapReach
    notes: tuple[str, ...]
    duration_ms: float
    changed: tuple[str, ...] = ()


class SessionEnded(Struct, frozen=True):
    """The session ended, for `reason`. `error` is set if an error ended it."""

    job_id: str
    session: int
    reason: str
    error: str = ""


SessionEvent = (
    SessionStarted
    | AgentStateChanged
    | UserStateChanged
    | TurnQueued
    | TurnStarted
    | MessageDelta
    | MessageAdded
    | ToolStarted
    | ToolCalled
    | HandedOff
    | EndOfTurnPredicted
    | TurnEnded
    | UsageChanged
    | SessionFailed
    | SwapWaiting
    | Swapped
    | SessionEnded
)
