"""The command `agent-tui [AGENT]`, and its subcommands."""

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from agent_tui.model.errors import ExitCode, UserError

COMMANDS = {
    "run": "Host AGENT; `agent-tui AGENT` does the same.",
    "demo": "Host a bundled example, in a new folder.",
    "options": "Print each option's value and its source.",
    "doctor": "Check everything that hosting AGENT needs.",
    "tune": "Measure how many idle processes AGENT needs.",
    "server": "Run the embedded LiveKit server by itself.",
}
"""The commands, and what `--help` says about each. Each has a module in this package, with the same name."""

_WRITE_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EAGAIN, errno.ENXIO}
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the `agent-tui` command, and end the process with an exit code of docs/headless.md."""
    open_standard_streams()
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        code = ExitCode.OK
    except OSError as error:
        of_stdout = error.filename is None and error.errno in _WRITE_ERRORS
        _print_error(f"cannot write to stdout: {error.strerror}" if of_stdout else str(error))
        code = ExitCode.JOB_FAILED
    _discard(1)
    sys.exit(code)


def _discard(descriptor: int) -> None:
    """Redirect a descriptor to /dev/null: the interpreter's last flush could fail and set the exit code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def open_standard_streams() -> None:
    """Open /dev/null in place of each standard stream that the caller closed.

    Otherwise the next socket or pipe would get descriptor 0, 1, or 2, and receive what is printed.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # POSIX: open uses the lowest free descriptor, which is this one
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            stream = open(descriptor, mode, errors="replace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _run(arguments: list[str]) -> int:
    # Imported here, so that main already handles Ctrl+C.
    import click

    from agent_tui.cli.output import guard_streams

    guard_streams()
    name = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "run"
    if name == "run" and arguments and (meant := misspelled_command(arguments[0])):
        _print_error(f"no such file or command: {arguments[0]}; did you mean agent-tui {meant}?")
        return ExitCode.USAGE
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
        _print_error(error.format_message())
        code = error.exit_code
    except UserError as error:
        _print_error(str(error))
        code = error.exit_code
    return code or 0


def misspelled_command(word: str) -> str | None:
    """Return the command that a word probably means; None if it is a file or resembles no command."""
    if not word.isalpha() or Path(word).exists():
        return None
    import difflib

    return next(iter(difflib.get_close_matches(word.lower(), COMMANDS, n=1, cutoff=0.7)), None)


def _print_error(line: str) -> None:
    try:
        print(f"agent-tui: {line}", file=sys.stderr, flush=True)
    except OSError:  # a full disk or a closed pipe; the exit code still reports the error
        _discard(2)
