"""Hostile text in every argument of every command, and in every file that a command reads.

The arguments are those that the commands declare, so that a new one is here by itself.
"""

import importlib
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from agent_tui.cli import output, server
from agent_tui.cli.main import COMMANDS, _run
from agent_tui.logs.redactor import Redactor
from tests.fakes.hostile_values import HOSTILE, SECRET, raw_in

TEXT = HOSTILE.replace("\0", "")  # no argument, variable or path can hold it
TEXTS = {"all": TEXT, "OSC": "\x1b]0;title\x07", "C1": "a\x9b31mb", "bidi": "a\u202eb", "byte": "a\udcffb"}


Check = Callable[[], str]


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Return the output to stdout and stderr, after checking that it is harmless."""
    redactor = Redactor()
    redactor.mask([SECRET])
    monkeypatch.setattr(output, "REDACTOR", redactor)
    monkeypatch.chdir(tmp_path)

    def harmless() -> str:
        said = capsys.readouterr()
        text = said.out + said.err
        assert raw_in(text) == []
        assert SECRET not in text
        text.encode()  # no lone surrogate
        return text

    return harmless


def arguments() -> Iterator[tuple[str, ...]]:
    """Yield every argument that accepts text, with a missing agent file, so that nothing starts."""
    for name in COMMANDS:
        command: click.Command = getattr(importlib.import_module(f"agent_tui.cli.{name}"), name)
        yield (name, "--{}")
        yield (name, "-{}")
        yield (name, "nowhere.py", "{}")
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                yield (name, "{}")
            elif isinstance(parameter, click.Option) and not parameter.is_flag:
                agent = () if name == "server" else ("{}.py",)
                yield (name, *agent, parameter.opts[0], "{}")


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("line", list(arguments()), ids=" ".join)
def test_arguments_are_escaped_before_they_reach_the_terminal(
    line: tuple[str, ...], text: str, check: Check
) -> None:
    assert _run([word.replace("{}", TEXTS[text]) for word in line]) in (1, 2)
    said = check()
    assert said.startswith(("agent-tui: ", "✗ start "))


@pytest.mark.parametrize("name", ["agent-tui.toml", "pyproject.toml"])
@pytest.mark.parametrize(
    "line",
    [
        *('"{}" = 1', 'agentName = "{}"', 'host = "{}"', 'wsURL = "{}"', 'agent = "{}"', 'screen = "{}"'),
        *('permissions = "{}"', 'permissions = {{ "{}" = true }}', 'apiSecret = "{}${{NO}}"', 'port = "{}"'),
    ],
)
def test_config_files_are_escaped_before_they_reach_the_terminal(
    name: str, line: str, check: Check, tmp_path: Path
) -> None:
    table = "[tool.agent-tui]\n" if name == "pyproject.toml" else ""
    escaped = "".join(f"\\u{ord(char):04x}" if raw_in(char) else char for char in TEXT)
    (tmp_path / "agent.py").write_text("async def entry(ctx): ...\n")
    (tmp_path / name).write_text(table + line.format(escaped) + "\n", encoding="utf-8")
    assert _run(["options", "agent.py"]) == 2
    assert check().startswith("agent-tui: ")


@pytest.mark.parametrize("variable", ["LIVEKIT_AGENT_NAME", "LIVEKIT_AGENT_DEPLOYMENT", "AGENT_TUI_HOST"])
@pytest.mark.parametrize("text", TEXTS)
def test_variables_are_escaped_before_they_reach_the_terminal(
    variable: str, text: str, check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "agent.py").write_text("async def entry(ctx): ...\n")
    monkeypatch.setenv(variable, TEXTS[text])
    assert _run(["options", "agent.py"]) == 2
    said = check()
    assert f"({variable} in the environment) contains the " in said
    assert "; give " in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("as_json", [False, True])
def test_room_names_printed_by_the_server_command_are_escaped(as_json: bool, check: Check) -> None:
    output.guard_streams()
    server._print(as_json, "job_lost", f"no job for {TEXT}: {TEXT}", room=TEXT, why=TEXT)
    check()


def test_tracebacks_and_logged_errors_are_escaped(check: Check) -> None:
    output.guard_streams()
    try:
        raise RuntimeError(TEXT)
    except RuntimeError as error:
        sys.excepthook(type(error), error, error.__traceback__)
        traceback.print_exc()
        record = logging.LogRecord("a.library", logging.ERROR, "", 0, TEXT, None, sys.exc_info())
        assert logging.lastResort is not None
        logging.lastResort.handle(record)  # as without any set-up, and as asyncio and aiohttp log
        threading.__excepthook__(threading.ExceptHookArgs((type(error), error, error.__traceback__, None)))
    click.echo(TEXT, err=True)
    assert check().count("RuntimeError") >= 4
