"""README names make targets, commands, and flags that exist."""

import re
from importlib import import_module
from pathlib import Path

from agent_tui.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FOREIGN_FLAGS = {"--dev"}
"""Of livekit-server."""


def test_make_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"run", "test", "wheel"} <= set(re.findall(r"\bmake ([a-z]+)\b", README)) <= targets


def test_commands_and_flags() -> None:
    commands = [getattr(import_module(f"agent_tui.cli.{name}"), name) for name in COMMANDS]
    flags = {flag for command in commands for each in command.params for flag in each.opts}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) - FOREIGN_FLAGS <= flags
    spans = re.findall(r"```sh\n(.*?)```|`([^`]+)`", README, re.DOTALL)
    code = "\n".join(block or span for block, span in spans)
    named = set(re.findall(r"^agent-tui ([a-z]+)\b(?!\.)", code, re.MULTILINE))
    assert {"demo", "tune", "doctor"} <= named <= set(COMMANDS)


def test_the_wheel_that_it_installs_is_the_one_that_is_built() -> None:
    name = re.search(r'^name = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert name is not None
    assert f"dist/{name[1].replace('-', '_')}-*.whl" in README
