"""Saving and exporting: values survive, secrets stay out, other text is kept."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from agent_tui.child.python import lk_sdk
from agent_tui.options.configfile import (
    ConfigFile,
    named_config,
    read_environment_and_config,
    reference_problem,
    save,
    save_allowed,
)
from agent_tui.options.declare import BY_NAME, OPTIONS, DefaultsContext, Option
from agent_tui.options.envfiles import read_environment
from agent_tui.options.export import _AGENT_TUI_ONLY, _ENVIRONMENT_ONLY, FORMATS
from agent_tui.options.permissions import Permissions
from agent_tui.options.resolve import Layer, Resolution, SourcedValue, convert, environment_layers, resolve
from tests.options.test_reference import raw

VALUES = {
    "numIdleProcesses": 3,
    "sessionEndTimeout": 1_500,
    "permissions": Permissions(hidden=True, can_publish_sources=("camera",)),
    "loadThreshold": float("inf"),
    "production": True,
    "agentName": 'a "quoted" name',
}
SECRET = {"apiSecret": "hush-hush"}


def read(file: ConfigFile, **environ: str) -> dict[str, object]:
    found = read_environment_and_config(file.path.parent / "agent.py", file.path.parent, environ, file.path)
    return {name: convert(BY_NAME[name], each) for name, each in found.config.items()}


def test_a_new_file_has_the_saved_options(tmp_path: Path) -> None:
    file = named_config(tmp_path / "agent-tui.toml")
    save(file, VALUES)
    assert read(file) == VALUES
    assert 'sessionEndTimeout = "1500ms"' in file.path.read_text()


def hosts(path: Path) -> tuple[str, ...]:
    found = read_environment_and_config(path.parent / "agent.py", path.parent, {}, path)
    assert not found.config_problem
    return found.allow_remote


def test_an_allowed_host_is_added_to_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "agent-tui.toml"
    save_allowed(named_config(path), "a.example")
    assert hosts(path) == ("a.example",)
    save_allowed(named_config(path), "a.example")
    save_allowed(named_config(path), "b.example")
    assert hosts(path) == ("a.example", "b.example")
    path.write_text('# ours\nallowRemote = "C.example" # mine\nport = 1\n')
    save_allowed(named_config(path), "C.EXAMPLE")
    save_allowed(named_config(path), "d.example")
    assert hosts(path) == ("c.example", "d.example")
    assert path.read_text().startswith("# ours\n")


def test_a_wrong_list_of_hosts_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "agent-tui.toml"
    for wrong in ("'wss://a.example'", "['']", "3", "{}"):
        path.write_text(f"allowRemote = {wrong}\n")
        with pytest.raises(ValueError, match="is not a host name"):
            save_allowed(named_config(path), "b.example")
    path.write_text("port = 1\nallowRemote = true\n")
    found = read_environment_and_config(tmp_path / "agent.py", tmp_path, {}, path)
    assert found.config_problem.startswith(
        "allowRemote = True (agent-tui.toml:2) is not a host name; write allowRemote = ["
    )


def test_comments_and_other_options_stay(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    text = "# ours\n[project]\nname = 'x' # keep\n\n[tool.agent-tui]\nport = 1 # health\nhost = 'h'\n"
    path.write_text(text)
    path.chmod(0o640)
    save(named_config(path), {"port": 2})
    assert path.read_text() == text.replace("port = 1", "port = 2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_secret_is_a_reference_or_the_file_is_private(tmp_path: Path) -> None:
    file = named_config(tmp_path / "agent-tui.toml")
    save(file, SECRET)
    assert "hush" not in file.path.read_text()
    assert read(file, LIVEKIT_API_SECRET="from here") == {"apiSecret": "from here"}
    save(file, SECRET, clear_secrets=True)
    assert read(file) == SECRET
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_a_reference_is_kept_only_for_the_same_value() -> None:
    option = BY_NAME["apiSecret"]
    same = {"LIVEKIT_API_SECRET": SourcedValue("hush-hush", "LIVEKIT_API_SECRET in .env:1")}
    assert reference_problem(option, "hush-hush", same) == ""
    assert "LIVEKIT_API_SECRET in .env:1 has another value" in reference_problem(option, "other", same)
    assert "LIVEKIT_API_SECRET is not set" in reference_problem(option, "other", {})
    assert reference_problem(BY_NAME["port"], 1, {}) == ""


def test_a_file_that_cannot_be_written_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "agent-tui.toml"
    path.write_text("port = ")
    with pytest.raises(ValueError, match="is not valid TOML"):
        save(named_config(path), {"port": 2})
    assert path.read_text() == "port = "
    with pytest.raises(OSError, match="No such file"):
        save(named_config(tmp_path / "nowhere/agent-tui.toml"), {"port": 2})


# -- export --------------------------------------------------------------------------------------------


def tuned(**more: object) -> Resolution:
    values = {**VALUES, **more}
    return resolve(
        (Layer("flag", {name: SourcedValue(value, name) for name, value in values.items()}),),
        DefaultsContext(),
    )


def test_the_environment_file_gives_the_same_options(tmp_path: Path) -> None:
    resolution = tuned(jobMemoryLimitMB=512, agentName="it's $HOME")
    (tmp_path / ".env").write_text(FORMATS["env"](resolution, DefaultsContext()))
    environment = read_environment(tmp_path / "agent.py", tmp_path, {})
    assert environment.problems == ()
    again = resolve(environment_layers(environment.variables), DefaultsContext())
    assert again.options == resolution.options


def test_the_config_file_gives_the_same_options(tmp_path: Path) -> None:
    resolution = tuned(jobMemoryLimitMB=512.5, agentName='it\'s a "tab"\\t $HOME', **SECRET)
    (tmp_path / "agent-tui.toml").write_text(FORMATS["toml"](resolution, DefaultsContext()))
    found = read_environment_and_config(tmp_path / "agent.py", tmp_path, {})
    assert found.config_problem == ""
    again = resolve((Layer("config file", found.config),), DefaultsContext())
    assert again.options == replace(resolution.options, api_secret=again.options.api_secret)
    assert again.options.api_secret != SECRET["apiSecret"]


@pytest.mark.parametrize(
    "option", [each for each in OPTIONS if not each.kind.secret and each.name != "agent"]
)
def test_each_value_survives_the_config_file(option: Option, tmp_path: Path) -> None:
    for choice in range(3):
        before = resolve(
            (Layer("flag", {option.name: SourcedValue(raw(option.name, choice), "flag")}),), DefaultsContext()
        )
        (tmp_path / "agent-tui.toml").write_text(FORMATS["toml"](before, DefaultsContext()))
        found = read_environment_and_config(tmp_path / "agent.py", tmp_path, {})
        after = resolve((Layer("config file", found.config),), DefaultsContext())
        assert (found.config_problem, after.options) == ("", before.options)
        assert len(found.config) <= 1


def test_no_export_contains_a_secret() -> None:
    resolution = tuned(**SECRET, workerToken="token-token")
    for name, make in FORMATS.items():
        text = make(resolution, DefaultsContext())
        assert "hush" not in text, name
        assert "token-token" not in text, name


def test_exports_without_changes_are_no_error() -> None:
    for make in FORMATS.values():
        make(resolve((), DefaultsContext()), DefaultsContext())


def test_the_sdk_accepts_what_the_exports_pass() -> None:
    # If an option fails here, neither SDK has it: add it to the lists at the top of export.py.
    taken = {name for name, _ in lk_sdk.OPTIONS.values()}
    of_agents_js_only = {"agent", "production"}
    assert {option.name for option in OPTIONS} - taken - of_agents_js_only == {
        *_ENVIRONMENT_ONLY,
        *_AGENT_TUI_ONLY,
    }
