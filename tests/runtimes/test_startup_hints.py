"""Hints of earlier runs: stored per project, and deleted with it."""

import os
from pathlib import Path

import pytest

from agent_tui.runtimes.startup_hints import (
    KEEP_DAYS,
    StartupHints,
    forget_unseen,
    hints_path,
    load_hints,
    save_hints,
)

HINTS = StartupHints(("livekit.agents",), ("av",), template=True)
DAY_S = 86_400.0
NOW = 2_000_000_000.0


def path_of(cache: Path, agent: str) -> Path:
    path = hints_path({"XDG_CACHE_HOME": str(cache)}, Path("/usr/bin/python"), Path(agent))
    assert path is not None
    return path


def test_saved_hints_are_loaded(tmp_path: Path) -> None:
    path = path_of(tmp_path, "/a/agent.py")
    assert load_hints(path) == StartupHints()
    save_hints(path, HINTS)
    assert load_hints(path) == HINTS
    assert list(path.parent.iterdir()) == [path]


def test_a_relative_cache_folder_is_ignored() -> None:
    home = {"HOME": "/home/ann"}
    given = hints_path({**home, "XDG_CACHE_HOME": "cache"}, Path("/usr/bin/python"), Path("/a/agent.py"))
    assert given == hints_path(home, Path("/usr/bin/python"), Path("/a/agent.py"))
    assert given is not None
    assert given.parent == Path("/home/ann/.cache/agent-tui")


def test_without_a_home_nothing_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert hints_path({}, Path("/usr/bin/python"), Path("/a/agent.py")) is None


def test_projects_unseen_for_long_are_forgotten(tmp_path: Path) -> None:
    old, recent, this = (path_of(tmp_path, f"/{name}/agent.py") for name in ("old", "recent", "this"))
    for path, days in ((old, KEEP_DAYS + 1), (recent, KEEP_DAYS - 1), (this, KEEP_DAYS * 2)):
        save_hints(path, HINTS)
        os.utime(path, (NOW - days * DAY_S,) * 2)
    leftover = old.with_name(".agent-tui.0123")
    leftover.touch()
    os.utime(leftover, (0, 0))
    forget_unseen(this, NOW)
    assert {each.name for each in old.parent.iterdir()} == {recent.name, this.name}
    forget_unseen(this, NOW + (KEEP_DAYS - 1) * DAY_S)  # it was used just now
    assert list(old.parent.iterdir()) == [this]
    forget_unseen(path_of(tmp_path / "nowhere", "/x/agent.py"), NOW)


@pytest.mark.parametrize("content", ["", "[", "[]", '{"imports": 1}', "[" * 100_000, "\x00"])
def test_unreadable_hints_are_ignored(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    assert load_hints(path) == StartupHints()


def test_a_fifo_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.json")
    assert load_hints(tmp_path / "x.json") == StartupHints()
