"""The dispatch panel: starts test jobs and lists their results."""

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
"""Maximum number of dispatches in the panel."""

WORD_WIDTH = 12


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a dispatch so far. `took` is the time to entry, or the waiting time so far."""

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
_PENDING = {
    JobPhase.OFFERED: "offered",
    JobPhase.ACCEPTED: "accepted",
    JobPhase.ASSIGNED: "assigned",
}


def outcome(dispatch: DispatchView, job: JobView | None, now: float) -> Outcome:
    """Return the result so far. `job` is None before the offer, and for jobs no longer kept."""
    if dispatch.lost:
        why = dispatch.lost if dispatch.ours else f"{dispatch.lost} (dispatched by another client)"
        return Outcome("✗", "lost", "bold $text-error", why=why)
    if dispatch.job_id is None:
        return Outcome("◌", "waiting", "$text-warning", f"{max(now - dispatch.made, 0.0):.0f} s")
    if job is None:
        return Outcome("–", "ended", MUTED)
    if job.phase in (JobPhase.LOST, JobPhase.DECLINED):
        return Outcome("✗", "lost", "bold $text-error", why=job.reason or f"offer {job.phase}")
    if job.phase is JobPhase.RUNNING:
        return Outcome("●", "running", "$text-success", _to_entry(job))
    if job.phase is JobPhase.ENDED and job.status is not None:
        glyph, word, style = _ENDS[job.status]
        why = "" if job.status is JobStatus.SUCCESS else job.reason
        return Outcome(glyph, word, style, _to_entry(job), why)
    return Outcome("◌", _PENDING.get(job.phase, job.phase.value), "$text-warning")


def _to_entry(job: JobView) -> str:
    ms = job.dispatch_to_entry_ms if job.dispatch_to_entry_ms is not None else job.offer_to_entry_ms
    if ms is None:
        return ""
    return f"{'cold ' if job.warm is False else ''}{milliseconds(ms)}"


def row(dispatch: DispatchView, result: Outcome, width: int) -> Content:
    """Return a dispatch in `width` cells: state, room, and time; below them the reason if it failed."""
    took = Content.styled(result.took, MUTED)
    room = max(width - WORD_WIDTH - 2 - took.cell_length, 0)
    parts = [
        cell(f"{result.glyph} {result.word}", WORD_WIDTH, result.style),
        Content(" "),
        cell(dispatch.room, room),
        Content(" "),
        took,
    ]
    if result.why:
        parts += [
            Content.assemble("\n  ", line.stylize(MUTED))
            for line in Content(brief(result.why)).wrap(max(width - 2, 2))
        ]
    return Content.assemble(*parts)


def rows(state: AppState, now: float, width: int) -> Content:
    """Return the last dispatches, newest first, or the text of the empty panel."""
    newest = state.dispatches[: -SHOWN - 1 : -1]
    if not newest:
        return Content.styled("Test jobs appear here, with their result and time to entry.", MUTED)
    return Content("\n").join(
        row(dispatch, outcome(dispatch, state.jobs.get(dispatch.job_id or ""), now), width)
        for dispatch in newest
    )


def without_media(state: AppState) -> str:
    """Return the warning about a server without media; empty on a server with media."""
    if state.server is None or state.server.media:
        return ""
    return "⚠ embedded server: no audio. For audio, put livekit-server on PATH and restart"


class DispatchPanel(VerticalScroll):
    """Lists test dispatches; its two buttons show the keys that do the same."""

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
        self._labels = (f"{again_key} dispatch", f"{form_key} form…")
        self._media = Static("", id="dispatch-media", markup=False)
        self._rows = Static("", id="dispatch-rows", markup=False)
        self._state = AppState()
        self._now = 0.0
        self._painted = Content()

    @property
    def last_room(self) -> str:
        """The room of the newest dispatch of this run; empty before the first."""
        return next((dispatch.room for dispatch in reversed(self._state.dispatches) if dispatch.ours), "")

    def compose(self) -> ComposeResult:
        again, form = self._labels
        with Horizontal():
            yield Button(Content(again), id="dispatch-again", compact=True)
            yield Button(Content(form), id="dispatch-form", compact=True)
        yield self._media
        yield self._rows

    def show(self, state: AppState, now: float) -> None:
        """Show the dispatches; `now` is in Unix seconds."""
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
