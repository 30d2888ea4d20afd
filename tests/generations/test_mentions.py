"""Which modules a source mentions."""

import pytest

from agent_tui.generations.mentions import MOST_NAMES, mentions
from agent_tui.runtimes.imports import imports_of


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a", {"a"}),
        ("import a.b.c as d, e", {"a.b.c", "e"}),
        ("from a.b import c, d as e", {"a.b", "a.b.c", "a.b.d"}),
        ("from a import (\n    b,  # the first, of two\n    c,\n)", {"a", "a.b", "a.c"}),
        ("from a import b, \\\n    c", {"a", "a.b", "a.c"}),
        ("from . import b", {".", ".b"}),
        ("from .a.b import c", {".a.b", ".a.b.c"}),
        ("from ..a import *", {"..a"}),
        ("def f():\n    from a import b\n    import c", {"a", "a.b", "c"}),
        ("try: import a\nexcept ImportError: import b", {"a", "b"}),
        ("x = 1; import a; import b", {"a", "b"}),
        ("import a  # import b", {"a"}),
        ("tools = importlib.import_module( 'tools.extra')", {"tools.extra"}),
        ("important = 1\nfromage = 2\nprint('from here')", set()),
        ("import a\r\nfrom b import c\r\n", {"a", "b", "b.c"}),
        ("import größe", {"größe"}),
    ],
)
def test_mentions(source: str, expected: set[str]) -> None:
    found = {"." * each.level + ".".join(each.parts) for each in mentions(source.encode())}
    assert found == expected


def test_what_is_no_text_mentions_nothing() -> None:
    assert mentions(b"\x00\xff\xfeimport\x00") == ()


HALF = 2**18
"""Bytes: a pattern whose time grows with the square would take minutes."""


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
    ],
    ids=range(14),
)
def test_no_source_takes_long(source: bytes) -> None:
    assert len(mentions(source)) <= MOST_NAMES + 1
    assert len(list(imports_of(source))) <= MOST_NAMES + 1


def test_other_line_ends_and_spellings() -> None:
    assert mentions(b"import a\rimport b") == mentions(b"import a\nimport b")
    assert mentions(b"from.a import b") == mentions(b"from .a import b")
    assert mentions(b"from .import b") == mentions(b"from . import b")
