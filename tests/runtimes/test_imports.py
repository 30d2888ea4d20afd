"""What a source imports and when, and which files that runs."""

import pytest

from agent_tui.runtimes.imports import MOST_NAMES, Import, Resolver, When, imports_of


def names(source: bytes) -> set[str]:
    return {"." * each.level + each.module for each in imports_of(source)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a", {"a"}),
        ("import a.b.c as d, e", {"a.b.c", "e"}),
        ("from a.b import c, d as e", {"a.b.c", "a.b.d"}),
        ("from a import (\n    b,  # the first, of two\n    c,\n)", {"a.b", "a.c"}),
        ("from a import b, \\\n    c", {"a.b", "a.c"}),
        ("from . import b", {".b"}),
        ("from .a.b import c", {".a.b.c"}),
        ("from ..a import *", {"..a.*"}),
        ("def f():\n    from a import b\n    import c", {"a.b", "c"}),
        ("try: import a\nexcept ImportError: import b", {"a", "b"}),
        ("x = 1; import a; import b", {"a", "b"}),
        ("import a  # import b", {"a"}),
        ("'import a'; x = '''\nimport b\n'''", set()),
        ("tools = importlib.import_module( 'tools.extra')", {"tools.extra"}),
        ("# import_module('a')\n\"import_module('b')\"; import_module(\n  'c')", {"c"}),
        ("important = 1\nfromage = 2\nprint('from here')", set()),
        ("import a\r\nfrom b import c\r\n", {"a", "b.c"}),
        ("import größe", {"größe"}),
    ],
)
def test_imports(source: str, expected: set[str]) -> None:
    assert names(source.encode()) == expected


def test_when_they_are_run() -> None:
    source = b"""
import a
if x: import b
try:
    import c
except ImportError:
    pass
with open(f):
    import d
def f():
    import e
if TYPE_CHECKING:
    from g import h
    if x:
        import i
import_module("j")
import k
"""
    found: dict[When, set[str]] = {}
    for each in imports_of(source):
        found.setdefault(each.when, set()).add(each.module)
    assert found == {
        When.ALWAYS: {"a", "d", "k"},
        When.MAYBE: {"b", "c", "e"},
        When.NEVER: {"g.h", "i"},
        When.BY_NAME: {"j"},
    }


def test_which_files_an_import_runs() -> None:
    disk = {
        "/p": {"agent.py", "tools", "venv"},
        "/p/tools": {"__init__.py", "search.py", "deep"},
        "/p/tools/deep": {"thing.py"},
        "/p/venv": {"__init__.py"},
        "/other": {"tools.py"},
    }
    resolver = Resolver(lambda folder: disk.get(folder, set()))

    def files(module: str, level: int = 0, importer: str = "/p/agent.py") -> list[str]:
        return list(resolver.files(Import(module, level), importer, ["/p", "/other"]))

    package, other = "/p/tools/__init__.py", "/other/tools.py"
    assert files("tools.search.f") == [package, "/p/tools/search.py", other]
    assert files("tools.*") == [package, other]
    assert files("tools.deep.thing") == [package, "/p/tools/deep/thing.py", other]
    assert files("thing", 1, "/p/tools/deep/x.py") == ["/p/tools/deep/thing.py"]
    assert files("search", 2, "/p/tools/deep/x.py") == ["/p/tools/search.py"]
    assert files("venv") == []
    assert files("gone.too") == []
    assert resolver.missing >= {"/other/venv", "/p/gone", "/other/gone"}
    assert "/p/tools/*" not in resolver.missing
    assert resolver.folders >= {"/p", "/other", "/p/tools", "/p/tools/deep"}


def test_binary_files_import_nothing() -> None:
    assert names(b"\x00\xff\xfeimport\x00") == set()


HALF = 2**18
"""Bytes: an expression whose time grows with the square would take minutes."""


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "source",
    [
        b"from" + b" " * HALF,
        b"from x" + b" " * HALF,
        b"from " + b"." * HALF,
        b"from a import (\n" * (HALF // 16),
        b"import a" + b"\\\n" * (HALF // 2),
        b"import " + b"\\" * HALF,
        b"import_module(" + b" " * HALF,
        b";" * HALF,
        b"from " + b"a." * 100 + b" import " + b"b," * (HALF // 2),
        b"'" * HALF,
        b'"\\' * (HALF // 2),
        b"if " + b" " * HALF + b"TYPE",
        b"try:\n" + b"except import Except\n" * (HALF // 20),
        b"from " + b". " * (HALF // 2),
        b"import_module('a')" * (HALF // 20),
        b"import_module(" + b'"a' * (HALF // 2),
    ],
    ids=range(16),
)
def test_no_source_takes_long(source: bytes) -> None:
    assert len(list(imports_of(source))) <= MOST_NAMES + 1


def test_other_line_ends_and_spellings() -> None:
    assert names(b"import a\rimport b") == names(b"import a\nimport b")
    assert names(b"from.a import b") == names(b"from .a import b")
    assert names(b"from .import b") == names(b"from . import b")
