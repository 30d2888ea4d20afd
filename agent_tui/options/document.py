"""Documents made from the declarations: the table of docs/options.md, and the schema of the config file."""

import json
from typing import Any

from agent_tui.options.configfile import ALLOW_REMOTE
from agent_tui.options.declare import OPTIONS, DefaultsContext, Option
from agent_tui.options.permissions import Permissions
from agent_tui.options.prices import FIELDS

SCHEMA = "https://json-schema.org/draft/2020-12/schema"
_KEYS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_ALLOW_REMOTE = "Remote hosts on which test jobs may run without a question."
_SCREEN = {
    "description": "Preferences of the screen.",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "theme": {"type": "string"},
        "keymap": {"enum": ["vim"]},
        "exports": {"type": "string"},
        "slow_turn_ms": {"type": "number", "minimum": 0},
        "slow_part_ms": {"type": "number", "minimum": 0},
        "slow_stall_ms": {"type": "number", "minimum": 0},
        "slow_memory_mb": {"type": "number", "minimum": 0},
        "keys": {"type": "object", "additionalProperties": _KEYS},
    },
}
_PRICES = {
    "description": "What models cost, in US dollars: per million tokens or characters, per minute of audio.",
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: {"type": "number", "minimum": 0} for name in FIELDS},
    },
}
_VARIABLE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"}


def schema() -> dict[str, Any]:
    """Return the JSON schema of `agent-tui.toml` and of `[tool.agent-tui]`."""
    return {
        "$schema": SCHEMA,
        "title": "agent-tui.toml",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            option.name: {"description": option.help, "anyOf": [dict(option.kind.schema), _VARIABLE]}
            for option in OPTIONS
        }
        | {"screen": _SCREEN, "prices": _PRICES, ALLOW_REMOTE: _KEYS | {"description": _ALLOW_REMOTE}},
    }


def schema_text() -> str:
    """Return the text of docs/agent-tui.schema.json."""
    return json.dumps(schema(), indent=2) + "\n"


def table() -> str:
    """Return the options as a table in Markdown."""
    lines = ["| option | default | flag | variables | applies | meaning |", "|---|---|---|---|---|---|"]
    for option in OPTIONS:
        flag = option.flag if option.positional else f"`{option.flag}`"
        variables = " ".join(f"`{name}`" for name in (*option.environment, option.forced_by) if name)
        cells = (f"`{option.name}`", _defaults(option), flag, variables, option.effect.text, option.help)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _defaults(option: Option) -> str:
    """Return the default, and the defaults in production and for livekit-agents where they differ."""
    usual = _shown(option, DefaultsContext(cores=4))
    others = {
        "production": _shown(option, DefaultsContext(production=True, cores=4)),
        "livekit-agents": _shown(option, DefaultsContext("livekit-agents", cores=4)),
    }
    differing = [f"{value} ({where})" for where, value in others.items() if value != usual]
    if option.name == "numIdleProcesses":
        differing = ["one for each core, at most 4 (production)"]
    return "; ".join([usual, *differing])


def _shown(option: Option, context: DefaultsContext) -> str:
    value = option.default_for(context)
    if isinstance(value, Permissions):
        return "all, not hidden"
    return option.kind.write(value) or "–"
