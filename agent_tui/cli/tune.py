"""`agent-tui tune`: measure how many idle processes an agent needs."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent_tui.cli.flags import choice_flag, converted, given_flags, hosting_flags, of_kind, seconds_of
from agent_tui.cli.help import CONTEXT, EXIT_CODES, MEASUREMENT, OUTPUT, SectionedCommand, flag
from agent_tui.cli.project import AgentProject
from agent_tui.cli.signals import StopSignals
from agent_tui.model.errors import ExitCode, UserError
from agent_tui.model.events import StartMethod
from agent_tui.model.tuning import Pattern, SweepPlan, Target, TestLoad
from agent_tui.options import kinds
from agent_tui.tuning.grammar import (
    COUNTS_EXPECTS,
    RATE_EXPECTS,
    TARGET_EXPECTS,
    parse_counts,
    parse_rate,
    parse_target,
    rate_text,
)

if TYPE_CHECKING:
    from agent_tui.engine.config import RunConfig

DEFAULT_JOBS = 50
SHUTDOWN_S = 3.0
"""How much of `--seconds` is kept for the advice and a graceful end, in s; at most a fifth of it."""


@click.command(
    cls=SectionedCommand,
    context_settings=CONTEXT,
    extra={
        EXIT_CODES: {
            "0": "a count meets the target",
            "1": "no count meets it, or the agent file does not load",
            "2": "usage error: unknown flag, invalid value, or no agent file",
            "3": "the server cannot be reached, or refused the credentials",
        }
    },
    epilog="docs/tuning.md explains how it measures and what the recommendation is based on.",
)
@click.argument("agent", required=False)
@flag(
    MEASUREMENT,
    "--rate",
    metavar="RATE",
    callback=converted(parse_rate, RATE_EXPECTS),
    default="1/s",
    show_default=True,
    help="Arrival rate of test jobs, such as 2/s or 30/m; for a ramp 1-5/s.",
)
@choice_flag(
    MEASUREMENT,
    "--pattern",
    words=Pattern,
    default=None,
    help="How test jobs arrive: at random (poisson), evenly (steady), all at once (burst), or at a changing "
    "rate (ramp). Default: ramp for a rate such as 1-5/s, otherwise poisson.",
)
@flag(
    MEASUREMENT,
    "--target",
    metavar="TARGET",
    callback=converted(parse_target, TARGET_EXPECTS),
    default="p95<50ms",
    show_default=True,
    help=f"Target that a count must meet: {TARGET_EXPECTS}.",
)
@flag(
    MEASUREMENT,
    "--idle",
    "counts",
    metavar="COUNTS",
    callback=converted(parse_counts, COUNTS_EXPECTS),
    default="0-4",
    show_default=True,
    help="Counts of idle processes to try, such as 0-4 or 0,1,2.",
)
@flag(
    MEASUREMENT,
    "--jobs",
    metavar="N",
    callback=of_kind(kinds.integer(1, 100_000)),
    default=None,
    help=f"Test jobs per run. Default: {DEFAULT_JOBS}, or fewer if --seconds requires it.",
)
@flag(
    MEASUREMENT,
    "--job-length",
    "length_s",
    metavar="DURATION",
    callback=seconds_of(kinds.duration(1)),
    default="1s",
    show_default=True,
    help="End each test job after this time.",
)
@flag(
    MEASUREMENT,
    "--repeat",
    metavar="R",
    callback=of_kind(kinds.integer(1, 1_000)),
    default="1",
    show_default=True,
    help="Runs per count.",
)
@flag(
    MEASUREMENT,
    "--seconds",
    metavar="S",
    callback=of_kind(kinds.number(1, 86_400, "seconds from 1 to 86400")),
    default=None,
    help="Time limit for the whole command. It then reports the results so far.",
)
@flag(
    MEASUREMENT,
    "--seed",
    metavar="N",
    callback=of_kind(kinds.integer(0, 2**31 - 1)),
    default="1",
    show_default=True,
    help="Seed of the arrival times. The same seed gives the same times.",
)
@flag(
    OUTPUT,
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object per line on stdout. The last one is tune_result.",
)
@hosting_flags
def tune(
    agent: str | None,
    rate: tuple[float, float | None],
    target: Target,
    counts: tuple[int, ...],
    jobs: int | None,
    length_s: float,
    pattern: Pattern | None,
    repeat: int,
    seconds: float | None,
    seed: int,
    as_json: bool,
    allow_remote: str,
    config_file: Path | None,
    python: str | None,
    node: str | None,
    local: bool,
    no_mask_env: bool,
    start_method: StartMethod | None,
    **options: str | None,
) -> int:
    """Run the same test load with different counts of idle processes, and report which count is enough."""
    started = time.monotonic()
    load = _load(rate, pattern, jobs or DEFAULT_JOBS, length_s, seed)
    plan = SweepPlan(load, counts, repeat, allow_remote)
    file = AgentProject.find(agent, given_flags(options), config_file, python, node, mask_env=not no_mask_env)
    usual = file.run_config(start_method)
    # Without the watch: a reload in the middle would mix the figures of two versions of the code.
    config = replace(usual, local=local, watch=False)
    ends = None if seconds is None else started + seconds
    try:
        return asyncio.run(_run(config, plan, target, ends, fit_jobs=jobs is None, as_json=as_json))
    finally:
        if config.head_start is not None:
            config.head_start.discard()


def _load(
    rate: tuple[float, float | None], pattern: Pattern | None, jobs: int, length_s: float, seed: int
) -> TestLoad:
    per_s, end = rate
    pattern = pattern or (Pattern.POISSON if end is None else Pattern.RAMP)
    if (pattern is Pattern.RAMP) != (end is not None):
        raise UserError(
            f"--rate: {rate_text(*rate)!r} does not fit --pattern {pattern}; give two rates for a ramp "
            "(1-5/s), and one rate for any other pattern",
            ExitCode.USAGE,
        )
    return TestLoad(jobs, per_s, pattern, end, length_s, seed)


async def _run(
    config: "RunConfig", plan: SweepPlan, target: Target, ends: float | None, *, fit_jobs: bool, as_json: bool
) -> int:
    """Run the sweep; `ends` is when everything must have ended, on the monotonic clock."""
    from agent_tui.headless.run import Headless, HeadlessOptions
    from agent_tui.headless.tune import TuneOptions, TuneWork
    from agent_tui.model.commands import Stop, StopTuning
    from agent_tui.tuning.tuner import make_engine

    within = until = None
    if ends is not None:
        left = ends - time.monotonic()
        within = left - min(SHUTDOWN_S, left / 5)
        until = time.monotonic() + within
    engine = make_engine(config)
    tuning = TuneWork(engine, TuneOptions(plan, target, until, fit_jobs))
    options = HeadlessOptions(
        json=as_json, watch=False, confirmed_host=plan.confirmed_host, ready_within_s=within
    )
    running = asyncio.create_task(Headless(engine, options, tuning).run(), name="headless")

    async def stop(reason: str, kill: bool) -> None:
        if engine.state.tuning.sweeping and not kill:
            await engine.send(StopTuning(reason))  # the run then ends by itself, and reports what it measured
            return
        if not engine.up:
            running.cancel()
        await engine.send(Stop(reason, kill))

    killing = asyncio.create_task(_kill_at(ends, stop), name="--seconds")
    with StopSignals(stop) as signals:
        try:
            code = await running
        except asyncio.CancelledError:
            code = ExitCode.INTERRUPTED
    killing.cancel()
    return code if signals.exit_code is None else signals.exit_code


async def _kill_at(ends: float | None, stop: Callable[[str, bool], Awaitable[None]]) -> None:
    """Kill everything that has not ended gracefully by `ends` (monotonic)."""
    if ends is not None:
        await asyncio.sleep(ends - time.monotonic())
        await stop("the time limit (--seconds) was reached", True)
