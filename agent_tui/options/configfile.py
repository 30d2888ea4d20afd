"""The config file: `agent-tui.toml`, or the table `[tool.agent-tui]` of a pyproject.toml."""

import difflib
import errno
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent_tui.files import replace_file
from agent_tui.options.declare import BY_NAME, Option
from agent_tui.options.envfiles import (
    Environment,
    agent_folder,
    project_root,
    read_environment,
    relative_path,
)
from agent_tui.options.permissions import Permissions, as_mapping
from agent_tui.options.prices import read_prices
from agent_tui.options.resolve import OptionError, SourcedValue
from agent_tui.reading import Pipes, read_file, read_pipe_or_file

NAME = "agent-tui.toml"
PYPROJECT = "pyproject.toml"
TABLE = ("tool", "agent-tui")

SCREEN = "screen"
"""The table of the screen's preferences, which are not options."""

ALLOW_REMOTE = "allowRemote"
"""The remote hosts on which test jobs may run without a question: a name or a list of names."""

PRICES = "prices"
"""The table of what models cost."""

MAX_BYTES = 2**18
_HOST = re.compile(r"[\w.:-]*[^\W_][\w.:-]*")
"""A host's name or address, without a scheme and a path."""

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_HEADER = re.compile(r"\s*\[([^\[\]]+)\]")
_LONG_KEY = re.compile(
    r"""(?<![A-Za-z0-9_-])(?:(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){100}"""
)
"""Matches a key with more than 100 parts, which is refused: `tomllib` needs quadratic time for it."""

_KEY = re.compile(
    r"""\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*="""
)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A config file, and the path of the table that contains the options; empty for the whole file."""

    path: Path
    table: tuple[str, ...] = ()


def find_config(agent_file: Path, cwd: Path) -> ConfigFile | None:
    """Return the first config file in the agent's folder, the project's root, and the working directory.

    In each folder, `agent-tui.toml` wins over a pyproject.toml with the table `[tool.agent-tui]`.
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
    """Return the config file that `--config` names."""
    return ConfigFile(path, TABLE if path.name == PYPROJECT else ())


def read_environment_and_config(
    agent_file: Path,
    cwd: Path,
    environ: Mapping[str, str],
    config: Path | None = None,
    pipes: Pipes | None = None,
) -> Environment:
    """Read the environment files and the config file; `config` is the one that `--config` names.

    `config_problem` says why a config file cannot be used. Blocks while it reads, for at most the time limit
    set in `pipes`.
    """
    pipes = pipes or Pipes()
    environment = read_environment(agent_file, cwd, environ, pipes)
    file = find_config(agent_file, cwd) if config is None else named_config(config)
    if file is None:
        return environment
    try:
        table, lines = _read_table(file, pipes, cwd)
        values = _values(file, table, lines, environment.variables, cwd)
        hosts = _hosts(
            table.get(ALLOW_REMOTE, []), f"{relative_path(file.path, cwd)}:{lines.get(ALLOW_REMOTE, 1)}"
        )
        screen = table.get(SCREEN, {})
        if not isinstance(screen, dict):
            at = f"{relative_path(file.path, cwd)}:{lines.get(SCREEN, 1)}"
            raise OptionError(
                f"{SCREEN} = {screen!r} ({at}) is not a table; write [{SCREEN}], then theme = … below it"
            )
        prices = read_prices(table.get(PRICES, {}), f"{relative_path(file.path, cwd)}:{lines.get(PRICES, 1)}")
    except OptionError as error:
        return replace(environment, config_file=file.path, config_problem=str(error))
    except Exception as error:  # no config file, however broken, may end agent-tui
        problem = f"cannot use {relative_path(file.path, cwd)}: {type(error).__name__}: {error}"
        return replace(environment, config_file=file.path, config_problem=problem)
    return replace(
        environment,
        config=values,
        config_file=file.path,
        screen=screen,
        allow_remote=hosts,
        prices=prices,
    )


def _hosts(raw: object, where: str) -> tuple[str, ...]:
    names = [raw] if isinstance(raw, str) else raw
    if not isinstance(names, list) or not all(
        isinstance(each, str) and _HOST.fullmatch(each) for each in names
    ):
        raise OptionError(
            f"{ALLOW_REMOTE} = {raw!r} ({where}) is not a host name; write {ALLOW_REMOTE} = "
            '["my-project.livekit.cloud"]'
        )
    return tuple(each.strip().lower() for each in names)


def _values(
    file: ConfigFile,
    table: Mapping[str, Any],
    lines: Mapping[str, int],
    environ: Mapping[str, SourcedValue],
    cwd: Path,
) -> dict[str, SourcedValue]:
    values: dict[str, SourcedValue] = {}
    for name, raw in table.items():
        if name in (SCREEN, ALLOW_REMOTE, PRICES):
            continue
        where = f"{relative_path(file.path, cwd)}:{lines.get(name, 1)}"
        if name not in BY_NAME:
            raise OptionError(f"{name} ({where}) is not an option; {_suggestion(name)}")
        values[name] = SourcedValue(_expanded(raw, environ, name, where), where)
    return values


def _read_table(file: ConfigFile, pipes: Pipes, cwd: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the file's table of options, and the line of each key. Raise OptionError if it is unusable."""
    name = relative_path(file.path, cwd)
    try:
        content = read_pipe_or_file(file.path, MAX_BYTES, pipes)
        text, table = _parsed(content)
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise OptionError(f"cannot read {name} ({why}); name another file with --config") from None
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"{name} is not valid TOML: {error}; fix that line") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise OptionError(f"cannot read {name}: {error}; shorten the file") from None
    for part in file.table:
        table = table.get(part, {}) if isinstance(table, dict) else {}
    if not isinstance(table, dict):
        raise OptionError(
            f"{name}: {'.'.join(file.table)} is not a table of options; write lines such as port = 8081"
        )
    return table, dict(_lines(text, file.table))


def _parsed(content: bytes) -> tuple[str, Any]:
    """Return a TOML document as text and as a table.

    Raise UnicodeDecodeError or TOMLDecodeError if it is invalid, ValueError if a key has more than 100 parts,
    and RecursionError or MemoryError if it is too large or too deeply nested.
    """
    text = content.decode("utf-8").replace("\r\n", "\n")
    if match := _LONG_KEY.search(text):
        line = text.count("\n", 0, match.start()) + 1
        raise ValueError(f"the key on line {line} has more than 100 parts")
    return text, tomllib.loads(text)


def _names_table(path: Path) -> bool:
    try:
        content = read_file(path, MAX_BYTES)
        if b"agent-tui" not in content:
            return False  # parsing takes time, and most of these files have no such table
        return isinstance(_parsed(content)[1]["tool"]["agent-tui"], dict)
    except (OSError, ValueError, RecursionError, MemoryError, KeyError, TypeError):
        return False  # not the config file, so its errors are not reported here


def _expanded(raw: object, environ: Mapping[str, SourcedValue], name: str, where: str) -> object:
    if isinstance(raw, dict):
        return {key: _expanded(value, environ, name, where) for key, value in raw.items()}
    if not isinstance(raw, str):
        return raw

    def value(match: re.Match[str]) -> str:
        given = environ.get(match[1])
        if given is None or given.raw == "":
            raise OptionError(
                f"{name}: {BY_NAME[name].kind.show(raw)} ({where}) uses a variable that is not set; "
                f"set {match[1]} in the environment or in .env"
            )
        return str(given.raw)

    return _REFERENCE.sub(value, raw)


def _suggestion(name: str) -> str:
    plain = {known.lower(): known for known in BY_NAME}
    near = difflib.get_close_matches(re.sub(r"[-_]", "", name).lower(), plain, n=1)
    return f"did you mean {plain[near[0]]}?" if near else "`agent-tui options` lists all options"


def _lines(text: str, table: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Yield each key of that table with the line of its first use, which tomllib does not report."""
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
    """Return a value in the form that it has in the config file, for example `10s` for a duration."""
    if isinstance(value, Permissions):
        return as_mapping(value)
    return option.kind.write(value) if option.kind.word == "DURATION" else value


def reference(option: Option) -> str:
    """Return the variable to which the config file refers, so that it does not contain the secret itself."""
    return (option.variables or option.environment)[0]


def reference_problem(option: Option, value: object, environ: Mapping[str, SourcedValue]) -> str:
    """Return why a secret cannot be saved as a reference; empty if it can, and for any other option."""
    name = reference(option)
    given = environ.get(name)
    if not option.kind.secret or not value or (given is not None and given.raw == value):
        return ""
    why = f"{given.where} has another value" if given else f"{name} is not set"
    return f"{option.name} is not saved ({why}): set {name} in .env, or save it as plain text"


def save(file: ConfigFile, values: Mapping[str, object], *, clear_secrets: bool = False) -> None:
    """Set these options in the file, all of them or none.

    A secret is written as a reference to its variable. With `clear_secrets` it is written as plain text, and
    only the owner may then read the file. Raises OSError, or ValueError for a file that is not TOML.
    """
    private = any(BY_NAME[name].kind.secret and value for name, value in values.items()) and clear_secrets

    def change(table: Any) -> None:
        for name, value in values.items():
            option = BY_NAME[name]
            if option.kind.secret and value and not clear_secrets:
                table[name] = f"${{{reference(option)}}}"
            else:
                table[name] = _inline(plain(option, value))

    _edit(file, change, private=private)


def save_allowed(file: ConfigFile, host: str) -> None:
    """Add a host to `allowRemote`, unless it is listed already. Raise the same errors as `save`."""

    def change(table: Any) -> None:
        given = table.get(ALLOW_REMOTE, [])
        known = _hosts(given, file.path.name)
        if host.lower() not in known:
            table[ALLOW_REMOTE] = [*([given] if isinstance(given, str) else given), host]

    _edit(file, change)


def _inline(value: Any) -> Any:
    """Return a mapping as an inline table, because a `[table]` header would also apply to the lines below it.

    Any other value is returned unchanged.
    """
    import tomlkit

    if not isinstance(value, dict):
        return value
    inline = tomlkit.inline_table()
    inline.update(value)
    return inline


def _edit(file: ConfigFile, change: Callable[[Any], None], *, private: bool = False) -> None:
    """Call `change` with the file's table, and write the result; comments and layout are kept.

    With `private`, only the file's owner can read it afterwards.
    """
    import tomlkit  # here, because importing it would delay the start
    from tomlkit.exceptions import TOMLKitError

    if file.path.exists() and not file.path.is_file():
        raise OSError(
            errno.EINVAL, "not a regular file", str(file.path)
        )  # reading a FIFO could block forever
    exists = file.path.exists()
    try:
        document = tomlkit.parse(file.path.read_text(encoding="utf-8")) if exists else tomlkit.document()
        table: Any = document
        for name in file.table:
            table = table.setdefault(name, tomlkit.table())
        change(table)
    except TOMLKitError as error:
        raise ValueError(f"{file.path} is not valid TOML: {error}") from None
    replace_file(file.path, lambda stream: stream.write(tomlkit.dumps(document)), private=private)
