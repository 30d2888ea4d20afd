"""Which modules a source mentions."""

import pytest

from agent_tui.generations.mentions import mentions


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
