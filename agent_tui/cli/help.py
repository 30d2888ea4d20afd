"""`--help` in sections: commands first, then the options by topic, then the exit codes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import click

from agent_tui.options.declare import Section

F = TypeVar("F", bound=Callable[..., Any])

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""The settings that all commands share."""

COMMANDS = "Commands"
ARGUMENTS = "Arguments"
MEASUREMENT = "Measurement"
OUTPUT = "Output"
OTHER = "Other"
EXIT_CODES = "Exit codes"

_ORDER = (COMMANDS, ARGUMENTS, MEASUREMENT, OUTPUT, *Section, OTHER, EXIT_CODES)
_COLUMN = 30
"""The widest first column, as in click."""


class SectionedOption(click.Option):
    """An option that `--help` lists in a section."""

    def __init__(self, *names: Any, section: str = OTHER, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.section = section


def flag(section: str, *names: str, **settings: Any) -> Callable[[F], F]:
    """Return click's decorator for an option, with its section."""
    return click.option(*names, cls=SectionedOption, section=section, **settings)


class SectionedCommand(click.Command):
    """A command whose `--help` has sections: click has a single list of options (pallets/click#373).

    `extra` are sections that list something else, as names and texts.
    """

    def __init__(self, *names: Any, extra: Mapping[str, Mapping[str, str]] | None = None, **settings: Any):
        super().__init__(*names, **settings)
        self.extra = extra or {}

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the usage line, and a second one if the command lists commands."""
        super().format_usage(ctx, formatter)
        if COMMANDS in self.extra:
            formatter.write_usage(ctx.command_path, "COMMAND [OPTIONS] [AGENT]", prefix="       ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, with their second columns aligned."""
        sections = {title: [*self.extra.get(title, {}).items()] for title in _ORDER}
        for param in self.get_params(ctx):
            if not isinstance(param, click.Argument) and (record := param.get_help_record(ctx)):
                sections[getattr(param, "section", OTHER)].append(record)
        widest = _width(name for rows in sections.values() for name, _ in rows)
        for title, rows in sections.items():
            if rows:
                spacing = 2 + widest - _width(name for name, _ in rows)
                with formatter.section(title):
                    formatter.write_dl(rows, col_max=_COLUMN, col_spacing=spacing)


def _width(names: Iterable[str]) -> int:
    return min(max(map(len, names)), _COLUMN)
