"""`agent-tui doctor`: check everything that a run needs."""

import asyncio
import json
from pathlib import Path

import click

from agent_tui.cli.flags import given_flags, option_flags, source_flags
from agent_tui.cli.help import CONTEXT, EXIT_CODES, OUTPUT, SectionedCommand, flag
from agent_tui.cli.project import AgentProject
from agent_tui.model.errors import ExitCode, UserError
from agent_tui.options.declare import Section

_MARKS = {"good": "✓", "warning": "⚠", "bad": "✗"}


@click.command(
    cls=SectionedCommand,
    context_settings=CONTEXT,
    extra={EXIT_CODES: {"0": "all required checks passed", "1": "a required check failed"}},
)
@click.argument("agent", required=False)
@flag(Section.SERVER, "--local", is_flag=True, help="Run the checks for `agent-tui --local`.")
@flag(OUTPUT, "--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@source_flags
@option_flags
def doctor(
    agent: str | None,
    local: bool,
    as_json: bool,
    config_file: Path | None,
    python: str | None,
    node: str | None,
    **flags: str | bool | None,
) -> int:
    """Check the prerequisites for hosting AGENT, and explain how to fix each problem."""
    from agent_tui.engine.config import RunConfig
    from agent_tui.engine.doctor import Finding, Level, examine
    from agent_tui.settings.settings import Settings

    bad = False

    def show(finding: Finding) -> None:
        nonlocal bad
        bad = bad or finding.level is Level.BAD
        if as_json:
            body = {"check": finding.check, "level": str(finding.level), "text": finding.text}
            print(json.dumps({**body, "advice": finding.advice or None}), flush=True)
            return
        print(f"{_MARKS[finding.level]} {finding.check:<12} {finding.text}", flush=True)
        if finding.advice:
            print(f"  {'':<12} → {finding.advice}", flush=True)

    async def run(config: RunConfig, settings: Settings) -> None:
        async for finding in examine(config, settings):
            show(finding)

    given = given_flags(flags)
    try:
        file = AgentProject.find(agent, given, config_file, python, node)
        settings = file.settings(local=local)
        settings.resolution  # noqa: B018  reports an unusable option before anything starts
        interpreter = file.interpreter(settings.context.runtime)
    except UserError as error:
        show(Finding("start", Level.BAD, str(error), "fix this first; the other checks need it"))
        return ExitCode.JOB_FAILED
    config = RunConfig(
        agent=file.path,
        cwd=file.cwd,
        read_environment=lambda: file.environment,
        runtime=settings.context.runtime,
        interpreter=interpreter,
        flags=file.flags,
        local=local,
    )
    asyncio.run(run(config, settings))
    return ExitCode.JOB_FAILED if bad else ExitCode.OK
