"""`agent-tui demo`: the bundled example, copied for the user to edit."""

import os
from pathlib import Path

import click
import pytest

from agent_tui.cli.demo import create, demo, source
from agent_tui.cli.run import run
from agent_tui.model.errors import UserError
from agent_tui.options.configfile import read_environment_and_config
from tests.cli.support import EXAMPLES, finished


def test_the_bundled_example_is_that_of_the_examples_folder() -> None:
    assert source() == (EXAMPLES / "native_agent.py").read_text()


def test_each_demo_gets_a_new_folder(tmp_path: Path) -> None:
    paths = [create(tmp_path, None) for _ in range(3)]
    assert [str(path) for path in paths] == [
        "agent-tui-demo/agent.py",
        "agent-tui-demo-2/agent.py",
        "agent-tui-demo-3/agent.py",
    ]
    assert all((tmp_path / path).read_text() == source() for path in paths)


def test_a_named_folder_is_created_or_reused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("kept")
    assert create(tmp_path, Path("mine")) == Path("mine/agent.py")
    assert create(tmp_path, Path("a/b")) == Path("a/b/agent.py")
    assert (tmp_path / "mine/notes.txt").read_text() == "kept"
    assert (tmp_path / "a/b/agent.py").read_text() == source()


@pytest.mark.parametrize("name", ["agent.py", "agent-tui.toml"])
def test_no_file_is_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("kept")
    with pytest.raises(UserError, match=rf"{name} already exists.*name another folder"):
        create(tmp_path, Path("mine"))
    assert (tmp_path / "mine" / name).read_text() == "kept"
    assert os.listdir(tmp_path / "mine") == [name]  # noqa: PTH208


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/agent.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(UserError, match="already exists"):
        create(tmp_path, Path("mine"))
    assert not (tmp_path / "elsewhere.py").exists()


def test_a_folder_that_cannot_be_written_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .* \(Not a directory\); name another folder"):
        create(tmp_path, Path("file/below"))
    with pytest.raises(UserError, match="file already exists"):
        create(tmp_path, Path("file"))


def test_options_of_a_project_around_it_do_not_reach_the_demo(tmp_path: Path) -> None:
    (tmp_path / "agent-tui.toml").write_text('requestFunc = "mine"\n')
    agent = tmp_path / create(tmp_path, None)
    environment = read_environment_and_config(agent, tmp_path, {})
    assert (environment.config, environment.config_problem) == ({}, "")
    assert environment.config_file == agent.with_name("agent-tui.toml")


def test_it_takes_the_flags_of_a_run_with_one_test_job() -> None:
    assert {each.name for each in demo.params} - {"folder"} == {each.name for each in run.params} - {"agent"}

    def default(command: click.Command) -> object:
        return next(each.default for each in command.params if each.name == "dispatch")

    assert (default(demo), default(run)) == ("1", "0")


@pytest.mark.real
async def test_the_demo_runs_one_job_on_the_embedded_server(tmp_path: Path) -> None:
    code, run = await finished(
        "demo", "--json", "--exit-when-idle", cwd=tmp_path, environ={"LIVEKIT_URL": "ws://nowhere.invalid"}
    )
    assert code == 0, run.stderr
    assert "created agent-tui-demo/agent.py" in run.stderr
    assert [event["status"] for event in run.all("job_ended")] == ["success"]
    assert os.listdir(tmp_path) == ["agent-tui-demo"]  # noqa: PTH208
