"""`agent-tui options`: print the effective options and their sources, or export them."""

import asyncio
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from agent_tui.cli.flags import given_flags, option_flags, source_flags
from agent_tui.cli.help import CONTEXT, OUTPUT, SectionedCommand, flag
from agent_tui.cli.project import AgentProject
from agent_tui.model.errors import ExitCode, UserError
from agent_tui.options.declare import OPTIONS, DefaultsContext
from agent_tui.options.document import schema_text
from agent_tui.options.export import FORMATS
from agent_tui.options.permissions import Permissions
from agent_tui.options.resolve import Resolution, defaults_of


@click.command(cls=SectionedCommand, context_settings=CONTEXT)
@click.argument("agent", required=False)
@flag(OUTPUT, "--json", "as_json", is_flag=True, help="Print one JSON object.")
@flag(OUTPUT, "--schema", is_flag=True, help="Print the JSON schema of agent-tui.toml. Needs no AGENT.")
@flag(
    OUTPUT,
    "--export",
    "export_as",
    type=click.Choice(list(FORMATS)),
    default=None,
    help="Print the options that differ from their defaults, in that format.",
)
@source_flags
@option_flags
def options(
    agent: str | None,
    as_json: bool,
    schema: bool,
    export_as: str | None,
    config_file: Path | None,
    python: str | None,
    node: str | None,
    **flags: str | bool | None,
) -> int:
    """Print the options in effect for AGENT, each with its source."""
    if schema:
        sys.stdout.write(schema_text())
        return ExitCode.OK
    from agent_tui.engine.inspection import manifest_of
    from agent_tui.settings.settings import check_functions

    given = given_flags(flags)
    file = AgentProject.find(agent, given, config_file, python, node)
    environment, settings = file.environment, file.settings()
    context, production = settings.context, settings.options.production
    interpreter = file.interpreter(context.runtime)
    code = ExitCode.OK
    try:
        manifest = asyncio.run(
            manifest_of(
                context.runtime, interpreter, file.path, file.cwd, environment.plain, production=production
            )
        )
        settings = replace(settings, manifest=manifest)
        check_functions(settings.resolution, manifest)
    except UserError as error:
        print(f"agent-tui: {error}; the options below are without those that its code sets", file=sys.stderr)
        code = ExitCode.JOB_FAILED
    if export_as is not None:
        sys.stdout.write(FORMATS[export_as](settings.resolution, context))
    elif as_json:
        print(json.dumps(_as_json(settings.resolution, context)))
    else:
        print("\n".join(_as_table(settings.resolution)))
    return code


def _as_table(resolution: Resolution) -> Iterator[str]:
    rows = [("option", "value", "source", "applies")]
    for option in OPTIONS:
        layer, where = resolution.sources[option.name]
        value = resolution.value(option)
        shown = "all, not hidden" if value == Permissions() else resolution.written(option.name)
        rows.append((option.name, shown or "–", where or layer, option.effect.text))
        if option.name == "agentName":
            rows.append(("agentNameIsEnv", str(resolution.agent_name_is_env).lower(), "derived", "–"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        yield "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]))
    for name, given in resolution.ignored.items():
        yield f"{name} ({given.where}) has no effect, because workerToken is set"


def _as_json(resolution: Resolution, context: DefaultsContext) -> dict[str, Any]:
    context = defaults_of(resolution.options, context)
    return {
        option.name: {
            "value": _json(resolution.shown(option.name)),
            "default": _json(option.default_for(context)),
            "layer": resolution.sources[option.name][0],
            "source": resolution.sources[option.name][1] or resolution.sources[option.name][0],
            "applies": option.effect.text,
            "help": option.help,
        }
        for option in OPTIONS
    } | {
        "agentNameIsEnv": {
            "value": resolution.agent_name_is_env,
            "default": False,
            "layer": "derived",
            "source": "agentName's source",
            "applies": "re-registers",
            "help": "Whether the agent's name in effect came from the environment.",
        }
    }


def _json(value: object) -> object:
    if isinstance(value, Permissions):
        return asdict(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
