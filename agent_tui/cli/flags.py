"""Flags made from the declared options, and what was given on the command line as a layer of values."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from agent_tui.model.errors import ExitCode, UserError
from agent_tui.options import kinds
from agent_tui.options.declare import OPTIONS, Option
from agent_tui.options.resolve import Given, OptionError, convert

TRUTH = kinds.truth().words

F = TypeVar("F", bound=Callable[..., Any])


def source_flags(command: F) -> F:
    """Adds what every command that reads an agent's options takes: which file, which interpreter."""
    config = click.option(
        "--config",
        "config_file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        default=None,
        help="Options from that file in place of agent-tui.toml or pyproject.toml.",
    )
    python = click.option("--python", metavar="PATH", default=None, help="The agent's interpreter.")
    return config(python(command))


def option_flags(command: F) -> F:
    """Adds one flag per declared option."""
    for option in reversed(OPTIONS):
        if not option.positional:
            command = _flag(option)(command)
    return command


def _flag(option: Option) -> Callable[[F], F]:
    if option.kind.words == TRUTH:
        off = option.flag.replace("--", "--no-", 1)
        return click.option(f"{option.flag}/{off}", option.field, default=None, help=option.help)
    return click.option(
        option.flag,
        *option.aliases,
        option.field,
        metavar=option.kind.word,
        default=None,
        help=f"{option.help} @FILE reads it from a file." if option.kind.secret else option.help,
    )


def given_flags(parameters: Mapping[str, str | bool | None]) -> dict[str, Given]:
    """The flags that were typed, by option name, each checked. Raises UserError for a bad one.

    A secret written `@FILE` is the file's content.
    """
    layer: dict[str, Given] = {}
    for option in OPTIONS:
        raw = parameters.get(option.field)
        if raw is None:
            continue
        given = _given(option, raw)
        try:
            convert(option, given)
        except OptionError as error:
            raise UserError(str(error)) from None
        layer[option.name] = given
    return layer


def _given(option: Option, raw: str | bool) -> Given:
    if isinstance(raw, bool) or not option.kind.secret or not raw.startswith("@"):
        return Given(raw, option.flag)
    try:
        return Given(Path(raw[1:]).read_text(encoding="utf-8").strip(), f"{option.flag} {raw}")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{option.flag}: {raw[1:]} cannot be read ({error}); give the value or another file"
        ) from None


def checked(flag: str, raw: str, kind: kinds.Kind) -> Any:
    """The value of a flag that is no option. Raises UserError for one that its kind does not take."""
    try:
        return kind.convert(raw)
    except ValueError as error:
        raise UserError(f"{flag}: {raw!r} {error}; give {kind.expects}", ExitCode.USAGE) from None
