"""Changed modules run beside those that they replace, and share the others."""

import gc
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from agent_tui.child.python import loading, project_files
from agent_tui.child.python.swap_modules import ModuleTable, imported_names

NEVER = KeyboardInterrupt


class Project:
    """A project in a folder, whose agent file runs as in a job process."""

    def __init__(self, folder: Path, files: dict[str, str]) -> None:
        self.first = {str(folder / name): text.encode() for name, text in files.items()}
        self.folder = folder
        for path, content in self.first.items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(content)
        self.file = str(folder / "agent.py")
        self.table: ModuleTable | None = None

    def start(self) -> ModuleType:
        return loading.run_file(self.file, "__mp_main__")

    def swap(self, files: dict[str, str]) -> ModuleTable:
        """Swap to a version that differs from the first one in these files."""
        sources = {str(self.folder / name): text.encode() for name, text in files.items()}
        table = ModuleTable(self.file, sources, self.first, self.first.get, self.table)
        if table.is_main_new:
            table.run_main(NEVER)
        self.table = table
        return table

    @property
    def main(self) -> ModuleType:
        assert self.table is not None
        module = self.table.module("__mp_main__")
        assert module is not None
        return module


@pytest.fixture(autouse=True)
def clean_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = dict(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    assert not [each for each in sys.meta_path if type(each).__module__.endswith("swap_modules")]
    sys.modules.clear()
    sys.modules.update(before)


def test_the_changed_module_and_its_importers_run_and_the_others_are_shared(tmp_path: Path) -> None:
    project = Project(
        tmp_path,
        {
            "agent.py": "import db_x, tax_x, calc_x\ndef total(): return calc_x.total(), db_x.pool",
            "db_x.py": "pool = object()",
            "tax_x.py": "RATE = 1",
            "calc_x.py": "import tax_x\ndef total(): return tax_x.RATE",
        },
    )
    old = project.start()
    shared = sys.modules["db_x"]
    project.swap({"tax_x.py": "RATE = 2"})
    assert project.main is not old
    assert project.main.total() == (2, shared.pool)
    assert old.total() == (1, shared.pool)
    assert sys.modules["__mp_main__"] is old
    assert sys.modules["tax_x"].RATE == 1
    assert project.main.calc_x is not sys.modules["calc_x"]


def test_a_change_that_the_agents_file_does_not_import_leaves_it_alone(tmp_path: Path) -> None:
    project = Project(tmp_path, {"agent.py": "import one_x", "one_x.py": "", "two_x.py": "N = 1"})
    old = project.start()
    table = project.swap({"two_x.py": "N = 2"})
    assert table.module("__mp_main__") is old
    module = table.module("two_x")
    assert module is not None
    assert module.N == 2
    assert "two_x" not in sys.modules


def test_lazy_imports_find_the_version_of_the_code_that_imports(tmp_path: Path) -> None:
    text = "def lazy():\n    import late_x\n    from late_x import N\n    return late_x.N, N"
    project = Project(tmp_path, {"agent.py": text, "late_x.py": "N = 1"})
    old = project.start()
    project.swap({"late_x.py": "N = 2"})
    assert project.main.lazy() == (2, 2)
    assert old.lazy() == (1, 1)
    assert project.main.lazy() == (2, 2)


def test_a_module_that_is_imported_late_and_imports_a_changed_one_is_not_shared(tmp_path: Path) -> None:
    files = {
        "agent.py": "def lazy():\n    import middle_x\n    return middle_x.value()",
        "middle_x.py": "import deep_x\ndef value(): return deep_x.N",
        "deep_x.py": "N = 1",
    }
    project = Project(tmp_path, files)
    old = project.start()
    project.swap({"deep_x.py": "N = 2"})
    assert project.main.lazy() == 2
    assert old.lazy() == 1


def test_a_package_is_shared_although_one_of_its_modules_changed(tmp_path: Path) -> None:
    files = {
        "agent.py": "import pack_x.mod, pack_x.other\ndef see(): "
        "return pack_x.mod.N, pack_x.other.N, pack_x.STATE",
        "pack_x/__init__.py": "STATE = object()",
        "pack_x/mod.py": "from . import other\nN = 1",
        "pack_x/other.py": "N = 5",
    }
    project = Project(tmp_path, files)
    old = project.start()
    state = sys.modules["pack_x"].STATE
    project.swap({"pack_x/mod.py": "from .other import N as M\nN = M + 1"})
    assert project.main.see() == (6, 5, state)
    assert old.see() == (1, 5, state)
    project.main.pack_x.STATE = None  # what the new code sets, all code sees
    assert old.see() == (1, 5, None)


def test_a_changed_package_keeps_the_modules_that_did_not_change(tmp_path: Path) -> None:
    files = {
        "agent.py": "import pack_y.mod\ndef see(): return pack_y.N, pack_y.mod.STATE",
        "pack_y/__init__.py": "N = 1",
        "pack_y/mod.py": "STATE = object()",
    }
    project = Project(tmp_path, files)
    old = project.start()
    project.swap({"pack_y/__init__.py": "N = 2"})
    assert project.main.see() == (2, old.see()[1])


def test_a_new_module_and_a_new_name_are_found(tmp_path: Path) -> None:
    project = Project(tmp_path, {"agent.py": "N = 1", "other_x.py": ""})
    project.start()
    project.swap({"agent.py": "from added_x import N", "added_x.py": "N = 2"})
    assert project.main.N == 2
    assert "added_x" not in sys.modules


def test_a_module_that_became_a_package_is_replaced_by_it(tmp_path: Path) -> None:
    project = Project(tmp_path, {"agent.py": "import grown_x\nN = grown_x.N", "grown_x.py": "N = 1"})
    project.start()
    project.swap({"grown_x/__init__.py": "from .inner import N", "grown_x/inner.py": "N = 2"})
    assert project.main.N == 2
    assert sys.modules["grown_x"].N == 1


def test_a_second_swap_keeps_what_did_not_change_since_the_first(tmp_path: Path) -> None:
    files = {"agent.py": "import a_x, b_x", "a_x.py": "N = 1\nSTATE = []", "b_x.py": "N = 1"}
    project = Project(tmp_path, files)
    old = project.start()
    project.swap({"a_x.py": "N = 2\nSTATE = []"})
    second = project.main.a_x
    project.swap({"a_x.py": "N = 2\nSTATE = []", "b_x.py": "N = 2"})
    assert project.main.a_x is second
    assert project.main.b_x.N == 2
    table = project.swap({})
    assert table.module("__mp_main__") is old
    assert table.modules == {}


def test_code_that_raises_changes_nothing(tmp_path: Path) -> None:
    project = Project(tmp_path, {"agent.py": "import bad_x", "bad_x.py": "N = 1"})
    project.start()
    before = dict(sys.modules)
    with pytest.raises(ZeroDivisionError):
        project.swap({"bad_x.py": "1 / 0"})
    assert project.table is None
    assert sys.modules == before


def test_the_file_stops_where_it_would_start_its_worker(tmp_path: Path) -> None:
    class Stop(BaseException):
        pass

    project = Project(tmp_path, {"agent.py": "N = 1"})
    project.start()
    sources = {project.file: b"import __main__\nN = 2\n__main__.stop()\nN = 3"}
    table = ModuleTable(project.file, sources, project.first, project.first.get, None)
    with pytest.raises(AttributeError):  # `__main__` is the new module, which has no `stop`
        table.run_main(Stop)
    sources = {project.file: b"import stops_x\nN = 2\nraise stops_x.Stop\nN = 3"}
    sys.modules["stops_x"] = stops = ModuleType("stops_x")
    stops.Stop = Stop  # type: ignore[attr-defined]
    table = ModuleTable(project.file, sources, project.first, project.first.get, None)
    table.run_main(Stop)
    module = table.module("__mp_main__")
    assert module is not None
    assert (module.N, module.__name__) == (2, "__mp_main__")


def test_another_thread_never_sees_a_half_placed_table(tmp_path: Path) -> None:
    text = "def lazy():\n    import busy_x\n    return busy_x.N"
    project = Project(tmp_path, {"agent.py": text, "busy_x.py": "N = 1"})
    project.start()
    project.swap({"busy_x.py": "N = 2"})
    seen: set[int] = set()

    def read() -> None:
        for _ in range(300):
            seen.add(project.main.lazy())

    threads = [threading.Thread(target=read) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert seen == {2}


def test_what_is_replaced_is_freed(tmp_path: Path) -> None:
    project = Project(tmp_path, {"agent.py": "class A: pass"})
    project.start()
    project.swap({"agent.py": "class A: n = 1"})
    replaced = weakref.ref(project.main.A)
    project.swap({"agent.py": "class A: n = 2"})
    gc.collect()
    assert replaced() is None


@pytest.mark.parametrize(
    ("text", "package", "names"),
    [
        ("import a.b", "", {"a", "a.b"}),
        ("def f():\n    from a import b", "", {"a", "a.b"}),
        ("from . import b", "p.q", {"p", "p.q", "p.q.b"}),
        ("from ..c import b", "p.q", {"p", "p.c", "p.c.b"}),
        ("not python(", "", set()),
    ],
)
def test_what_a_file_imports(text: str, package: str, names: set[str]) -> None:
    found = imported_names(text.encode(), package)
    assert {each for each in found if not each.startswith(project_files.PROJECT)} == names
