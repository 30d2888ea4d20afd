"""`agent-tui doctor`: checks everything that a run needs."""

import asyncio
import json
from pathlib import Path

import click

from agent_tui.cli.flags import given_flags, option_flags, source_flags
from agent_tui.cli.project import AgentProject
from agent_tui.model.errors import ExitCode, UserError

_MARKS = {"good": "✓", "warning": "⚠", "bad": "✗"}


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("agent", required=False)
@click.option("--local", is_flag=True, help="As a run with --local: the embedded server.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
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
    """Checks what a run of AGENT needs, and says what to do; exit code 1 if something would stop it."""
    from agent_tui.engine.config import RunConfig
    from agent_tui.engine.doctor import Finding, Level, examine
    from agent_tui.settings.settings import Settings

    bad = False

    def tell(finding: Finding) -> None:
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
            tell(finding)

    given = given_flags(flags)
    try:
        file = AgentProject.find(agent, given, config_file, python, node)
        settings = file.settings()
        settings.resolution  # noqa: B018  what does not resolve is told before anything is started
        interpreter = file.interpreter(settings.context.runtime)
    except UserError as error:
        tell(Finding("start", Level.BAD, str(error), "nothing else can be checked before"))
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
