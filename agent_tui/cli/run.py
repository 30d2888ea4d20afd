"""`agent-tui [AGENT]`: hosts one agent file."""

import asyncio
import gc
import importlib
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent_tui import __version__
from agent_tui.cli.flags import given_flags, hosting_flags, of_kind, one_of, seconds_of
from agent_tui.cli.project import AgentProject
from agent_tui.cli.signals import StopSignals
from agent_tui.model.child import MemoryMeasure
from agent_tui.model.errors import ExitCode
from agent_tui.model.events import OnReload, StartMethod
from agent_tui.options import kinds
from agent_tui.runtimes.kinds import AGENTS_JS
from agent_tui.runtimes.threads import in_thread

if TYPE_CHECKING:
    from agent_tui.engine.config import RunConfig
    from agent_tui.engine.engine import Engine
    from agent_tui.options.envfiles import Environment

DEBUG_PORT = 5678
"""Where editors look for debugpy."""

INSPECTOR_PORT = 9229
"""Where they look for Node."""

TEST_JOB_LENGTH_S = 10.0
"""For test jobs that nothing else would end: no media and so no room that closes, and nobody watching."""


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 ended as asked, 1 a job failed or was lost, or the file does not load, 2 usage, "
    "3 no server or refused credentials, 129, 130, 131 and 143 by signal. `agent-tui options` prints the "
    "options in force, `agent-tui doctor` checks what a run needs, `agent-tui tune` measures how many idle "
    "processes are enough, "
    "`agent-tui server` is the embedded server alone, `agent-tui demo` runs a bundled example.",
)
@click.argument("agent", required=False)
@click.option("--headless", is_flag=True, help="Lines instead of the screen; the default without a terminal.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout; headless.")
@click.option(
    "--dispatch",
    metavar="N",
    callback=of_kind(kinds.integer(0, 10_000)),
    default="0",
    help="Make N test jobs once ready.",
)
@click.option(
    "--exit-when-idle", is_flag=True, help="Leave when the jobs ended; 1 if one failed or was lost."
)
@click.option(
    "--job-length",
    "job_length_s",
    metavar="DURATION",
    callback=seconds_of(kinds.duration(1)),
    default=None,
    help="End test jobs that go on for longer.",
)
@click.option("--no-watch", is_flag=True, help="Do not load saves.")
@click.option(
    "--watch", "watch_globs", metavar="GLOB", multiple=True, help="Load saves of these files too; repeatable."
)
@click.option(
    "--on-reload",
    metavar="KEEP",
    callback=one_of(OnReload),
    default=OnReload.KEEP.value,
    help="Running jobs at a reload: keep (the default; they finish on old code), restart or end.",
)
@click.option(
    "--memory-measure",
    metavar="MEASURE",
    callback=one_of(MemoryMeasure, or_auto=True),
    default="auto",
    help="What counts against the memory options: rss, pss, uss, or auto (the default; as the SDK counts).",
)
@click.option(
    "--debug",
    "debug_port",
    metavar="[PORT]",
    callback=of_kind(kinds.integer(0, 65_535)),
    is_flag=False,
    flag_value="0",
    default=None,
    help=f"Each job waits for a debugger on loopback before it begins: debugpy (port {DEBUG_PORT} unless "
    f"given) or Node's inspector ({INSPECTOR_PORT}).",
)
@click.option(
    "--no-watchdogs", is_flag=True, help="Ends no process for being silent or slow to load, debugged or not."
)
@hosting_flags
@click.version_option(__version__, prog_name="agent-tui", message="%(prog)s %(version)s")
def run(
    agent: str | None,
    headless: bool,
    as_json: bool,
    dispatch: int,
    exit_when_idle: bool,
    job_length_s: float | None,
    allow_remote: str,
    config_file: Path | None,
    python: str | None,
    node: str | None,
    local: bool,
    no_mask_env: bool,
    no_watch: bool,
    watch_globs: tuple[str, ...],
    on_reload: OnReload,
    start_method: StartMethod | None,
    memory_measure: MemoryMeasure | None,
    debug_port: int | None,
    no_watchdogs: bool,
    **options: str | None,
) -> int:
    """Hosts a LiveKit agent file, Python or JavaScript: AGENT, else agent.py, agent.ts or the like here."""
    file = AgentProject.find(agent, given_flags(options), config_file, python, node, mask_env=not no_mask_env)
    screen = not (headless or as_json or exit_when_idle) and _has_terminal()
    # The interpreter is asked, and its child imports the SDK, while we import the rest of ourselves.
    preparing = in_thread(file.run_config, start_method)
    if screen:
        importlib.import_module("agent_tui.tui.app")
    usual = preparing.result()
    config = replace(
        usual,
        local=local,
        watch=not no_watch and not exit_when_idle,
        watch_globs=watch_globs,
        on_reload=on_reload,
        debug_port=_debug_port(debug_port, usual.runtime),
        watchdogs=not no_watchdogs,
        memory_measure=memory_measure,
        job_length_s=job_length_s,
        unattended_job_length_s=TEST_JOB_LENGTH_S if exit_when_idle else None,
    )
    try:
        if screen:
            return asyncio.run(_run_screen(config, dispatch, allow_remote, file.environment))
        return asyncio.run(_run_headless(config, dispatch, allow_remote, as_json, exit_when_idle))
    finally:
        if config.head_start is not None:
            config.head_start.discard()


def _debug_port(given: int | None, runtime: str) -> int:
    """Return the port that was given, the usual one of the language if none was, or 0 without the flag."""
    if given is None:
        return 0
    return given or (INSPECTOR_PORT if runtime == AGENTS_JS else DEBUG_PORT)


def _has_terminal() -> bool:
    """Return whether there is a terminal to draw on and to read keys from; stderr does not matter."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


async def _run_screen(
    config: "RunConfig", dispatch: int, allow_remote: str, environment: "Environment"
) -> int:
    from agent_tui.tui.actions import ACTIONS
    from agent_tui.tui.app import AgentTuiApp
    from agent_tui.tui.editor import is_open
    from agent_tui.tui.preferences import read_preferences

    preferences = read_preferences(environment.screen, str(environment.config_file), ACTIONS)

    async def make_engine() -> "Engine":
        # After the first frame, and in a thread, so that the screen lives meanwhile.
        tuner = await asyncio.to_thread(importlib.import_module, "agent_tui.tuning.tuner")
        # What is there by now stays: collections that looked at it would hold the screen up for 0.1 s.
        gc.freeze()
        made: Engine = tuner.make_engine(config)
        return made

    app = AgentTuiApp(
        make_engine,
        agent=str(config.agent),
        dispatch=dispatch,
        confirmed_host=allow_remote,
        preferences=preferences,
    )

    def ignores(number: signal.Signals) -> bool:
        # Ctrl+C in an editor goes to all programs in the foreground.
        return number is signal.SIGINT and is_open(app)

    with StopSignals(app.stop, app.leave, ignores=ignores) as signals:
        code = await app.run_async()
        failed = app.return_code or ExitCode.OK  # of a screen that broke; ending the engine is no excuse
        await app.ended()
    if signals.exit_code is not None:
        return signals.exit_code
    return failed if code is None else code


async def _run_headless(
    config: "RunConfig", dispatch: int, allow_remote: str, as_json: bool, exit_when_idle: bool
) -> int:
    from agent_tui.engine.engine import Engine
    from agent_tui.headless.run import Headless, HeadlessOptions
    from agent_tui.model.commands import Stop

    engine = Engine(config)  # nothing sends it loads or sweeps: a tuner would only delay the start
    options = HeadlessOptions(
        json=as_json,
        dispatch=dispatch,
        exit_when_idle=exit_when_idle,
        watch=config.watch,
        confirmed_host=allow_remote,
    )
    front = Headless(engine, options)
    running = asyncio.create_task(front.run(), name="headless")

    async def stop(reason: str, kill: bool) -> None:
        if not engine.up:
            running.cancel()  # nothing is there yet that would have to be ended in good order
        await engine.send(Stop(reason, kill))

    with StopSignals(stop) as signals:
        try:
            code = await running
        except asyncio.CancelledError:
            code = ExitCode.INTERRUPTED
    return code if signals.exit_code is None else signals.exit_code
