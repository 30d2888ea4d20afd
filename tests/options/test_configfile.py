"""The config file: which one applies, its values with file and line, and messages about its problems."""

from pathlib import Path

import pytest

from agent_tui.options.configfile import find_config, named_config, read_environment_and_config
from agent_tui.options.resolve import OptionError, SourcedValue

ENVIRON = {"NAME": "bob", "EMPTY": ""}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def read(path: Path) -> dict[str, SourcedValue]:
    found = read_environment_and_config(path.parent / "agent.py", path.parent / "elsewhere", ENVIRON, path)
    if found.config_problem:
        raise OptionError(found.config_problem)
    return dict(found.config)


def test_the_nearest_file_applies_and_a_pyproject_only_with_the_table(tmp_path: Path) -> None:
    agent = write(tmp_path / "project/src/agent.py", "")
    pyproject = write(tmp_path / "project/pyproject.toml", "[project]\nname = 'x'\n")
    assert find_config(agent, tmp_path) is None
    in_cwd = write(tmp_path / "agent-tui.toml", "")
    assert find_config(agent, tmp_path) == named_config(in_cwd)
    write(pyproject, "[tool.agent-tui]\nport = 1\n")
    assert find_config(agent, tmp_path) == named_config(pyproject)
    beside = write(tmp_path / "project/src/agent-tui.toml", "")
    assert find_config(agent, tmp_path) == named_config(beside)


def test_values_have_file_and_line(tmp_path: Path) -> None:
    path = write(
        tmp_path / "agent-tui.toml",
        "# tuned\nnumIdleProcesses = 2\n\n'agentName' = \"${NAME}-1\"\n[permissions]\nhidden = true\n",
    )
    assert read(path) == {
        "numIdleProcesses": SourcedValue(2, f"{path}:2"),
        "agentName": SourcedValue("bob-1", f"{path}:4"),
        "permissions": SourcedValue({"hidden": True}, f"{path}:5"),
    }


def test_lines_of_a_table_in_a_pyproject(tmp_path: Path) -> None:
    path = write(
        tmp_path / "pyproject.toml",
        "[project]\nport = 'no'\n[tool.other]\nport = 2\n"
        "[tool.agent-tui]\nport = 3\npermissions.hidden = true\n",
    )
    assert read(path) == {
        "port": SourcedValue(3, f"{path}:6"),
        "permissions": SourcedValue({"hidden": True}, f"{path}:7"),
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("port = ", "is not valid TOML"),
        ("prot = 1", "prot ({path}:1) is not an option; did you mean port?"),
        ("num_idle_processes = 1", "did you mean numIdleProcesses?"),
        ("zzz = 1", "`agent-tui options` lists all options"),
        ("port = 1\nagentName = '${NO}'", "agentName: '${NO}' ({path}:2) uses a variable that is not set"),
        ("agentName = '${EMPTY}'", "set EMPTY in the environment or in .env"),
    ],
)
def test_problems_are_reported_with_the_line(text: str, says: str, tmp_path: Path) -> None:
    path = write(tmp_path / "agent-tui.toml", text)
    with pytest.raises(OptionError) as raised:
        read(path)
    assert says.replace("{path}", str(path)) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_environment_has_the_values_or_the_problem(tmp_path: Path) -> None:
    agent = write(tmp_path / "agent.py", "")
    write(tmp_path / ".env", "WHO=me\n")
    path = write(tmp_path / "agent-tui.toml", "agentName = '${WHO}'\n")
    found = read_environment_and_config(agent, tmp_path, {})
    assert (found.config["agentName"].raw, found.config_file, found.config_problem) == ("me", path, "")
    write(path, "agentName = ")
    assert "is not valid TOML" in read_environment_and_config(agent, tmp_path, {}).config_problem
    named = write(tmp_path / "other.toml", "port = 1\n")
    assert read_environment_and_config(agent, tmp_path, {}, named).config["port"].raw == 1
