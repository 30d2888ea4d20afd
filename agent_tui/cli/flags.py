"""Flags made from the declared options, and what was given on the command line as a layer of values."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import click

from agent_tui.model.errors import ExitCode, UserError
from agent_tui.model.events import StartMethod
from agent_tui.options import kinds
from agent_tui.options.declare import OPTIONS, Option
from agent_tui.options.resolve import OptionError, SourcedValue, convert
from agent_tui.reading import Pipes, read_pipe_or_file

MOST_SECRET_BYTES = 65_536
"""Of a file that holds one secret."""

BOOLEAN = kinds.boolean().words

F = TypeVar("F", bound=Callable[..., Any])
E = TypeVar("E", bound=StrEnum)
Taken = Callable[[click.Context, click.Parameter, str | None], Any]


def source_flags(command: F) -> F:
    """Adds what every command that reads an agent's options takes: which config file, which interpreter."""
    config = click.option(
        "--config",
        "config_file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        default=None,
        help="Options from that file in place of agent-tui.toml or pyproject.toml.",
    )
    python = click.option("--python", metavar="PATH", default=None, help="The Python of a Python file.")
    node = click.option("--node", metavar="PATH", default=None, help="The Node of an agents-js file.")
    return config(python(node(command)))


def hosting_flags(command: F) -> F:
    """Adds what every command that hosts an agent file takes, and all options."""
    flags = (
        click.option("--local", is_flag=True, help="Use the embedded server, whatever the environment says."),
        click.option(
            "--allow-remote", metavar="HOST", default="", help="Allow test jobs on that remote server."
        ),
        click.option(
            "--start-method",
            metavar="METHOD",
            callback=one_of(StartMethod, or_auto=True),
            default="auto",
            help="How job processes start: auto (the default), spawn; fork, template (Python); blank (Node).",
        ),
        click.option(
            "--no-mask-env",
            is_flag=True,
            help="Do not mask values of .env files whose names say secret (*_KEY, *_TOKEN …).",
        ),
        source_flags,
        option_flags,
    )
    for flag in reversed(flags):
        command = flag(command)
    return command


def option_flags(command: F) -> F:
    """Adds one flag per declared option."""
    for option in reversed(OPTIONS):
        if not option.positional:
            command = _flag(option)(command)
    return command


def _flag(option: Option) -> Callable[[F], F]:
    if option.kind.words == BOOLEAN:
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


def given_flags(parameters: Mapping[str, str | bool | None]) -> dict[str, SourcedValue]:
    """The flags that were typed, by option name, each checked. Raises UserError for a bad one.

    A secret written `@FILE` is the file's content.
    """
    layer: dict[str, SourcedValue] = {}
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


def _given(option: Option, raw: str | bool) -> SourcedValue:
    if isinstance(raw, bool) or not option.kind.secret or not raw.startswith("@"):
        return SourcedValue(raw, option.flag)
    try:
        content = read_pipe_or_file(raw[1:], MOST_SECRET_BYTES, Pipes())
        return SourcedValue(content.decode("utf-8").strip(), f"{option.flag} {raw}")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{option.flag}: {raw[1:]} cannot be read ({error}); give the value or another file"
        ) from None


def taken(convert: Callable[[str], Any], expects: str, show: Callable[[object], str] = repr) -> Taken:
    """Click's callback for a flag that is no option; what it takes is what `convert` returns.

    `convert` raises ValueError with what is wrong; `expects` completes the sentence "give …"; `show` quotes
    what was typed.
    """

    def callback(_context: click.Context, flag: click.Parameter, raw: str | None) -> Any:
        if raw is None:
            return None
        try:
            return convert(raw)
        except ValueError as error:
            text = f"{flag.opts[0]}: {show(raw)} {error}; give {expects}"
            raise UserError(text, ExitCode.USAGE) from None

    return callback


def of_kind(kind: kinds.Kind) -> Taken:
    """A value as options of that kind take it."""
    return taken(kind.convert, kind.expects, kind.show)


def seconds_of(kind: kinds.Kind) -> Taken:
    """A duration, in seconds."""
    return taken(lambda raw: kind.convert(raw) / 1000, kind.expects)  # type: ignore[operator]


def one_of(words: type[E], *, or_auto: bool = False) -> Taken:
    """One of the enumeration's words, in any case; with `or_auto` also `auto`, which is None."""
    kind = kinds.choice(*(["auto"] if or_auto else []), *words)

    def convert(raw: str) -> E | None:
        word = str(kind.convert(raw))
        return None if word == "auto" else words(word)

    return taken(convert, kind.expects)
