"""Which files belong to an agent, and which of them changed: real files."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_tui.generations.sources import MOST_DIGESTED, Sources
from agent_tui.model.errors import UserError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An agent with a package, a lazy import and a file that nobody imports."""
    root = tmp_path.resolve() / "project"
    (root / "tools").mkdir(parents=True)
    (root / "agent.py").write_text(
        "import os, helpers\nfrom tools import search\ndef lazily():\n    import tools.later\n"
    )
    (root / "helpers.py").write_text("import numpy\n")
    (root / "tools/__init__.py").write_text("")
    (root / "tools/search.py").write_text("from .deep import thing\n")
    (root / "tools/deep.py").write_text("thing = 1\n")
    (root / "tools/later.py").write_text("x = 1\n")
    (root / "test_agent.py").write_text("import agent\n")
    return root


def names(paths: object, root: Path) -> set[str]:
    return {os.path.relpath(str(path), root) for path in paths}  # type: ignore[attr-defined]


def sources(root: Path, **more: object) -> Sources:
    return Sources(root / "agent.py", cwd=root, **more)  # type: ignore[arg-type]


def replace_atomically(path: Path, text: str) -> None:
    fresh = path.with_suffix(".tmp")
    fresh.write_text(text)
    fresh.replace(path)


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def deleted_and_written(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


ALL = {"agent.py", "helpers.py", "tools/__init__.py", "tools/search.py", "tools/deep.py", "tools/later.py"}


def test_what_is_imported_anywhere_belongs_to_it_and_nothing_else(project: Path) -> None:
    found = sources(project)
    assert names(found.read().modules, project) == ALL
    assert names(found.folders, project) == {".", "tools"}


@pytest.mark.parametrize("save", [in_place, replace_atomically, deleted_and_written])
@pytest.mark.parametrize("name", ["agent.py", "tools/deep.py", "tools/later.py"])
def test_a_save_is_seen_however_it_is_made(
    project: Path, save: Callable[[Path, str], None], name: str
) -> None:
    found = sources(project)
    before = found.read()
    text = (project / name).read_text()
    save(project / name, text)
    assert found.changed(before) == ()  # the same again
    save(project / name, text + "# more\n")
    assert found.changed(before) == (project / name,)
    assert found.read().modules[str(project / name)] == (text + "# more\n").encode()


def test_two_saves_of_one_size_within_a_moment(project: Path) -> None:
    found = sources(project)
    file = project / "helpers.py"
    seen = []
    for number in range(20):
        file.write_text(f"n = {number:04}\n")
        seen.append(found.read().modules[str(file)])
    assert len(set(seen)) == 20


def test_an_unrelated_file_does_nothing(project: Path) -> None:
    found = sources(project)
    before = found.read()
    (project / "test_agent.py").write_text("changed = 1\n")
    (project / "notes.md").write_text("changed")
    assert found.changed(before) == ()


def test_deleted_missing_and_new_files(project: Path) -> None:
    found = sources(project)
    before = found.read()
    (project / "helpers.py").unlink()
    assert names(found.changed(before), project) == {"helpers.py"}
    without = found.read()
    (project / "helpers").mkdir()
    (project / "helpers/__init__.py").write_text("import fresh.stuff\n")
    assert names(found.changed(without), project) == {"helpers/__init__.py"}
    now = found.read()
    (project / "fresh").mkdir()  # a new folder, a namespace package
    assert found.read().modules == now.modules
    assert project / "fresh" in found.folders
    (project / "fresh/stuff.py").write_text("")
    assert names(found.changed(now), project) == {"fresh/stuff.py"}


def test_the_agents_own_file_may_go_and_come_back(project: Path) -> None:
    found = sources(project)
    before = found.read()
    text = (project / "agent.py").read_text()
    (project / "agent.py").unlink()
    assert project / "agent.py" in found.changed(before)
    (project / "agent.py").write_text(text)
    assert found.changed(before) == ()


def test_other_roots_are_followed_and_installed_packages_are_not(project: Path, tmp_path: Path) -> None:
    editable = tmp_path / "elsewhere"
    (editable / "numpy").mkdir(parents=True)
    (editable / "numpy/__init__.py").write_text("")
    installed = tmp_path / "lib/site-packages"
    installed.mkdir(parents=True)
    (installed / "numpy.py").write_text("")
    found = sources(project)
    found.learn(
        [str(editable), str(installed)], [str(installed / "numpy.py"), str(project / "test_agent.py")]
    )
    modules = found.read().modules
    assert str(editable / "numpy/__init__.py") in modules
    assert str(project / "test_agent.py") in modules
    assert str(installed / "numpy.py") not in modules
    assert editable / "numpy" in found.folders


def test_symlinks_are_followed_to_where_saves_go(project: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    shutil.move(project / "helpers.py", real / "helpers.py")
    (project / "helpers.py").symlink_to(real / "helpers.py")
    found = sources(project)
    before = found.read()
    assert real in found.folders
    replace_atomically(real / "helpers.py", "changed = 1\n")
    assert found.changed(before) == (project / "helpers.py",)


def test_an_agent_behind_a_symlink_imports_from_its_real_folder(project: Path, tmp_path: Path) -> None:
    link = tmp_path / "bin"
    link.mkdir()
    (link / "agent.py").symlink_to(project / "agent.py")
    found = Sources(link / "agent.py", cwd=tmp_path)
    modules = found.read().modules
    assert str(link / "agent.py") in modules
    assert str(project / "helpers.py") in modules


def test_a_checkout_of_many_files_is_one_change(project: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
            cwd=project,
            check=True,
            capture_output=True,
        )

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    for file in project.rglob("*.py"):
        file.write_text(file.read_text() + "# two\n")
    git("commit", "-qam", "two")
    found = sources(project)
    before = found.read()
    git("checkout", "-q", "HEAD~1")
    assert names(found.changed(before), project) == ALL
    git("checkout", "-q", "-")
    assert found.changed(before) == ()


def test_environment_files(project: Path) -> None:
    (project / "pyproject.toml").touch()
    agent = project / "src"
    agent.mkdir()
    (agent / "agent.py").write_text("")
    found = Sources(agent / "agent.py", cwd=project)
    before = found.read()
    assert project in found.folders
    for name in (".env", ".env.local", "src/.env.production"):
        (project / name).write_text("A=1\n")
        assert found.changed(before) == (project / name,)
        (project / name).unlink()
    (project / ".envrc").write_text("A=1\n")
    assert found.changed(before) == ()


def test_patterns(project: Path) -> None:
    (project / "prompts/deep").mkdir(parents=True)
    (project / "node_modules/x").mkdir(parents=True)
    (project / "prompts/deep/a.md").write_text("1")
    found = sources(project, globs=["**/*.md", "data.json"])
    before = found.read()
    assert found.any_name
    assert {project / "prompts", project / "prompts/deep"} <= found.folders
    assert project / "node_modules/x" not in found.folders
    (project / "node_modules/x/b.md").write_text("1")
    assert found.changed(before) == ()
    (project / "prompts/deep/a.md").write_text("2")
    (project / "data.json").write_text("{}")
    assert names(found.changed(before), project) == {"prompts/deep/a.md", "data.json"}


def test_watched_files_are_not_read_again_each_time(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asset, huge = project / "model.bin", project / "huge.bin"
    asset.write_bytes(b"one")
    with huge.open("wb") as file:
        file.truncate(MOST_DIGESTED + 1)
    os.utime(asset, (1.0, 1.0))
    found = sources(project, globs=["*.bin"])
    before = found.read()
    read: list[Path] = []
    read_bytes = Path.read_bytes

    def counted(path: Path) -> bytes:
        read.append(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    assert found.changed(before) == ()
    asset.write_bytes(b"two")
    os.utime(huge, (1.0, 1.0))
    assert found.changed(before) == (huge, asset)
    assert {asset, huge} & set(read) == {asset}
    assert read.count(asset) == 1


@pytest.mark.parametrize("pattern", ["", "  ", "a\0b"])
def test_a_bad_pattern_is_one_clear_line(project: Path, pattern: str) -> None:
    with pytest.raises(UserError, match="--watch"):
        sources(project, globs=[pattern])


def test_a_module_that_cannot_be_read_is_absent(project: Path) -> None:
    (project / "helpers.py").unlink()
    (project / "helpers.py").mkdir()
    found = sources(project)
    assert str(project / "helpers.py") not in found.read().modules
