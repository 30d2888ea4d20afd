"""`agent-tui [AGENT]`: host one agent file."""

import asyncio
import contextlib
import gc
import importlib
import os
import select
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent_tui import __version__
from agent_tui.cli import help
from agent_tui.cli.flags import choice_flag, given_flags, hosting_flags, of_kind, seconds_of
from agent_tui.cli.help import CONTEXT, SectionedCommand, flag
from agent_tui.cli.main import COMMANDS
from agent_tui.cli.project import AgentProject
from agent_tui.cli.signals import StopSignals
from agent_tui.model.child import MemoryMeasure
from agent_tui.model.errors import ExitCode, UserError
from agent_tui.model.events import StartMethod
from agent_tui.options import kinds
from agent_tui.options.declare import Section
from agent_tui.runtimes.kinds import AGENTS_JS
from agent_tui.runtimes.threads import in_thread

if TYPE_CHECKING:
    from agent_tui.engine.config import RunConfig
    from agent_tui.engine.engine import Engine
    from agent_tui.options.envfiles import Environment

STDOUT = 1

DEBUG_PORT = 5678
"""debugpy's default port, which editors connect to."""

INSPECTOR_PORT = 9229
"""The default port of Node's inspector."""

TEST_JOB_LENGTH_S = 10.0
"""With `--exit-when-idle`, how long a test job may run on a server without media, where no room closes."""


@click.command(
    cls=SectionedCommand,
    context_settings=CONTEXT,
    extra={
        help.COMMANDS: COMMANDS,
        help.EXIT_CODES: {
            "0": "ended as requested",
            "1": "a job failed or was lost (with --exit-when-idle), or the agent file does not load (with "
            "--exit-when-idle, or headless with --no-watch)",
            "2": "usage error: unknown flag, invalid value, or no agent file",
            "3": "the server cannot be reached, or refused the credentials",
            "129, 130, 131, 143": "SIGHUP, SIGINT, SIGQUIT, SIGTERM",
        },
    },
    epilog="`agent-tui COMMAND --help` describes a command.",
)
@click.argument("agent", required=False)
@flag(
    help.OUTPUT,
    "--headless",
    is_flag=True,
    help="Print events and logs as lines; do not open the screen. Default when there is no terminal.",
)
@flag(
    help.OUTPUT,
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object per line on stdout. Implies --headless.",
)
@flag(
    Section.TEST_JOBS,
    "--dispatch",
    metavar="N",
    callback=of_kind(kinds.integer(0, 10_000)),
    default="0",
    help="Start N test jobs once the agent is ready.",
)
@flag(
    Section.TEST_JOBS,
    "--exit-when-idle",
    is_flag=True,
    help="Exit when the jobs have ended. Implies --headless and --no-watch.",
)
@flag(
    Section.TEST_JOBS,
    "--say",
    metavar="TEXT",
    multiple=True,
    help="Send TEXT to the agent's session in each test job, as if typed; '@2 TEXT' is for the second one "
    "only. "
    "Repeatable; - reads a turn per line from standard input. Implies --headless, and starts a test job if "
    "--dispatch does not.",
)
@flag(
    Section.TEST_JOBS,
    "--talk",
    is_flag=True,
    help="Start a test job, and open the screen ready to type to its agent.",
)
@flag(
    Section.TEST_JOBS,
    "--turn-timeout",
    "turn_timeout_s",
    metavar="DURATION",
    callback=seconds_of(kinds.duration(1)),
    default="60s",
    help="How long the agent may take to answer a typed turn.",
)
@flag(
    Section.TEST_JOBS,
    "--text/--no-text",
    "text_only",
    default=None,
    help="Run sessions without audio. Default: on if the server has no media.",
)
@flag(
    Section.TEST_JOBS,
    "--sessions/--no-sessions",
    "sessions",
    default=None,
    help="Attach to the agent's sessions, to show their conversations. On by default, except with "
    "--production.",
)
@flag(
    Section.TEST_JOBS,
    "--job-length",
    "job_length_s",
    metavar="DURATION",
    callback=seconds_of(kinds.duration(1)),
    default=None,
    help="End test jobs that run longer than this.",
)
@flag(Section.RELOAD, "--no-watch", is_flag=True, help="Do not reload on save.")
@flag(
    Section.RELOAD,
    "--watch",
    "watch_globs",
    metavar="GLOB",
    multiple=True,
    help="Also reload when a file that matches GLOB is saved. Repeatable.",
)
@choice_flag(
    Section.MEMORY,
    "--memory-measure",
    words=MemoryMeasure,
    or_auto=True,
    default="auto",
    help="Memory figure that the limits apply to. auto (the default): the one that the agent's SDK uses.",
)
@flag(
    Section.DIAGNOSTICS,
    "--debug",
    "debug_port",
    metavar="[PORT]",
    callback=of_kind(kinds.integer(0, 65_535)),
    is_flag=False,
    flag_value="0",
    default=None,
    help="Make each job wait for a debugger on loopback: debugpy "
    f"(default port {DEBUG_PORT}) or Node's inspector ({INSPECTOR_PORT}).",
)
@flag(
    Section.DIAGNOSTICS,
    "--no-watchdogs",
    is_flag=True,
    help="Do not kill processes that hang or are slow to load.",
)
@hosting_flags
@click.version_option(
    __version__, prog_name="agent-tui", message="%(prog)s %(version)s", help="Print the version and exit."
)
def run(
    agent: str | None,
    headless: bool,
    as_json: bool,
    dispatch: int,
    exit_when_idle: bool,
    say: tuple[str, ...],
    turn_timeout_s: float,
    text_only: bool | None,
    sessions: bool | None,
    job_length_s: float | None,
    talk: bool,
    allow_remote: str,
    config_file: Path | None,
    python: str | None,
    node: str | None,
    local: bool,
    no_mask_env: bool,
    no_watch: bool,
    watch_globs: tuple[str, ...],
    start_method: StartMethod | None,
    memory_measure: MemoryMeasure | None,
    debug_port: int | None,
    no_watchdogs: bool,
    **options: str | None,
) -> int:
    """Host a LiveKit agent file (Python or JavaScript) and reload it on each save.

    Without AGENT: agent.py, agent.ts, main.ts, or another default name, in this folder or its src/.
    """
    if say and sessions is False:
        raise UserError("--say needs the agent's sessions: leave out --no-sessions")
    if talk and sessions is False:
        raise UserError("--talk needs the agent's sessions: leave out --no-sessions")
    gc.disable()  # what is imported now stays until the end; collections would take a tenth of the start
    file = AgentProject.find(agent, given_flags(options), config_file, python, node, mask_env=not no_mask_env)
    screen = not (headless or as_json or exit_when_idle or say) and _has_terminal()
    if talk and not screen:
        raise UserError("--talk needs the screen: without one, use --say TEXT, or --say - for standard input")
    # In a thread, so that a child can already import the SDK while this process imports the screen.
    preparing = in_thread(file.run_config, start_method)
    if screen:
        importlib.import_module("agent_tui.tui.app")
    usual = preparing.result()
    config = replace(
        usual,
        local=local,
        # While there are turns to say, saves are loaded: the conversation may be about the change.
        watch=not no_watch and (not exit_when_idle or bool(say)),
        watch_globs=watch_globs,
        debug_port=_debug_port(debug_port, usual.runtime),
        watchdogs=not no_watchdogs,
        memory_measure=memory_measure,
        job_length_s=job_length_s,
        unattended_job_length_s=TEST_JOB_LENGTH_S if exit_when_idle and not say else None,
        sessions=True if say or talk else sessions,
        text_only=text_only,
        turn_timeout_s=turn_timeout_s,
    )
    try:
        if screen:
            if talk:
                dispatch = max(dispatch, 1)
            return asyncio.run(_run_screen(config, dispatch, talk, allow_remote, file.environment))
        headless_run = _run_headless(
            config,
            json=as_json,
            dispatch=max(dispatch, 1) if say else dispatch,
            exit_when_idle=exit_when_idle,
            confirmed_host=allow_remote,
            say=say,
            turn_timeout_s=turn_timeout_s,
        )
        return asyncio.run(headless_run)
    finally:
        if config.head_start is not None:
            config.head_start.discard()


def _debug_port(given: int | None, runtime: str) -> int:
    """Return the given port, the language's default port if none was given, or 0 without `--debug`."""
    if given is None:
        return 0
    return given or (INSPECTOR_PORT if runtime == AGENTS_JS else DEBUG_PORT)


def _has_terminal() -> bool:
    """Return whether stdin and stdout are a terminal that can show the screen."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _collect_from_now_on() -> None:
    """Collect garbage from now on, except objects that exist already: they live until the end.

    Collections that traverse them would pause the screen for 0.1 s.
    """
    gc.freeze()
    gc.enable()


async def _run_screen(
    config: "RunConfig", dispatch: int, talk: bool, allow_remote: str, environment: "Environment"
) -> int:
    from agent_tui.tui.actions import ACTIONS
    from agent_tui.tui.app import AgentTuiApp
    from agent_tui.tui.editor import is_open
    from agent_tui.tui.preferences import read_preferences
    from agent_tui.tui.ui_state import ui_state_file

    preferences = read_preferences(environment.screen, str(environment.config_file), ACTIONS)
    try:
        ui_state = ui_state_file(os.environ, config.agent)
    except OSError:  # no home folder
        ui_state = None

    async def make_engine() -> "Engine":
        # Imported after the first frame, and in a thread, so that the screen stays responsive.
        tuner = await asyncio.to_thread(importlib.import_module, "agent_tui.tuning.tuner")
        _collect_from_now_on()
        made: Engine = tuner.make_engine(config)
        return made

    app = AgentTuiApp(
        make_engine,
        agent=str(config.agent),
        dispatch=dispatch,
        talk=talk,
        confirmed_host=allow_remote,
        preferences=preferences,
        ui_state=ui_state,
    )

    def ignores(number: signal.Signals) -> bool:
        # The terminal sends Ctrl+C in an editor to agent-tui too.
        return number is signal.SIGINT and is_open(app)

    with StopSignals(app.stop, app.leave, ignores=ignores) as signals:
        code = await app.run_async()
        failed = app.return_code or ExitCode.OK  # not 0 if the screen failed, even if the engine ends well
        await app.ended()
        _print_summary(app.summary)
    if signals.exit_code is not None:
        return signals.exit_code
    return failed if code is None else code


def _print_summary(text: str) -> None:
    """Write the text to the terminal, unless the terminal was closed or does not read."""
    with contextlib.suppress(OSError):
        if text and select.select([], [STDOUT], [], 0)[1]:
            os.write(STDOUT, f"{text}\n".encode())


async def _run_headless(config: "RunConfig", **choices: Any) -> int:
    """Run without a screen. `choices` are fields of `HeadlessOptions`."""
    from agent_tui.engine.engine import Engine
    from agent_tui.headless.run import Headless, HeadlessOptions
    from agent_tui.model.commands import Stop

    _collect_from_now_on()
    engine = Engine(config)  # without a tuner: it would delay the start, and headless runs do not use it
    front = Headless(engine, HeadlessOptions(watch=config.watch, **choices))
    running = asyncio.create_task(front.run(), name="headless")

    async def stop(reason: str, kill: bool) -> None:
        if not engine.up:
            running.cancel()  # nothing has started that would need a graceful end
        await engine.send(Stop(reason, kill))

    with StopSignals(stop) as signals:
        try:
            code = await running
        except asyncio.CancelledError:
            code = ExitCode.INTERRUPTED
    return code if signals.exit_code is None else signals.exit_code
