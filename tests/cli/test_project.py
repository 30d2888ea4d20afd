"""How a command finds its agent file."""

from pathlib import Path
from typing import Any

import pytest

from agent_tui.cli.project import AgentProject, find_agent
from agent_tui.model.errors import ExitCode, UserError
from agent_tui.model.events import StartMethod


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("agent.tsx", "is not an agent file; its name must end in .py, .js, .ts, or a related suffix"),
        ("agent.CTS", "needs @livekit/agents, which is not installed: run npm install @livekit/agents in"),
        ("agent.txt", "its name must end in .py"),
        ("Agent.PY", "its name must end in .py"),
    ],
)
def test_an_unsupported_file_is_refused_with_one_line(name: str, line: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text("")
    with pytest.raises(UserError) as refused:
        AgentProject.find(str(file), {}, None, None).run_config()
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("file", "flags", "line"),
    [
        (
            "agent.mjs",
            {"python": "python3"},
            "--python: agent.mjs runs on Node; leave --python out, or name the",
        ),
        ("agent.py", {"node": "node"}, "--node: agent.py runs on Python; leave --node out, or name the"),
        (
            "agent.mjs",
            {"start": StartMethod.FORK},
            "'fork' does not work with agent.mjs (agents-js); give one of auto",
        ),
        ("agent.mjs", {"start": StartMethod.TEMPLATE}, "give one of auto, blank, spawn"),
        ("agent.py", {"start": StartMethod.BLANK}, "give one of auto, fork, template, spawn"),
    ],
)
def test_a_flag_of_the_other_language_is_refused(
    file: str, flags: dict[str, Any], line: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_text("")
    project = AgentProject.find(
        str(tmp_path / file), {}, None, python=flags.get("python"), node=flags.get("node")
    )
    with pytest.raises(UserError) as refused:
        project.run_config(flags.get("start"))
    assert line in str(refused.value)
    assert refused.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"src/main.ts": "export default defineAgent({})", "src/agent.ts": "class Agent {}"}, "src/main.ts"),
        ({"src/main.ts": "", "src/agent.ts": "export default defineAgent({})"}, "src/agent.ts"),
        ({"src/main.ts": "import './agent.js'", "src/agent.ts": ""}, "src/agent.ts"),
        ({"agent.mjs": "cli.runApp(options)", "main.py": ""}, "main.py"),
    ],
)
def test_the_file_that_defines_an_agent_is_found(files: dict[str, str], found: str, tmp_path: Path) -> None:
    """In the SDK's starter project, src/agent.ts is a class that src/main.ts uses."""
    (tmp_path / "src").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert find_agent(None, tmp_path, {})[0] == tmp_path / found


def test_without_an_agent_file_the_error_shows_an_example_in_the_projects_language(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text("{}")
    with pytest.raises(UserError, match=r"as in agent-tui path/to/agent\.ts"):
        find_agent(None, tmp_path, {})
