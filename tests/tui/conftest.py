"""Fixtures of the screen's tests: a fixed time zone, terminal, and state folder, no animations."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_tui.tui.screens.remote_guard import RemoteGuard


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that presses a key at once means it."""
    monkeypatch.setattr(RemoteGuard, "GRACE_S", 0.0)
