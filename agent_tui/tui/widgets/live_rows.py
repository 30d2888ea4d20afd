"""What the tuning page says of a load: figures for each count of idle processes, and curves. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from agent_tui.model.tuning import JobMeasure, Pattern, TestLoad, TestLoadView
from agent_tui.tui.widgets.plot import Axis, Mark, Point, Series, beside, held, plot, round_up
from agent_tui.tui.widgets.text import NONE, Line, Span, Tone, clip, milliseconds, one_line, pad, stopwatch
from agent_tui.tuning.grammar import rate_text
from agent_tui.tuning.stats import percentile

LABEL = 17
COLUMN = 12
BUCKETS = 60
"""Arrivals are counted in so many pieces of the time, none of them shorter than a second."""

WIDE = 100
"""From this width on two pictures stand next to each other."""

_MEASURES = (
    "dispatched",
    "started",
    "waiting",
    "lost",
    "warm",
    "p50 to entry",
    "p95 to entry",
    "p99 to entry",
)


@dataclass(frozen=True, slots=True)
class Part:
    """The jobs that were dispatched while numIdleProcesses had one value."""

    count: int
    start_s: float
    dispatched: int
    jobs: tuple[JobMeasure, ...]

    @property
    def entered(self) -> tuple[JobMeasure, ...]:
        return tuple(job for job in self.jobs if not job.lost)


def parts(view: TestLoadView) -> tuple[Part, ...]:
    """One for each value, in order."""
    ends = [*(at for at, _ in view.counts[1:]), math.inf]
    starts = [-math.inf, *ends[:-1]]
    found = []
    for (at, count), start, end in zip(view.counts, starts, ends, strict=True):
        jobs = tuple(job for job in view.measure.jobs if start <= job.at_s < end)
        arrived = sum(start <= arrival < end for arrival in view.measure.arrivals_s)
        found.append(Part(count, at, arrived + sum(not job.room for job in jobs), jobs))
    return tuple(found)


def whole(view: TestLoadView) -> Part:
    """All jobs of the load."""
    made = len(view.measure.arrivals_s) + sum(not job.room for job in view.measure.jobs)
    return Part(view.counts[-1][1], 0.0, made, view.measure.jobs)


def load_text(load: TestLoad) -> str:
    """A load in words."""
    if load.pattern is Pattern.BURST:
        return f"{load.jobs} jobs at once, each {load.job_length_s:g} s"
    rate = rate_text(load.rate, load.end_rate)
    return f"{load.jobs} jobs, {load.pattern} {rate}, each {load.job_length_s:g} s"


def lines(view: TestLoadView, width: int, height: int) -> tuple[Line, ...]:
    """All of it; the pictures take what `height` leaves, but never less than is readable."""
    top = (*_head(view), (), *figures(view, width), ())
    return (*top, *pictures(view, width, min(max(height - len(top) - 1, 8), 18)))


def _head(view: TestLoadView) -> tuple[Line, ...]:
    made, of = whole(view).dispatched, view.measure.load.jobs
    if view.running:
        state = Span(f"◌ {stopwatch(view.elapsed_s)} ", Tone.WARN)
    else:
        state = Span("■ ended " if view.ended else "✓ over ", Tone.WARN if view.ended else Tone.GOOD)
    first = (
        state,
        Span(f"{made}/{of} dispatched", Tone.STRONG),
        Span(f"   {load_text(view.measure.load)}", Tone.DIM),
    )
    return (first, (Span(one_line(view.ended), Tone.WARN),)) if view.ended else (first,)


def figures(view: TestLoadView, width: int) -> tuple[Line, ...]:
    """A column for each value of numIdleProcesses, the newest last; the first ones give way to the room."""
    columns = parts(view)
    room = max((width - LABEL) // COLUMN - 1, 1)
    shown = columns[-room:]
    heads = [
        f"{each.count} idle" + (" now" if each is columns[-1] and view.running else "") for each in shown
    ]
    cells = [_cells(each) for each in shown]
    if len(columns) > 1:
        heads.append("together")
        cells.append(_cells(whole(view)))
    table: list[Line] = [
        (Span(pad("", LABEL)), *(Span(pad(head, COLUMN, right=True), Tone.STRONG) for head in heads))
    ]
    for row, name in enumerate(_MEASURES):
        table.append(
            (
                Span(pad(name, LABEL), Tone.DIM),
                *(Span(pad(column[row][0], COLUMN, right=True), column[row][1]) for column in cells),
            )
        )
    return tuple(table)


def _cells(part: Part) -> tuple[tuple[str, Tone], ...]:
    latencies = [job.latency_ms for job in part.jobs]
    entered = len(part.entered)
    lost = len(part.jobs) - entered
    waiting = part.dispatched - len(part.jobs)
    warm = f"{sum(job.warm for job in part.entered) / entered:.0%}" if entered else NONE
    return (
        (str(part.dispatched), Tone.PLAIN),
        (str(entered), Tone.PLAIN),
        (str(waiting), Tone.WARN if waiting else Tone.PLAIN),
        (str(lost), Tone.BAD if lost else Tone.PLAIN),
        (warm, Tone.PLAIN),
        *((_ms(percentile(latencies, percent)), Tone.STRONG) for percent in (50, 95, 99)),
    )


def _ms(value: float | None) -> str:
    if value is None:
        return NONE
    return milliseconds(value) if math.isfinite(value) else "lost"


def pictures(view: TestLoadView, width: int, height: int) -> tuple[Line, ...]:
    """Idle processes against arrivals, and beside it or below each job's latency."""
    if width < WIDE:
        return (*pool_picture(view, width, height), *latency_picture(view, width, height))
    half = (width - 3) // 2
    return beside(pool_picture(view, half, height), latency_picture(view, half, height), half, 3)


def pool_picture(view: TestLoadView, width: int, height: int) -> tuple[Line, ...]:
    """How many processes wait idle, and how many jobs arrive."""
    x = _time_axis(view)
    idle = held(view.measure.idle, view.elapsed_s)
    size, arrived = arrivals(view)
    top = max([1.0, *(value for _, value in (*idle, *arrived))])
    legend = (
        Span("idle processes", Tone.GOOD),
        Span(" · "),
        Span(f"jobs arriving in {size:g} s", Tone.WARN),
        Span("  ▲ count changed" if len(view.counts) > 1 else "", Tone.DIM),
    )
    drawn = plot(
        [Series(arrived, Tone.WARN), Series(idle, Tone.GOOD)],
        width,
        height - 1,
        x=x,
        y=Axis(0.0, round_up(top), plain),
        marks=[Mark(at) for at, _ in view.counts[1:]],
    )
    return (cut(legend, width), *drawn)


def arrivals(view: TestLoadView) -> tuple[float, tuple[Point, ...]]:
    """Seconds of a piece of time, and how many jobs arrived in each as a curve of steps."""
    size = max(math.ceil(view.elapsed_s / BUCKETS), 1.0)
    counts = [0] * (int(view.elapsed_s / size) + 1)
    for at in view.measure.arrivals_s:
        counts[min(max(int(at / size), 0), len(counts) - 1)] += 1
    steps = [(number * size, float(count)) for number, count in enumerate(counts)]
    return size, held(steps, view.elapsed_s)


def latency_picture(view: TestLoadView, width: int, height: int) -> tuple[Line, ...]:
    """When each job was dispatched, and how long after that it entered."""
    entered = [job for job in view.measure.jobs if not job.lost]
    warm = [(job.at_s, job.latency_ms) for job in entered if job.warm]
    cold = [(job.at_s, job.latency_ms) for job in entered if not job.warm]
    legend = (
        Span("ms from dispatch to entry: ", Tone.DIM),
        Span("warm", Tone.GOOD),
        Span(" · "),
        Span("cold", Tone.BAD),
    )
    top = max([1.0, *(value for _, value in (*warm, *cold))])
    stems = [Series(_stems(points), tone) for points, tone in ((cold, Tone.BAD), (warm, Tone.GOOD))]
    drawn = plot(
        stems,
        width,
        height - 1,
        x=_time_axis(view),
        y=Axis(0.0, round_up(top), plain),
        marks=[Mark(at) for at, _ in view.counts[1:]],
    )
    return (cut(legend, width), *drawn)


def _stems(points: Sequence[Point]) -> tuple[Point, ...]:
    """A line up to each point and down again, all of them one curve: there may be thousands."""
    return tuple(each for at, value in points for each in ((at, 0.0), (at, value), (at, 0.0)))


def plain(value: float) -> str:
    """A number on an axis."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _time_axis(view: TestLoadView) -> Axis:
    return Axis(0.0, max(view.elapsed_s, 1.0), lambda seconds: f"{seconds:.0f} s")


def cut(line: Sequence[Span], width: int) -> Line:
    """The line in at most that many cells."""
    left, spans = width, []
    for span in line:
        text = clip(span.text, left)
        spans.append(Span(text, span.tone))
        left -= len(text)
    return tuple(spans)
