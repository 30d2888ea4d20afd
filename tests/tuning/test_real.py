"""A real agent that takes 1.7 s to prewarm: a sweep, its advice, and a new run that confirms it.

What is measured is checked by other means: the agent's own clock, and the kernel's smaps_rollup.
"""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from agent_tui.model.tuning import SweepPlan, TestLoad
from agent_tui.tuning.advice import advise
from agent_tui.tuning.grammar import parse_target
from agent_tui.tuning.results import rows
from agent_tui.tuning.sweep import Sweep

BENCH = Path(__file__).resolve().parents[2] / "bench/tune.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The agent, which logs its entries, and runs that are independent of the sweep."""
    spec = importlib.util.spec_from_file_location("bench_tune", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.real
@pytest.mark.timeout(300)
async def test_a_new_run_at_the_advised_count_is_within_the_stated_interval(
    bench: ModuleType, tmp_path: Path
) -> None:
    # Enough for every warm job, however busy the machine; a cold one waits for twice as long.
    target = parse_target("p90<850ms")
    load = TestLoad(20, 1.0, job_length_s=0.4, seed=5)
    async with bench.hosted(tmp_path, 1.7) as place:
        result = await Sweep(place.engine, SweepPlan(load, (0, 1, 6)), place.note_kernel).run()
        advice = advise(result, target)
        assert advice.count == 6, advice.lines
        assert place.engine.state.settings.resolution.options.num_idle_processes == 1
        cold, one, six = rows(result)
        assert cold.warm_hit_rate == 0
        assert cold.p50_ms is not None
        assert cold.p50_ms > 1600
        assert 0 < one.warm_hit_rate < six.warm_hit_rate
        assert six.warm_up_p50_ms == pytest.approx(1720, rel=0.3)

        compared = 0
        for memory in (each for run in result.runs for each in run.memory):
            uss_mb, pss_mb = place.kernel[memory.pid]
            assert memory.uss_mb == pytest.approx(uss_mb, rel=0.02)
            # A process that starts or ends between the two readings changes each sibling's share.
            assert memory.pss_mb == pytest.approx(pss_mb, rel=0.15)
            compared += 1
        assert compared == 7

        hits, jobs = await bench.attained(place, advice.count, load.reseeded(99), target)
        assert target.met(hits, jobs)
        assert advice.chosen is not None
        low, high = advice.chosen.confidence
        assert low - 1e-9 <= hits / jobs <= high + 1e-9
