"""Which generation each call runs on, and what a save did to it: pure functions for all panels."""

from collections import Counter
from collections.abc import Iterator

from agent_tui.model import session_events as se
from agent_tui.model.conversations import SessionView, SwapView
from agent_tui.model.state import LIVE_PHASES, AppState, JobView
from agent_tui.tui.widgets.text import NONE, Span, Tone, counted, duration, one_line

NOTED = 3
"""Maximum number of sessions that the generations page lists."""

_SENTENCES = ("keeps its code", "re-created", "stay as they were")
"""Phrases by which notes that are sentences are recognized. Other notes name what was not swapped."""


def code_cell(job: JobView, state: AppState, tone: Tone) -> Span:
    """Return the `gen` cell of a job: its generation; pinned, waiting, in part, or stale."""
    code = state.code_of(job)
    if job.phase not in LIVE_PHASES:
        return Span(str(code or NONE), tone)
    waiting = _waiting(job, state)
    waits = waiting.swap_waits if waiting is not None else None
    return _code(code, waits, _swap(job, state, code), state, tone, pinned=job.pinned)


def session_code(session: SessionView, state: AppState) -> Span:
    """Return the generation of an open session, as in `code_cell`; empty for one that ended."""
    job = state.jobs.get(session.job_id)
    if session.ended_at is not None or job is None:
        return Span("")
    code = session.generation
    return _code(code, session.swap_waits, _swap_of(session, code), state, Tone.DIM, pinned=job.pinned)


def _code(
    code: int,
    waits: se.SwapWaiting | None,
    swap: SwapView | None,
    state: AppState,
    tone: Tone,
    *,
    pinned: bool,
) -> Span:
    if waits is not None:
        return Span(f"{code} → {waits.to_generation}", Tone.WARN)
    if pinned:
        return Span(f"{code} pin", Tone.KEY)
    if swap is not None and swap.reached is se.SwapReach.METHODS:
        return Span(f"{code} part", Tone.WARN)
    stale = 0 < code < state.generation.current
    return Span(f"{code or NONE}{' stale' if stale else ''}", Tone.WARN if stale else tone)


def code_facts(job: JobView, state: AppState) -> Iterator[str]:
    """Yield what is special about the code of a job; nothing for an ended one."""
    code, current = state.code_of(job), state.generation.current
    if code != job.generation:
        yield f"its sessions run generation {code}"
    if job.phase not in LIVE_PHASES:
        return
    if waiting := _waiting(job, state):
        assert waiting.swap_waits is not None
        tool = one_line(waiting.swap_waits.tool) or "the agent"
        yield f"swap to generation {waiting.swap_waits.to_generation} waits for {tool}"
    if job.pinned:
        yield "pinned: reloads do not change it"
    swap = _swap(job, state, code)
    if swap is not None and swap.reached is se.SwapReach.METHODS:
        yield f"on generation {code} in part: R restarts it on all of the code"
    if 0 < code < current:
        yield f"stale: generation {current} is current"


def waits_text(session: SessionView, now: float) -> str:
    """Return the text for a waiting swap, such as `swap waits for find_rooms, 12 s`."""
    tool = session.swap_waits.tool if session.swap_waits is not None else ""
    return f"swap waits for {one_line(tool) or 'the agent'}, {duration(max(now - session.swap_since, 0.0))}"


def note_text(note: str) -> str:
    """Return a note of a swap as a sentence."""
    return f"not swapped: {one_line(note)}" if _is_missed(note) else one_line(note)


def _is_missed(note: str) -> bool:
    """Return whether a note names something that was not swapped."""
    return not any(each in note for each in _SENTENCES)


def keeps_environment(swap: SwapView) -> bool:
    """Return whether only the environment of the session's job differs, which a swap does not change."""
    return not swap.changed and any(each.startswith(f"{se.ENVIRONMENT} (") for each in swap.notes)


def new_notes(swap: SwapView) -> tuple[str, ...]:
    """Return the notes that the last swap of the session did not have."""
    return swap.notes[: len(swap.notes) - swap.known]


def what_happened(state: AppState) -> str:
    """Return what the last load did to the live jobs, for the status line; empty if there are none."""
    current = state.generation.current
    counts, notes, hints = Counter[str](), list[str](), set[str]()
    for job in state.live_jobs:
        code, swap = state.code_of(job), _swap(job, state, current)
        waiting = _waiting(job, state)
        if not code or (code >= current and swap is None):
            continue
        if waiting is not None and waiting.swap_waits is not None:
            tool = one_line(waiting.swap_waits.tool)
            counts[f"waits for {tool or 'its agent'}"] += 1
        elif swap is not None and keeps_environment(swap):
            counts["keep their environment"] += 1
        elif swap is not None and swap.reached is not se.SwapReach.NONE:
            counts["swapped" if swap.reached is se.SwapReach.ALL else "swapped in part"] += 1
        elif job.pinned:
            counts["pinned"] += 1
        else:
            counts["keeps" if swap is None else "not swapped"] += 1
            hints.add("R restarts" if swap is not None or not _open(job, state) else "U swaps, R restarts")
        if swap is not None:
            notes += swap.notes if swap.reached is se.SwapReach.NONE else new_notes(swap)
    if not counts:
        return ""
    parts = []
    for number, (what, count) in enumerate(counts.items()):
        if what == "keeps":
            keeps = "keeps" if count == 1 else "keep"
            what = f"{keeps} {_older(state)}"
        elif what == "keep their environment" and count == 1:
            what = "keeps its environment"
        elif what.startswith("waits") and count > 1:
            what = what.replace("waits", "wait", 1)
        parts.append(f"{count if number else counted(count, 'job')} {what}")
    text = ", ".join(parts)
    if any(map(_is_missed, notes)):
        hints.add("R restarts")
    if hints:
        text += f" · {max(hints, key=len)} the selected one"
    if notes:
        more = len(set(notes)) - 1
        text += f" · {note_text(notes[0])}{f' and {more} more' if more else ''}"
    return text


def outcomes(state: AppState) -> tuple[object, ...]:
    """Return the swaps to the current generation that wait or are done, of open sessions."""
    current = state.generation.current
    return tuple(
        (each.key, each.swap_waits, swap)
        for each in state.sessions.values()
        if each.ended_at is None
        and ((swap := _swap_of(each, current)) is not None or each.swap_waits is not None)
    )


def took(number: int, state: AppState) -> list[str]:
    """Return which calls were swapped to a generation, and which were not, for the generations page."""
    lines = [
        _took(session, turn.number, swap, state)
        for session in reversed(list(state.sessions.values()))
        if session.last_swap is not None
        for turn in session.turns
        for swap in turn.entries
        if isinstance(swap, SwapView) and swap.to_generation == number
    ]
    for job in state.live_jobs if number == state.generation.current else ():
        code = state.code_of(job)
        if waiting := _waiting(job, state):
            assert waiting.swap_waits is not None
            tool = one_line(waiting.swap_waits.tool) or "its agent"
            lines.insert(0, f"{one_line(job.room)} waits for {tool}")
        elif job.pinned and 0 < code < number:
            lines.append(f"{one_line(job.room)} is pinned to {code}")
    more = len(lines) - NOTED
    return lines if more <= 0 else [*lines[:NOTED], f"and {more} more"]


def _took(session: SessionView, turn: int, swap: SwapView, state: AppState) -> str:
    job = state.jobs.get(session.job_id)
    who = one_line(job.room if job is not None else session.job_id)
    if swap.reached is se.SwapReach.NONE:
        why = f": {one_line(swap.notes[0])}" if swap.notes else ""
        return f"{who} stays on {swap.from_generation}{why}"
    part = "" if swap.reached is se.SwapReach.ALL else ", methods and tools only"
    return f"{who} from {swap.from_generation}, turn {turn}{part}"


def _older(state: AppState) -> str:
    current = state.generation.current
    codes = {code for job in state.live_jobs if 0 < (code := state.code_of(job)) < current and not job.pinned}
    return f"generation {min(codes)}" if len(codes) == 1 else "older generations"


def _open(job: JobView, state: AppState) -> list[SessionView]:
    return [each for each in state.sessions.values() if each.job_id == job.id and each.ended_at is None]


def _waiting(job: JobView, state: AppState) -> SessionView | None:
    return next((each for each in _open(job, state) if each.swap_waits is not None), None)


def _swap(job: JobView, state: AppState, number: int) -> SwapView | None:
    """Return the last swap of a job's open sessions to that generation; one that failed comes first."""
    swaps = [swap for each in _open(job, state) if (swap := _swap_of(each, number)) is not None]
    return min(swaps, key=lambda each: list(se.SwapReach)[::-1].index(each.reached), default=None)


def _swap_of(session: SessionView, number: int) -> SwapView | None:
    """Return the last swap of a session if it was to that generation."""
    swap = session.last_swap
    return swap if swap is not None and swap.to_generation == number else None
