"""Options kept in a file: `agent-tui.toml`, or the table `[tool.agent-tui]` of a pyproject.toml."""

import difflib
import errno
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent_tui.files import replace_file
from agent_tui.options.declare import BY_NAME, Option
from agent_tui.options.envfiles import Environment, agent_folder, near, project_root, read_environment
from agent_tui.options.permissions import Permissions, as_mapping
from agent_tui.options.resolve import OptionError, SourcedValue
from agent_tui.reading import Pipes, read_file, read_pipe_or_file

NAME = "agent-tui.toml"
PYPROJECT = "pyproject.toml"
TABLE = ("tool", "agent-tui")

SCREEN = "screen"
"""A table of the file that holds no options: how the screen is to be."""

MOST_BYTES = 2**18
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_HEADER = re.compile(r"\s*\[([^\[\]]+)\]")
_LONG_KEY = re.compile(
    r"""(?<![A-Za-z0-9_-])(?:(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){100}"""
)
"""The time that `tomllib` takes for a dotted key grows with the square of its parts."""

_KEY = re.compile(
    r"""\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*="""
)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that options are kept in; they stand below `table` in it."""

    path: Path
    table: tuple[str, ...] = ()


def find_config(agent_file: Path, cwd: Path) -> ConfigFile | None:
    """The file that counts: of the agent's folder, else the project's root, else the working folder.

    In each, `agent-tui.toml` is looked for before a pyproject.toml that has the table.
    """
    for folder in (agent_folder(agent_file), project_root(agent_file), cwd.resolve()):
        if folder is None:
            continue
        if os.path.isfile(folder / NAME):  # noqa: PTH113  pathlib raises for some
            return ConfigFile(folder / NAME)
        if _names_table(folder / PYPROJECT):
            return ConfigFile(folder / PYPROJECT, TABLE)
    return None


def named_config(path: Path) -> ConfigFile:
    """The file that was asked for by name (`--config`)."""
    return ConfigFile(path, TABLE if path.name == PYPROJECT else ())


def read_surroundings(
    agent_file: Path,
    cwd: Path,
    environ: Mapping[str, str],
    config: Path | None = None,
    pipes: Pipes | None = None,
) -> Environment:
    """Environment files and config file as they are now; `config` is the one that was asked for by name.

    Blocks for as long as the file system and `pipes` do.
    """
    pipes = pipes or Pipes()
    environment = read_environment(agent_file, cwd, environ, pipes)
    file = find_config(agent_file, cwd) if config is None else named_config(config)
    if file is None:
        return environment
    try:
        table, lines = _read_table(file, pipes)
        values = _values(file, table, lines, environment.variables, cwd)
        screen = table.get(SCREEN, {})
        if not isinstance(screen, dict):
            at = f"{near(file.path, cwd)}:{lines.get(SCREEN, 1)}"
            raise OptionError(
                f"{SCREEN} = {screen!r} ({at}) is not a table; write [{SCREEN}], then theme = …"
            )
    except OptionError as error:
        return replace(environment, config_file=file.path, config_problem=str(error))
    except Exception as error:  # whatever is wrong with it, it is no reason to end
        problem = f"{file.path} cannot be used: {type(error).__name__}: {error}"
        return replace(environment, config_file=file.path, config_problem=problem)
    return replace(environment, config=values, config_file=file.path, screen=screen)


def _values(
    file: ConfigFile,
    table: Mapping[str, Any],
    lines: Mapping[str, int],
    environ: Mapping[str, SourcedValue],
    cwd: Path,
) -> dict[str, SourcedValue]:
    values: dict[str, SourcedValue] = {}
    for name, raw in table.items():
        if name == SCREEN:
            continue
        where = f"{near(file.path, cwd)}:{lines.get(name, 1)}"
        if name not in BY_NAME:
            raise OptionError(f"{name} ({where}) is not an option; {_suggestion(name)}")
        values[name] = SourcedValue(_expanded(raw, environ, name, where), where)
    return values


def _read_table(file: ConfigFile, pipes: Pipes) -> tuple[dict[str, Any], dict[str, int]]:
    """What the file holds for us, and the line of each key. Raises OptionError."""
    try:
        content = read_pipe_or_file(file.path, MOST_BYTES, pipes)
        text, table = _parsed(content)
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{file.path} cannot be read: {error}; name another with --config") from None
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"{file.path} is not TOML: {error}; mend that line") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise OptionError(f"{file.path} cannot be read: {error}; shorten it") from None
    for name in file.table:
        table = table.get(name, {}) if isinstance(table, dict) else {}
    if not isinstance(table, dict):
        raise OptionError(
            f"{file.path}: {'.'.join(file.table)} is not a table of options; write name = value"
        )
    return table, dict(_lines(text, file.table))


def _parsed(content: bytes) -> tuple[str, Any]:
    """Raises ValueError (also TOMLDecodeError and UnicodeDecodeError), RecursionError or MemoryError."""
    text = content.decode("utf-8").replace("\r\n", "\n")
    if match := _LONG_KEY.search(text):
        line = text.count("\n", 0, match.start()) + 1
        raise ValueError(f"the key on line {line} has more than 100 parts")
    return text, tomllib.loads(text)


def _names_table(path: Path) -> bool:
    try:
        content = read_file(path, MOST_BYTES)
        if b"agent-tui" not in content:
            return False  # most are none of ours, and need not be parsed
        return isinstance(_parsed(content)[1]["tool"]["agent-tui"], dict)
    except (OSError, ValueError, RecursionError, MemoryError, KeyError, TypeError):
        return False  # not ours: whoever reads that file tells what is wrong with it


def _expanded(raw: object, environ: Mapping[str, SourcedValue], name: str, where: str) -> object:
    if isinstance(raw, dict):
        return {key: _expanded(value, environ, name, where) for key, value in raw.items()}
    if not isinstance(raw, str):
        return raw

    def value(match: re.Match[str]) -> str:
        given = environ.get(match[1])
        if given is None or given.raw == "":
            raise OptionError(
                f"{name}: {BY_NAME[name].kind.show(raw)} ({where}) names a variable that is not set; "
                f"set {match[1]} in the environment or in .env"
            )
        return str(given.raw)

    return _REFERENCE.sub(value, raw)


def _suggestion(name: str) -> str:
    plain = {known.lower(): known for known in BY_NAME}
    near = difflib.get_close_matches(re.sub(r"[-_]", "", name).lower(), plain, n=1)
    return f"did you mean {plain[near[0]]}?" if near else "`agent-tui options` lists them all"


def _lines(text: str, table: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """The line on which each key of that table is first written; tomllib does not tell."""
    seen: set[str] = set()
    header: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if match := _HEADER.match(line):
            header = path = _path(match[1])
        elif match := _KEY.match(line):
            path = (*header, *_path(match[1]))
        else:
            continue
        if path[: len(table)] == table and len(path) > len(table) and path[len(table)] not in seen:
            seen.add(path[len(table)])
            yield path[len(table)], number


def _path(key: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in key.split("."))


def plain(option: Option, value: object) -> Any:
    """A value as a file holds it."""
    if isinstance(value, Permissions):
        return as_mapping(value)
    return option.kind.write(value) if option.kind.word == "DURATION" else value


def reference(option: Option) -> str:
    """The variable that a secret is kept in, in place of the secret itself."""
    return (option.variables or option.environment)[0]


def keepable(option: Option, value: object, environ: Mapping[str, SourcedValue]) -> str:
    """Why a secret cannot be kept as a reference; empty if it can, and for what is no secret."""
    name = reference(option)
    given = environ.get(name)
    if not option.kind.secret or not value or (given is not None and given.raw == value):
        return ""
    why = f"{given.where} holds another value" if given else f"{name} is not set"
    return f"{option.name} is not saved ({why}): set {name} in .env, or save it in clear"


def save(file: ConfigFile, values: Mapping[str, object], *, clear_secrets: bool = False) -> None:
    """Sets these options in the file, all at once or none.

    A secret is written as a reference to its variable, unless `clear_secrets`: then the file becomes
    readable for its owner only. Raises OSError, or ValueError for a file that is not TOML.
    """
    import tomlkit  # at the first save: it costs the start
    from tomlkit.exceptions import TOMLKitError

    if file.path.exists() and not file.path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(file.path))  # reading a FIFO would never end
    there = file.path.exists()
    try:
        document = tomlkit.parse(file.path.read_text(encoding="utf-8")) if there else tomlkit.document()
        table: Any = document
        for name in file.table:
            table = table.setdefault(name, tomlkit.table())
        secret = False
        for name, value in values.items():
            option = BY_NAME[name]
            if option.kind.secret and value and not clear_secrets:
                table[name] = f"${{{reference(option)}}}"
                continue
            secret = secret or (option.kind.secret and bool(value))
            held = plain(option, value)
            if isinstance(held, dict):
                inline = tomlkit.inline_table()
                inline.update(held)
                held = inline
            table[name] = held
    except TOMLKitError as error:
        raise ValueError(f"{file.path} is not TOML: {error}") from None
    replace_file(file.path, lambda stream: stream.write(tomlkit.dumps(document)), private=secret)
