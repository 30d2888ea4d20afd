"""Reading what comes from outside: with a limit, and never forever."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from agent_tui import reading
from agent_tui.reading import Pipes, normalized, read_file, read_start

pytestmark = pytest.mark.timeout(10)


@contextmanager
def served(path: Path, *contents: bytes, kind: str = "fifo") -> Iterator[None]:
    """Serve each content to one reader, as a secret manager does."""
    if kind == "fifo":
        os.mkfifo(path)

        def serve() -> None:
            for content in contents:
                path.write_bytes(content)
                time.sleep(0.05)  # otherwise the next one may go to the same reader
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            for content in contents:
                connection, _ = listener.accept()
                connection.sendall(content)
                connection.close()
            listener.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_each_load_reads_a_pipe_once(tmp_path: Path, kind: str) -> None:
    pipes = Pipes(2.0)
    with served(tmp_path / "x", b"one" * 50_000, b"two", kind=kind):
        assert pipes.read(tmp_path / "x")[0] == b"one" * 50_000
        content, notice = pipes.read(tmp_path / "x")
        assert content == b"one" * 50_000
        assert "is read once per load" in notice
        pipes.renew()
        assert pipes.read(tmp_path / "x")[0] == b"two"


def test_a_silent_pipe_keeps_its_last_content(tmp_path: Path) -> None:
    pipes = Pipes(0.05)
    os.mkfifo(tmp_path / "x")
    with pytest.raises(OSError, match=r"it sent nothing within 0\.05 s"):
        pipes.read(tmp_path / "x")
    writer = os.open(tmp_path / "x", os.O_RDWR)
    os.write(writer, b"half of a sec")
    with pytest.raises(OSError, match="it sent nothing"):
        pipes.read(tmp_path / "x")  # once per load, failures included
    pipes.renew()
    with pytest.raises(OSError, match=r"was not written to its end within 0\.05 s"):
        pipes.read(tmp_path / "x")
    os.close(writer)
    (tmp_path / "x").unlink()
    with served(tmp_path / "x", b"one"):
        pipes = Pipes(0.5)
        pipes.read(tmp_path / "x")
    pipes.renew()
    content, notice = pipes.read(tmp_path / "x")
    assert content == b"one"
    assert notice.endswith("using its last content")


def test_a_silent_pipe_takes_its_whole_limit_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SILENT_PIPE_S", 0.01)
    os.mkfifo(tmp_path / "x")
    pipes = Pipes(0.05)

    def silence() -> str:
        pipes.renew()
        with pytest.raises(OSError, match="it sent nothing") as raised:
            pipes.read(tmp_path / "x")
        return str(raised.value)

    assert [silence() for _ in range(3)] == [
        "it sent nothing within 0.05 s",
        "it sent nothing within 0.01 s",
        "it sent nothing within 0.01 s",
    ]
    monkeypatch.setattr(reading, "SILENT_FOR_S", 0.0)
    assert silence() == "it sent nothing within 0.05 s"


def test_a_pipe_that_works_again_gets_its_whole_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "x")
    pipes = Pipes(0.05)
    with pytest.raises(OSError, match="it sent nothing"):
        pipes.read(tmp_path / "x")
    monkeypatch.setattr(reading, "SILENT_PIPE_S", 5.0)
    pipes._limit_s = 5.0
    (tmp_path / "x").unlink()
    with served(tmp_path / "x", b"one"):
        pipes.renew()
        assert pipes.read(tmp_path / "x")[0] == b"one"
    monkeypatch.setattr(reading, "SILENT_PIPE_S", 0.01)
    pipes._limit_s = 0.05
    pipes.renew()
    assert "it sent nothing within 0.05 s" in pipes.read(tmp_path / "x")[1]


def test_an_endless_pipe_is_cut_off(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")

    def write() -> None:
        with suppress(BrokenPipeError), (tmp_path / "x").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 1000)

    thread = threading.Thread(target=write)
    thread.start()
    with pytest.raises(OSError, match="larger than 64 KiB"):
        Pipes(5.0).read(tmp_path / "x", 65_536)
    thread.join()


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: os.mkfifo(path), "a FIFO, not a regular file"),
        (lambda path: path.mkdir(), "a folder"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
        (lambda path: path.symlink_to("gone"), "No such file"),
        (lambda path: path.symlink_to(path), "symbolic links"),
        (lambda path: path.write_bytes(b"x" * 1025), "larger than 1 KiB"),
    ],
)
def test_files_that_are_not_read(tmp_path: Path, make: Callable[[Path], object], what: str) -> None:
    make(tmp_path / "x")
    with pytest.raises(OSError, match=what):
        read_file(tmp_path / "x", 1024)
    with pytest.raises(OSError, match="null"):
        read_file(tmp_path / "x\0")


def test_regular_files(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 1024)
    assert read_file(tmp_path / "x", 1024) == b"x" * 1024
    assert read_start(tmp_path / "x", 10) == b"x" * 10
    assert b"Pid:" in read_file("/proc/self/status")  # its size is 0


def test_normalized_paths_mean_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project/agent.py").touch()
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    (tmp_path / "elsewhere/agent.py").touch()
    (tmp_path / "project/link").symlink_to(tmp_path / "elsewhere/deep")
    (tmp_path / "agent.py").symlink_to("project/agent.py")
    monkeypatch.chdir(tmp_path / "project")
    assert normalized("./../project/./agent.py") == tmp_path / "project/agent.py"
    assert normalized("../agent.py") == tmp_path / "agent.py"  # a link stays a link
    assert (
        normalized("link/../agent.py") == tmp_path / "project/link/../agent.py"
    )  # it means elsewhere/agent.py
    assert normalized("x/../gone.py") == tmp_path / "project/gone.py"
