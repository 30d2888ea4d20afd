"""How `agent-tui tune` fits its test load into the time limit, and when it stops waiting."""

import asyncio

import pytest

from agent_tui.headless.run import ExitPolicy, Headless, HeadlessOptions
from agent_tui.headless.tune import MIN_JOBS, TuneOptions, TuneWork, jobs_in_time
from agent_tui.model import events as ev
from agent_tui.model.errors import ExitCode
from agent_tui.model.tuning import SweepPlan, TestLoad
from agent_tui.tuning.grammar import parse_target
from tests.fakes.engine import FakeEngine
from tests.limits import PATIENCE_S

PLAN = SweepPlan(TestLoad(50, 2.0), (0, 1, 2))


@pytest.mark.parametrize("warm_up_s", [0.0, 0.3, 2.0])
def test_all_runs_together_fit_into_the_time(warm_up_s: float) -> None:
    jobs = jobs_in_time(PLAN, 60.0, warm_up_s)
    assert jobs > MIN_JOBS
    assert len(PLAN.counts) * jobs / PLAN.load.rate < 60
    assert jobs_in_time(PLAN, 120.0, warm_up_s) > jobs
    assert jobs_in_time(PLAN, 60.0, warm_up_s + 1) < jobs


def test_a_run_has_a_minimum_of_jobs() -> None:
    assert jobs_in_time(PLAN, 1.0, 5.0) == MIN_JOBS


def test_a_remote_server_must_be_confirmed_for_a_sweep_too() -> None:
    remote = ev.ServerChosen(ev.ServerKind.CONFIGURED, "wss://x.cloud", "x.cloud", remote=True, media=True)
    assert ExitPolicy(HeadlessOptions(), tests=True).observe(remote) is ExitCode.USAGE
    assert ExitPolicy(HeadlessOptions(confirmed_host="x.cloud"), tests=True).observe(remote) is None
    assert ExitPolicy(HeadlessOptions()).observe(remote) is None


async def test_an_agent_that_is_not_ready_in_time_ends_the_run(capfd: pytest.CaptureFixture[str]) -> None:
    engine = FakeEngine()
    tuning = TuneWork(engine, TuneOptions(PLAN, parse_target("p95<50ms")))
    async with asyncio.timeout(PATIENCE_S):
        code = await Headless(engine, HeadlessOptions(json=True, ready_within_s=0.05), tuning).run()
    out, err = capfd.readouterr()
    assert code is ExitCode.JOB_FAILED
    assert err == "agent-tui: the agent was not ready within 0.05 s\n"
    assert "tune_result" not in out
