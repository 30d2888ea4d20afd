"""Python files as an editor, a generator, or a typing error leaves them.

Running them does no harm: there are no loops, no powers, and no calls of anything except what they define.
"""

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.fuzz.mutate import SEED, mutated

FILES = int(os.environ.get("AGENT_TUI_FUZZ_FILES", "400"))

BASES = (
    b"import os, json as j\nfrom collections import (\n    abc,  # one\n    deque,\n)\nx = 'import no'\n",
    b'"""Text.\n\nimport nothing\n"""\nfrom __future__ import annotations\n\ndef f(a: int) -> str:\n'
    b"    from os import path\n    return 'a' \\\n        'b'\n",
    b"try:\n    import tomllib\nexcept ImportError:\n    tomllib = None\nif tomllib: import sys; import io\n",
    b"class A:\n    '''Doc.'''\n    import string\n    x = [each for each in (1, 2, 3)]\n\n    @property\n"
    b"    def y(self):\n        async def z():\n            import asyncio\n        return lambda: z\n",
    b"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import decimal\nelse:\n    import numbers\n"
    b"match 1:\n    case 1:\n        import heapq\n",
    b"import importlib\nname = f'{1 + 1!r:>{10}} {\"a\"}'\nimportlib.import_module('bisect')\n",
)

ENCODINGS = (
    *(
        "utf-8",
        "latin-1",
        "cp1252",
        "shift_jis",
        "utf-7",
        "utf-16",
        "utf-32",
        "idna",
        "punycode",
        "hex",
        "rot13",
    ),
    *(
        "undefined",
        "no-such",
        "ascii",
        "unicode_escape",
        "raw_unicode_escape",
        "utf-8-sig",
        "mbcs",
        "x" * 200,
    ),
)


@dataclass(frozen=True, slots=True)
class Source:
    """One file."""

    kind: str
    content: bytes


def sources(count: int = FILES, seed: int = SEED) -> Iterator[Source]:
    """Yield that many files, the same ones for the same seed, all kinds in turn."""
    rng = random.Random(seed)
    broken = mutated(BASES, count, seed)
    kinds: dict[str, Callable[[], bytes]] = {
        "valid": lambda: _valid(rng),
        "deep": lambda: _deep(rng),
        "broken": lambda: next(broken),
        "encoded": lambda: _encoded(rng),
        "long": lambda: _long(rng),
        "ends": lambda: _valid(rng).replace(b"\n", rng.choice((b"\r", b"\r\n", b"\n\f", b"\n\n", b"\n\x00"))),
    }
    names = list(kinds)
    for number in range(count):
        kind = names[number % len(names)]
        yield Source(kind, kinds[kind]())


def _valid(rng: random.Random) -> bytes:
    return b"\n".join(rng.sample(BASES, rng.randrange(1, len(BASES))))


def _deep(rng: random.Random) -> bytes:
    depth = int(10 ** rng.uniform(1, 4.5))
    deep: list[Callable[[], str]] = [
        lambda: "x = " + " + ".join(["1"] * depth),
        lambda: "x = " + "1 if 0 else " * depth + "1",
        lambda: "if 0: pass\n" + "elif 0: pass\n" * depth,
        lambda: "def f(a): return a" + ".b" * depth,
        lambda: "def f(a): return a" + "()" * depth,
        lambda: "x = " + "(" * depth + "1" + ")" * depth,
        lambda: "x = " + "[" * depth,
        lambda: "x = " + "{1:" * depth + "1" + "}" * depth,
        lambda: "x = " + "-" * depth + "1",
        lambda: "x = " + "not " * depth + "1",
        lambda: "x = " + "lambda: " * depth + "1",
        # The compiler's time grows with the square of their number: 12,000 take it 6 s.
        lambda: "@(lambda f: f)\n" * min(depth, 2_000) + "def f(): pass",
        lambda: "\n".join(" " * level + "if 1:" for level in range(min(depth, 300))),
        lambda: "x = f'" + "{f'" * (depth % 200) + "'}" * (depth % 200) + "'",
        lambda: "x = (" + "'a' " * depth + ")",
        lambda: "try: pass\n" + "except ValueError: pass\n" * depth,
        lambda: "x = " + "1 < " * depth + "2",
        lambda: "x: " + "'" * depth,
    ]
    return b"import os\n" + rng.choice(deep)().encode() + b"\nimport string\n"


def _encoded(rng: random.Random) -> bytes:
    name = rng.choice(ENCODINGS)
    first = rng.choice(("", "#!python\n"))
    text = f"{first}# -*- coding: {name} -*-\nimport os\nx = 'größe 音 \\N{{BULLET}}'\n"
    try:
        content = text.encode(rng.choice((name, "utf-8")), "replace")
    except (LookupError, UnicodeError, ValueError, TypeError, AttributeError):
        content = text.encode()
    start = rng.choice((b"", b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\xed\xa0\x80\n"))
    return start + content + rng.choice((b"", b"\xff", b"import gr\xc3\xb6\xc3\x9fe\n", rng.randbytes(40)))


def _long(rng: random.Random) -> bytes:
    count = int(10 ** rng.uniform(2, 5))
    part, end = rng.choice(
        (
            (b" ", b""),
            (b"from" + b" " * 50, b"import"),
            (b"from a import (", b""),
            (b"import a,", b"b"),
            (b".", b" import a"),
            (b"\\\n", b"a"),
            (b";", b""),
            (b"'", b""),
            (b'"""', b""),
            (b"import_module(  ", b"'a')"),
            (b"try: import a\n", b""),
            (b"#", b"\nimport a"),
        )
    )
    return rng.choice((b"", b"from", b"import ", b"x = ")) + (part * count)[: 2**20] + end + b"\nimport os\n"
