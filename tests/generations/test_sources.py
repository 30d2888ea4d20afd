"""Which files belong to an agent, and which of them changed: real files."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_tui.generations.sources import MOST_DIGESTED, Appeared, Sources
from agent_tui.model.errors import UserError
from agent_tui.reading import read_file


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return an agent with a package, a lazy import, and an unrelated file."""
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


def test_a_file_that_loading_showed_is_read_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it were read twice, and gone the second time, neither text would be kept."""
    found, agent = sources(project), str(project / "agent.py")
    found.learn([], [agent, str(project / "helpers.py")])
    reads: list[str] = []

    def once(path: str, most_bytes: int) -> bytes:
        reads.append(path)
        if reads.count(path) > 1:
            raise FileNotFoundError(path)
        return read_file(path, most_bytes)

    monkeypatch.setattr("agent_tui.generations.sources.read_file", once)
    assert agent in found.read().modules
    assert len(reads) == len(set(reads))


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


def test_imported_files_belong_to_the_agent_and_no_others(project: Path) -> None:
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
    assert found.changed(before) == ()  # no change
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


def test_the_agents_file_may_disappear_and_return(project: Path) -> None:
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
    monkeypatch.setattr("agent_tui.generations.sources.RACY_S", 0.0)  # else all of them are too young
    found = sources(project, globs=["*.bin"])
    before = found.read()
    read: list[str] = []

    def counted(path: str, most_bytes: int) -> bytes:
        read.append(path)
        return read_file(path, most_bytes)

    monkeypatch.setattr("agent_tui.generations.sources.read_file", counted)
    assert found.changed(before) == ()
    assert not read
    asset.write_bytes(b"two")
    os.utime(huge, (1.0, 1.0))
    assert found.changed(before) == (huge, asset)
    assert read == [str(asset)]


@pytest.mark.parametrize("name", ["helpers.py", ".env", "prompts.md"])
def test_content_that_changed_with_its_size_and_time_kept(project: Path, name: str) -> None:
    file = project / name
    file.write_text("x = 1\n")
    os.utime(file, (1.0, 1.0))
    found = sources(project, globs=["*.md"])
    before = found.read()
    file.write_text("x = 2\n")
    os.utime(file, (1.0, 1.0))
    assert found.changed(before) == (file,)
    assert time.time() - found.read().written[str(file)] < 60  # not 1970


def special_files(folder: Path, name: str) -> dict[str, Callable[[], object]]:
    """Return ways to create something under that name that is not a readable regular file."""
    path = folder / name

    def bound() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))

    def huge() -> None:
        path.touch()
        os.truncate(path, 2**40)

    return {
        "fifo": lambda: os.mkfifo(path),
        "socket": bound,
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "dangling": lambda: path.symlink_to("nowhere"),
        "itself": lambda: path.symlink_to(name),
        "huge": huge,
    }


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", special_files(Path(), "x"))
@pytest.mark.parametrize("name", ["agent.py", "helpers.py", ".env", ".env.example", "agent-tui.toml", "a.md"])
def test_special_files_are_neither_read_nor_waited_for(project: Path, name: str, kind: str) -> None:
    file = project / name
    file.unlink(missing_ok=True)
    found = sources(project, globs=["*.md"])
    before = found.read()
    special_files(project, name)[kind]()
    special = found.read()
    assert str(file) not in special.modules
    assert sum(map(len, special.others.values())) < 1000
    file.rmdir() if kind == "folder" else file.unlink()
    assert found.read() == before
    file.write_text("import os\n")
    assert file in found.changed(special)


@pytest.mark.timeout(10)
def test_links_in_circles_end(project: Path) -> None:
    for name in ("a", "b", "tools/c"):
        (project / name).symlink_to(project, target_is_directory=True)
    (project / "tools/deep.md").touch()
    found = sources(project, globs=["**/*.md"])
    assert project / "tools/deep.md" in {Path(os.path.realpath(each)) for each in found.read().others}


def test_files_beyond_the_size_limit_are_left_on_disk(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_tui.generations.sources.MOST_BYTES", 500)
    (project / "helpers.py").write_text("x = 1\n" * 100)
    found = sources(project)
    before = found.read()
    assert names(before.modules, project) == ALL - {"helpers.py"}
    (project / "helpers.py").write_text("x = 2\n" * 100)
    assert found.changed(before) == (project / "helpers.py",)


def test_missing_modules(project: Path) -> None:
    missing = names(sources(project).read().missing, project)
    assert {"numpy", "os", "tools/search/thing"} - missing == {"tools/search/thing"}
    assert not {"helpers", "tools", "tools/deep"} & missing


@pytest.mark.parametrize("pattern", ["", "  ", "a\0b"])
def test_a_bad_pattern_is_one_clear_line(project: Path, pattern: str) -> None:
    with pytest.raises(UserError, match="--watch"):
        sources(project, globs=[pattern])


def test_a_module_that_cannot_be_read_is_absent(project: Path) -> None:
    (project / "helpers.py").unlink()
    (project / "helpers.py").mkdir()
    found = sources(project)
    assert str(project / "helpers.py") not in found.read().modules


def test_the_modules_of_an_agents_js_project(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "lib").mkdir()
    (root / "node_modules/zod").mkdir(parents=True)
    (root / "agent.ts").write_text(
        "import { a } from './lib/a.js';\nconst late = () => import('./late.js');\n"
    )
    (root / "lib/a.ts").write_text(
        "import data from './data.json';\nimport { z } from 'zod';\nimport './no.js';\n"
    )
    (root / "lib/data.json").write_text("{}")
    (root / "late.ts").write_text("")
    (root / "unrelated.ts").write_text("")
    (root / "node_modules/zod/index.js").write_text("")
    (root / "package.json").write_text("{}")
    every = Sources(root / "agent.ts", cwd=root)
    snapshot = every.read()
    assert names(snapshot.modules, root) == {"agent.ts", "lib/a.ts", "lib/data.json", "late.ts"}
    assert names(snapshot.others, root) == {"package.json"}
    assert names(snapshot.missing, root) == {"lib/no"}
    (root / "unrelated.ts").write_text("changed")
    assert every.changed(snapshot) == ()
    (root / "lib/no.ts").write_text("new")
    (root / "late.ts").write_text("changed")
    assert names(every.changed(snapshot), root) == {"late.ts", "lib/no.ts"}


def test_modules_shown_by_an_agents_js_load_belong_to_it(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "packages/desk").mkdir(parents=True)
    (root / "packages/desk/main.js").write_text("import './inner.js';\n")
    (root / "packages/desk/inner.js").write_text("")
    (root / "packages/desk/package.json").write_text("{}")
    (root / "agent.mjs").write_text("import '@hotel/desk';\n")
    every = Sources(root / "agent.mjs", cwd=root)
    snapshot = every.read()
    assert names(snapshot.modules, root) == {"agent.mjs"}
    loaded = [str(root / "agent.mjs"), str(root / "packages/desk/main.js")]
    complete = every.complete(snapshot, (), loaded, accept_new=False)
    assert names(complete.modules, root) == {
        *("agent.mjs", "packages/desk/main.js", "packages/desk/inner.js")
    }
    assert names(complete.others, root) == {"packages/desk/package.json"}
    assert every.changed(complete) == ()
    (root / "packages/desk/inner.js").write_text("changed")
    (root / "packages/desk/package.json").write_text('{"exports": "./main.js"}')
    assert names(every.changed(complete), root) == {"packages/desk/inner.js", "packages/desk/package.json"}


def test_what_changes_how_modules_of_an_agents_js_project_are_read(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    settings = {
        "package.json": "{}",
        "app/package.json": "{}",
        "app/tsconfig.json": '{"extends": ["../a.json", "../base"]}',
        "a.json": "{}",
        "base.json": '{"compilerOptions": {"paths": {"#*": ["./lib/*"]}}}',
        "node_modules/.package-lock.json": "{}",  # npm has installed something
        "node_modules/@livekit/agents/package.json": '{"version": "1.9.0"}',
    }
    for name, text in {**settings, "app/agent.ts": "import '#far.js';\n", "lib/far.ts": ""}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    every = Sources(root / "app/agent.ts", cwd=root / "app")
    snapshot = every.read()
    assert names(snapshot.modules, root) == {"app/agent.ts", "lib/far.ts"}
    for name in settings:
        (root / name).write_text(settings[name].replace("{", '{"x": 1, ', 1).replace(", }", "}"))
        assert names(every.changed(snapshot), root) == {name}
        (root / name).write_text(settings[name])


@pytest.mark.parametrize("name", ["helpers.py", "agent.py"])
def test_a_file_that_could_not_be_read_and_is_loaded_may_be_of_another_version(
    project: Path, name: str
) -> None:
    found = sources(project)
    text = (project / name).read_text()
    (project / name).unlink()
    os.mkfifo(project / name)
    before = found.read()
    (project / name).unlink()
    (project / name).write_text(text + "# the next version\n")
    with pytest.raises(Appeared, match=name):
        found.complete(before, (), [str(project / name)], accept_new=False)
    complete = found.complete(before, (), [str(project / name)], accept_new=True)
    assert complete.modules[str(project / name)].endswith(b"# the next version\n")
