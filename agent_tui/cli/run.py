"""`agent-tui [AGENT]`: hosts one agent file."""

import asyncio
import importlib
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent_tui import __version__
from agent_tui.cli.agent_file import find_agent
from agent_tui.cli.flags import checked, given_flags, option_flags, source_flags
from agent_tui.cli.signals import StopSignals
from agent_tui.model.child import MemoryMeasure
from agent_tui.model.errors import ExitCode
from agent_tui.model.events import OnReload, StartMethod
from agent_tui.options import kinds
from agent_tui.options.configfile import read_surroundings
from agent_tui.runtimes import learned
from agent_tui.runtimes.detect import detect
from agent_tui.runtimes.headstart import HeadStart
from agent_tui.runtimes.interpreter import Interpreter, find_interpreter

if TYPE_CHECKING:
    from agent_tui.engine.config import RunConfig
    from agent_tui.engine.engine import Engine
    from agent_tui.options.envfiles import Environment

DEBUG_PORT = 5678
"""Where editors look for debugpy."""

TEST_JOB_LENGTH_S = 10.0
"""For test jobs that nothing else would end: no media and so no room that closes, and nobody watching."""


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 ended as asked, 1 a job failed or was lost, or the file does not load, 2 usage, "
    "3 no server or refused credentials, 129, 130 and 143 by signal. `agent-tui options` prints the options "
    "in force, `agent-tui doctor` checks what a run needs, `agent-tui tune` measures how many "
    "idle processes are enough, "
    "`agent-tui server` is the embedded server alone.",
)
@click.argument("agent", required=False)
@click.option("--local", is_flag=True, help="Use the embedded server, whatever the environment says.")
@click.option("--headless", is_flag=True, help="Lines instead of the screen; the default without a terminal.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout; headless.")
@click.option("--dispatch", metavar="N", default="0", help="Make N test jobs once ready.")
@click.option(
    "--exit-when-idle", is_flag=True, help="Leave when the jobs ended; 1 if one failed or was lost."
)
@click.option("--job-length", metavar="DURATION", default=None, help="End test jobs that go on for longer.")
@click.option("--allow-remote", metavar="HOST", default="", help="Allow test jobs on that remote server.")
@source_flags
@click.option("--no-watch", is_flag=True, help="Do not load saves.")
@click.option(
    "--watch", "watch_globs", metavar="GLOB", multiple=True, help="Load saves of these files too; repeatable."
)
@click.option(
    "--on-reload",
    metavar="KEEP",
    default=OnReload.KEEP.value,
    help="Running jobs at a reload: keep (the default; they finish on old code), restart or end.",
)
@click.option(
    "--start-method",
    metavar="METHOD",
    default="auto",
    help="How job processes start: auto (the default), fork, template or spawn.",
)
@click.option(
    "--memory-measure",
    metavar="MEASURE",
    default="auto",
    help="What counts against the memory options: rss, pss, uss, or auto (the default; as the SDK counts).",
)
@click.option(
    "--debug",
    "debug_port",
    metavar="[PORT]",
    is_flag=False,
    flag_value=str(DEBUG_PORT),
    default=None,
    help=f"Each job waits for debugpy on loopback before it begins; port {DEBUG_PORT} unless given.",
)
@click.option(
    "--no-watchdogs", is_flag=True, help="Ends no process for being silent or slow to load, debugged or not."
)
@option_flags
@click.version_option(__version__, prog_name="agent-tui", message="%(prog)s %(version)s")
def run(
    agent: str | None,
    local: bool,
    headless: bool,
    as_json: bool,
    dispatch: str,
    exit_when_idle: bool,
    job_length: str | None,
    allow_remote: str,
    config_file: Path | None,
    python: str | None,
    no_watch: bool,
    watch_globs: tuple[str, ...],
    on_reload: str,
    start_method: str,
    memory_measure: str,
    debug_port: str | None,
    no_watchdogs: bool,
    **options: str | None,
) -> int:
    """Hosts a LiveKit agent file: AGENT, or agent.py in this folder."""
    flags = given_flags(options)
    cwd, environ = Path.cwd(), dict(os.environ)
    file, flags["agent"] = find_agent(agent, cwd, environ, config_file)
    count = checked("--dispatch", dispatch, kinds.whole(0, 10_000))
    length = None if job_length is None else checked("--job-length", job_length, kinds.duration(1)) / 1000

    policy = checked("--on-reload", on_reload, kinds.choice(*OnReload))
    method = checked("--start-method", start_method, kinds.choice("auto", *StartMethod))
    measure = checked("--memory-measure", memory_measure, kinds.choice("auto", *MemoryMeasure))
    port = 0 if debug_port is None else checked("--debug", debug_port, kinds.whole(1, 65_535))

    environment = read_surroundings(file, cwd, environ, config_file)
    screen = not (headless or as_json or exit_when_idle) and sys.stdin.isatty() and sys.stdout.isatty()
    with ThreadPoolExecutor(1) as beside:
        # The interpreter is asked, and its child imports the SDK, while we import the rest of ourselves.
        preparing = beside.submit(prepare, file, cwd, environment.plain, python)
        if screen:
            importlib.import_module("agent_tui.tui.app")
        runtime, interpreter, head_start = preparing.result()

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
        watch=not no_watch and not exit_when_idle,
        watch_globs=watch_globs,
        on_reload=OnReload(policy),
        start_method=None if method == "auto" else StartMethod(method),
        learned=learned.place(environ, interpreter.path, file),
        debug_port=port,
        watchdogs=not no_watchdogs,
        memory_measure=None if measure == "auto" else MemoryMeasure(measure),
        job_length_s=length,
        unattended_job_length_s=TEST_JOB_LENGTH_S if exit_when_idle else None,
    )
    try:
        if screen:
            return asyncio.run(_run_screen(config, count, allow_remote, environment))
        return asyncio.run(_run_headless(config, count, allow_remote, as_json, exit_when_idle))
    finally:
        head_start.discard()


def prepare(
    file: Path, cwd: Path, environ: Mapping[str, str], python: str | None
) -> tuple[str, Interpreter, HeadStart]:
    """Which kind of file it is, its interpreter, and a child there that imports the SDK already."""
    runtime = detect(file)
    interpreter = find_interpreter(file, runtime, environ, python)
    imports = learned.recall(learned.place(environ, interpreter.path, file)).imports
    return runtime, interpreter, HeadStart(runtime, interpreter.path, cwd, environ, imports)


async def _run_screen(
    config: "RunConfig", dispatch: int, allow_remote: str, environment: "Environment"
) -> int:
    from agent_tui.tui.actions import ACTIONS
    from agent_tui.tui.app import AgentTuiApp
    from agent_tui.tui.preferences import read_preferences

    preferences = read_preferences(environment.screen, str(environment.config_file), ACTIONS)

    async def make_engine() -> "Engine":
        # After the first frame, and in a thread, so that the screen lives meanwhile.
        engine = await asyncio.to_thread(importlib.import_module, "agent_tui.engine.engine")
        made: Engine = engine.Engine(config)
        return made

    app = AgentTuiApp(
        make_engine,
        agent=str(config.agent),
        dispatch=dispatch,
        confirmed_host=allow_remote,
        preferences=preferences,
    )
    with StopSignals(app.stop) as signals:
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

    engine = Engine(config)
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
