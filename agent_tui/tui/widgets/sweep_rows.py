"""The texts of a sweep on the tuning page: table, advice, graphs, and a histogram. Pure functions."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_tui.files import shown_path
from agent_tui.model.tuning import Phase, Progress, Row, SweepView, TestLoad
from agent_tui.tui.widgets.advice_rows import advice_lines
from agent_tui.tui.widgets.bars import Group, group_bars
from agent_tui.tui.widgets.live_rows import cut, load_text, plain, warning_lines
from agent_tui.tui.widgets.plot import Axis, Mark, Rule, Series, beside, plot, round_up
from agent_tui.tui.widgets.text import (
    NONE,
    Line,
    Span,
    Tone,
    counted,
    duration,
    grouped,
    one_line,
    pad,
)
from agent_tui.tuning.recorder import END_THEM
from agent_tui.tuning.report import comparison
from agent_tui.tuning.results import jobs_of, rows, saturation_warning
from agent_tui.tuning.stats import histogram, percentile
from agent_tui.tuning.store import compare

BINS = 8
LABEL = 16
_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table. The highest `drop_priority` is dropped first; 0 always stays."""

    heading: str
    width: int
    drop_priority: int
    write: Callable[[SweepView, Row], str]
    needed: Callable[[SweepView], bool] = lambda _: True
    """Whether the column has values in this sweep."""


def _ms(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.1f}" if value < 99.95 else grouped(value)


def _percent(share: float | None) -> str:
    return NONE if share is None else f"{share * 100:.0f}"


def _mb(row: Row, mb: float | None) -> str:
    """Return the memory of the idle processes, in MB; none without such processes."""
    return grouped(mb) if mb is not None and row.num_idle_processes else NONE


def spread(view: SweepView, count: int) -> str:
    """Return the lowest and the highest p95 of the repeats."""
    runs = view.result.runs_of(count)
    found = [percentile([job.latency_ms for job in run.jobs], 95) for run in runs if run.jobs]
    real = [each for each in found if each is not None and math.isfinite(each)]
    return f"{_ms(min(real))}…{_ms(max(real))}" if len(real) > 1 else NONE


def _since(view: SweepView, row: Row) -> str:
    """Return how much p95 has changed since the previous sweep, in ms, with its sign."""
    if view.before is None:
        return NONE
    old = next((each for each in view.before.rows if each.num_idle_processes == row.num_idle_processes), None)
    if old is None or old.p95_ms is None or row.p95_ms is None:
        return NONE
    return f"{row.p95_ms - old.p95_ms:+.1f}".replace("-", "−")


def _model(view: SweepView, row: Row) -> str:
    """Return the share of warm starts that the model predicts for the same arrivals."""
    known = {} if view.advice is None else {each.num_idle_processes: each for each in view.advice.candidates}
    candidate = known.get(row.num_idle_processes)
    return _percent(None if candidate is None else candidate.warm_predicted)


def _any_lost(view: SweepView) -> bool:
    return any(job.lost for job in jobs_of(view.result.runs))


COLUMNS: tuple[Column, ...] = (
    Column("idle", 4, 0, lambda _, row: str(row.num_idle_processes)),
    Column("jobs", 5, 2, lambda _, row: str(row.jobs)),
    Column("lost", 4, 5, lambda _, row: str(row.lost) if row.lost else NONE, _any_lost),
    Column("p50 ms", 6, 0, lambda _, row: _ms(row.p50_ms)),
    Column("p95 ms", 6, 0, lambda _, row: _ms(row.p95_ms)),
    Column("p99 ms", 6, 0, lambda _, row: _ms(row.p99_ms)),
    Column(
        "p95 spread",
        11,
        4,
        lambda view, row: spread(view, row.num_idle_processes),
        lambda view: view.plan.repeat > 1,
    ),
    Column("Δp95 before", 11, 6, _since, lambda view: view.before is not None),
    Column("warm %", 6, 0, lambda _, row: _percent(row.warm_hit_rate)),
    Column("model %", 7, 7, _model),
    Column("cpu %", 5, 3, lambda _, row: _percent(row.machine_cpu)),
    Column("uss MB", 6, 0, lambda _, row: _mb(row, row.idle_uss_mb)),
    Column("pss MB", 6, 1, lambda _, row: _mb(row, row.idle_pss_mb)),
    Column("refill ms", 9, 8, lambda _, row: _ms(row.refill_p50_ms)),
)


def columns(view: SweepView, width: int) -> tuple[Column, ...]:
    """Return the columns that have values and fit the width, two cells apart."""
    shown = [each for each in COLUMNS if each.needed(view)]
    while sum(each.width + 2 for each in shown) > width:
        able = [each for each in shown if each.drop_priority]
        if not able:
            break
        shown.remove(max(able, key=lambda each: each.drop_priority))
    return tuple(shown)


def progress_text(progress: Progress, plan_repeat: int) -> str:
    """Return what the sweep is doing, and what it is waiting for."""
    match progress.phase:
        case Phase.FIRST_JOB:
            return "waiting for the first job, which is not counted"
        case Phase.SETTLING:
            idle = counted(progress.count or 0, "idle process", "idle processes")
            waits_for = one_line(progress.waits_for).replace(
                END_THEM, "Esc, then x in the process table ends one"
            )
            return f"waiting: {waits_for}" if waits_for else f"starting {idle}"
        case Phase.RUNNING:
            repeat = f", repeat {progress.repeat + 1} of {plan_repeat}" if plan_repeat > 1 else ""
            return f"{progress.count} idle{repeat}: {progress.jobs} of {progress.jobs_of} jobs done"
        case Phase.RESTORING:
            return "restoring numIdleProcesses"
        case Phase.DONE:
            return "computing the advice"


SETTLE_S = 1.0
"""Estimated time until the pool is idle before a run, in s."""


def run_s(load: TestLoad) -> float:
    """Return roughly how long one run of a load takes, in s."""
    return load.span_s + load.job_length_s + SETTLE_S


def time_left(view: SweepView, now: float) -> str:
    """Return roughly how much longer the sweep will run; empty if unknown. `now` is in Unix seconds."""
    progress, load = view.progress, view.plan.load
    if not view.running or progress.phase in (Phase.RESTORING, Phase.DONE):
        return ""
    done = progress.run + progress.jobs / max(progress.jobs_of, 1)
    each_s = run_s(load)
    if progress.run:  # as fast as the finished runs
        each_s = (now - view.result.started) / done
    return f"about {duration(math.ceil(max((progress.runs - done) * each_s, 1.0)))} left"


def lines(
    view: SweepView, selected: int | None, wanted: int, width: int, height: int, now: float = 0.0
) -> tuple[Line, ...]:
    """Return the whole text, the most important first; the graphs get the rest of `height`, within bounds."""
    top = (*_above_table(view, width, now), *table(view, selected, width))
    top = (*top, *advice_lines(view, wanted, width), ())
    rest = (*_compared(view), *_kept(view))
    if not view.result.runs:
        return (*top, *rest)
    bars = bar_lines(view, selected, min(width, 72))
    room = min(max(height - len(top) - len(bars) - len(rest) - 2, 8), 18)
    return (*top, *graphs(view, width, room), (), *bars, *((), *rest)[: len(rest) + 1 if rest else 0])


def _above_table(view: SweepView, width: int, now: float) -> tuple[Line, ...]:
    warning = saturation_warning(view.result.runs) if view.running else ""  # then it is in the advice
    return (*head(view, now), *warning_lines(warning, width), ())


def count_at(view: SweepView, row: int, width: int, now: float = 0.0) -> int | None:
    """Return the measured count whose row of the table is at that row of `lines`; None for other rows."""
    at = row - len(_above_table(view, width, now)) - 1  # below the heading
    measured = view.result.measured
    return measured[at] if 0 <= at < len(measured) else None


def head(view: SweepView, now: float = 0.0) -> tuple[Line, ...]:
    """Return the sweep's progress, and its load and target."""
    progress = view.progress
    complete = sum(run.complete for run in view.result.runs)
    far = Span(f"{complete}/{counted(progress.runs, 'run')}  ", Tone.STRONG)
    what = Span(
        f"  {load_text(view.plan.load)} · target {one_line(view.target.text or str(view.target))}", Tone.DIM
    )
    if view.outcome is not None and view.outcome.error:
        error = one_line(view.outcome.error)
        return ((Span("✗ failed to start: ", Tone.BAD), Span(error, Tone.BAD)), (what,))
    if view.running:
        state = Span(f"◌ {progress_text(progress, view.plan.repeat)}", Tone.KEY)
        left = Span(f"   {time_left(view, now)}")
        return ((far, _bar(progress), left), (Span("  "), state), (what,))
    if view.result.ended:
        early = Span(f"■ ended early: {one_line(view.result.ended)}", Tone.WARN)
        return ((far, early), (what,))
    return ((far, Span("✓ done", Tone.GOOD)), (what,))


def _bar(progress: Progress) -> Span:
    cells = 20
    part = progress.jobs / max(progress.jobs_of, 1) if progress.phase is Phase.RUNNING else 0.0
    full = round(min((progress.run + min(part, 1.0)) / max(progress.runs, 1), 1.0) * cells)
    return Span("━" * full + "╌" * (cells - full), Tone.SERIES)


def table(view: SweepView, selected: int | None, width: int) -> tuple[Line, ...]:
    """Return a row per measured count; ★ marks the recommended one, ▸ the selected one."""
    shown = columns(view, width - 4)
    measured = rows(view.result)
    so_far = view.progress.so_far if view.running else None
    if not measured and so_far is None:
        return ((Span("results appear here after the first run", Tone.DIM),),) if view.running else ()
    heading = "".join(f"  {pad(each.heading, each.width, right=True)}" for each in shown)
    lines: list[Line] = [(Span(f"   {heading}", Tone.DIM),)]
    advised = None if view.advice is None else view.advice.count
    for row in measured:
        chosen = row.num_idle_processes == selected
        mark = "▸" if chosen else " "
        star = "★" if row.num_idle_processes == advised else " "
        text = "".join(f"  {pad(each.write(view, row), each.width, right=True)}" for each in shown)
        tone = Tone.GOOD if star == "★" else Tone.STRONG if chosen else Tone.PLAIN
        lines.append((Span(f"{mark} {star}", tone), Span(text, tone)))
    if so_far is not None:
        text = "".join(f"  {pad(each.write(view, so_far), each.width, right=True)}" for each in shown)
        lines.append((Span("  ◌", Tone.KEY), Span(text)))
    return tuple(lines)


def graphs(view: SweepView, width: int, height: int) -> tuple[Line, ...]:
    """Return latency and memory over the idle count, side by side; none for a single count."""
    if len(view.result.measured) < 2:
        return ()
    half = (width - 3) // 2
    return beside(latency_graph(view, half, height), memory_graph(view, half, height), half, 3)


def latency_graph(view: SweepView, width: int, height: int) -> tuple[Line, ...]:
    """Return p50, p95, and p99 per idle count, in ms, with the target's limit."""
    kinds = (("p50", "p50_ms", Tone.DIM), ("p95", "p95_ms", Tone.SERIES), ("p99", "p99_ms", Tone.PLAIN))
    limit = view.target.limit_ms
    rules = [] if limit is None else [Rule(limit, one_line(view.target.text or str(view.target), 20))]
    legend = (
        *(Span(f"█ {name} ", tone) for name, _, tone in kinds),
        Span("ms per idle count", Tone.DIM),
    )
    return (cut(legend, width), *_per_count(view, kinds, width, height - 1, rules))


def memory_graph(view: SweepView, width: int, height: int) -> tuple[Line, ...]:
    """Return the memory of all idle processes per idle count, in MB."""
    kinds = (("PSS", "idle_pss_mb", Tone.SERIES), ("USS", "idle_uss_mb", Tone.DIM))
    legend = (*(Span(f"█ {name} ", tone) for name, _, tone in kinds), Span("MB per idle count", Tone.DIM))
    return (cut(legend, width), *_per_count(view, kinds, width, height - 1, ()))


def _per_count(
    view: SweepView, kinds: Sequence[tuple[str, str, Tone]], width: int, height: int, rules: Sequence[Rule]
) -> tuple[Line, ...]:
    """Return a group of bars per count, or curves if there are too many counts for bars."""
    measured = rows(view.result)
    # A percentile without a value is a lost job's; memory without a value was not measured.
    missing = math.inf if kinds[0][1].endswith("_ms") else 0.0
    values = [
        [missing if value is None else value for _, name, _ in kinds for value in [getattr(row, name)]]
        for row in measured
    ]
    top = max([1.0, *(value for each in values for value in each if math.isfinite(value))])
    y = Axis(0.0, round_up(top), plain)
    tones = [tone for _, _, tone in kinds]
    groups = [
        Group(str(row.num_idle_processes), tuple(each)) for row, each in zip(measured, values, strict=True)
    ]
    drawn = group_bars(groups, tones, width, height, y=y, rules=rules)
    if drawn is not None:
        return drawn
    counts = [float(row.num_idle_processes) for row in measured]
    x = Axis(counts[0], max(counts[-1], counts[0] + 1), "{:g}".format)
    series = [Series(_points(measured, name), tone) for _, name, tone in reversed(kinds)]
    return plot(
        series, width, height, rules, x=x, y=y, marks=[Mark(count, Tone.DIM) for count in counts[1:-1]]
    )


def _points(measured: Sequence[Row], name: str) -> tuple[tuple[float, float], ...]:
    return tuple(
        (float(row.num_idle_processes), value)
        for row in measured
        if (value := getattr(row, name)) is not None
    )


def bar_lines(view: SweepView, selected: int | None, width: int) -> tuple[Line, ...]:
    """Return the histogram of one count's latencies."""
    if selected is None:
        return ()
    jobs = jobs_of(view.result.runs_of(selected))
    bins = histogram([job.latency_ms for job in jobs], BINS)
    lost = sum(bool(job.lost) for job in jobs)
    most = max([lost, *(each.count for each in bins)], default=0)
    title = (
        Span(f"{selected} idle", Tone.STRONG),
        Span(f": {counted(len(jobs), 'job')} by ms from dispatch to entry  (↑ ↓ select)", Tone.DIM),
    )
    shown = [(f"{_ms(each.low)}…{_ms(each.high)}", each.count, Tone.SERIES) for each in bins]
    shown += [("lost", lost, Tone.BAD)] if lost else []
    return (
        title,
        *(
            (
                Span(f"{pad(name, LABEL, right=True)} ", Tone.DIM),
                Span(bar(count, most, width - LABEL - 8), tone),
                Span(f" {count}"),
            )
            for name, count, tone in shown
        ),
    )


def bar(value: int, most: int, width: int) -> str:
    """Return a bar of at most `width` cells; a value above 0 is always visible."""
    eighths = round(value / max(most, 1) * width * 8)
    if value:
        eighths = max(eighths, 1)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _compared(view: SweepView) -> tuple[Line, ...]:
    if view.before is None or view.running:
        return ()
    changes = compare(rows(view.result), view.before.rows)
    return tuple((Span(line, Tone.DIM),) for line in comparison(changes, view.before.started))


def _kept(view: SweepView) -> tuple[Line, ...]:
    if view.outcome is not None and view.outcome.not_saved:
        return ((Span(f"not saved: {one_line(view.outcome.not_saved)}", Tone.WARN),),)
    if view.outcome is not None and view.outcome.files:
        place = shown_path(Path(view.outcome.files[0]), os.environ)
        return ((Span(f"saved as {one_line(place)} and .csv", Tone.DIM),),)
    return ()
