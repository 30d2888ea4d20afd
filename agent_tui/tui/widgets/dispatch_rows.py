"""What became of each dispatch, in words: pure functions from state to text."""

from dataclasses import dataclass

from textual.content import Content

from agent_tui.model.events import JobStatus
from agent_tui.model.state import AppState, DispatchView, JobPhase, JobView
from agent_tui.tui.text import MUTED, brief, cell
from agent_tui.tui.widgets.text import milliseconds

SHOWN = 50
"""Dispatches in the panel, newest first."""

WORD_WIDTH = 12


@dataclass(frozen=True, slots=True)
class Outcome:
    """`took` is the time to entry, or how long it has been waited for."""

    glyph: str
    word: str
    style: str
    took: str = ""
    why: str = ""


_ENDS = {
    JobStatus.SUCCESS: ("✓", "ok", "$text-success"),
    JobStatus.FAILED: ("✗", "failed", "bold $text-error"),
    JobStatus.TERMINATED: ("■", "terminated", "$text-warning"),
}
_ON_THE_WAY = {
    JobPhase.OFFERED: "offered",
    JobPhase.ACCEPTED: "accepted",
    JobPhase.ASSIGNED: "assigned",
}


def outcome(dispatch: DispatchView, job: JobView | None, now: float) -> Outcome:
    """What became of it so far. `job` is None before the offer, and for jobs from long ago."""
    if dispatch.lost:
        why = dispatch.lost if dispatch.ours else f"not made here: {dispatch.lost}"
        return Outcome("✗", "lost", "bold $text-error", why=why)
    if dispatch.job_id is None:
        return Outcome("◌", "waiting", "$text-warning", f"{max(now - dispatch.made, 0.0):.0f} s")
    if job is None:
        return Outcome("–", "ended", MUTED)
    if job.phase in (JobPhase.LOST, JobPhase.DECLINED):
        return Outcome("✗", "lost", "bold $text-error", why=job.reason or f"the offer was {job.phase}")
    if job.phase is JobPhase.RUNNING:
        return Outcome("●", "running", "$text-success", _to_entry(job))
    if job.phase is JobPhase.ENDED and job.status is not None:
        glyph, word, style = _ENDS[job.status]
        why = "" if job.status is JobStatus.SUCCESS else job.reason
        return Outcome(glyph, word, style, _to_entry(job), why)
    return Outcome("◌", _ON_THE_WAY.get(job.phase, job.phase.value), "$text-warning")


def _to_entry(job: JobView) -> str:
    ms = job.dispatch_to_entry_ms if job.dispatch_to_entry_ms is not None else job.offer_to_entry_ms
    if ms is None:
        return ""
    return f"{'cold ' if job.warm is False else ''}{milliseconds(ms)}"


def row(dispatch: DispatchView, became: Outcome, width: int) -> Content:
    """One dispatch: state, room and time on a line of `width` columns; below it why, if it went wrong."""
    took = Content.styled(became.took, MUTED)
    room = max(width - WORD_WIDTH - 2 - took.cell_length, 0)
    parts = [
        cell(f"{became.glyph} {became.word}", WORD_WIDTH, became.style),
        Content(" "),
        cell(dispatch.room, room),
        Content(" "),
        took,
    ]
    if became.why:
        parts += [
            Content.assemble("\n  ", line.stylize(MUTED))
            for line in Content(brief(became.why)).wrap(max(width - 2, 2))
        ]
    return Content.assemble(*parts)


def rows(state: AppState, now: float, width: int) -> Content:
    """The last dispatches, newest first, or that there are none yet."""
    newest = state.dispatches[: -SHOWN - 1 : -1]
    if not newest:
        return Content.styled("no test job yet", MUTED)
    return Content("\n").join(
        row(dispatch, outcome(dispatch, state.jobs.get(dispatch.job_id or ""), now), width)
        for dispatch in newest
    )


def without_media(state: AppState) -> str:
    """What to say where jobs run but nobody can join their rooms; nothing on a server with media."""
    if state.server is None or state.server.media:
        return ""
    return "⚠ no real rooms here (no media): put livekit-server on PATH, restart"
