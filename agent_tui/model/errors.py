"""Errors that a person caused and can mend: one clear line and an exit code each."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the command's exit codes mean; a public contract."""

    OK = 0
    JOB_FAILED = 1
    USAGE = 2
    SERVER = 3
    INTERRUPTED = 130
    TERMINATED = 143


class UserError(Exception):
    """Something to tell the user in one line: what, which value, from where, what to do.

    `str(error)` is the whole line. `exit_code` is what the command ends with if nothing handles it.
    """

    def __init__(self, line: str, exit_code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(line)
        self.exit_code = exit_code


class PortBusyError(UserError):
    """An address to listen on is in use."""


class ServerError(UserError):
    """The server cannot be reached or refuses us."""

    def __init__(self, line: str) -> None:
        super().__init__(line, ExitCode.SERVER)


class InternalError(UserError):
    """A part of agent-tui failed. The user can only report it."""

    def __init__(self, part: str, error: BaseException) -> None:
        line = f"internal error ({part}): {type(error).__name__}: {error}"
        super().__init__(line, ExitCode.JOB_FAILED)
