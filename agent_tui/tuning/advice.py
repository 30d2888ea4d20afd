"""Advice: the smallest count of idle processes that meets a target, how sure that is, and why."""

import math
from collections.abc import Sequence

from agent_tui.model.tuning import Advice, Candidate, RunMeasure, SweepResult, Target, TestLoad
from agent_tui.tuning.fit import Fitted, Prediction, fit, predict, warm_share
from agent_tui.tuning.model import PoolRule, this_machines_rule
from agent_tui.tuning.results import jobs_of
from agent_tui.tuning.stats import mean, next_hits, wilson

SURE = 0.9
"""A count is good enough if so many new runs would meet the target …"""

AS_GOOD = 0.05
"""… or no larger count would do better by more than this."""

FAITHFUL = 0.05
"""So far apart predicted and measured warm-hit rates may be without a word."""

NEARLY_ALL = 0.9
"""From this share of what the pool can start a load is too fast to speak of a steady state."""

LIKELY = 0.5
"""But nothing is advised that would miss it more often than not."""


def model_error(candidates: Sequence[Candidate]) -> float | None:
    """By how much predicted and measured warm-hit rates differ at most; None without a prediction."""
    predicted = [each for each in candidates if each.warm_predicted is not None]
    return max((abs(each.warm_measured - (each.warm_predicted or 0.0)) for each in predicted), default=None)


def advise(result: SweepResult, target: Target, rule: PoolRule | None = None) -> Advice:
    """The smallest measured count that meets the target; takes up to some seconds of computing."""
    fitted = fit(result, rule or this_machines_rule())
    candidates = tuple(
        _candidate(result, target, fitted, count, result.runs_of(count)) for count in result.measured
    )
    chosen = choose(candidates)
    lines = (*_lines(target, chosen, candidates), *_notes(result, fitted, candidates))
    return Advice(target, chosen, candidates, lines)


def choose(candidates: Sequence[Candidate]) -> int | None:
    """The smallest count whose own jobs met the target and whose new runs would, surely enough."""
    able = [each for each in candidates if each.met and _sure(each) >= LIKELY]
    if not able:
        return None
    enough = min(SURE, max(map(_sure, able)) - AS_GOOD)
    return next(each.num_idle_processes for each in able if _sure(each) >= enough)


def _sure(candidate: Candidate) -> float:
    """Without a model what was measured has to do."""
    return (1.0 if candidate.met else 0.0) if candidate.sure is None else candidate.sure


def _candidate(
    result: SweepResult, target: Target, fitted: Fitted | None, count: int, runs: Sequence[RunMeasure]
) -> Candidate:
    jobs = jobs_of(runs)
    hits = sum(target.hit(job.latency_ms, job.warm) for job in jobs)
    prediction = None if fitted is None else predict(fitted, count, result.load, target)
    return Candidate(
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
    """Where the share of a new run of `of` jobs lies: where its own jobs or the model put it.

    The first knows only this count's jobs but whatever happened to them, the second all jobs but only what
    is modelled; the interval spans both.
    """
    low, high = (each / of for each in next_hits(hits, jobs, of))
    if prediction is None:
        return low, high
    return min(low, prediction.low), max(high, prediction.high)


def _lines(target: Target, chosen: int | None, candidates: Sequence[Candidate]) -> list[str]:
    wanted = target.text or str(target)
    if not candidates:
        return [f"{wanted}: nothing was measured"]
    if chosen is None:
        best = max(candidates, key=lambda each: (each.met, _sure(each), each.measured, each.warm_measured))
        share = "" if best.sure is None else f"; a new run would meet it in {_percent(best.sure)} of cases"
        return [
            f"no count that was measured meets {wanted}: the best is {_idle(best)} with "
            f"{_percent(best.measured)} of {best.jobs} jobs{share}"
        ]
    index = next(n for n, each in enumerate(candidates) if each.num_idle_processes == chosen)
    best = candidates[index]
    low, high = best.confidence
    lines = [
        f"advice: {_idle(best)} for {wanted}",
        f"  measured {_percent(best.measured)} of {best.jobs} jobs"
        + ("" if best.predicted is None else f", predicted {_percent(best.predicted)}")
        + f"; a new run: {_percent(low)} to {_percent(high)}"
        + ("" if best.sure is None else f", and it meets the target in {_percent(best.sure)} of cases"),
    ]
    lines += [
        f"  {_idle(smaller)} met it too this time, but would do so in {_percent(smaller.sure)} of cases only"
        for smaller in candidates[:index]
        if smaller.met and smaller.sure is not None
    ]
    return lines


def _notes(result: SweepResult, fitted: Fitted | None, candidates: Sequence[Candidate]) -> list[str]:
    """What takes something from the advice's worth."""
    notes = _starts_line(result.load, fitted)
    error = model_error(candidates)
    if error is not None and error > FAITHFUL:
        notes.append(
            f"  note: predicted and measured warm-hit rates differ by up to {error * 100:.0f} points: "
            "something else happens here than the model knows; more jobs or --repeat may tell"
        )
    if others := sum(run.others for run in result.runs):
        notes.append(f"  note: {others} other jobs came meanwhile and took processes")
    return notes


def _starts_line(load: TestLoad, fitted: Fitted | None) -> list[str]:
    """Where jobs come about as fast as processes can be made ready, or faster, idle ones only delay it."""
    rate = load.mean_rate
    if fitted is None or math.isinf(rate):
        return []
    each_s, at_once = mean(fitted.warm_ups_s) or 0.0, fitted.rule.starts_at_once
    if each_s <= 0 or rate < NEARLY_ALL * at_once / each_s:
        return []
    return [
        f"  note: jobs come at {rate:g}/s, and processes become ready at {at_once / each_s:.2g}/s at most "
        f"({at_once} start at once, {each_s:.2g} s each): however many are idle, in the long run they run out"
    ]


def _idle(candidate: Candidate) -> str:
    return f"{candidate.num_idle_processes} idle"


def _percent(share: float) -> str:
    """Never rounded up to all or down to none."""
    text = f"{share * 100:.1f}"
    if text == "100.0" and share < 1:
        text = "99.9"
    return f"{text.removesuffix('.0')} %"
