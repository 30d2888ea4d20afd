"""Reads options as the command does, in the process of the tests."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from agent_tui.cli import project
from agent_tui.cli.flags import given_flags
from agent_tui.cli.options import options as command
from agent_tui.logs.redactor import Redactor
from agent_tui.options.resolve import Resolution

Resolve = Callable[..., Resolution]
"""Takes a command line's words and `environ`. Raises UserError."""


@pytest.fixture
def resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Resolve the options in the test's folder, with only the given variables."""
    monkeypatch.setattr(project, "REDACTOR", Redactor())
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        monkeypatch.delenv(name)

    def resolve(*words: str, environ: Mapping[str, str]) -> Resolution:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        with command.make_context("agent-tui", list(words)) as parsed:
            agent, flags = parsed.params["agent"], given_flags(parsed.params)
        return project.AgentProject.find(agent, flags, None, None).settings().resolution

    return resolve
