"""Which command a line means, and what `--help` lists."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from agent_tui.cli.demo import demo
from agent_tui.cli.doctor import doctor
from agent_tui.cli.main import COMMANDS, main, misspelled_command
from agent_tui.cli.options import options
from agent_tui.cli.run import run
from agent_tui.cli.tune import tune


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("docter", "doctor"),
        ("optoins", "options"),
        ("Serve", "server"),
        ("tuen", "tune"),
        ("agent.py", None),
        ("./docter", None),
        ("--doctor", None),
        ("agent", None),
        ("", None),
    ],
)
def test_a_misspelled_command_is_recognized(
    word: str, meant: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert misspelled_command(word) == meant


def test_the_name_of_a_file_or_folder_is_not_a_misspelled_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docter").mkdir()
    assert misspelled_command("docter") is None


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["docter", "agent.py"], "no such file or command: docter; did you mean agent-tui doctor?"),
        (["--headles"], "No such option '--headles'. (Did you mean one of: '--headless', '--help'?)"),
    ],
)
def test_the_error_suggests_the_intended_command(
    arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.dup2", lambda *_: None)  # stdout is pytest's
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capfd.readouterr().err == f"agent-tui: {line}\n"


def test_no_command_looks_like_another() -> None:
    assert all(misspelled_command(name) == name for name in COMMANDS)


@pytest.mark.parametrize("command", [run, demo, options, doctor, tune])
def test_help_lists_every_option_in_a_section(command: click.Command) -> None:
    text = CliRunner().invoke(command, ["--help"], terminal_width=80).output
    assert "Options:" not in text
    assert max(map(len, text.splitlines())) <= 80
    *_, other = text.partition("\nOther:\n")
    listed = [line.split()[0] for line in other.splitlines() if line.startswith("  -")]
    assert set(listed) <= {"--version", "-h,"}


def test_help_lists_the_commands_first() -> None:
    text = CliRunner().invoke(run, ["--help"], terminal_width=80).output
    first, *_ = text.partition("\nOutput:\n")
    assert [line.split()[0] for line in first.splitlines() if line.startswith("  ")][-len(COMMANDS) :] == [
        *COMMANDS
    ]
    assert "--on-reload [keep|swap|restart|end]" in text
