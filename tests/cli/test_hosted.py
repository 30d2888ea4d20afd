"""The agent file that a command is about."""

from pathlib import Path

import pytest

from agent_tui.cli.hosted import HostedFile
from agent_tui.model.errors import UserError


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("agent.tsx", "is not an agent's file: its name should end in .py, .js, .ts or the like"),
        ("agent.CTS", "needs @livekit/agents, which is not installed: run npm install @livekit/agents in"),
        ("agent.txt", "its name should end in .py"),
        ("Agent.PY", "its name should end in .py"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_one_line(name: str, line: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text("")
    with pytest.raises(UserError) as refused:
        HostedFile.find(str(file), {}, None, None).run_config()
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)
