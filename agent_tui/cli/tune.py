"""`agent-tui tune`: how many idle processes an agent needs, found out by measuring."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent_tui.cli.flags import given_flags, hosting_flags, of_kind, one_of, seconds_of, taken
from agent_tui.cli.project import AgentProject
from agent_tui.cli.signals import StopSignals
from agent_tui.model.errors import ExitCode, UserError
from agent_tui.model.events import StartMethod
from agent_tui.model.tuning import Load, Pattern, SweepPlan, Target
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
ENDING_S = 3.0
"""Of `--seconds`: for the advice, and for everything to end in good order; at most a fifth of them."""


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 a count meets the target, 1 none does, or the file does not load, 2 usage, 3 no "
    "server or refused credentials. docs/tuning.md says how it measures and what the advice rests on.",
)
@click.argument("agent", required=False)
@click.option(
    "--rate",
    metavar="RATE",
    callback=taken(parse_rate, RATE_EXPECTS),
    default="1/s",
    show_default=True,
    help="Arrivals: 2/s, 30/m, 1-5/s.",
)
@click.option(
    "--target",
    metavar="TARGET",
    callback=taken(parse_target, TARGET_EXPECTS),
    default="p95<50ms",
    show_default=True,
    help=f"What is enough: {TARGET_EXPECTS}.",
)
@click.option(
    "--idle",
    "counts",
    metavar="COUNTS",
    callback=taken(parse_counts, COUNTS_EXPECTS),
    default="0-4",
    show_default=True,
    help="Counts to try: 0-4, 0,1,2.",
)
@click.option(
    "--jobs",
    metavar="N",
    callback=of_kind(kinds.integer(1, 100_000)),
    default=None,
    help=f"Test jobs a run; {DEFAULT_JOBS}, or what --seconds allows.",
)
@click.option(
    "--job-length",
    "length_s",
    metavar="DURATION",
    callback=seconds_of(kinds.duration(1)),
    default="1s",
    show_default=True,
    help="Ends test jobs after that.",
)
@click.option(
    "--pattern",
    metavar="PATTERN",
    callback=one_of(Pattern),
    default=None,
    help="How they arrive: poisson (the default), steady, burst (all at once) or ramp (with --rate 1-5/s).",
)
@click.option(
    "--repeat",
    metavar="R",
    callback=of_kind(kinds.integer(1, 1_000)),
    default="1",
    show_default=True,
    help="Runs of each count.",
)
@click.option(
    "--seconds",
    metavar="S",
    callback=of_kind(kinds.number(1, 86_400, "seconds from 1 to 86400")),
    default=None,
    help="Bounds all; what is measured by then is told.",
)
@click.option(
    "--seed",
    metavar="N",
    callback=of_kind(kinds.integer(0, 2**31 - 1)),
    default="1",
    show_default=True,
    help="The same seed, the same load.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line; the last is tune_result.")
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
    """Runs the same load on AGENT with different counts of idle processes, and says which is enough."""
    began = time.monotonic()
    load = _load(rate, pattern, jobs or DEFAULT_JOBS, length_s, seed)
    plan = SweepPlan(load, counts, repeat, allow_remote)
    file = AgentProject.find(agent, given_flags(options), config_file, python, node, mask_env=not no_mask_env)
    usual = file.run_config(start_method)
    # Another code halfway would make one figure of two.
    config = replace(usual, local=local, watch=False)
    ends = None if seconds is None else began + seconds
    try:
        return asyncio.run(_run(config, plan, target, ends, fit_jobs=jobs is None, as_json=as_json))
    finally:
        if config.head_start is not None:
            config.head_start.discard()


def _load(
    rate: tuple[float, float | None], pattern: Pattern | None, jobs: int, length_s: float, seed: int
) -> Load:
    per_s, end = rate
    pattern = pattern or (Pattern.POISSON if end is None else Pattern.RAMP)
    if (pattern is Pattern.RAMP) != (end is not None):
        raise UserError(
            f"--rate: {rate_text(*rate)!r} does not go with --pattern {pattern}; a ramp takes two rates "
            "such as 1-5/s, the others one",
            ExitCode.USAGE,
        )
    return Load(jobs, per_s, pattern, end, length_s, seed)


async def _run(
    config: "RunConfig", plan: SweepPlan, target: Target, ends: float | None, *, fit_jobs: bool, as_json: bool
) -> int:
    """`ends`: when all is over, on the monotonic clock."""
    from agent_tui.headless.run import Headless, HeadlessOptions
    from agent_tui.headless.tune import TuneOptions, Tuning
    from agent_tui.model.commands import Stop, StopTuning
    from agent_tui.tuning.tuner import make_engine

    within = until = None
    if ends is not None:
        left = ends - time.monotonic()
        within = left - min(ENDING_S, left / 5)
        until = time.monotonic() + within
    engine = make_engine(config)
    tuning = Tuning(engine, TuneOptions(plan, target, until, fit_jobs))
    options = HeadlessOptions(
        json=as_json, watch=False, confirmed_host=plan.confirmed_host, ready_within_s=within
    )
    running = asyncio.create_task(Headless(engine, options, tuning).run(), name="headless")

    async def stop(reason: str, kill: bool) -> None:
        if engine.state.tuning.sweeping and not kill:
            await engine.send(StopTuning(reason))  # then all ends gracefully, with what was measured
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
    """What has not ended in good order by then is ended."""
    if ends is not None:
        await asyncio.sleep(ends - time.monotonic())
        await stop("--seconds are over", True)
