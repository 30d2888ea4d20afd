"""Writing files completely or not at all, without changing what the file is."""

import errno
import os
import stat
from pathlib import Path
from typing import TextIO

import pytest

from agent_tui import files
from agent_tui.files import create_file, home_folder, replace_file, shown_path, user_folder


def write(text: str) -> files.Write:
    return lambda file: file.write(text)


def fail(file: TextIO) -> None:
    file.write("half")
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "agent-tui.toml"
    path.write_text("old")
    return path


def test_a_read_only_file_is_refused_also_for_root(file: Path) -> None:
    file.chmod(0o444)
    with pytest.raises(PermissionError, match="the file is read-only"):
        replace_file(file, write("new"))
    assert file.read_text() == "old"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("kind", ["folder", "fifo", "device", "loop"])
def test_only_regular_files_are_accepted(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    match kind:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/null")
        case "loop":
            path.symlink_to(path)
    before = path.lstat()
    with pytest.raises(OSError, match=r"not a regular file|symbolic links"):
        replace_file(path, write("new"))
    assert path.lstat().st_ino == before.st_ino


def test_mode_and_symbolic_link_stay(file: Path) -> None:
    file.chmod(0o640)
    link = file.with_name("link")
    link.symlink_to(file.name)
    before = file.stat()
    replace_file(link, write("new"))
    assert link.is_symlink()
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert file.stat().st_ino != before.st_ino  # readers of the old file keep it


def test_a_hard_link_stays(file: Path) -> None:
    other = file.with_name("other")
    other.hardlink_to(file)
    replace_file(file, write("new and longer"))
    assert other.read_text() == "new and longer"
    replace_file(file, write("s"))
    assert other.read_text() == "s"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_owner_stays(file: Path) -> None:
    os.chown(file, 1234, 4321)
    replace_file(file, write("new"))
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 4321)


@pytest.mark.parametrize("error", [errno.EBUSY, errno.EPERM, errno.EROFS])
def test_a_file_that_cannot_be_replaced_is_overwritten(
    file: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    # Like a file that is a mount point, a folder of another user, and a read-only file system.
    monkeypatch.setattr(Path, "replace", refuse)
    inode = file.stat().st_ino
    replace_file(file, write("new"))
    assert (file.read_text(), file.stat().st_ino) == ("new", inode)
    assert list(file.parent.iterdir()) == [file]


def test_a_full_disk_restores_an_overwritten_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.with_name("other").hardlink_to(file)
    real = os.pwrite

    def full(descriptor: int, content: bytes, at: int) -> int:
        if content.startswith(b"new"):
            real(descriptor, content[:2], at)
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, content, at)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(file, write("new"))
    assert file.read_text() == "old"


def test_an_error_leaves_the_old_content_and_nothing_else(file: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        replace_file(file, fail)
    assert file.read_text() == "old"
    with pytest.raises(OSError, match="No space"):
        create_file(file.with_name("new"), fail)
    assert list(file.parent.iterdir()) == [file]


def test_a_new_file_has_the_mode_of_the_umask_or_is_private(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "a", write("x"))
        replace_file(tmp_path / "b", write("x"), private=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600


def test_an_existing_file_is_not_created_again(file: Path) -> None:
    with pytest.raises(FileExistsError):
        create_file(file, write("new"))
    assert file.read_text() == "old"


@pytest.mark.parametrize("value", ["", "cache", "./cache", "../cache"])
def test_a_relative_base_directory_is_ignored(value: str) -> None:
    environ = {"HOME": "/home/ann", "XDG_CACHE_HOME": value}
    assert user_folder(environ, "XDG_CACHE_HOME", ".cache") == Path("/home/ann/.cache")
    assert user_folder({"XDG_CACHE_HOME": "/c"}, "XDG_CACHE_HOME", ".cache") == Path("/c")


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"HOME": "here"}])
def test_without_home_the_user_database_says_where_it_is(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home_folder(environ).is_absolute()
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)  # a container's user without an entry
    with pytest.raises(OSError, match="no home folder"):
        home_folder(environ)


def test_a_path_is_shown_relative_to_the_folder_or_with_a_tilde() -> None:
    home = {"HOME": "/home/ann"}
    assert shown_path(Path("/home/ann/.local/x.json"), home) == "~/.local/x.json"
    assert shown_path(Path("/home/anna/x.json"), home) == "/home/anna/x.json"
    assert shown_path(Path("/home/ann/agent/a.py"), home, Path("/home/ann/agent")) == "a.py"
