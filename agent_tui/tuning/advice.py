"""Recommends the smallest count of idle processes that meets a target, and says how sure that is."""

import math
from collections.abc import Sequence

from agent_tui.model.tuning import Advice, MeasuredCount, RunMeasure, SweepResult, Target, TestLoad
from agent_tui.model.wording import counted
from agent_tui.tuning.fit import Fitted, Prediction, fit, predict, warm_share
from agent_tui.tuning.model import PoolRule, pool_rule_here
from agent_tui.tuning.results import jobs_of, saturation_warning
from agent_tui.tuning.stats import mean, next_hits, wilson

SURE = 0.9
"""A count is good enough if at least this share of new runs would meet the target."""

AS_GOOD = 0.05
"""A count is also good enough if the best count exceeds its share of such runs by at most this."""

LIKELY = 0.5
"""A count is not recommended if less than this share of new runs would meet the target."""

MAX_MODEL_ERROR = 0.05
"""The difference between predicted and measured warm-hit rates above which the advice mentions it."""

NEARLY_ALL = 0.9
"""If jobs arrive at this share of the pool's start rate or faster, a note warns that it cannot keep up."""


def model_error(candidates: Sequence[MeasuredCount]) -> float | None:
    """Return the largest error of the predicted warm-hit rates; None if nothing was predicted."""
    predicted = [each for each in candidates if each.warm_predicted is not None]
    return max((abs(each.warm_measured - (each.warm_predicted or 0.0)) for each in predicted), default=None)


def advise(result: SweepResult, target: Target, rule: PoolRule | None = None) -> Advice:
    """Return the advice for a sweep. Simulates many runs, which can take some seconds."""
    fitted = fit(result, rule or pool_rule_here())
    candidates = tuple(
        _candidate(result, target, fitted, count, result.runs_of(count)) for count in result.measured
    )
    chosen = choose(candidates)
    lines = (*_lines(target, chosen, candidates), *_notes(result, fitted, candidates))
    return Advice(target, chosen, candidates, lines)


def choose(candidates: Sequence[MeasuredCount]) -> int | None:
    """Return the smallest count that met the target, and whose new runs would meet it often enough."""
    able = [each for each in candidates if each.met and _sure(each) >= LIKELY]
    if not able:
        return None
    enough = min(SURE, max(map(_sure, able)) - AS_GOOD)
    return next(each.num_idle_processes for each in able if _sure(each) >= enough)


def _sure(candidate: MeasuredCount) -> float:
    """Return the share of new runs that meet the target; without a model, 1 or 0 as measured."""
    return (1.0 if candidate.met else 0.0) if candidate.sure is None else candidate.sure


def _candidate(
    result: SweepResult, target: Target, fitted: Fitted | None, count: int, runs: Sequence[RunMeasure]
) -> MeasuredCount:
    jobs = jobs_of(runs)
    hits = sum(target.hit(job.latency_ms, job.warm) for job in jobs)
    prediction = None if fitted is None else predict(fitted, count, result.load, target)
    return MeasuredCount(
        count,
        len(jobs),
        hits / len(jobs),
        target.met(hits, len(jobs)),
        wilson(hits, len(jobs)),
        None if prediction is None else prediction.attained,
        None if prediction is None else prediction.met,
        confidence(hits, len(jobs), result.load.jobs, prediction),
        sum(job.warm for job in jobs) / len(jobs),
        None if fitted is None else warm_share(fitted, count, runs),
    )


def confidence(hits: int, jobs: int, of: int, prediction: Prediction | None) -> tuple[float, float]:
    """Return an interval for the hit rate in a new run of `of` jobs.

    It spans two intervals: that of the measured jobs of this count, which include effects that are not
    modeled, and that of the model, which is based on the jobs of all counts.
    """
    low, high = (each / of for each in next_hits(hits, jobs, of))
    if prediction is None:
        return low, high
    return min(low, prediction.low), max(high, prediction.high)


def _lines(target: Target, chosen: int | None, candidates: Sequence[MeasuredCount]) -> list[str]:
    wanted = target.text or str(target)
    if not candidates:
        return [f"no advice for {wanted}: nothing was measured"]
    if chosen is None:
        best = max(candidates, key=lambda each: (each.met, _sure(each), each.measured, each.warm_measured))
        share = "" if best.sure is None else f"; {_percent(best.sure)} of new runs would meet it"
        return [
            f"no measured count meets {wanted}: the best is {_idle(best)} with "
            f"{_percent(best.measured)} of {best.jobs} jobs{share}"
        ]
    index = next(n for n, each in enumerate(candidates) if each.num_idle_processes == chosen)
    best = candidates[index]
    low, high = best.confidence
    lines = [
        f"advice: {_idle(best)} for {wanted}",
        f"  measured {_percent(best.measured)} of {best.jobs} jobs"
        + ("" if best.predicted is None else f", predicted {_percent(best.predicted)}")
        + f"; expected in a new run: {_percent(low)} to {_percent(high)}"
        + ("" if best.sure is None else f"; {_percent(best.sure)} of new runs would meet the target"),
    ]
    lines += [
        f"  {_idle(smaller)} also met it this time, but would in only {_percent(smaller.sure)} of new runs"
        for smaller in candidates[:index]
        if smaller.met and smaller.sure is not None
    ]
    return lines


def _notes(result: SweepResult, fitted: Fitted | None, candidates: Sequence[MeasuredCount]) -> list[str]:
    """Return notes about what makes the advice less reliable."""
    notes = _starts_line(result.load, fitted)
    if warning := saturation_warning(result.runs):
        notes.append(f"  note: {warning}")
    error = model_error(candidates)
    if error is not None and error > MAX_MODEL_ERROR:
        notes.append(
            f"  note: predicted and measured warm-hit rates differ by up to {error * 100:.0f} points, so the "
            "model misses something on this machine; measure with more --jobs or --repeat"
        )
    if others := sum(run.others for run in result.runs):
        notes.append(f"  note: {counted(others, 'other job')} arrived during the sweep and used processes")
    return notes


def _starts_line(load: TestLoad, fitted: Fitted | None) -> list[str]:
    """Return a note if jobs arrive about as fast as processes can become ready, or faster."""
    rate = load.mean_rate
    if fitted is None or math.isinf(rate):
        return []
    each_s, at_once = mean(fitted.warm_ups_s) or 0.0, fitted.rule.starts_at_once
    if each_s <= 0 or rate < NEARLY_ALL * at_once / each_s:
        return []
    return [
        f"  note: jobs arrive at {rate:g}/s, but processes become ready at {at_once / each_s:.2g}/s at most "
        f"({at_once} start at once, {each_s:.2g} s each): in the long run, no number of idle ones is enough"
    ]


def _idle(candidate: MeasuredCount) -> str:
    return f"{candidate.num_idle_processes} idle"


def _percent(share: float) -> str:
    """Return the share in percent, with 100% only for all."""
    text = f"{share * 100:.1f}"
    if text == "100.0" and share < 1:
        text = "99.9"
    return f"{text.removesuffix('.0')}%"
