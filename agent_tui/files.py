"""Find the user's folders, and write files completely or not at all."""

import errno
import io
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TextIO

PRIVATE = 0o600

_NOT_REPLACEABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY})
"""Errors when a file can be overwritten but not replaced: its folder is read-only, the file belongs to
another user, or it is a mount point, as a single file mounted into a container is.
"""

Write = Callable[[TextIO], object]


def user_folder(environ: Mapping[str, str], variable: str, default: str) -> Path:
    """Return one of the user's base directories: the value of `variable` (such as XDG_CACHE_HOME), or
    `default` below the home folder.

    A relative path in the variable is ignored (XDG Base Directory Specification, "Basics"). Raise OSError if
    the variable has no path and the user has no home folder.
    """
    given = Path(environ.get(variable) or "")
    return given if given.is_absolute() else home_folder(environ) / default


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder for data that outlives a run. Raise OSError if there is no home folder."""
    return user_folder(environ, "XDG_STATE_HOME", ".local/state") / "agent-tui"


def home_folder(environ: Mapping[str, str]) -> Path:
    """Return the user's home folder: HOME, or the one in the password database.

    Raise OSError if neither names a folder.
    """
    given = Path(environ.get("HOME") or "")
    if given.is_absolute():
        return given
    import pwd

    with suppress(KeyError):
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    raise FileNotFoundError(errno.ENOENT, "no home folder found; set HOME")


def shown_path(path: Path, environ: Mapping[str, str], folder: Path | None = None) -> str:
    """Return a path to show: relative to `folder` if it is below, else with `~` for the home folder."""
    if folder is not None and path.is_relative_to(folder):
        return str(path.relative_to(folder))
    with suppress(OSError, ValueError):
        return f"~/{path.relative_to(home_folder(environ))}"
    return str(path)


def create_stamped(folder: Path, stem: str, suffix: str, text: str) -> Path:
    """Write a text to a new file named by the stem and the time; create the folder. Return the path.

    Raise OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(100):
        path = folder / f"{stem}-{stamp}{f'-{number}' if number else ''}{suffix}"
        with suppress(FileExistsError):
            create_file(path, lambda file: file.write(text))
            return path
    raise FileExistsError(errno.EEXIST, "too many files of this second", str(folder))


def create_file(path: Path, write: Write) -> None:
    """Create a text file, and fill it with `write`. If that fails, remove the file.

    Raise FileExistsError if the path exists, OSError if the file cannot be written, and any error of `write`.
    """
    with path.open("x", encoding="utf-8") as file:
        try:
            write(file)
            file.flush()
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise


def replace_file(path: Path, write: Write, *, private: bool = False) -> None:
    """Create a text file or replace its content, completely or not at all.

    An existing file keeps its mode, owner, extended attributes, and its symbolic and hard links. With
    `private`, only its owner can read it afterwards. After an error it has the old content. Concurrent
    readers see the old or the new content, unless the file has hard links or cannot be replaced, and is
    overwritten in place. `write` may be called twice.

    Raise PermissionError if the file is read-only, OSError if it cannot be written, and any error of `write`.
    """
    target = Path(os.path.realpath(path))
    try:
        old = target.stat()
    except FileNotFoundError:
        old = None
    if old is not None and not stat.S_ISREG(old.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    # Root may write whatever the mode says, but a mode without write bits still states an intention.
    if old is not None and not (old.st_mode & 0o222 and os.access(target, os.W_OK)):
        raise PermissionError(errno.EACCES, "the file is read-only", str(path))
    if old is not None and old.st_nlink > 1:
        _overwrite(target, write, private=private)
        return
    try:
        _swap(target, old, write, private=private)
    except OSError as error:
        if old is None or error.errno not in _NOT_REPLACEABLE:
            raise
        _overwrite(target, write, private=private)


def _swap(target: Path, old: os.stat_result | None, write: Write, *, private: bool) -> None:
    """Write a new file beside the target, then rename it to the target."""
    beside = target.with_name(f".agent-tui.{secrets.token_hex(6)}")

    def write_all(file: TextIO) -> None:
        if old is not None:
            if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
            shutil.copystat(target, beside)
        if private:
            os.fchmod(file.fileno(), PRIVATE)
        write(file)
        file.flush()
        os.fsync(file.fileno())

    create_file(beside, write_all)
    try:
        beside.replace(target)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def _overwrite(target: Path, write: Write, *, private: bool) -> None:
    """Overwrite the file in place. On an error, restore the old content."""
    text = io.StringIO()
    write(text)
    content = text.getvalue().encode()
    with target.open("r+b", buffering=0) as file:
        if private:
            os.fchmod(file.fileno(), PRIVATE)
        old = file.read()
        try:
            _fill(file.fileno(), content)
        except BaseException:
            with suppress(OSError):
                _fill(file.fileno(), old)
            raise


def _fill(descriptor: int, content: bytes) -> None:
    written = 0
    while written < len(content):
        written += os.pwrite(descriptor, content[written:], written)
    os.ftruncate(descriptor, len(content))
    os.fsync(descriptor)
