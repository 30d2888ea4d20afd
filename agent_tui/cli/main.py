"""The command: `agent-tui [AGENT] [options]`, and the commands that are called by name."""

import importlib
import os
import sys
from collections.abc import Sequence

from agent_tui.model.errors import ExitCode, UserError

COMMANDS = ("run", "options", "doctor", "server", "tune")
"""Each is a module here, with a command of that name."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The `agent-tui` command; ends the process with the exit code of design's table."""
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  for as long as the process lives
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        code = ExitCode.OK
    except OSError as error:
        print(f"agent-tui: stdout cannot be written: {error.strerror}", file=sys.stderr)
        code = ExitCode.JOB_FAILED
    # What could not be written now will not be at the interpreter's exit either.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    # Imported here, so that Ctrl+C finds us ready from the first moment on.
    import click

    name = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "run"
    command: click.Command = getattr(importlib.import_module(f"agent_tui.cli.{name}"), name)
    try:
        code: int | None = command.main(
            arguments,
            prog_name="agent-tui" if name == "run" else f"agent-tui {name}",
            standalone_mode=False,
        )
    except click.exceptions.Abort:
        code = ExitCode.INTERRUPTED
    except click.ClickException as error:
        print(f"agent-tui: {error.format_message()}", file=sys.stderr)
        code = error.exit_code
    except UserError as error:
        print(f"agent-tui: {error}", file=sys.stderr)
        code = error.exit_code
    return code or 0
