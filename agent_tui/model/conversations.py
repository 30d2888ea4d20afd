"""Conversations as front ends show them, and how events change them: pure functions over frozen data."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from agent_tui.model import session_events as se

ENDED = 50
"""Maximum number of ended sessions that are kept."""

KEPT_CHARACTERS = 32_000_000
"""Maximum characters of all ended sessions together. The oldest sessions are dropped first."""


class MessageView(Struct, frozen=True, tag=True):
    """A message of the user or the agent. All times are in Unix seconds."""

    at: float
    role: se.Role
    text: str
    interrupted: bool
    generation: int
    metrics: Mapping[str, float]
    started_speaking_at: float | None = None
    stopped_speaking_at: float | None = None


class ToolView(Struct, frozen=True, tag=True):
    """A tool call; `output` is None while it runs."""

    at: float
    call_id: str
    name: str
    arguments: str
    output: str | None = None
    is_error: bool = False
    duration_ms: float | None = None
    error: str = ""
    """What the tool raised, and where, if the LLM got another text."""


class HandoffView(Struct, frozen=True, tag=True):
    """Another agent took over. Both fields are ids of agents."""

    at: float
    from_agent: str
    to_agent: str


class ErrorView(Struct, frozen=True, tag=True):
    """An error of the session, or of one of its components."""

    at: float
    component: str
    error: str
    count: int = 1
    """How often the component has failed in this way in the turn; `at` is the last time."""
    retrying: bool = False
    todo: str = ""


class SwapView(Struct, frozen=True, tag=True):
    """The session got the code of another generation, or keeps its code (see `se.Swapped`)."""

    at: float
    from_generation: int
    to_generation: int
    reached: se.SwapReach
    notes: tuple[str, ...]
    duration_ms: float
    changed: tuple[str, ...] = ()
    """The first changed line of each file that differs."""
    known: int = 0
    """How many of the notes the last swap of the session had too; they are the last ones."""


class NoteView(Struct, frozen=True, tag=True):
    """What happened to the code of the session's job: it was pinned, or a save did not load."""

    at: float
    text: str
    is_error: bool = False


Entry = MessageView | ToolView | HandoffView | ErrorView | SwapView | NoteView


class Stall(Struct, frozen=True):
    """A time in which the event loop of the job did not run: no audio, no events, no interruptions."""

    at: float
    """When it started, in Unix seconds."""
    ms: float
    where: str
    """The line that blocked it, such as `agent.py:12 in entry`; empty if it is not known."""


class TurnView(Struct, frozen=True):
    """A turn, with everything that happened in it, in order.

    Turn 0 contains what the agent said before the first turn of the user.
    """

    number: int
    typed: bool
    started_at: float
    generation: int
    text: str = ""
    """What was typed; empty for speech."""
    entries: tuple[Entry, ...] = ()
    streaming: str = ""
    """The part of the reply received so far; empty once the reply is complete and is one of the entries."""
    first_delta_at: float | None = None
    usage: Mapping[str, float] = field(default_factory=dict)
    """What models have used during the turn: counts by name, such as input_tokens."""
    cost: float | None = None
    """What models have cost during the turn, in US dollars, without those whose price is not known."""
    stalls: tuple[Stall, ...] = ()
    memory_before: float | None = None
    """The memory of the job's process when the turn started, in MB; None if it is not known."""
    memory_after: float | None = None
    """The same when the turn ended."""
    ended: se.TurnEnded | None = None

    @property
    def is_running(self) -> bool:
        return self.number > 0 and self.ended is None


class SessionView(Struct, frozen=True):
    """One session of a job, open or ended."""

    job_id: str
    number: int
    started_at: float
    agent: str
    text_only: bool
    generation: int
    """The generation whose code it runs."""
    agent_state: str = ""
    user_state: str = ""
    turns: tuple[TurnView, ...] = ()
    queued: tuple[str, ...] = ()
    """The texts of typed turns that have not started."""
    usage: Mapping[str, se.UsageChanged] = field(default_factory=dict)
    """The last event about the usage of each model, by the model's name."""
    swap_waits: se.SwapWaiting | None = None
    """The swap that is waiting for a tool; None if there is none."""
    swap_since: float = 0.0
    """When the swap started to wait for that tool, in Unix seconds."""
    last_swap: SwapView | None = None
    ended_at: float | None = None
    end: str = ""
    """Why the session ended; empty while it is open."""
    characters: int = 0
    """Number of characters of all messages, tool calls, and errors."""
    realtime: bool = False
    """Whether a realtime model takes the place of STT, LLM, and TTS."""

    @property
    def key(self) -> str:
        return session_key(self.job_id, self.number)


def session_key(job_id: str, number: int) -> str:
    """Return the key of a session in `Sessions`."""
    return f"{job_id}/{number}"


Sessions = Mapping[str, SessionView]
"""Sessions by their `session_key`, in the order in which they started."""


def changed(sessions: Sessions, event: se.SessionEvent, ts: float) -> Sessions:
    """Return the sessions after an event. Events of unknown sessions are ignored."""
    key = session_key(event.job_id, event.session)
    if isinstance(event, se.SessionStarted):
        view = SessionView(
            event.job_id,
            event.session,
            ts,
            event.agent,
            event.text_only,
            event.generation,
            realtime=event.realtime,
        )
        return {**sessions, key: view}
    session = sessions.get(key)
    if session is None:
        return sessions
    after = {**sessions, key: _HANDLERS[type(event)](session, event, ts)}
    return _bounded(after) if isinstance(event, se.SessionEnded) else after


def stalled(sessions: Sessions, job_id: str, stall: Stall) -> Sessions:
    """Return the sessions after the event loop of a job stalled: the last turns during it contain it."""
    after = dict(sessions)
    for key, session in sessions.items():
        turn = session.turns[-1] if session.turns else None
        if session.job_id != job_id or session.ended_at is not None or turn is None:
            continue
        over = turn.ended is not None and turn.started_at + turn.ended.duration_ms / 1000 < stall.at
        if turn.started_at <= stall.at + stall.ms / 1000 and not over:
            after[key] = _with_turn(session, replace(turn, stalls=(*turn.stalls, stall)))
    return after


def noted(sessions: Sessions, note: NoteView, job_ids: Collection[str]) -> Sessions:
    """Return the sessions with a note in the last turn of each open session of these jobs."""
    after = dict(sessions)
    for key, session in sessions.items():
        if session.job_id in job_ids and session.ended_at is None:
            number = session.turns[-1].number if session.turns else 0
            after[key] = _with_entry(session, number, note, note.at, len(note.text))
    return after


def measured(sessions: Sessions, event: se.TurnStarted | se.TurnEnded, memory_mb: float | None) -> Sessions:
    """Return the sessions with the memory of the job's process at the start or the end of a turn."""
    key = session_key(event.job_id, event.session)
    session = sessions.get(key)
    if session is None or memory_mb is None:
        return sessions
    turn = _turn(session, event.turn, 0.0)
    started = isinstance(event, se.TurnStarted)
    turn = replace(turn, memory_before=memory_mb) if started else replace(turn, memory_after=memory_mb)
    return {**sessions, key: _with_turn(session, turn)}


def _bounded(sessions: dict[str, SessionView]) -> Sessions:
    ended = [each for each in sessions.values() if each.ended_at is not None]
    size = sum(each.characters for each in ended)
    while len(ended) > ENDED or (size > KEPT_CHARACTERS and len(ended) > 1):
        oldest = ended.pop(0)
        size -= oldest.characters
        del sessions[oldest.key]
    return sessions


def _turn(session: SessionView, number: int, ts: float) -> TurnView:
    """Return that turn, or a new one if the session does not have it yet: no event starts turn 0."""
    for turn in reversed(session.turns):
        if turn.number == number:
            return turn
    return TurnView(number, False, ts, session.generation)


def _with_turn(session: SessionView, turn: TurnView, characters: int = 0) -> SessionView:
    kept = session.turns
    size = session.characters + characters
    if kept and kept[-1].number == turn.number:  # by far the most frequent
        return replace(session, turns=(*kept[:-1], turn), characters=size)
    turns = {each.number: each for each in kept} | {turn.number: turn}
    return replace(session, turns=tuple(turns.values()), characters=size)


def _with_entry(session: SessionView, number: int, entry: Entry, ts: float, size: int = 0) -> SessionView:
    turn = _turn(session, number, ts)
    return _with_turn(session, replace(turn, entries=(*turn.entries, entry)), size)


def _agent_state(session: SessionView, event: se.AgentStateChanged, ts: float) -> SessionView:
    return replace(session, agent_state=event.state)


def _user_state(session: SessionView, event: se.UserStateChanged, ts: float) -> SessionView:
    return replace(session, user_state=event.state)


def _queued(session: SessionView, event: se.TurnQueued, ts: float) -> SessionView:
    return replace(session, queued=(*session.queued, event.text))


def _turn_started(session: SessionView, event: se.TurnStarted, ts: float) -> SessionView:
    turn = TurnView(event.turn, event.typed, ts, event.generation, event.text)
    queued = session.queued
    if event.typed and event.text in queued:
        at = queued.index(event.text)
        queued = queued[:at] + queued[at + 1 :]
    return replace(_with_turn(session, turn), queued=queued)


def _delta(session: SessionView, event: se.MessageDelta, ts: float) -> SessionView:
    turn = _turn(session, event.turn, ts)
    first = ts if turn.first_delta_at is None else turn.first_delta_at
    return _with_turn(session, replace(turn, streaming=turn.streaming + event.text, first_delta_at=first))


def _message(session: SessionView, event: se.MessageAdded, ts: float) -> SessionView:
    message = MessageView(
        ts,
        event.role,
        event.text,
        event.interrupted,
        event.generation,
        event.metrics,
        event.started_speaking_at,
        event.stopped_speaking_at,
    )
    turn = _turn(session, event.turn, ts)
    if event.role is se.Role.ASSISTANT:
        turn = replace(turn, streaming="")
    return _with_turn(session, replace(turn, entries=(*turn.entries, message)), len(event.text))


def _tool_started(session: SessionView, event: se.ToolStarted, ts: float) -> SessionView:
    at = ts if event.started_at is None else event.started_at
    tool = ToolView(at, event.call_id, event.name, event.arguments)
    return _with_entry(session, event.turn, tool, ts, len(event.arguments))


def _tool_called(session: SessionView, event: se.ToolCalled, ts: float) -> SessionView:
    done = ToolView(
        ts,
        event.call_id,
        event.name,
        event.arguments,
        event.output,
        event.is_error,
        event.duration_ms,
        event.error,
    )
    size = len(event.output) + len(event.error)
    turn = _turn(session, event.turn, ts)
    for index, entry in enumerate(turn.entries):
        if isinstance(entry, ToolView) and entry.call_id == event.call_id and entry.output is None:
            entries = (*turn.entries[:index], replace(done, at=entry.at), *turn.entries[index + 1 :])
            return _with_turn(session, replace(turn, entries=entries), size)
    return _with_entry(session, event.turn, done, ts, size + len(event.arguments))


def _handed_off(session: SessionView, event: se.HandedOff, ts: float) -> SessionView:
    handoff = HandoffView(ts, event.from_agent, event.to_agent)
    return replace(_with_entry(session, event.turn, handoff, ts), agent=event.to_agent)


def _failed(session: SessionView, event: se.SessionFailed, ts: float) -> SessionView:
    """Add an error. Equal ones of a turn are one entry with a count."""
    turn = _turn(session, session.turns[-1].number if session.turns else 0, ts)
    error = ErrorView(ts, event.component, event.error, event.count, event.retrying, event.todo)
    for index, entry in enumerate(turn.entries):
        if isinstance(entry, ErrorView) and (entry.component, entry.error) == (error.component, error.error):
            entries = (*turn.entries[:index], error, *turn.entries[index + 1 :])
            return _with_turn(session, replace(turn, entries=entries))
    return _with_entry(session, turn.number, error, ts, len(event.error))


def _swap_waiting(session: SessionView, event: se.SwapWaiting, ts: float) -> SessionView:
    if not event.to_generation:
        return replace(session, swap_waits=None)
    waited = session.swap_waits
    since = session.swap_since if waited is not None and waited.tool == event.tool else ts
    return replace(session, swap_waits=event, swap_since=since)


def _swapped(session: SessionView, event: se.Swapped, ts: float) -> SessionView:
    before = session.last_swap.notes if session.last_swap is not None else ()
    new = tuple(each for each in event.notes if each not in before)
    known = tuple(each for each in event.notes if each in before)
    swap = SwapView(
        ts,
        event.from_generation,
        event.to_generation,
        event.reached,
        new + known,
        event.duration_ms,
        event.changed,
        len(known),
    )
    after = _with_entry(session, event.turn, swap, ts, sum(map(len, event.notes)))
    kept = event.reached is se.SwapReach.NONE
    code = session.generation if kept else event.to_generation
    return replace(after, swap_waits=None, last_swap=swap, generation=code)


def _predicted(session: SessionView, event: se.EndOfTurnPredicted, ts: float) -> SessionView:
    return session


def _turn_ended(session: SessionView, event: se.TurnEnded, ts: float) -> SessionView:
    turn = replace(_turn(session, event.turn, ts), ended=event)
    if turn.streaming and event.error:  # a part of a reply whose message never came
        message = MessageView(ts, se.Role.ASSISTANT, turn.streaming, True, turn.generation, {})
        turn = replace(turn, entries=(*turn.entries, message))
    return _with_turn(session, replace(turn, streaming=""))


def _usage(session: SessionView, event: se.UsageChanged, ts: float) -> SessionView:
    before = session.usage.get(event.model)
    session = replace(session, usage={**session.usage, event.model: event})
    if not session.turns:
        return session
    turn = session.turns[-1]
    used = dict(turn.usage)
    for name, units in event.units.items():
        used[name] = used.get(name, 0.0) + units - (before.units.get(name, 0.0) if before else 0.0)
    cost = turn.cost
    if event.cost is not None:
        cost = (cost or 0.0) + event.cost - ((before.cost or 0.0) if before else 0.0)
    return _with_turn(session, replace(turn, usage=used, cost=cost))


def _ended(session: SessionView, event: se.SessionEnded, ts: float) -> SessionView:
    return replace(session, ended_at=ts, end=event.error or event.reason, queued=(), swap_waits=None)


_HANDLERS: dict[type[object], Callable[[SessionView, Any, float], SessionView]] = {
    se.AgentStateChanged: _agent_state,
    se.UserStateChanged: _user_state,
    se.TurnQueued: _queued,
    se.TurnStarted: _turn_started,
    se.MessageDelta: _delta,
    se.MessageAdded: _message,
    se.ToolStarted: _tool_started,
    se.ToolCalled: _tool_called,
    se.HandedOff: _handed_off,
    se.EndOfTurnPredicted: _predicted,
    se.TurnEnded: _turn_ended,
    se.UsageChanged: _usage,
    se.SessionFailed: _failed,
    se.SwapWaiting: _swap_waiting,
    se.Swapped: _swapped,
    se.SessionEnded: _ended,
}
