"""The texts of a test load on the tuning page: a column per idle count, and graphs. Pure functions."""

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from agent_tui.model.tuning import JobMeasure, Pattern, TestLoad, TestLoadView
from agent_tui.tui.widgets.bars import time_bars, whole_axis
from agent_tui.tui.widgets.plot import Axis, Mark, Point, Series, beside, plot, round_up, time_axis
from agent_tui.tui.widgets.text import (
    NONE,
    Line,
    Span,
    Tone,
    clip,
    counted,
    duration,
    milliseconds,
    one_line,
    pad,
    percent,
    stopwatch,
    wrapped,
)
from agent_tui.tuning.arrivals import offsets
from agent_tui.tuning.grammar import rate_text
from agent_tui.tuning.results import SATURATED, saturation_warning
from agent_tui.tuning.stats import mean, percentile

LABEL = 17
COLUMN = 12
BUCKETS = 60
"""Maximum number of buckets that arrivals are counted in; a bucket is at least one second."""

WIDE = 100
"""Minimum width for two graphs side by side, in cells."""

_MEASURES = (
    "dispatched",
    "started",
    "waiting",
    "lost",
    "warm",
    "p50 to entry",
    "p95 to entry",
    "p99 to entry",
    "machine CPU",
)


@dataclass(frozen=True, slots=True)
class Part:
    """The jobs that were dispatched while numIdleProcesses had one value."""

    count: int
    start_s: float
    dispatched: int
    jobs: tuple[JobMeasure, ...]
    machine_cpu: float | None = None
    """The machine's average CPU use, from 0 to 1."""

    @property
    def entered(self) -> tuple[JobMeasure, ...]:
        return tuple(job for job in self.jobs if not job.lost)


def parts(view: TestLoadView) -> tuple[Part, ...]:
    """Return one part per value of numIdleProcesses, in order."""
    ends = [*(at for at, _ in view.counts[1:]), math.inf]
    starts = [-math.inf, *ends[:-1]]
    found = []
    for (at, count), start, end in zip(view.counts, starts, ends, strict=True):
        jobs = tuple(job for job in view.measure.jobs if start <= job.at_s < end)
        arrived = sum(start <= arrival < end for arrival in view.measure.arrivals_s)
        cpu = mean([share for second, share in view.measure.machine_cpu if start <= second < end])
        found.append(Part(count, at, arrived + sum(not job.room for job in jobs), jobs, cpu))
    return tuple(found)


def total(view: TestLoadView) -> Part:
    """Return all jobs of the load as one part."""
    made = len(view.measure.arrivals_s) + sum(not job.room for job in view.measure.jobs)
    cpu = mean([share for _, share in view.measure.machine_cpu])
    return Part(view.counts[-1][1], 0.0, made, view.measure.jobs, cpu)


_PATTERNS = {Pattern.STEADY: "steady", Pattern.POISSON: "Poisson", Pattern.RAMP: "ramp"}


def load_text(load: TestLoad) -> str:
    """Return a load in words."""
    jobs = counted(load.jobs, "job")
    if load.pattern is Pattern.BURST:
        return f"{jobs} at once, each {load.job_length_s:g} s"
    pattern = f"{_PATTERNS[load.pattern]} {rate_text(load.rate, load.end_rate)}"
    return f"{jobs}, {pattern}, each {load.job_length_s:g} s"


def lines(view: TestLoadView, width: int, height: int) -> tuple[Line, ...]:
    """Return the whole text; the graphs get the rest of `height`, within readable bounds."""
    top = (*_head(view), *warning_lines(saturation_warning((view.measure,)), width), ())
    top = (*top, *figures(view, width), ())
    return (*top, *graphs(view, width, min(max(height - len(top) - 1, 10), 24)))


def warning_lines(text: str, width: int) -> tuple[Line, ...]:
    """Return a warning, wrapped; nothing if it is empty."""
    rows = wrapped(f"▲ {text}", width) if text else ()
    return tuple((Span(row, Tone.WARN),) for row in rows)


@functools.lru_cache(maxsize=8)
def _last_arrival(load: TestLoad) -> float:
    """Return when the last job is dispatched, in seconds after the start."""
    return max(offsets(load))


def time_left(view: TestLoadView) -> str:
    """Return roughly how much longer the load will run; empty if it has ended."""
    if not view.running:
        return ""
    load = view.measure.load
    left = _last_arrival(load) + load.job_length_s - view.elapsed_s
    return f"about {duration(math.ceil(left))} left" if left > 0 else "waiting for the last jobs to end"


def _head(view: TestLoadView) -> tuple[Line, ...]:
    made, of = total(view).dispatched, view.measure.load.jobs
    if view.running:
        state = Span(f"◌ {stopwatch(view.elapsed_s)}  ", Tone.KEY)
    else:
        state = Span("■ ended early  " if view.ended else "✓ done  ", Tone.WARN if view.ended else Tone.GOOD)
    first = (
        state,
        Span(f"{made}/{of} dispatched", Tone.STRONG),
        Span(f"   {left}" if (left := time_left(view)) else ""),
        Span(f"   {load_text(view.measure.load)}", Tone.DIM),
    )
    return (first, (Span(one_line(view.ended), Tone.WARN),)) if view.ended else (first,)


def figures(view: TestLoadView, width: int) -> tuple[Line, ...]:
    """Return a column per value of numIdleProcesses, newest last; drops the oldest if they do not fit."""
    columns = parts(view)
    room = max((width - LABEL) // COLUMN - 1, 1)
    shown = columns[-room:]
    heads = [
        f"{each.count} idle" + (" now" if each is columns[-1] and view.running else "") for each in shown
    ]
    cells = [_cells(each) for each in shown]
    if len(columns) > 1:
        heads.append("total")
        cells.append(_cells(total(view)))
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
    warm = percent(sum(job.warm for job in part.entered) / entered) if entered else NONE
    return (
        (str(part.dispatched), Tone.PLAIN),
        (str(entered), Tone.PLAIN),
        (str(waiting), Tone.PLAIN),
        (str(lost), Tone.BAD if lost else Tone.PLAIN),
        (warm, Tone.PLAIN),
        *((_ms(percentile(latencies, rank)), Tone.STRONG) for rank in (50, 95, 99)),
        share_cell(part.machine_cpu),
    )


def share_cell(share: float | None) -> tuple[str, Tone]:
    """Return a share of the machine's CPU, and its tone."""
    if share is None:
        return NONE, Tone.DIM
    return percent(share), Tone.WARN if share >= SATURATED else Tone.PLAIN


def _ms(value: float | None) -> str:
    if value is None:
        return NONE
    return milliseconds(value) if math.isfinite(value) else "lost"


def graphs(view: TestLoadView, width: int, height: int) -> tuple[Line, ...]:
    """Return two graphs, side by side if they fit: idle processes and arrivals, and the jobs' latencies."""
    if width < WIDE:
        return (*pool_graph(view, width, height), *latency_graph(view, width, height))
    half = (width - 3) // 2
    return beside(pool_graph(view, half, height), latency_graph(view, half, height), half, 3)


def pool_graph(view: TestLoadView, width: int, height: int) -> tuple[Line, ...]:
    """Return idle processes and arriving jobs over time, as bars below one another."""
    upper = height // 2
    marks = [Mark(at) for at, _ in view.counts[1:]]
    size = _bucket_s(view)
    idle = max([1, *(count for _, count in view.measure.idle)])
    arriving = max([1, *_arrivals(view)])
    x = _time_axis(view, width)
    changed = Span("  ▲ count changed" if marks else "", Tone.DIM)
    per = "second" if size == 1 else f"{size:g} s"
    return (
        cut((Span("idle processes", Tone.SERIES), changed), width),
        *time_bars(
            lambda columns: idle_over(view, columns),
            width,
            upper - 1,
            Tone.SERIES,
            x=x,
            y=whole_axis(idle),
            marks=marks,
        ),
        cut((Span(f"jobs arriving per {per}"),), width),
        *time_bars(
            lambda columns: arrivals_over(view, columns),
            width,
            height - upper - 1,
            Tone.PLAIN,
            x=x,
            y=whole_axis(arriving),
            marks=marks,
        ),
    )


def idle_over(view: TestLoadView, columns: int) -> list[float]:
    """Return the lowest number of idle processes in each column of the time axis."""
    lowest = [math.inf] * columns
    changes = [*view.measure.idle, (_span_s(view), 0)]
    for (start, count), (end, _) in itertools.pairwise(changes):
        first, last = (_column(at, view, columns) for at in (start, end))
        for column in range(first, last + 1):
            lowest[column] = min(lowest[column], float(count))
    return [0.0 if value is math.inf else value for value in lowest]


def arrivals_over(view: TestLoadView, columns: int) -> list[float]:
    """Return the number of arrivals in the bucket of each column of the time axis."""
    counts, size = _arrivals(view), _bucket_s(view)
    per_column = _span_s(view) / columns
    return [float(counts[min(int(column * per_column / size), len(counts) - 1)]) for column in range(columns)]


def _arrivals(view: TestLoadView) -> list[int]:
    """Return the number of arrivals in each bucket."""
    size = _bucket_s(view)
    counts = [0] * (int(_span_s(view) / size) + 1)
    for at in view.measure.arrivals_s:
        counts[min(max(int(at / size), 0), len(counts) - 1)] += 1
    return counts


def _bucket_s(view: TestLoadView) -> float:
    return max(math.ceil(view.elapsed_s / BUCKETS), 1.0)


def _span_s(view: TestLoadView) -> float:
    return max(view.elapsed_s, 1.0)


def _column(at: float, view: TestLoadView, columns: int) -> int:
    return min(max(int(at / _span_s(view) * columns), 0), columns - 1)


def latency_graph(view: TestLoadView, width: int, height: int) -> tuple[Line, ...]:
    """Return the graph of each job's latency, in ms, at its dispatch time."""
    entered = [job for job in view.measure.jobs if not job.lost]
    warm = [(job.at_s, job.latency_ms) for job in entered if job.warm]
    cold = [(job.at_s, job.latency_ms) for job in entered if not job.warm]
    legend = (
        Span("ms from dispatch to entry: ", Tone.DIM),
        Span("warm", Tone.SERIES),
        Span(" · "),
        Span("cold", Tone.WARN),
    )
    top = max([1.0, *(value for _, value in (*warm, *cold))])
    stems = [Series(_stems(points), tone) for points, tone in ((cold, Tone.WARN), (warm, Tone.SERIES))]
    drawn = plot(
        stems,
        width,
        height - 1,
        x=_time_axis(view, width),
        y=Axis(0.0, round_up(top), plain),
        marks=[Mark(at) for at, _ in view.counts[1:]],
    )
    return (cut(legend, width), *drawn)


def _stems(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return a single curve that has a vertical line at each point. There may be thousands of points."""
    return tuple(each for at, value in points for each in ((at, 0.0), (at, value), (at, 0.0)))


def plain(value: float) -> str:
    """Return a number for an axis."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _time_axis(view: TestLoadView, width: int) -> Axis:
    return time_axis(_span_s(view), width)


def cut(line: Sequence[Span], width: int) -> Line:
    """Cut the line to at most `width` cells."""
    left, spans = width, []
    for span in line:
        text = clip(span.text, left)
        spans.append(Span(text, span.tone))
        left -= len(text)
    return tuple(spans)
