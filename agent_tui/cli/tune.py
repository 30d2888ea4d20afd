"""`agent-tui tune`: how many idle processes an agent needs, found out by measuring."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent_tui.cli.agent_file import find_agent
from agent_tui.cli.flags import checked, given_flags, option_flags, source_flags
from agent_tui.cli.run import prepare
from agent_tui.cli.signals import StopSignals
from agent_tui.model.errors import ExitCode, UserError
from agent_tui.model.events import StartMethod
from agent_tui.options import kinds
from agent_tui.options.configfile import read_surroundings
from agent_tui.runtimes import learned
from agent_tui.tuning import grammar
from agent_tui.tuning.loads import Load, Pattern
from agent_tui.tuning.target import EXPECTS, Target, parse_target

if TYPE_CHECKING:
    from agent_tui.engine.config import RunConfig

DEFAULT_JOBS = 50
ENDING_S = 3.0
"""Of `--seconds`: for the advice, and for everything to end in good order; at most a fifth of them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the flags ask for, checked."""

    load: Load
    counts: tuple[int, ...]
    repeat: int
    target: Target
    seconds: float | None
    fit_jobs: bool


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 a count meets the target, 1 none does, or the file does not load, 2 usage, 3 no "
    "server or refused credentials. docs/tuning.md says how it measures and what the advice rests on.",
)
@click.argument("agent", required=False)
@click.option("--rate", metavar="RATE", default="1/s", show_default=True, help="Arrivals: 2/s, 30/m, 1-5/s.")
@click.option(
    "--target", metavar="TARGET", default="p95<50ms", show_default=True, help=f"What is enough: {EXPECTS}."
)
@click.option("--idle", metavar="COUNTS", default="0-4", show_default=True, help="Counts to try: 0-4, 0,1,2.")
@click.option(
    "--jobs", metavar="N", default=None, help=f"Test jobs a run; {DEFAULT_JOBS}, or what --seconds allows."
)
@click.option(
    "--job-length", metavar="DURATION", default="1s", show_default=True, help="Ends test jobs after that."
)
@click.option(
    "--pattern",
    metavar="PATTERN",
    default=None,
    help="How they arrive: poisson (the default), steady, burst (all at once) or ramp (with --rate 1-5/s).",
)
@click.option("--repeat", metavar="R", default="1", show_default=True, help="Runs of each count.")
@click.option("--seconds", metavar="S", default=None, help="Bounds all; what is measured by then is told.")
@click.option("--seed", metavar="N", default="1", show_default=True, help="The same seed, the same load.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line; the last is tune_result.")
@click.option("--local", is_flag=True, help="Use the embedded server, whatever the environment says.")
@click.option("--allow-remote", metavar="HOST", default="", help="Allow test jobs on that remote server.")
@click.option(
    "--start-method",
    metavar="METHOD",
    default="auto",
    help="How job processes start: auto (the default), fork, template or spawn.",
)
@source_flags
@option_flags
def tune(
    agent: str | None,
    rate: str,
    target: str,
    idle: str,
    jobs: str | None,
    job_length: str,
    pattern: str | None,
    repeat: str,
    seconds: str | None,
    seed: str,
    as_json: bool,
    local: bool,
    allow_remote: str,
    start_method: str,
    config_file: Path | None,
    python: str | None,
    **options: str | None,
) -> int:
    """Runs the same load on AGENT with different counts of idle processes, and says which is enough."""
    began = time.monotonic()
    flags = given_flags(options)
    wanted = _wanted(rate, target, idle, jobs, job_length, pattern, repeat, seconds, seed)
    method = checked("--start-method", start_method, kinds.choice("auto", *StartMethod))
    cwd, environ = Path.cwd(), dict(os.environ)
    file, flags["agent"] = find_agent(agent, cwd, environ, config_file)
    environment = read_surroundings(file, cwd, environ, config_file)
    runtime, interpreter, head_start = prepare(file, cwd, environment.plain, python)

    from agent_tui.engine.config import RunConfig

    config = RunConfig(
        agent=file,
        cwd=cwd,
        read_environment=lambda: read_surroundings(file, cwd, environ, config_file),
        runtime=runtime,
        interpreter=interpreter,
        head_start=head_start,
        flags=flags,
        local=local,
        watch=False,  # another code halfway would make one figure of two
        start_method=None if method == "auto" else StartMethod(method),
        learned=learned.place(environ, interpreter.path, file),
    )
    try:
        return asyncio.run(_run(config, wanted, began, allow_remote, as_json))
    finally:
        head_start.discard()


def _wanted(
    rate: str,
    target: str,
    idle: str,
    jobs: str | None,
    job_length: str,
    pattern: str | None,
    repeat: str,
    seconds: str | None,
    seed: str,
) -> Wanted:
    per_s, end = _parsed("--rate", rate, grammar.parse_rate, grammar.RATE_EXPECTS)
    given = Pattern.POISSON if end is None else Pattern.RAMP
    if pattern is not None:
        given = Pattern(checked("--pattern", pattern, kinds.choice(*Pattern)))
    if (given is Pattern.RAMP) != (end is not None):
        raise UserError(
            f"--rate: {rate!r} does not go with --pattern {given}; a ramp takes two rates such as 1-5/s, "
            "the others one"
        )
    length_s = checked("--job-length", job_length, kinds.duration(1)) / 1000
    count = DEFAULT_JOBS if jobs is None else checked("--jobs", jobs, kinds.whole(1, 100_000))
    load = Load(count, per_s, given, end, length_s, checked("--seed", seed, kinds.whole(0, 2**31 - 1)))
    limit = None
    if seconds is not None:
        limit = checked("--seconds", seconds, kinds.number(1, 86_400, "seconds from 1 to 86400"))
    return Wanted(
        load,
        _parsed("--idle", idle, grammar.parse_counts, grammar.COUNTS_EXPECTS),
        checked("--repeat", repeat, kinds.whole(1, 1_000)),
        _parsed("--target", target, parse_target, EXPECTS),
        limit,
        jobs is None,
    )


def _parsed(flag: str, raw: str, parse: Callable[[str], Any], expects: str) -> Any:
    try:
        return parse(raw)
    except ValueError as error:
        raise UserError(f"{flag}: {raw!r} {error}; give {expects}", ExitCode.USAGE) from None


async def _run(config: "RunConfig", wanted: Wanted, began: float, allow_remote: str, as_json: bool) -> int:
    from agent_tui.engine.engine import Engine
    from agent_tui.headless.run import Headless, HeadlessOptions
    from agent_tui.headless.tune import TuneOptions, Tuning
    from agent_tui.model.commands import Stop
    from agent_tui.tuning.sweep import SweepPlan

    until = None
    if wanted.seconds is not None:
        until = began + wanted.seconds - min(ENDING_S, wanted.seconds / 5)
    engine = Engine(config)
    plan = SweepPlan(wanted.load, wanted.counts, wanted.repeat, allow_remote)
    tuning = Tuning(engine, TuneOptions(plan, wanted.target, until, wanted.fit_jobs))
    within = None if until is None else max(until - time.monotonic(), 0.0)
    options = HeadlessOptions(json=as_json, watch=False, confirmed_host=allow_remote, ready_within_s=within)
    running = asyncio.create_task(Headless(engine, options, tuning).run(), name="headless")

    async def stop(reason: str, kill: bool) -> None:
        if tuning.sweeping and not kill:
            tuning.stop(reason)  # and then all ends in good order, with what was measured
            return
        if not engine.up:
            running.cancel()
        await engine.send(Stop(reason, kill))

    killing = asyncio.create_task(_kill_at(began, wanted.seconds, stop), name="--seconds")
    with StopSignals(stop) as signals:
        try:
            code = await running
        except asyncio.CancelledError:
            code = ExitCode.INTERRUPTED
    killing.cancel()
    return code if signals.exit_code is None else signals.exit_code


async def _kill_at(began: float, seconds: float | None, stop: Callable[[str, bool], Awaitable[None]]) -> None:
    """What has not ended in good order by then is ended."""
    if seconds is not None:
        await asyncio.sleep(began + seconds - time.monotonic())
        await stop("--seconds are over", True)
