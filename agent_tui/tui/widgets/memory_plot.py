"""The graph of a process's memory over time, with lines for the warning and the limit. Pure functions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent_tui.model.time_series import Point, TimeSeries
from agent_tui.options.declare import ServerOptions
from agent_tui.tui.widgets.plot import Axis, Mark, Rule, Series, as_steps, plot, round_up
from agent_tui.tui.widgets.text import (
    Line,
    Span,
    Tone,
    grouped,
    megabytes,
    stopwatch,
    width_of,
)

FAR = 4.0
"""Levels above the peak times this factor are named but not drawn, because the curve would be flat."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Memory levels in MB; 0 means none."""

    warn_mb: float = 0.0
    limit_mb: float = 0.0

    @classmethod
    def of(cls, options: ServerOptions) -> "Levels":
        """Return the levels that these options set."""
        return cls(options.job_memory_warn_mb, options.job_memory_limit_mb)


def memory_lines(
    curve: TimeSeries,
    start: float,
    end: float,
    levels: Levels,
    width: int,
    height: int,
    *,
    marks: Sequence[Mark] = (),
    write_time: Callable[[float], str] | None = None,
) -> tuple[Line, ...]:
    """Return a headline and the graph from `start` to `end` (Unix seconds), in at most `height` rows."""
    points = _from(curve.points, start)
    if not points:
        return ((Span("Memory", Tone.STRONG), Span("  not measured", Tone.DIM)),)
    peak = max(value for _, value in points)
    rules = [
        Rule(mb, f"{name} {megabytes(mb)}", tone)
        for name, mb, tone in (("warn", levels.warn_mb, Tone.WARN), ("limit", levels.limit_mb, Tone.BAD))
        if 0 < mb <= FAR * peak
    ]
    high = round_up(1.05 * max(peak, *(rule.y for rule in rules), 1.0))
    head: Line = (
        Span("Memory", Tone.STRONG),
        Span(f"  {megabytes(points[-1][1])}, peak {megabytes(peak)}"),
    )
    far = Span(_far(levels, peak), Tone.DIM)
    if width_of((*head, far)) <= width:
        head = (*head, far)
    since: Callable[[float], str] = write_time or (lambda at: stopwatch(at - start))
    above = sorted((rule.y, rule.tone) for rule in rules)
    picture = plot(
        [Series(as_steps(points, end), above=above)],
        width,
        height - 1 - (height - 1) % 2,  # an odd number of rows, so that the middle label is half of the top
        rules,
        x=Axis(start, max(end, start + 1.0), since),
        y=Axis(0.0, high, grouped),
        marks=marks,
    )
    return (head, *picture)


def _from(points: Sequence[Point], start: float) -> list[Point]:
    """Return the points after `start`, preceded by a point with the value at `start`, if it is known."""
    before = [value for at, value in points if at <= start]
    after = [point for point in points if point[0] > start]
    return [(start, before[-1]), *after] if before else after


def _far(levels: Levels, peak: float) -> str:
    named = (("warn", levels.warn_mb), ("limit", levels.limit_mb))
    far = [f"{name} {megabytes(mb)}" for name, mb in named if mb > FAR * peak]
    return f"  ({', '.join(far)})" if far else ""
