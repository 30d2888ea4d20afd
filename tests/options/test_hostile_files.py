"""Hostile environment and config files: each problem is one line, quickly."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_tui.cli.flags import given_flags
from agent_tui.cli.project import find_agent
from agent_tui.model.errors import UserError
from agent_tui.options.configfile import PYPROJECT, read_environment_and_config
from agent_tui.options.envfiles import LONGEST, FileProblem, read_environment
from agent_tui.reading import Pipes

pytestmark = pytest.mark.timeout(20)

MANY = 2**18 - 100


def write_later(path: Path, content: bytes) -> threading.Thread:
    thread = threading.Thread(target=path.write_bytes, args=(content,), daemon=True)
    thread.start()
    return thread


def test_a_nul_character_has_its_own_message(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=1\nB=x\0y\nC=3\n")
    environment = read_environment(tmp_path / "agent.py", tmp_path, {})
    assert environment.plain == {"A": "1", "C": "3"}
    text = ".env:2: B contains a NUL character; remove it; the variable is not set"
    assert environment.problems == (FileProblem(text, tmp_path / ".env", 2),)


def test_a_variable_that_is_too_long_is_not_set(tmp_path: Path) -> None:
    (tmp_path / ".env.local").write_text(f"A={'x' * (LONGEST - 2)}\n")
    (tmp_path / ".env").write_text(f"B={'x' * (LONGEST - 1)}\nC=3\n")
    environment = read_environment(tmp_path / "agent.py", tmp_path, {})
    assert set(environment.plain) == {"A", "C"}
    assert "B is longer than" in environment.problems[0].text


def test_references_that_double_end_early(tmp_path: Path) -> None:
    lines = [
        "A0=" + "x" * 100,
        *(f"A{number}=${{A{number - 1}}}${{A{number - 1}}}" for number in range(1, 40)),
    ]
    (tmp_path / ".env").write_text("\n".join(lines))
    environment = read_environment(tmp_path / "agent.py", tmp_path, {})
    assert len(environment.plain["A10"]) == 102_400
    assert sum(map(len, environment.plain.values())) < 2**20
    assert "A11 is longer than" in environment.problems[0].text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "1"),
        ("${NO}", ""),
        ("${NO:-d:e}", "d:e"),
        ("${A:-d}", "1"),
        ("${A:x}${A}", "${A:x}1"),
        ("${${A}}", "}"),
        ("${", "${"),
        ("x${A", "x${A"),
        ("$A {A} ${A}y${A}", "$A {A} 1y1"),
        ("${:x${A}", "${:x1"),
    ],
)
def test_references(tmp_path: Path, text: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from dotenv import dotenv_values

    (tmp_path / ".env").write_text(f"A=1\nB='{text}'\n")
    monkeypatch.delenv("NO", raising=False)
    assert dotenv_values(tmp_path / ".env")["B"] == value
    assert read_environment(tmp_path / "agent.py", tmp_path, {}).plain["B"] == value


@pytest.mark.parametrize(
    "content",
    [
        b"A=x" + b" " * MANY,
        b"A=" + (b"x" + b" " * 999) * 250,
        b"A=" + b"${" * (MANY // 2),
        b"A=" + b"${a:" * (MANY // 5) + b"}",
        b"".join(b"A%d=\n" % number for number in range(20_000)),
        b"A='\n" * (MANY // 4),
        b'A="\\"\n' * (MANY // 6),
        b"=\n" * (MANY // 2),
        b"A=" + bytes(range(256)) * 1000,
        b"#" * (MANY + 1000),
    ],
)
def test_no_environment_file_takes_long(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".env").write_bytes(content)
    assert len(read_environment(tmp_path / "agent.py", tmp_path, {}).problems) <= 11


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"x=" + b"[" * 100_000, "recursion"),
        (b"a." * 50_000 + b"a=1", "the key on line 1 has more than 100 parts"),
        (b"port=1\nx={" + b"a." * 50_000 + b"a=1}", "the key on line 2 has more than 100 parts"),
        (b"[permissions." + b"'a'." * 50_000 + b"a]", "the key on line 1 has more than 100 parts"),
        (b"port=" + b"1" * 5000, "4300 digits"),
        (b"agentName='a\0b'", "is not valid TOML"),
        (b"#" * (MANY + 1000), "is larger than 256 KiB"),
        (b"\xff", "cannot read agent-tui.toml"),
    ],
)
@pytest.mark.parametrize("pyproject", [False, True])
def test_no_config_file_is_more_than_a_problem(
    tmp_path: Path, content: bytes, problem: str, pyproject: bool
) -> None:
    if pyproject:
        (tmp_path / PYPROJECT).write_bytes(b"#agent-tui\n" + content)
        assert read_environment_and_config(tmp_path / "agent.py", tmp_path, {}).config_file is None
    else:
        (tmp_path / "agent-tui.toml").write_bytes(content)
        assert problem in read_environment_and_config(tmp_path / "agent.py", tmp_path, {}).config_problem


SPECIAL: dict[str, Callable[[Path], object]] = {
    "device": lambda path: path.symlink_to("/dev/zero"),
    "dangling": lambda path: path.symlink_to("gone"),
    "itself": lambda path: path.symlink_to(path),
    "fifo": os.mkfifo,
    "folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("name", [".env", "agent-tui.toml", "pyproject.toml"])
def test_special_files_beside_the_agent(tmp_path: Path, name: str, kind: str) -> None:
    SPECIAL[kind](tmp_path / name)
    found = read_environment_and_config(tmp_path / "agent.py", tmp_path, {}, pipes=Pipes(0.05))
    assert found.config_file is None
    assert bool(found.problems) is (name == ".env" and kind != "folder")


@pytest.mark.parametrize("kind", SPECIAL)
def test_special_files_as_named_config(tmp_path: Path, kind: str) -> None:
    SPECIAL[kind](tmp_path / "x.toml")
    found = read_environment_and_config(tmp_path / "agent.py", tmp_path, {}, tmp_path / "x.toml", Pipes(0.05))
    assert "cannot read x.toml (" in found.config_problem


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("named", [True, False])
def test_special_files_as_agent(tmp_path: Path, kind: str, named: bool) -> None:
    SPECIAL[kind](tmp_path / "agent.py")
    with pytest.raises(UserError):
        find_agent("agent.py" if named else None, tmp_path, {})


def test_fifos_are_read_by_the_flags_and_files_that_name_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    thread = write_later(fifo, b"hidden\n")
    assert given_flags({"api_secret": f"@{fifo}"})["apiSecret"].raw == "hidden"
    thread.join()
    monkeypatch.setattr("agent_tui.reading.PIPE_S", 0.05)
    with pytest.raises(UserError, match=r"cannot read /dev/zero \(it is a device"):
        given_flags({"api_secret": "@/dev/zero"})

    pipes = Pipes(5.0)
    thread = write_later(fifo, b"port = 1\n")
    assert (
        read_environment_and_config(tmp_path / "agent.py", tmp_path, {}, fifo, pipes).config["port"].raw == 1
    )
    thread.join()
    assert (
        read_environment_and_config(tmp_path / "agent.py", tmp_path, {}, fifo, pipes).config["port"].raw == 1
    )

    os.mkfifo(tmp_path / ".env")
    thread = write_later(tmp_path / ".env", b"A=1\n")
    environment = read_environment(tmp_path / "agent.py", tmp_path, {}, pipes)
    thread.join()
    assert environment.plain == {"A": "1"}
    assert environment.problems == (
        FileProblem(f"{tmp_path}/.env is a FIFO: it is read once per load", None),
    )
