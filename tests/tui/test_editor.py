"""The choice of the editor, and how it gets the line."""

from pathlib import Path

import pytest

from agent_tui.tui.editor import editor_command, find_editor

FILE = Path("/a b/agent.py")


def program(folder: Path, name: str) -> None:
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)


def test_the_users_editor_comes_before_installed_ones(tmp_path: Path) -> None:
    path = {"PATH": str(tmp_path)}
    assert find_editor(path) is None
    program(tmp_path, "nano")
    assert find_editor(path) == "nano"
    program(tmp_path, "vi")
    assert find_editor(path) == "vi"
    assert find_editor({**path, "EDITOR": "hx", "VISUAL": " "}) == "hx"
    assert find_editor({**path, "EDITOR": "hx", "VISUAL": "code -w"}) == "code -w"


@pytest.mark.parametrize(
    ("editor", "command"),
    [
        ("vi", ["vi", "+7", "/a b/agent.py"]),
        ("/usr/bin/nano -w", ["/usr/bin/nano", "-w", "+7", "/a b/agent.py"]),
        ("code --wait", ["code", "--wait", "--goto", "/a b/agent.py:7"]),
    ],
)
def test_the_editors_command_has_the_line(editor: str, command: list[str]) -> None:
    assert editor_command(editor, FILE, 7) == command


def test_an_invalid_editor_command_raises_an_error() -> None:
    with pytest.raises(ValueError, match="No closing quotation"):
        editor_command("vi '", FILE, 1)
