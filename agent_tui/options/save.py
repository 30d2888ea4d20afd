"""Writing options into a config file: what else stands in it stays, comments too."""

import errno
from collections.abc import Mapping
from typing import Any

from agent_tui.files import replace_file
from agent_tui.options.configfile import ConfigFile
from agent_tui.options.declare import BY_NAME, Option
from agent_tui.options.permissions import Permissions, as_mapping
from agent_tui.options.resolve import Given


def plain(option: Option, value: object) -> Any:
    """A value as a file holds it."""
    if isinstance(value, Permissions):
        return as_mapping(value)
    return option.kind.write(value) if option.kind.word == "DURATION" else value


def reference(option: Option) -> str:
    """The variable that a secret is kept in, in place of the secret itself."""
    return (option.variables or option.environment)[0]


def keepable(option: Option, value: object, environ: Mapping[str, Given]) -> str:
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
