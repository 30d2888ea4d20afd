"""The time line of memory warnings and limit breaches, newest first."""

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from agent_tui.model.child import MemoryMeasure
from agent_tui.model.events import MemoryWarned
from agent_tui.model.state import AppState
from agent_tui.tui.widgets.log_text import clock
from agent_tui.tui.widgets.text import Line, Span, Tone, clip, grouped, one_line, to_contents

SHOWN = 100
"""Lines of the time line; the count in the title is of all."""


def breach_lines(state: AppState) -> tuple[Line, ...]:
    """One line for each breach, the newest first."""
    newest = state.breaches[: -SHOWN - 1 : -1]
    lines = [breach_line(ts, warned, state) for ts, warned in newest]
    older = len(state.breaches) - len(newest)
    if older:
        lines.append((Span(f"{older} older", Tone.DIM),))
    return tuple(lines) or ((Span("none", Tone.DIM),),)


def breach_line(ts: float, warned: MemoryWarned, state: AppState) -> Line:
    """When, whose, how much, and what was allowed."""
    job = state.jobs.get(warned.job_id) if warned.job_id else None
    where = clip(one_line(job.room if job else warned.job_id or "no job"), 24)
    allowed = warned.limit_mb if warned.over_limit else warned.warn_mb
    over = f" {warned.measure} {grouped(warned.used_mb)} MB > {grouped(allowed)} MB"
    figures = {MemoryMeasure.RSS: warned.rss_mb, MemoryMeasure.USS: warned.uss_mb}
    others = [
        f"{each} {grouped(mb)}" for each, mb in figures.items() if each != warned.measure and mb is not None
    ]
    beside = f" ({', '.join(others)})" if others else ""
    limit = f", limit {grouped(warned.limit_mb)}" if warned.limit_mb > 0 and not warned.over_limit else ""
    grown = warned.used_mb - warned.baseline_mb
    return (
        Span(clock(ts, millis=False), Tone.DIM),
        Span(" ✗ limit  ", Tone.BAD) if warned.over_limit else Span(" ⚠ warning", Tone.WARN),
        Span(f" {warned.pid} {where}"),
        Span(over, Tone.STRONG),
        Span(f", {'+' if grown >= 0 else '−'}{grouped(abs(grown))} since start{beside}{limit}", Tone.DIM),
    )


class Breaches(VerticalScroll):
    """Shows `state.breaches`."""

    DEFAULT_CSS = """
    Breaches {
        height: auto;
        border: round $panel-lighten-2;
        border-title-color: $foreground;
        scrollbar-size: 1 1;
        &:focus { border: round $accent; }
        & > Static { height: auto; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.border_title = "Breaches"
        self._lines: tuple[Line, ...] = ()
        self._body = Static(markup=False)

    def compose(self) -> ComposeResult:
        yield self._body

    def on_mount(self) -> None:
        self.show(AppState(), 0.0)

    def show(self, state: AppState, now: float) -> None:
        """Shows the breaches of the state."""
        lines = breach_lines(state)
        if lines != self._lines:
            self._lines = lines
            self.border_title = f"Breaches {len(state.breaches)}" if state.breaches else "Breaches"
            self._body.update(to_contents(lines))
