"""Sweeps that are simulated with the model, or made by hand."""

import random

from agent_tui.model.tuning import IdleMemory, JobMeasure, RunMeasure, SweepResult, TestLoad
from agent_tui.tuning.arrivals import offsets
from agent_tui.tuning.model import PoolRule, simulate

RULE = PoolRule(starts_at_once=2)


def run_of(
    count: int, load: TestLoad, warm_up_s: float, *, base_ms: float = 5.0, repeat: int = 0
) -> RunMeasure:
    """Simulate a run: warm jobs take `base_ms`, and others also wait for their process."""
    arrivals = offsets(load)
    waits = simulate(arrivals, count, (warm_up_s,), RULE, random.Random(load.seed))
    jobs = tuple(
        JobMeasure(
            f"room-{number}",
            at,
            base_ms + (wait or 0.0) * 1000,
            1.0,
            base_ms - 1 + (wait or 0.0) * 1000,
            (wait or 0.0) * 1000,
            wait is None,
            f"p{number}",
        )
        for number, (at, wait) in enumerate(zip(arrivals, waits, strict=True))
    )
    return RunMeasure(
        count,
        repeat,
        load,
        jobs,
        warm_ups_s=(warm_up_s,) * len(jobs),
        warming_cpu_s=(0.02,),
        refills_s=(warm_up_s + 0.02,),
        memory=tuple(IdleMemory(100 + n, 30.0, 4.0, 8.0) for n in range(count)),
        idle=((0.0, count), (arrivals[0], max(count - 1, 0))),
        arrivals_s=arrivals,
    )


def sweep_of(
    load: TestLoad, warm_up_s: float = 0.3, counts: tuple[int, ...] = (0, 1, 2, 3, 4), *, base_ms: float = 5.0
) -> SweepResult:
    """Simulate a complete sweep."""
    runs = tuple(run_of(count, load, warm_up_s, base_ms=base_ms) for count in counts)
    return SweepResult("/project/agent.py", "bob", 1_000.0, load, counts, 1, runs)
