"""The time line of memory warnings and limit breaches, newest first."""

from dataclasses import dataclass
from enum import StrEnum

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from agent_tui.model.child import MemoryMeasure
from agent_tui.model.events import MemoryWarned, ProcessState
from agent_tui.model.state import AppState
from agent_tui.model.time_series import TimeSeries
from agent_tui.tui.widgets.log_text import clock
from agent_tui.tui.widgets.memory_plot import Levels, memory_lines
from agent_tui.tui.widgets.plot import Mark
from agent_tui.tui.widgets.text import Line, Span, Tone, clip, grouped, one_line, to_contents

Breach = tuple[float, MemoryWarned]
"""Unix seconds and the event."""


class Kind(StrEnum):
    """Which breaches are shown."""

    ALL = "all"
    WARNINGS = "warnings"
    LIMITS = "limits"


@dataclass(frozen=True, slots=True)
class BreachFilter:
    """What is shown: of this kind, with this text in its room, pid, process or job."""

    kind: Kind = Kind.ALL
    text: str = ""

    def passes(self, warned: MemoryWarned, state: AppState) -> bool:
        """Whether a breach is shown; capitals do not count."""
        if self.kind is not Kind.ALL and warned.over_limit is not (self.kind is Kind.LIMITS):
            return False
        job = state.jobs.get(warned.job_id) if warned.job_id else None
        names = (job.room if job else "", str(warned.pid), warned.process_id, warned.job_id or "")
        wanted = self.text.strip().casefold()
        return any(wanted in name.casefold() for name in names)


def shown(state: AppState, wanted: BreachFilter) -> tuple[tuple[str, Breach], ...]:
    """The breaches that pass, newest first, each with a key of its own that it keeps."""
    seen: dict[str, int] = {}
    keyed: list[tuple[str, Breach]] = []
    for ts, warned in state.breaches:
        name = f"{ts} {warned.process_id}"
        seen[name] = seen.get(name, 0) + 1
        if wanted.passes(warned, state):
            keyed.append((f"{name} {seen[name]}", (ts, warned)))
    return tuple(reversed(keyed))


def filter_line(wanted: BreachFilter, count: int, total: int) -> Line:
    """The keys that choose the kind, the chosen one standing out, and how many pass."""
    spans: list[Span] = []
    for key, kind in (("a", Kind.ALL), ("w", Kind.WARNINGS), ("l", Kind.LIMITS)):
        tone = Tone.STRONG if kind is wanted.kind else Tone.DIM
        mark = "●" if kind is wanted.kind else " "
        spans += [Span(f"{mark} ", Tone.GOOD), Span(f"{key} {kind}   ", tone)]
    return (*spans, Span(f"{count} of {total}", Tone.DIM))


def breach_memory(breach: Breach, state: AppState, now: float, width: int, height: int) -> tuple[Line, ...]:
    """The memory of the breach's process over its life, all its breaches marked, this one loudest."""
    chosen_ts, warned = breach
    process = state.processes.get(warned.process_id)
    job = state.jobs.get(warned.job_id) if warned.job_id else None
    series = process.memory if process is not None else job.memory if job is not None else TimeSeries()
    if not series.points:
        return ((Span("the memory of this process is not kept any more", Tone.DIM),),)
    if process is None or process.state is ProcessState.ENDED:
        end = max(series.points[-1][0], process.since if process else 0.0, chosen_ts)
    else:
        end = now
    marks = [Mark(ts, Tone.DIM) for ts, each in state.breaches if each.process_id == warned.process_id]
    marks.append(Mark(chosen_ts, Tone.BAD if warned.over_limit else Tone.WARN))
    levels = Levels(warned.warn_mb, warned.limit_mb)
    start = series.points[0][0]
    return memory_lines(
        series, start, end, levels, width, height, marks=marks, write_time=lambda at: clock(at, millis=False)
    )


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
