"""The dispatch panel: make test jobs, and see what became of each."""

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static

from agent_tui.model.events import JobStatus
from agent_tui.model.state import AppState, DispatchView, JobPhase, JobView
from agent_tui.tui.actions import ActionRequested
from agent_tui.tui.widgets.text import MUTED, brief, cell, milliseconds

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


class DispatchPanel(VerticalScroll):
    """Shows `AppState.dispatches`; its two buttons say the keys that do the same."""

    BORDER_TITLE = "Dispatch"
    DEFAULT_CSS = """
    DispatchPanel {
        height: 1fr;
        border: round $panel-lighten-2;
        border-title-color: $foreground;
        padding: 0 1;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;

        &:focus, &:focus-within { border: round $accent; }
        Horizontal { height: 1; }
        Button { min-width: 0; width: auto; margin-right: 2; }
        Static { width: 1fr; height: auto; padding-right: 1; }
        #dispatch-media { color: $text-warning; display: none; }
        #dispatch-media.-shown { display: block; }
    }
    """

    def __init__(self, *, again_key: str = "d", form_key: str = "D", id: str | None = None) -> None:
        super().__init__(id=id)
        self._labels = (f"{again_key} again", f"{form_key} form…")
        self._media = Static("", id="dispatch-media", markup=False)
        self._rows = Static("", id="dispatch-rows", markup=False)
        self._state = AppState()
        self._now = 0.0
        self._painted = Content()

    @property
    def last_room(self) -> str:
        """The room of the newest dispatch made here; empty before the first."""
        return next((dispatch.room for dispatch in reversed(self._state.dispatches) if dispatch.ours), "")

    def compose(self) -> ComposeResult:
        again, form = self._labels
        with Horizontal():
            yield Button(Content(again), id="dispatch-again", compact=True)
            yield Button(Content(form), id="dispatch-form", compact=True)
        yield self._media
        yield self._rows

    def show(self, state: AppState, now: float) -> None:
        """Paints what became of the dispatches; `now` in Unix seconds."""
        before, second = self._state, int(self._now)
        self._state, self._now = state, now
        if state.server is not before.server:
            text = without_media(state)
            self._media.update(Content(text))
            self._media.set_class(bool(text), "-shown")
        same = state.dispatches is before.dispatches and state.jobs is before.jobs
        waits = any(dispatch.waits for dispatch in state.dispatches)
        if not same or (waits and int(now) != second):
            self._paint()

    def on_resize(self) -> None:
        self._paint()

    def _paint(self) -> None:
        width = self.scrollable_content_region.width - 1
        if width <= 0:
            return
        content = rows(self._state, self._now, width)
        if not content.is_same(self._painted):
            self._painted = content
            self._rows.update(content)

    @on(Button.Pressed, "#dispatch-again")
    def _again(self, event: Button.Pressed) -> None:
        event.stop()
        self.post_message(ActionRequested("dispatch"))

    @on(Button.Pressed, "#dispatch-form")
    def _form(self, event: Button.Pressed) -> None:
        event.stop()
        self.post_message(ActionRequested("dispatch_form"))
