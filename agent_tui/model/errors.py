"""Errors that the user can fix, each with one line and an exit code."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of the command (a public contract)."""

    OK = 0
    JOB_FAILED = 1
    USAGE = 2
    SERVER = 3
    INTERRUPTED = 130
    TERMINATED = 143


class UserError(Exception):
    """An error for the user in one line: what is wrong, with which value, from where, and what to do.

    `str(error)` is the line. `exit_code` is the command's exit code if nothing handles the error.
    """

    def __init__(self, line: str, exit_code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(line)
        self.exit_code = exit_code


class PortBusyError(UserError):
    """An address to listen on is in use."""


class ServerError(UserError):
    """The server cannot be reached, or refused the credentials; `todo` is the advice, if there is any."""

    def __init__(self, cause: str, todo: str = "") -> None:
        super().__init__(f"{cause}; {todo}" if todo else cause, ExitCode.SERVER)
        self.cause = cause
        self.todo = todo


class InternalError(UserError):
    """A part of agent-tui failed. The user can only report it."""

    def __init__(self, part: str, error: BaseException) -> None:
        line = f"internal error ({part}): {type(error).__name__}: {error}"
        super().__init__(line, ExitCode.JOB_FAILED)
