"""Which modules a source mentions, found by its import lines: a superset costs nothing, a parse would."""

import re
from dataclasses import dataclass

MOST_SCANNED = 2**19
"""Bytes of a file that are scanned: imports come first, and what only running shows the manifest has."""

MOST_NAMES = 10_000
LONGEST = 255
"""Bytes of a dotted name; no module has a longer one."""

# Possessive throughout, and each character is looked at a bounded number of times: a file under somebody's
# hands may look like anything, and a pattern that backtracks holds the whole process.
_HEAD = re.compile(
    rb"""(?: ^ | [;:] ) [ \t\f]*+ (?: (?P<from> from ) | import ) \b
    | import_module [ \t]*+ \( \s*+ ["'] (?P<named> [\w.]++ ) ["']""",
    re.MULTILINE | re.VERBOSE,
)
_BASE = re.compile(rb"[ \t]*+(\.*+[ \t]*+(?:(?!import\b)[\w.]++)?+)[ \t]*+import\b[ \t]*+")
_LINE = re.compile(rb"(?:[^\n;#\\]++|\\\n|\\)*+")
_NOISE = re.compile(rb"#[^\n]*+|[()\\]")


@dataclass(frozen=True, slots=True)
class Mention:
    """One module that a source may import; `level` counts the dots of a relative import."""

    parts: tuple[str, ...]
    level: int = 0


def mentions(source: bytes) -> tuple[Mention, ...]:
    """Return all of them, each once: `from a import b` may mean the module a.b, so both are."""
    source = source[:MOST_SCANNED].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    found: dict[Mention, None] = {}
    at, left, closed = 0, MOST_NAMES, True
    while left > 0 and (match := _HEAD.search(source, at)):
        at = match.end()
        left -= 1
        base = b""
        if match["named"]:
            _note(found, match["named"])
            continue
        if match["from"]:
            imported = _BASE.match(source, at)
            if imported is None:
                continue
            at = imported.end()
            base = imported[1].replace(b" ", b"").replace(b"\t", b"")
            _note(found, base)
        closing = source.find(b")", at) if closed and source.startswith(b"(", at) else -1
        closed = closed and (closing >= 0 or not source.startswith(b"(", at))  # searched to the end only once
        end = closing if closing >= 0 else _line_end(source, at)
        for name in _names(source[at:end], left):
            left -= 1
            _note(found, base if name == b"*" else _joined(base, name))
        at = end
    return tuple(found)


def _line_end(source: bytes, at: int) -> int:
    """Where the logical line, or the statement on it, ends."""
    line = _LINE.match(source, at)
    return line.end() if line else at


def _names(text: bytes, most: int) -> list[bytes]:
    """`a as b, c` is a, c."""
    parts = _NOISE.sub(b" ", text).split(b",", most)[:most]
    return [each.split(None, 1)[0] for each in parts if each.strip()]


def _note(found: dict[Mention, None], dotted: bytes) -> None:
    if len(dotted) <= LONGEST:
        found[_mention(dotted)] = None


def _joined(base: bytes, name: bytes) -> bytes:
    return base + name if base.endswith(b".") or not base else base + b"." + name


def _mention(dotted: bytes) -> Mention:
    bare = dotted.lstrip(b".")
    parts = tuple(part.decode("utf-8", "replace") for part in bare.split(b".") if part)
    return Mention(parts, len(dotted) - len(bare))
