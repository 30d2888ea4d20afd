"""The texts of the tuning page at every width and with hostile names."""

import functools

import pytest
from msgspec.structs import replace

from agent_tui.model.tuning import (
    Advice,
    EarlierSweep,
    JobMeasure,
    Pattern,
    Phase,
    Progress,
    RunMeasure,
    SweepOutcome,
    SweepPlan,
    SweepView,
    Target,
    TestLoad,
    TestLoadView,
)
from agent_tui.tui.widgets import advice_rows, live_rows, sweep_rows
from agent_tui.tui.widgets.text import Line, width_of
from agent_tui.tuning.advice import advise
from agent_tui.tuning.grammar import parse_target
from agent_tui.tuning.recorder import unsettled
from agent_tui.tuning.results import row, rows
from tests.fakes.engine import FakeEngine
from tests.tui import histories
from tests.tui.hostile import HOSTILE
from tests.tuning.support import sweep_of

LOAD = TestLoad(40, 2.0)
TARGET = parse_target("p95<50ms")


def text(lines: tuple[Line, ...]) -> str:
    return "\n".join("".join(span.text for span in line) for line in lines)


def row_of(lines: tuple[Line, ...], start: str) -> list[str]:
    """Return the cells of the first line with that label."""
    line = next(each for each in text(lines).split("\n") if each.startswith(start))
    return line.removeprefix(start).split()


def entered(at_s: float, ms: float, *, warm: bool = True) -> JobMeasure:
    return JobMeasure("room", at_s, ms, 1.0, ms - 1.0, 0.0, warm, "p1")


def live(*, counts: tuple[tuple[float, int], ...] = ((0.0, 1), (5.0, 3)), ended: str = "") -> TestLoadView:
    """Return a load with cold jobs before the change and warm ones after it; one is lost, one waiting."""
    jobs = (
        entered(1.0, 300.0, warm=False),
        entered(2.0, 310.0, warm=False),
        JobMeasure("gone", 4.0, lost="no worker"),
        entered(6.0, 5.0),
        entered(7.0, 6.0),
    )
    arrivals = (1.0, 2.0, 4.0, 6.0, 7.0, 8.0)
    measure = RunMeasure(
        1, 0, TestLoad(10, 1.0), jobs, idle=((0.0, 1), (1.0, 0), (5.5, 3)), arrivals_s=arrivals
    )
    return TestLoadView(measure, counts, 9.0, running=not ended, ended=ended)


# -- a load ----------------------------------------------------------------------------------------------


def test_before_and_after_a_change_are_side_by_side() -> None:
    lines = live_rows.figures(live(), 80)
    assert row_of(lines, "dispatched") == ["3", "3", "6"]
    assert row_of(lines, "started") == ["2", "2", "4"]
    assert row_of(lines, "waiting") == ["0", "1", "1"]
    assert row_of(lines, "lost") == ["1", "0", "1"]
    assert row_of(lines, "warm") == ["0%", "100%", "50%"]
    assert row_of(lines, "p50 to entry") == ["310", "ms", "5", "ms", "300", "ms"]
    assert row_of(lines, "p95 to entry") == ["lost", "6", "ms", "lost"]
    assert "1 idle" in text(lines[:1])
    assert "3 idle now" in text(lines[:1])


def test_on_narrow_screens_the_newest_columns_stay() -> None:
    counts = tuple((float(number), number) for number in range(12))
    heads = text(live_rows.figures(live(counts=counts), 80)[:1])
    assert "11 idle now" in heads
    assert "total" in heads
    assert " 1 idle" not in heads


def test_missing_measurements_are_shown_as_dashes() -> None:
    view = TestLoadView(RunMeasure(1, 0, LOAD), ((0.0, 1),), 0.0, running=True)
    lines = live_rows.lines(view, 80, 24)
    assert row_of(lines, "p99 to entry") == ["–"]
    assert "0/40 dispatched" in text(lines)


def test_bars_count_idle_processes_and_arrivals() -> None:
    assert live_rows.idle_over(live(), 9) == [1, 0, 0, 0, 0, 0, 3, 3, 3]
    assert live_rows.arrivals_over(live(), 9) == [0, 1, 1, 0, 1, 0, 1, 1, 1]
    long = live_rows.arrivals_over(replace(live(), elapsed_s=600.0), 60)
    assert long == [6.0, *([0.0] * 59)], "ten seconds per bar"
    assert "jobs arriving per 10 s" in text(live_rows.pool_graph(replace(live(), elapsed_s=600.0), 60, 14))


def test_the_time_left_is_that_until_the_last_job_ends() -> None:
    load = TestLoad(10, 1.0, Pattern.STEADY, job_length_s=5.0)
    view = replace(live(), measure=replace(live().measure, load=load), elapsed_s=4.0)
    assert live_rows.time_left(view) == "about 10 s left"
    assert live_rows.time_left(replace(view, elapsed_s=20.0)) == "waiting for the last jobs to end"
    assert live_rows.time_left(replace(view, running=False)) == ""
    assert "about 10 s left" in text(live_rows.lines(view, 80, 24)[:1])


def test_a_saturated_machine_is_a_warning_above_the_figures() -> None:
    view = live()
    busy = replace(view, measure=replace(view.measure, machine_cpu=((1.0, 1.0), (2.0, 1.0), (6.0, 0.5))))
    lines = live_rows.lines(busy, 80, 24)
    assert text(lines[1:2]).startswith("▲ the machine was saturated for 67% of the time")
    assert row_of(lines, "machine CPU") == ["100%", "50%", "83%"]
    assert "saturated" not in text(live_rows.lines(view, 80, 24))


def test_the_graphs_show_changes_and_warm_and_cold_starts() -> None:
    picture = text(live_rows.graphs(live(), 120, 12))
    assert "▲" in picture
    assert "count changed" in picture
    assert "count changed" not in text(live_rows.graphs(live(counts=((0.0, 1),)), 120, 12))


# -- a sweep ---------------------------------------------------------------------------------------------


BEFORE = EarlierSweep(1_000.0, rows(sweep_of(LOAD, base_ms=7.0)))
FILES = ("/state/sweeps/x.json", "/state/sweeps/x.csv")


@functools.cache
def advice_for(target: Target) -> Advice:
    """Return the advice; cached, because the simulation takes a while."""
    return advise(sweep_of(LOAD), target)


def sweep_view(
    *, target: Target = TARGET, running: bool = False, before: bool = True, ended: str = ""
) -> SweepView:
    result = replace(sweep_of(LOAD), ended=ended)
    return SweepView(
        SweepPlan(LOAD, result.counts),
        target,
        Progress(Phase.DONE, 5, 40, 5),
        result,
        BEFORE if before else None,
        None if running else SweepOutcome(ended, advice=advice_for(target), files=FILES),
    )


def test_the_table_has_a_row_per_count_and_a_star_at_the_recommended_one() -> None:
    view = sweep_view()
    assert view.advice is not None
    lines = text(sweep_rows.table(view, 0, 116)).split("\n")
    assert len(lines) == 6
    heading = "idle jobs p50 ms p95 ms p99 ms Δp95 before warm % model % cpu % uss MB pss MB refill ms"
    assert " ".join(lines[0].split()) == heading
    (starred,) = [line for line in lines if "★" in line]
    assert starred.split()[1] == str(view.advice.count)
    assert lines[1].startswith("▸")
    assert "−2.0" in lines[5]  # 5 ms against the 7 ms of before


def test_the_current_run_has_a_row_from_its_first_job_on_and_the_sweep_a_time_left() -> None:
    view = sweep_view(running=True)
    progress = Progress(Phase.RUNNING, 5, 40, 2, count=2, jobs=20, so_far=row(2, (view.result.runs[2],)))
    half = replace(view, progress=progress, result=replace(view.result, runs=view.result.runs[:2]))
    last = text(sweep_rows.table(half, None, 116)[-1:]).split()
    assert last[:3] == ["◌", "2", "40"]
    assert sweep_rows.time_left(half, half.result.started + 25.0) == "about 25 s left"
    first = replace(half, progress=replace(progress, run=0, jobs=0), result=replace(half.result, runs=()))
    assert sweep_rows.time_left(first, half.result.started) == "about 1 min 50 s left", "as planned"
    assert sweep_rows.table(first, None, 116)[-1:] == sweep_rows.table(half, None, 116)[-1:]
    assert "about 25 s left" in text(sweep_rows.lines(half, None, 1, 80, 24, half.result.started + 25.0))
    assert sweep_rows.time_left(sweep_view(), 1e9) == ""


def test_a_saturated_machine_is_a_warning_while_the_sweep_runs_and_in_its_advice() -> None:
    view = sweep_view(running=True)
    busy = tuple(replace(run, machine_cpu=((0.5, 1.0),)) for run in view.result.runs)
    view = replace(view, result=replace(view.result, runs=busy))
    assert "▲ the machine was saturated for 100%" in text(sweep_rows.lines(view, None, 1, 116, 40))
    ended = replace(view, outcome=SweepOutcome(advice=advise(view.result, TARGET)))
    said = text(sweep_rows.lines(ended, None, 1, 116, 40))
    assert said.count("▲ the machine was saturated for 100%") == 1


def test_columns_are_dropped_but_never_the_important_ones() -> None:
    view = sweep_view()
    for width in (30, 76, 116):
        names = [each.heading for each in sweep_rows.columns(view, width)]
        assert {"idle", "p50 ms", "p95 ms", "p99 ms", "warm %", "uss MB"} <= set(names)
    assert "model %" not in [each.heading for each in sweep_rows.columns(view, 74)]
    assert "pss MB" in [each.heading for each in sweep_rows.columns(view, 74)]


def test_columns_without_values_are_not_shown() -> None:
    view = sweep_view(before=False)
    names = [each.heading for each in sweep_rows.columns(view, 200)]
    assert not {"lost", "p95 spread", "Δp95 before"} & set(names)
    run = view.result.runs[0]
    jobs = (*run.jobs, JobMeasure("gone", 1.0, lost="no"))
    lost = replace(view.result, runs=(replace(run, jobs=jobs),))
    full = replace(view, result=lost, before=BEFORE, plan=replace(view.plan, repeat=2))
    assert len(sweep_rows.columns(full, 200)) == len(sweep_rows.COLUMNS)


def test_the_spread_is_that_of_the_repeats() -> None:
    once = sweep_view()
    assert sweep_rows.spread(once, 4) == "–"
    slower = replace(sweep_of(LOAD, base_ms=9.0).runs[-1], repeat=1)
    twice = replace(once, result=replace(once.result, runs=(*once.result.runs, slower)))
    assert sweep_rows.spread(twice, 4) == "5.0…9.0"


def test_the_advice_says_how_to_apply_and_save_it() -> None:
    view = sweep_view()
    assert view.advice is not None
    said = text(advice_rows.advice_lines(view, 0, 116))
    assert f"★ set numIdleProcesses to {view.advice.count}" in said
    assert view.advice.count is not None
    facts = dict(advice_rows.advice_facts(view))
    assert facts.keys() == {"gains", "costs", "sure"}
    assert "of 40 jobs start within 50 ms; p95 " in facts["gains"]
    assert (
        facts["costs"]
        == f"{8 * view.advice.count} MB of memory (PSS) for {view.advice.count} idle processes, 8 MB each"
    )
    assert "of new runs would meet p95<50ms" in facts["sure"]
    assert all(f"  {name:<7}{value[:20]}" in said for name, value in facts.items())
    assert f"--num-idle-processes {view.advice.count}" in said
    assert "a apply" in said
    assert "✓ applied" in text(advice_rows.advice_lines(view, view.advice.count or 0, 116))
    none = text(advice_rows.advice_lines(sweep_view(target=parse_target("p95<1ms")), 1, 116))
    assert "no measured count meets p95<1ms" in none
    assert "apply" not in none


def test_the_sweep_says_what_it_is_waiting_for() -> None:
    settling = Progress(Phase.SETTLING, 10, 40, 3, count=2, waits_for="1 of 2 processes idle")
    assert sweep_rows.progress_text(settling, 1) == "waiting: 1 of 2 processes idle"
    engine = FakeEngine()
    histories.busy(engine)
    other = replace(settling, waits_for=unsettled(engine.bus.state, 2))
    assert other.waits_for == (
        "the job in demo-1 and 1 other are still running: end them, or wait until they end"
    )
    assert sweep_rows.progress_text(other, 1).endswith("Esc, then x in the process table ends one")
    running = Progress(Phase.RUNNING, 10, 40, 5, count=2, repeat=1, jobs=7)
    assert sweep_rows.progress_text(running, 2) == "2 idle, repeat 2 of 2: 7 of 40 jobs done"
    assert "5/10 runs" in text(sweep_rows.head(replace(sweep_view(running=True), progress=running)))


def test_an_early_end_and_a_failed_start_are_shown() -> None:
    view = sweep_view(ended="cancelled")
    runs = (*view.result.runs[:-1], replace(view.result.runs[-1], complete=False))
    view = replace(view, result=replace(view.result, runs=runs))
    assert "4/5 runs  ■ ended early: cancelled" in text(sweep_rows.head(view))
    lost = replace(sweep_view(), outcome=SweepOutcome(error="the first job was lost: no worker"))
    assert "failed to start: the first job was lost" in text(sweep_rows.head(lost))


def test_the_histogram_counts_every_job_and_the_lost_ones() -> None:
    view = sweep_view()
    run = view.result.runs[0]
    jobs = (*run.jobs[:-1], JobMeasure("gone", 1.0, lost="no"))
    result = replace(view.result, runs=(replace(run, jobs=jobs),))
    title, *bars = sweep_rows.bar_lines(replace(view, result=result), 0, 72)
    assert "0 idle: 40 jobs" in text((title,))
    assert sum(int(text((line,)).split()[-1]) for line in bars) == 40
    assert text((bars[-1],)).split()[0] == "lost"


@pytest.mark.parametrize(("value", "expected"), [(0, ""), (1, "▏"), (500, "█████"), (1000, "█" * 10)])
def test_a_bar_has_the_length_of_its_share_and_is_never_empty(value: int, expected: str) -> None:
    assert sweep_rows.bar(value, 1000, 10) == expected


def test_the_comparison_and_the_file_come_last() -> None:
    said = text(sweep_rows.lines(sweep_view(), 2, 1, 116, 40))
    assert "compared with the same test load on " in said
    assert said.endswith("saved as /state/sweeps/x.json and .csv")


@pytest.mark.parametrize("width", [20, 78, 118, 198])
def test_graphs_and_tables_fit_their_width(width: int) -> None:
    view = sweep_view()
    lines = [
        *live_rows.graphs(live(), width, 10),
        *live_rows.figures(live(), max(width, 41)),
        *sweep_rows.graphs(view, width, 10),
        *sweep_rows.table(view, 2, max(width, 60)),
    ]
    assert all(width_of(line) <= max(width, 60) for line in lines)


def test_outside_text_is_one_line() -> None:
    view = replace(
        sweep_view(ended=HOSTILE),
        outcome=SweepOutcome(HOSTILE, files=(HOSTILE,)),
        target=replace(TARGET, text=HOSTILE),
        progress=Progress(Phase.SETTLING, 5, 40, waits_for=HOSTILE),
    )
    said = text(
        (
            *sweep_rows.lines(view, 2, 1, 116, 40),
            *sweep_rows.head(replace(view, outcome=SweepOutcome(error=HOSTILE))),
            *sweep_rows.head(replace(view, outcome=None)),
            *live_rows.lines(live(ended=HOSTILE), 116, 40),
        )
    )
    assert "[/x][bold]" in said
    assert not any(char in said for char in ("\x1b", "\u202e"))


def test_a_load_in_words() -> None:
    assert live_rows.load_text(TestLoad(10, pattern=Pattern.BURST)) == "10 jobs at once, each 1 s"
    assert live_rows.load_text(TestLoad(10, 1.0, Pattern.RAMP, 5.0)) == "10 jobs, ramp 1-5/s, each 1 s"
