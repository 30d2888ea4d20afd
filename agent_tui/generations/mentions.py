"""Which modules a source mentions, found by its import lines: a superset costs nothing, a parse would."""

import re
from dataclasses import dataclass

_IMPORTS = re.compile(
    rb"""(?:^|[;:])[ \t]*
    (?: from [ \t]+ (?P<base>\.*[ \t]*[\w.]*) [ \t]+ import [ \t]*
        (?P<names> \([^)]*\) | (?:\\\r?\n|[^\n;#])* )
      | import [ \t]+ (?P<modules> (?:\\\r?\n|[^\n;#])+ ) )
    | import_module \( \s* ["'](?P<named>[\w.]+)["']""",
    re.MULTILINE | re.VERBOSE,
)
_NOISE = re.compile(rb"#[^\n]*|[()\\]")


@dataclass(frozen=True, slots=True)
class Mention:
    """One module that a source may import; `level` counts the dots of a relative import."""

    parts: tuple[str, ...]
    level: int = 0


def mentions(source: bytes) -> tuple[Mention, ...]:
    """All of them, each once: `from a import b` may mean the module a.b, so both are."""
    found: dict[Mention, None] = {}
    for match in _IMPORTS.finditer(source):
        if match["named"]:
            found[_mention(match["named"])] = None
        elif match["modules"]:
            for name in _names(match["modules"]):
                found[_mention(name)] = None
        else:
            base = match["base"].replace(b" ", b"").replace(b"\t", b"")
            found[_mention(base)] = None
            for name in _names(match["names"]):
                found[_mention(base if name == b"*" else _joined(base, name))] = None
    return tuple(found)


def _names(text: bytes) -> list[bytes]:
    """`a as b, c` is a, c."""
    return [each.split()[0] for each in _NOISE.sub(b" ", text).split(b",") if each.strip()]


def _joined(base: bytes, name: bytes) -> bytes:
    return base + name if base.endswith(b".") or not base else base + b"." + name


def _mention(dotted: bytes) -> Mention:
    bare = dotted.lstrip(b".")
    parts = tuple(part.decode("utf-8", "replace") for part in bare.split(b".") if part)
    return Mention(parts, len(dotted) - len(bare))
