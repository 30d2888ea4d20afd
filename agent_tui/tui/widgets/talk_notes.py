"""What the Talk tab says about a session, or why there is none. Pure functions."""

import re
from dataclasses import replace
from pathlib import PurePath

from agent_tui.model.conversations import SessionView
from agent_tui.model.events import JobStatus, ProcessState
from agent_tui.model.state import LIVE_PHASES, AppState, JobView, ProcessView
from agent_tui.tui.widgets.processes import Entry
from agent_tui.tui.widgets.talk_steps import dollars, session_figures
from agent_tui.tui.widgets.text import Line, Part, Span, Tone, fit, grouped, joined, one_line, part

NEEDED = {"livekit-agents": ((1, 5, 17), "1.5.17"), "agents-js": ((1, 5, 0), "1.5")}
"""The oldest version of each SDK to whose sessions agent-tui can attach."""

PACKAGES = {"livekit-agents": "livekit-agents", "agents-js": "@livekit/agents"}


def sessions_of(job_id: str | None, state: AppState) -> tuple[SessionView, ...]:
    """Return the sessions of a job that are kept, in the order in which they started."""
    return tuple(each for each in state.sessions.values() if each.job_id == job_id) if job_id else ()


def newest(sessions: tuple[SessionView, ...]) -> SessionView | None:
    """Return the newest open session, or else the newest one."""
    opened = [each for each in sessions if each.ended_at is None]
    return next(iter([*opened[-1:], *sessions[-1:]]), None)


def no_calls(state: AppState) -> str:
    """Return why no call can arrive now; empty if one can."""
    if not state.generation.current:
        return f"No calls until {one_line(PurePath(state.agent).name) or 'the agent file'} loads."
    return "" if state.worker.is_registered else "No calls until the worker is registered."


def why_none(entry: Entry | None, state: AppState) -> str:
    """Return why there is no conversation about a row of the process table, and what to do."""
    if (refused := unsupported(state)) is not None:
        return refused
    if entry is None:
        return no_calls(state) or "Select a call: its conversation appears here. d starts a test job."
    job = state.jobs.get(entry.job_id) if entry.job_id else None
    if job is None:
        state_of = getattr(entry, "state", None)
        if entry.job_id and state_of is ProcessState.ENDED:
            return "agent-tui no longer keeps this job or its conversation."
        for last in list(state.jobs.values())[-1:]:
            if last.test_dispatch and (failed := _failed(last)):
                return f"{failed} Select its row to see why. {_another(state)}"
        what = "process" if isinstance(entry, ProcessView) else "dispatch"
        todo = no_calls(state) or "Select a call, or press d to start a test job."
        return f"This {what} has no call. {todo}"
    failed = _failed(job)
    return f"{failed} {_another(state)}" if failed else _of_job(job, state)


def _another(state: AppState) -> str:
    return no_calls(state) or "d starts another test job."


def why_none_of_job(job_id: str, state: AppState) -> str:
    """Return why there is no conversation of a job, and what to do."""
    if (refused := unsupported(state)) is not None:
        return refused
    job = state.jobs.get(job_id)
    return (
        _of_job(job, state) if job is not None else "agent-tui no longer keeps this job or its conversation."
    )


def _failed(job: JobView) -> str:
    """Return why a job failed; empty if it did not fail."""
    if job.status is not JobStatus.FAILED:
        return ""
    cause = one_line(job.reason, 300) or "No reason was reported"
    which = "test job" if job.test_dispatch else "job"
    todo = f" {one_line(f'{job.todo[:1].upper()}{job.todo[1:]}', 300)}." if job.todo else ""
    return f"{cause}.{todo} The {which} failed and has no conversation."


def _of_job(job: JobView, state: AppState) -> str:
    if failed := _failed(job):
        return failed
    if job.phase not in LIVE_PHASES:
        return "The job ended without an AgentSession, or its conversation is no longer kept."
    if state.server is not None and state.server.media:
        return (
            "The entry function has not started an AgentSession. If it waits for a participant, c copies a "
            "link that joins the room."
        )
    return "The entry function has not started an AgentSession. Talk to the agent here once it has."


def unsupported(state: AppState) -> str | None:
    """Return why no job of this run can have a conversation; None if jobs can."""
    runtime, version = state.generation.runtime, state.generation.sdk_version or ""
    if runtime == "native":
        return "Native agents have no AgentSession, so there is no conversation. ] shows the job."
    if not state.follows_sessions:
        return "agent-tui attaches to no sessions in this run. Start it with --sessions to talk to the agent."
    if runtime in NEEDED:
        oldest, name = NEEDED[runtime]
        if (parsed := _version(version)) and parsed < oldest:
            needs = f"Talking needs {PACKAGES[runtime]} {name} or newer"
            return f"{needs}: update the package, which is {one_line(version, 40)} here."
    return None


def _version(text: str) -> tuple[int, ...]:
    """Return the numbers of a version; empty if it has none."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(each or 0) for each in found.groups()) if found else ()


# -- the line above a conversation -------------------------------------------------------------------------

_STATES = {
    "initializing": ("◌", Tone.WARN),
    "idle": ("○", Tone.PLAIN),
    "listening": ("●", Tone.GOOD),
    "thinking": ("◌", Tone.WARN),
    "speaking": ("▶", Tone.GOOD),
}


NO_CODE = Span("")


def head_line(session: SessionView, count: int, width: int, code: Span = NO_CODE) -> Line:
    """Return a session's line: its number out of `count`, agent, state, code, tokens, and turns."""
    parts: list[Part] = []
    if count > 1:
        parts.append(part(0, (Span(f"session {session.number}/{count}", Tone.KEY), Span(" ← →", Tone.DIM))))
    if session.ended_at is not None:
        parts.append(part(0, (Span("■ ended", Tone.DIM),)))
    elif session.agent_state:
        sign, tone = _STATES.get(session.agent_state, ("●", Tone.PLAIN))
        parts.append(part(0, (Span(f"{sign} {one_line(session.agent_state)}", tone),)))
    if code.text:
        parts.append(part(1, (replace(code, text=f"gen {code.text}"),)))
    if session.text_only:
        parts.append(part(2, (Span("text only"),)))
    if session.realtime:
        parts.append(part(2, (Span("realtime model"),)))
    parts.append(part(3, (Span(one_line(session.agent, 40), Tone.STRONG),) if session.agent else ()))
    if session.user_state and not session.text_only:
        parts.append(part(4, (Span(f"user {one_line(session.user_state)}", Tone.DIM),)))
    parts.append(part(5, _used(session)))
    for priority, figure in enumerate(session_figures(session.turns), 6):
        parts.append(part(priority, (Span(figure, Tone.DIM),)))
    return joined(fit(parts, width, " · "), " · ")


def _used(session: SessionView) -> Line:
    tokens = sum(
        each.units.get(name, 0.0)
        for each in session.usage.values()
        for name in ("input_tokens", "output_tokens")
    )
    costs = [each.cost for each in session.usage.values() if each.cost is not None]
    shown = [f"{grouped(tokens)} tok"] if tokens else []
    if costs and sum(costs):
        some = any(each.cost is None and any(each.units.values()) for each in session.usage.values())
        shown.append(f"{'≥' if some else ''}{dollars(sum(costs))}")
    return (Span(" ".join(shown), Tone.DIM),) if shown else ()


def first_hint(session: SessionView, state: AppState) -> str:
    """Return the hint for an empty conversation: what it is waiting for."""
    if session.ended_at is not None:
        return "Nothing was said."
    has_media = state.server is not None and state.server.media
    if has_media and not session.text_only:
        return "The agent waits for a participant: c copies a link that joins the room. Typing works too."
    return "Nothing has been said yet. Type to the agent below."
