"""The command that installs a package, by lock file and interpreter."""

from pathlib import Path

import pytest

from agent_tui.runtimes.install import NODE, PYTHON, install_command


@pytest.mark.parametrize(("mark", "command"), PYTHON)
def test_a_python_project_uses_the_tool_of_its_lock_file(tmp_path: Path, mark: str, command: str) -> None:
    (tmp_path / mark).touch()
    agent, python = tmp_path / "src/agent.py", tmp_path / ".venv/bin/python"
    assert install_command(agent, ("a", "b"), python, tmp_path) == f"{command} a b"


@pytest.mark.parametrize(("mark", "command"), NODE)
def test_a_node_project_uses_the_tool_of_its_lock_file(tmp_path: Path, mark: str, command: str) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / mark).touch()
    agent = tmp_path / "app/src/agent.mjs"
    assert install_command(agent, ("@livekit/x",), None, tmp_path) == f"{command} @livekit/x in app"


def test_an_interpreter_outside_of_the_project_gets_the_package_itself(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/uv.lock").touch()
    agent, python = tmp_path / "app/agent.py", tmp_path / "other/bin/python"
    assert install_command(agent, ("a",), python, tmp_path) == "other/bin/python -m pip install a"
    python.parent.mkdir(parents=True)
    (tmp_path / "other/pyvenv.cfg").write_text("home = /usr/bin\nuv = 0.9.2\n")
    assert install_command(agent, ("a",), python, tmp_path) == "uv pip install --python other/bin/python a"


def test_without_any_project_npm_installs_beside_the_file(tmp_path: Path) -> None:
    assert install_command(tmp_path / "app/agent.mjs", ("zod",), None, tmp_path) == "npm install zod in app"
