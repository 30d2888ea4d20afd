"""The command: `agent-tui [AGENT] [options]`, and the commands that are called by name."""

import sys
from collections.abc import Sequence

import click

from agent_tui.cli.run import run
from agent_tui.cli.server import server
from agent_tui.model.errors import ExitCode, UserError

COMMANDS = {"run": run, "server": server}


def main(arguments: Sequence[str] | None = None) -> None:
    """The `agent-tui` command; ends the process with the exit code of design's table."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    name = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "run"
    try:
        code = COMMANDS[name].main(
            arguments,
            prog_name="agent-tui" if name == "run" else f"agent-tui {name}",
            standalone_mode=False,
        )
    except (click.exceptions.Abort, KeyboardInterrupt):
        code = ExitCode.INTERRUPTED
    except click.ClickException as error:
        print(f"agent-tui: {error.format_message()}", file=sys.stderr)
        code = error.exit_code
    except UserError as error:
        print(f"agent-tui: {error}", file=sys.stderr)
        code = error.exit_code
    sys.exit(code or 0)
