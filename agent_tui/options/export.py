"""Exports the options in effect that differ from their defaults, in several formats, without secrets."""

import json
import math
import shlex
from collections.abc import Callable, Iterator
from pathlib import PurePath
from urllib.parse import quote

from agent_tui.options.configfile import plain, reference
from agent_tui.options.declare import OPTIONS, SERVER_TYPES, DefaultsContext, Option
from agent_tui.options.permissions import FLAGS, SOURCES, Permissions
from agent_tui.options.resolve import Resolution, defaults_of

_FUNCTIONS = ("requestFunc", "loadFunc")
_ENVIRONMENT_ONLY = ("deployment", "workerToken")
"""Options that neither SDK accepts as an argument (agents-js.md §1, livekit-agents.md §1.2)."""

_COMPILED = {".ts": ".js", ".mts": ".mjs", ".cts": ".cjs"}
"""The suffixes of TypeScript files, and of what the compiler writes for them."""

_SECONDS = "DURATION"
_OF_THE_SESSION = {"agentName": "agent_name", "serverType": "type", "requestFunc": "on_request"}
"""Options that livekit-agents accepts in the decorator `rtc_session`, and what they are called there."""

_AGENT_TUI_ONLY = ("onReload", "pin")
"""Options that only agent-tui has, so exports for an SDK leave them out."""

_NOT_PYTHON = (
    "agent",
    "production",
    "agentName",
    "serverType",
    *_FUNCTIONS,
    *_ENVIRONMENT_ONLY,
    *_AGENT_TUI_ONLY,
)


def changed(resolution: Resolution, context: DefaultsContext) -> Iterator[tuple[Option, object]]:
    """Yield each option whose value is not its default in this run, with the value.

    A personal deployment is a default too, so it is not exported and cannot reach production by accident.
    """
    context = defaults_of(resolution.options, context)
    for option in OPTIONS:
        value = resolution.value(option)
        if option.name != "agent" and value != option.default_for(context):
            yield option, value


def typescript(resolution: Resolution, context: DefaultsContext) -> str:
    """Return a module for the agent's folder that exports the `ServerOptions` of @livekit/agents."""
    file = PurePath(resolution.options.agent)
    name = file.name if file.suffix.lower() in (*_COMPILED, *_COMPILED.values()) else "agent.js"
    compiled = _COMPILED.get(PurePath(name).suffix.lower(), "")
    lines = [
        "import { ServerOptions } from '@livekit/agents';",
        "import { fileURLToPath } from 'node:url';",
        "",
        "export default new ServerOptions({",
        *([f"  // {compiled} after compiling"] if compiled else []),
        f"  agent: fileURLToPath(new URL('./{quote(name)}', import.meta.url)),",
    ]
    for option, value in changed(resolution, context):
        if option.name in _FUNCTIONS:
            lines.append(f"  // {option.name}: {value} (a function in the agent file)")
        elif option.name in _ENVIRONMENT_ONLY and not option.kind.secret:
            lines.append(f"  // {reference(option)}={value} in the environment")
        elif option.name not in _AGENT_TUI_ONLY:
            lines.append(f"  {option.name}: {_script(option, value)},")
    return "\n".join([*lines, "});", ""])


def python(resolution: Resolution, context: DefaultsContext) -> str:
    """Return a module with `server`, the `AgentServer` of livekit-agents, and its entry function."""
    arguments, notes = _python_arguments(resolution, context)
    session = [
        f"{_OF_THE_SESSION[option.name]}={_session(option, value)}"
        for option, value in changed(resolution, context)
        if option.name in ("agentName", "serverType")
    ]
    return "\n".join(
        [
            *_imports("AgentServer", "JobContext", session=session, arguments=arguments),
            *notes,
            f"server = AgentServer({_wrapped(arguments)})",
            "",
            "",
            f"@server.rtc_session({', '.join(session)})",
            "async def entrypoint(ctx: JobContext) -> None: ...",
            "",
        ]
    )


def worker_options(resolution: Resolution, context: DefaultsContext) -> str:
    """Return a module with `options`, the `WorkerOptions` of livekit-agents."""
    arguments, notes = _python_arguments(resolution, context)
    for option, value in changed(resolution, context):
        if option.name == "agentName":
            arguments.append(f"agent_name={value!r}")
        elif option.name == "serverType":
            arguments.append(f"worker_type={_session(option, value)}")
    arguments = [each for each in arguments if not each.startswith("session_end_timeout=")]
    return "\n".join(
        [
            *_imports("JobContext", "WorkerOptions", session=arguments, arguments=arguments),
            *notes,
            "async def entrypoint(ctx: JobContext) -> None: ...",
            "",
            "",
            f"options = WorkerOptions({_wrapped(['entrypoint_fnc=entrypoint', *arguments])})",
            "",
        ]
    )


def env(resolution: Resolution, context: DefaultsContext) -> str:
    """Return a `.env` file."""
    lines = []
    for option, value in changed(resolution, context):
        if option.kind.secret:
            lines.append(f"# {reference(option)}: not exported, because it is a secret")
        else:
            lines.append(f"{reference(option)}={_quoted(option.kind.write(value))}")
    return "".join(f"{line}\n" for line in lines)


def toml(resolution: Resolution, context: DefaultsContext) -> str:
    """Return a new `agent-tui.toml`, without secrets.

    To change an existing file and keep its comments, use `configfile.save`.
    """
    import tomli_w  # here, because importing it would delay the start

    lines, values = [], {}
    for option, value in changed(resolution, context):
        if option.kind.secret:
            lines.append(
                f"# {option.name}: not exported, because it is a secret; set {reference(option)} in .env"
            )
        else:
            values[option.name] = plain(option, value)
    return "".join(f"{line}\n" for line in lines) + tomli_w.dumps(values)


def flags(resolution: Resolution, context: DefaultsContext) -> str:
    """Return flags of `agent-tui`, without secrets."""
    words = []
    for option, value in changed(resolution, context):
        if option.kind.secret:
            continue
        words.append(
            option.flag if value is True else f"{option.flag}={shlex.quote(option.kind.write(value))}"
        )
    return " ".join(words) + "\n"


FORMATS: dict[str, Callable[[Resolution, DefaultsContext], str]] = {
    "typescript": typescript,
    "python": python,
    "worker-options": worker_options,
    "toml": toml,
    "env": env,
    "flags": flags,
}


def default_format(agent: str) -> str:
    """Return the format of the language that an agent file is written in."""
    return "typescript" if agent.lower().endswith(("js", "ts")) else "python"


def _script(option: Option, value: object) -> str:
    if option.kind.secret:
        return f"process.env.{reference(option)}"
    if isinstance(value, Permissions):
        fields = {name: getattr(value, field) for name, field in FLAGS.items()}
        return json.dumps({**fields, "canPublishSources": _sources(value)})
    if option.name == "serverType":
        return f"{SERVER_TYPES.index(str(value))} /* {value} */"
    if isinstance(value, float):
        return "Infinity" if value == math.inf else f"{value:.15g}"
    return json.dumps(value)


def _sources(value: Permissions) -> list[int]:
    """Return the sources as numbers of `TrackSource`, which start at 1."""
    return [SOURCES.index(each) + 1 for each in value.can_publish_sources]


def _python_arguments(resolution: Resolution, context: DefaultsContext) -> tuple[list[str], list[str]]:
    """Return the arguments that `AgentServer` and `WorkerOptions` share, and comments about the others."""
    arguments, notes = [], []
    for option, value in changed(resolution, context):
        if option.name in _FUNCTIONS:
            name = {"requestFunc": "on_request= or request_fnc=", "loadFunc": "load_fnc="}[option.name]
            notes.append(f"# {name}{value}")
        elif option.name in _ENVIRONMENT_ONLY:
            notes.append(f"# set {reference(option)} in the environment")
        elif option.name not in _NOT_PYTHON:
            arguments.append(f"{option.field}={_python(option, value)}")
    return arguments, notes


def _python(option: Option, value: object) -> str:
    if option.kind.secret:
        return f'os.environ["{reference(option)}"]'
    if option.kind.word == _SECONDS:
        return f"{int(str(value)) / 1000:g}"
    if isinstance(value, Permissions):
        fields = [f"{field}={getattr(value, field)}" for field in FLAGS.values()]
        fields.append(f"can_publish_sources={_sources(value)}")
        return f"WorkerPermissions({', '.join(fields)})"
    if option.name == "logLevel":
        return repr({"fatal": "CRITICAL"}.get(str(value), str(value).upper()))
    return "math.inf" if value == math.inf else repr(value)


def _session(option: Option, value: object) -> str:
    if option.name != "serverType":
        return repr(value)
    if value == "participant":
        return "WorkerType.ROOM"  # the SDK has no type for participants (livekit-agents.md §1.2)
    return f"WorkerType.{str(value).upper()}"


def _imports(*names: str, session: list[str], arguments: list[str]) -> list[str]:
    text = " ".join((*session, *arguments))
    wanted = sorted({*names, *(each for each in ("WorkerType", "WorkerPermissions") if each in text)})
    modules = [f"import {each}" for each in ("math", "os") if f"{each}." in text]
    return [*modules, *([""] if modules else []), f"from livekit.agents import {', '.join(wanted)}", ""]


def _wrapped(arguments: list[str]) -> str:
    return "".join(f"\n    {each}," for each in arguments) + ("\n" if arguments else "")


def _quoted(text: str) -> str:
    """Return a value as it is written in a `.env` file."""
    if text and all(char.isalnum() or char in "._:/+,=-@%" for char in text):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
