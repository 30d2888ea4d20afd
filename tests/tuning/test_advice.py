"""Advice: the smallest count that is enough by measurement and model, or none."""

import pytest
from msgspec.structs import replace

from agent_tui.model.tuning import JobMeasure, MeasuredCount, Pattern, SweepResult, TestLoad
from agent_tui.tuning.advice import advise, choose, confidence, model_error
from agent_tui.tuning.fit import Prediction
from agent_tui.tuning.grammar import parse_target
from agent_tui.tuning.results import rows
from tests.tuning.support import RULE, run_of, sweep_of

LOAD = TestLoad(100, 1.5, seed=3)
P95 = parse_target("p95<50ms")


def candidate(count: int, met: bool, sure: float | None) -> MeasuredCount:
    return MeasuredCount(count, 10, 1.0, met, (0, 1), sure, sure, (0, 1), 1.0, 1.0)


@pytest.mark.parametrize(
    ("candidates", "count"),
    [
        ([(0, False, 0.0), (1, True, 0.95), (2, True, 1.0)], 1),
        ([(0, False, 0.0), (1, True, 0.6), (2, True, 0.95)], 2),  # 1 met it by luck
        ([(0, False, 0.0), (1, True, 0.8), (2, True, 0.82)], 1),  # noise decides: more does not help
        ([(0, False, 0.95), (1, True, 0.95)], 1),  # the measurement overrules the model
        ([(0, True, 0.3), (1, True, 0.4)], None),
        ([(0, False, 0.0), (1, False, 0.2)], None),
        ([(0, False, None), (1, True, None)], 1),
        ([], None),
    ],
)
def test_which_count_is_chosen(candidates: list[tuple[int, bool, float | None]], count: int | None) -> None:
    assert choose([candidate(*each) for each in candidates]) == count


def test_the_advice_holds_for_new_runs_of_the_modeled_pool() -> None:
    advice = advise(sweep_of(LOAD), P95, RULE)
    assert advice.count == 3
    error = model_error(advice.candidates)
    assert error is not None
    assert error <= 0.03
    chosen = advice.chosen
    assert chosen is not None
    met = inside = 0
    for seed in range(200, 300):
        jobs = run_of(3, LOAD.reseeded(seed), 0.3).jobs
        hits = sum(P95.hit(job.latency_ms, job.warm) for job in jobs)
        met += P95.met(hits, len(jobs))
        low, high = chosen.confidence
        inside += low <= hits / len(jobs) <= high
    assert met >= 85
    assert inside >= 93


def test_a_smaller_count_would_miss_the_target() -> None:
    advice = advise(sweep_of(LOAD), P95, RULE)
    smaller = advice.candidates[2]
    assert smaller.sure is not None
    assert smaller.sure < 0.5
    missed = sum(
        not P95.met(sum(job.warm for job in run_of(2, LOAD.reseeded(seed), 0.3).jobs), 100)
        for seed in range(200, 230)
    )
    assert missed > 15


def test_without_advice_the_lines_name_the_best_count() -> None:
    advice = advise(sweep_of(LOAD, base_ms=80), P95, RULE)
    assert (advice.count, advice.chosen) == (None, None)
    assert "no measured count meets p95<50ms: the best is" in advice.lines[0]


def test_jobs_faster_than_processes_can_start_get_a_note() -> None:
    assert (
        "in the long run, no number of idle ones is enough"
        in advise(sweep_of(LOAD, 2.0), P95, RULE).lines[-1]
    )
    assert "in the long run" not in " ".join(advise(sweep_of(LOAD), P95, RULE).lines)


def test_a_burst_needs_one_process_per_job() -> None:
    load = TestLoad(6, pattern=Pattern.BURST)
    advice = advise(sweep_of(load, counts=(0, 4, 5, 6)), parse_target("warm>=100%"), RULE)
    assert advice.count == 6


def test_lost_jobs_count_against_every_target() -> None:
    result = sweep_of(LOAD, counts=(8,))
    lost = tuple(
        JobMeasure(job.room, job.at_s, lost="no worker") if number % 10 == 0 else job
        for number, job in enumerate(result.runs[0].jobs)
    )
    result = replace(result, runs=(replace(result.runs[0], jobs=lost),))
    assert advise(result, P95, RULE).count is None
    assert advise(result, parse_target("warm>90%"), RULE).candidates[0].measured == 0.9
    (row,) = rows(result)
    assert (row.lost, row.p50_ms, row.p95_ms, row.warm_hit_rate) == (10, 5.0, None, 0.9)


def test_without_measurements_there_is_no_advice() -> None:
    nothing = SweepResult("/a.py", "", 0.0, LOAD, (0,), 1)
    assert advise(nothing, P95, RULE).count is None


def test_the_interval_spans_measurement_and_model() -> None:
    low, high = confidence(40, 40, 40, Prediction(0.9, 0.7, 0.95, 0.5))
    assert low == 0.7
    assert high == 1.0
    assert confidence(40, 40, 40, None)[0] > 0.85


def test_notes_say_what_makes_the_advice_less_reliable() -> None:
    good = sweep_of(LOAD)
    assert not [line for line in advise(good, P95, RULE).lines if "note:" in line]
    runs = tuple(replace(run, others=2, warm_ups_s=(0.05,)) for run in good.runs)
    notes = [line for line in advise(replace(good, runs=runs), P95, RULE).lines if "note:" in line]
    assert len(notes) == 2
    assert "points" in notes[0]
    assert "10 other jobs" in notes[1]
