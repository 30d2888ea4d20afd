"""Reads files that come from outside: with a size limit, and without blocking for too long.

Secret managers mount `.env` as a FIFO or a socket, which yields its content only once. `Pipes` reads each of
them once per load and remembers the content.
"""

import math
import os
import select
import socket
import stat
import time
from pathlib import Path

MOST_BYTES = 8 * 2**20
PIPE_S = 5.0
"""Seconds in which a FIFO or socket must deliver its whole content. Its writer may ask the user first."""

SILENT_PIPE_S = 0.25
SILENT_FOR_S = 60.0
"""After a FIFO or socket has used up `PIPE_S`, its limit is `SILENT_PIPE_S` for this many seconds.

It may have no writer, and each load would block for `PIPE_S`.
"""

_CHUNK = 65_536

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_file(path: str | Path, most_bytes: int = MOST_BYTES) -> bytes:
    """Return a regular file's content.

    Raise OSError if it is not a regular file, is larger than `most_bytes`, or cannot be read.
    """
    status = _regular(path)
    content = b"" if status.st_size > most_bytes else _read_regular(path, most_bytes + 1)
    if max(len(content), status.st_size) > most_bytes:
        raise OSError(f"it is larger than {_size(most_bytes)}")
    return content


def read_start(path: str | Path, most_bytes: int) -> bytes:
    """Return at most the first `most_bytes` of a regular file.

    Raise OSError if it is not a regular file or cannot be read.
    """
    _regular(path)
    return _read_regular(path, most_bytes)


def is_pipe(path: str | Path) -> bool:
    """Return whether the path is a FIFO or a socket. Raise OSError if it is missing or not accessible."""
    mode = _status(path).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def describe(path: str | Path) -> str:
    """Return what a special file is, such as "a FIFO"; empty for a regular file and for a missing one."""
    try:
        status = _status(path)
    except OSError:
        return ""
    return "" if stat.S_ISREG(status.st_mode) else _kind(status)


def normalized(path: str | Path) -> Path:
    """Return the absolute path without `.` and `..`, unless that would name another file.

    It would for `link/../file`: `link/..` is the parent of the folder that the link points to.
    """
    plain = os.path.abspath(path)
    try:
        same = os.path.samestat(os.stat(plain), os.stat(path))
    except (OSError, ValueError):
        same = not Path(path).exists()
    return Path(plain) if same else Path(path).absolute()


class Pipes:
    """Reads FIFOs and sockets once per load, and remembers their content."""

    def __init__(self, limit_s: float = PIPE_S) -> None:
        self._limit_s = limit_s
        self._contents: dict[str, bytes] = {}
        self._notices: dict[str, str] = {}
        """Notices about the paths read since the last `renew`."""
        self._silent_at: dict[str, float] = {}
        """The monotonic time at which a path last used up its whole time limit."""

    def read(self, path: str | Path, most_bytes: int = MOST_BYTES) -> tuple[bytes, str]:
        """Return a path's content, and a notice about how it was read. Block for up to `limit_s`.

        Until `renew` is called, each path is read only once, even if that fails. After a failure, the content
        of the last successful read is returned. Raise OSError if no read has succeeded yet.

        After a path used up its time limit, the limit is only `SILENT_PIPE_S` for the next minute
        (`SILENT_FOR_S`), or until it delivers its content.
        """
        name = str(path)
        if name not in self._notices:
            self._notices[name] = self._read(path, most_bytes)
        if name not in self._contents:
            raise OSError(self._notices[name])
        return self._contents[name], self._notices[name]

    def _read(self, path: str | Path, most_bytes: int) -> str:
        name = str(path)
        before = self._contents.get(name)
        was_silent = time.monotonic() - self._silent_at.get(name, -math.inf) < SILENT_FOR_S
        limit_s = min(self._limit_s, SILENT_PIPE_S) if was_silent else self._limit_s
        try:
            content = _read_pipe(path, most_bytes, time.monotonic() + limit_s, limit_s)
            self._silent_at.pop(name, None)
            if before and not content:
                raise OSError("it was empty")
            self._contents[name] = content
            return f"{path} is {_kind(_status(path))}: it is read once per load"
        except OSError as error:
            if isinstance(error, TimeoutError) and not was_silent:
                self._silent_at[name] = time.monotonic()
            return str(error) if before is None else f"{path} cannot be read: {error}; using its last content"

    def renew(self) -> None:
        """Let the next `read` of each path read it again."""
        self._notices.clear()


def read_pipe_or_file(path: str | Path, most_bytes: int, pipes: Pipes) -> bytes:
    """Return the content of a regular file, FIFO, or socket. Raise OSError if it cannot be read."""
    return pipes.read(path, most_bytes)[0] if is_pipe(path) else read_file(path, most_bytes)


def _regular(path: str | Path) -> os.stat_result:
    """Return the status of a regular file; raise OSError for any other. Call this before opening the file.

    Merely opening a device or a FIFO may have effects.
    """
    status = _status(path)
    _check_regular(status)
    return status


def _read_regular(path: str | Path, most_bytes: int) -> bytes:
    # The file may have been replaced by a FIFO since the check, and opening one waits for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        _check_regular(status)
        content = file.read(min(status.st_size + 1, most_bytes))
        if len(content) > status.st_size:  # it grew, or is a file of /proc, whose size is 0
            content += file.read(most_bytes - len(content))
        return content


def _read_pipe(path: str | Path, most_bytes: int, deadline: float, limit_s: float) -> bytes:
    if stat.S_ISSOCK(_status(path).st_mode):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(limit_s)
            connection.connect(str(path))
            return _read_to_end(connection.fileno(), most_bytes, deadline, limit_s)
    # Without O_NONBLOCK, opening would wait for a writer without a limit.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            raise OSError("it changed while it was read")
        return _read_to_end(descriptor, most_bytes, deadline, limit_s)
    finally:
        os.close(descriptor)


def _read_to_end(descriptor: int, most_bytes: int, deadline: float, limit_s: float) -> bytes:
    """Read until the writer closes its end, because a part of the content could be half a secret.

    Raise TimeoutError at `deadline` (monotonic, in s), and OSError if the content is too large.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    content = bytearray()
    while True:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not poll.poll(left_s * 1000):
            came = "was not written to its end" if content else "sent nothing"
            raise TimeoutError(f"it {came} within {limit_s:g} s")
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            return bytes(content)
        content += chunk
        if len(content) > most_bytes:
            raise OSError(f"it is larger than {_size(most_bytes)}")


def _status(path: str | Path) -> os.stat_result:
    try:
        return os.stat(path)
    except ValueError as error:  # a NUL in the path
        raise OSError(str(error)) from None


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"it is {_kind(status)}, not a regular file")


def _kind(status: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "a special file")


def _size(most_bytes: int) -> str:
    return f"{most_bytes // 2**20} MiB" if most_bytes >= 2**20 else f"{most_bytes // 1024} KiB"
