"""Which Python is chosen, with fake Pythons; and one real one."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from agent_tui.model.errors import ExitCode, UserError
from agent_tui.runtimes.interpreter import ask_python, find_interpreter, needs

from .support import AGENTS, clean_environ


class Pythons:
    """Fake Pythons by path: version and installed modules."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.known: dict[Path, tuple[tuple[int, int, int], set[str]]] = {}
        self.asked: list[Path] = []

    def add(self, folder: str, *modules: str, version: tuple[int, int, int] = (3, 12, 1)) -> Path:
        path = self.root / folder / "bin" / "python"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        path.chmod(0o755)
        self.known[path] = (version, set(modules))
        return path

    def ask(
        self, path: Path, names: Sequence[str], folder: Path, environ: Mapping[str, str]
    ) -> Mapping[str, object]:
        self.asked.append(path)
        version, modules = self.known[path]
        missing = [name for name in names if name not in modules]
        return {"executable": str(path), "version": list(version), "missing": missing}


@pytest.fixture
def pythons(tmp_path: Path) -> Pythons:
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "repo" / "src").mkdir()
    return Pythons(tmp_path)


def agent(pythons: Pythons, source: str = "import wanted\n") -> Path:
    file = pythons.root / "repo" / "src" / "agent.py"
    file.write_text(source)
    return file


def find(pythons: Pythons, file: Path, python: str | None = None, **environ: str) -> tuple[Path, str]:
    found = find_interpreter(
        file, "native", {"PATH": "", **environ}, python, pythons.root / "own", pythons.ask
    )
    return found.path, found.how


def test_the_order(pythons: Pythons) -> None:
    file = agent(pythons)
    path = pythons.add("path", "wanted")
    conda = pythons.add("conda", "wanted")
    environ = {"PATH": str(path.parent), "CONDA_PREFIX": str(pythons.root / "conda")}
    assert find(pythons, file, **environ) == (conda, "CONDA_PREFIX")
    outer = pythons.add("repo/venv", "wanted")
    assert find(pythons, file, **environ)[0] == outer
    inner = pythons.add("repo/src/.venv", "wanted")
    assert find(pythons, file, **environ) == (inner, f".venv in {pythons.root / 'repo' / 'src'}")
    uv = pythons.add("repo/uvenv", "wanted")
    environ["UV_PROJECT_ENVIRONMENT"] = "uvenv"
    assert find(pythons, file, **environ) == (uv, "UV_PROJECT_ENVIRONMENT")
    active = pythons.add("active", "wanted")
    environ["VIRTUAL_ENV"] = str(pythons.root / "active")
    assert find(pythons, file, **environ) == (active, "VIRTUAL_ENV")
    named = pythons.add("named", "wanted")
    assert find(pythons, file, str(named), **environ) == (named, "--python")
    assert find(pythons, file, str(pythons.root / "named"), **environ) == (named, "--python")


def test_agent_tuis_own_environment_is_skipped(pythons: Pythons) -> None:
    pythons.add("own", "wanted")
    path = pythons.add("path", "wanted")
    environ = {"VIRTUAL_ENV": str(pythons.root / "own"), "PATH": str(path.parent)}
    assert find(pythons, agent(pythons), **environ) == (path, "python on PATH")


def test_folders_above_the_repository_are_not_searched(pythons: Pythons) -> None:
    pythons.add(".venv", "wanted")
    with pytest.raises(UserError, match="no Python was found"):
        find(pythons, agent(pythons))


def test_a_python_that_lacks_something_is_a_miss_with_its_reason(pythons: Pythons) -> None:
    file = agent(pythons)
    pythons.add("active", "other")
    old = pythons.add("repo/.venv", "wanted", version=(3, 9, 2))
    good = pythons.add("conda", "wanted")
    environ = {"VIRTUAL_ENV": str(pythons.root / "active"), "CONDA_PREFIX": str(pythons.root / "conda")}
    found = find_interpreter(file, "native", {"PATH": "", **environ}, None, pythons.root, pythons.ask)
    assert (found.path, found.version) == (good, "3.12.1")
    assert [(miss.how, miss.reason) for miss in found.misses] == [
        ("VIRTUAL_ENV", "lacks wanted"),
        (f".venv in {pythons.root / 'repo'}", "is Python 3.9.2, but 3.10 or later is needed"),
    ]
    assert found.misses[1].path == old
    assert len(pythons.asked) == len(set(pythons.asked))


def test_without_a_usable_python_one_line_names_all(pythons: Pythons) -> None:
    pythons.add("active")
    file = agent(pythons, "from livekit.agents import cli\nimport dotenv\n")
    with pytest.raises(UserError) as caught:
        find_interpreter(
            file,
            "livekit-agents",
            {"PATH": "", "VIRTUAL_ENV": str(pythons.root / "active")},
            None,
            pythons.root,
            pythons.ask,
        )
    line = str(caught.value)
    assert caught.value.exit_code is ExitCode.USAGE
    assert "\n" not in line
    assert "lacks dotenv, livekit.agents" in line
    assert "VIRTUAL_ENV" in line
    assert "install dotenv livekit-agents" in line
    assert "--python" in line


def test_a_missing_python_is_reported(pythons: Pythons) -> None:
    with pytest.raises(UserError, match="--python python9: no such file"):
        find(pythons, agent(pythons), "python9")
    with pytest.raises(UserError, match="does not exist"):
        find(pythons, agent(pythons), "/nowhere/python")


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import os, yaml.nodes\nfrom rich import x\n", ("rich", "yaml")),
        ("try:\n    import uvloop\nexcept ImportError:\n    pass\n", ()),
        ("try:\n    import needed\nfinally:\n    pass\n", ("needed",)),
        ("def f():\n    import later\n", ()),
        ("if x:\n    import perhaps\n", ()),
        ("from . import sibling\nfrom __future__ import annotations\n", ()),
        ("from livekit import rtc\n", ("livekit",)),
    ],
)
def test_what_a_file_needs(tmp_path: Path, source: str, names: tuple[str, ...]) -> None:
    file = tmp_path / "agent.py"
    file.write_text(source)
    assert needs(file, "native") == names


def test_a_livekit_agents_file_needs_that_sdk_and_not_only_its_namespace() -> None:
    assert needs(AGENTS / "sdk_server.py", "livekit-agents") == ("livekit.agents",)


@pytest.mark.real
def test_this_python_is_queried_and_finds_local_modules() -> None:
    found = find_interpreter(
        AGENTS / "native_short.py", "native", clean_environ(), sys.executable, Path("/nowhere")
    )
    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert found.misses == ()


@pytest.mark.real
def test_a_project_with_modules_named_like_the_standard_librarys_is_asked_about(tmp_path: Path) -> None:
    for name in ("json", "types", "importlib", "wanted"):
        (tmp_path / f"{name}.py").write_text("")
    for environ in ({}, {"PYTHONPATH": str(tmp_path)}):
        assert ask_python(Path(sys.executable), ["wanted", "gone"], tmp_path, environ)["missing"] == ["gone"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 3", "exited with code 3"),
        ("echo hello", "failed to run: printed no JSON"),
        ("echo no >&2; exit 1", "code 1: no"),
    ],
)
def test_a_program_that_is_not_python_is_a_miss(tmp_path: Path, script: str, reason: str) -> None:
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    with pytest.raises(UserError, match=reason):
        find_interpreter(AGENTS / "native_short.py", "native", clean_environ(), str(fake))
