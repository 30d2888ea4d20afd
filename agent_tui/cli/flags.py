"""The flags that commands share, and the layer of option values that the command line gives."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import click

from agent_tui.cli.help import flag
from agent_tui.model.errors import ExitCode, UserError
from agent_tui.model.events import StartMethod
from agent_tui.options import kinds
from agent_tui.options.declare import OPTIONS, Option, Section
from agent_tui.options.resolve import OptionError, SourcedValue, convert
from agent_tui.reading import Pipes, read_pipe_or_file

MAX_SECRET_BYTES = 65_536
"""Maximum number of bytes of a file from which a secret is read (`@FILE`)."""

BOOLEAN = kinds.boolean().words

F = TypeVar("F", bound=Callable[..., Any])
E = TypeVar("E", bound=StrEnum)
Callback = Callable[[click.Context, click.Parameter, str | None], Any]


def source_flags(command: F) -> F:
    """Add the flags of every command that reads an agent's options: the config file and the interpreter."""
    flags = (
        flag(
            Section.AGENT,
            "--config",
            "config_file",
            metavar="FILE",
            type=click.Path(path_type=Path),
            default=None,
            help="Read options from FILE, not from agent-tui.toml or pyproject.toml.",
        ),
        flag(
            Section.AGENT, "--python", metavar="PATH", default=None, help="Python to run a Python file with."
        ),
        flag(
            Section.AGENT, "--node", metavar="PATH", default=None, help="Node to run an agents-js file with."
        ),
    )
    return _add(flags, command)


def hosting_flags(command: F) -> F:
    """Add the flags of every command that hosts an agent file, and those of all options."""
    flags = (
        flag(
            Section.SERVER,
            "--local",
            is_flag=True,
            help="Use the embedded server, even if the environment names another.",
        ),
        flag(
            Section.TEST_JOBS,
            "--allow-remote",
            metavar="HOST",
            default="",
            help="Allow test jobs on the remote server HOST.",
        ),
        choice_flag(
            Section.PROCESSES,
            "--start-method",
            words=StartMethod,
            or_auto=True,
            default="auto",
            help="How job processes start. Python: spawn, fork, or template; Node: spawn or blank. auto "
            "(the default): template for a file that is slow to load, if that is safe, otherwise fork; "
            "spawn where forking does not work; blank for Node.",
        ),
        flag(
            Section.DIAGNOSTICS,
            "--no-mask-env",
            is_flag=True,
            help="Do not mask the values of .env variables whose names end in KEY, SECRET, TOKEN, or "
            "PASSWORD.",
        ),
        source_flags,
        option_flags,
    )
    return _add(flags, command)


def option_flags(command: F) -> F:
    """Add one flag for each declared option."""
    return _add([_option_flag(option) for option in OPTIONS if not option.positional], command)


def _add(flags: Sequence[Callable[[F], F]], command: F) -> F:
    for add in reversed(flags):
        command = add(command)
    return command


def _option_flag(option: Option) -> Callable[[F], F]:
    if option.kind.words == BOOLEAN:
        names = (f"{option.flag}/{option.flag.replace('--', '--no-', 1)}", option.field)
        return flag(option.section, *names, default=None, help=option.help)
    return flag(
        option.section,
        option.flag,
        *option.aliases,
        option.field,
        metavar=option.kind.word,
        default=None,
        help=f"{option.help} @FILE reads it from FILE." if option.kind.secret else option.help,
    )


def given_flags(parameters: Mapping[str, str | bool | None]) -> dict[str, SourcedValue]:
    """Return the values of the flags that were typed, by option name.

    A secret written as `@FILE` is the file's content. Raises UserError for a value that its option refuses.
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
        content = read_pipe_or_file(raw[1:], MAX_SECRET_BYTES, Pipes())
        return SourcedValue(content.decode("utf-8").strip(), f"{option.flag} {raw}")
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        text = f"{option.flag}: cannot read {raw[1:]} ({why}); give the value or another file"
        raise UserError(text) from None


def converted(convert: Callable[[str], Any], expects: str, show: Callable[[object], str] = repr) -> Callback:
    """Return click's callback for a flag whose value is what `convert` returns.

    `convert` raises ValueError with what is wrong. `expects` completes the sentence "give …". `show` quotes
    the text that was typed.
    """

    def callback(_context: click.Context, parameter: click.Parameter, raw: str | None) -> Any:
        if raw is None:
            return None
        try:
            return convert(raw)
        except ValueError as error:
            text = f"{parameter.opts[0]}: {show(raw)} {error}; give {expects}"
            raise UserError(text, ExitCode.USAGE) from None

    return callback


def of_kind(kind: kinds.OptionKind) -> Callback:
    """Return the callback that converts a value of that kind of option."""
    return converted(kind.convert, kind.expects, kind.show)


def seconds_of(kind: kinds.OptionKind) -> Callback:
    """Return the callback that converts a duration to seconds."""
    return converted(lambda raw: kind.convert(raw) / 1000, kind.expects)  # type: ignore[operator]


def choice_flag(
    section: str, name: str, *, words: type[E], or_auto: bool = False, **settings: Any
) -> Callable[[F], F]:
    """Return click's decorator for a flag that accepts one of the enumeration's words, in any case.

    With `or_auto` it also accepts `auto`, whose value is None.
    """
    kind = kinds.choice(*(["auto"] if or_auto else []), *words)

    def convert(raw: str) -> E | None:
        word = str(kind.convert(raw))
        return None if word == "auto" else words(word)

    callback = converted(convert, kind.expects)
    return flag(section, name, metavar=kind.word, callback=callback, **settings)
