"""Makes text from outside safe to show: control characters removed, known secrets masked."""

import base64
import dataclasses
import json
import re
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, quote_plus

import msgspec

from agent_tui.logs.sanitize import MAX_LINE, printable, shortened

MASK = "•••"
MAX_DEPTH = 8
"""The greatest depth of a record's fields. Deeper values are converted to text."""

SHORTEST_SECRET = 12
"""Shorter secrets (a development server's `secret`) are ordinary words and are not masked."""

SHORTEST_MIXED = 8
"""Like `SHORTEST_SECRET`, for secrets that mix letters and digits and so cannot be ordinary words."""

LONGEST_SECRET = 4_096
"""A longer secret is split into pieces of this length, each masked by itself."""

_TOKEN = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}")
_PEM_EDGE = re.compile("-----(?:BEGIN|END) .*")

_CHILDS_CUT = re.compile(r"( \[…\d+ characters…\] )")
"""What a child puts in place of the middle of a long text; `shortened` of `child/python/channel.py`."""

SHORTEST_PART = 4
"""The fewest characters of a secret that are masked before or after a cut. Fewer do not reveal it."""

Value = TypeVar("Value")


class _Known(NamedTuple):
    """Everything to mask, as one value, because several threads read it while another one replaces it."""

    pattern: re.Pattern[str] | None = None
    longest: int = 0
    forms: frozenset[str] = frozenset()


class Redactor:
    """Cleans text for the log store, for events, and for output."""

    def __init__(self) -> None:
        self._secrets: frozenset[str] = frozenset()
        self._known = _Known()

    def mask(self, secrets: Iterable[str]) -> None:
        """Mask these values from now on, in all their spellings. JSON Web Tokens are always masked.

        Each line of a value with several lines, such as a private key, is also masked by itself.
        """
        new = {part for secret in secrets for part in _parts(secret)} - self._secrets
        if new:
            self._secrets |= new
            forms = frozenset(form for secret in self._secrets for form in spellings(secret))
            self._known = _Known(matching(forms), max(map(len, forms)), forms)

    def masked(self, text: str) -> str:
        """Return the text with secrets masked; control characters stay."""
        pattern, _, forms = self._known
        if pattern is not None:
            text = pattern.sub(MASK, text)
            if " characters…] " in text:
                text = _without_parts(text, forms)
        return _TOKEN.sub(MASK, text) if "eyJ" in text else text

    def clean(self, text: str, limit: int = MAX_LINE) -> str:
        """Return the text safe to show, shortened to `limit` characters."""
        longest = self._known.longest
        # Masked before it is shortened, or the cut would show half a secret. Only the start of a far too long
        # text is read; a secret that this cuts in half lies in the last `longest` characters.
        window = 4 * limit + longest
        cut = len(text) > window
        text = self.masked(printable(text[:window] if cut else text))
        if cut:
            text = text[: max(len(text) - longest, 0)]
        return shortened(text, limit, cut=cut) if cut or len(text) > limit else text

    def clean_value(self, value: Value, depth: int = MAX_DEPTH, limit: int = MAX_LINE) -> Value:
        """Return the value with every string in it cleaned, including those in containers and dataclasses."""
        clean: object = value
        if isinstance(value, str):
            clean = value if isinstance(value, Enum) else self.clean(value, limit)
        elif _has_fields(value):
            clean = self._clean_fields(value, depth, limit)
        elif isinstance(value, _CONTAINERS) and not depth:
            clean = self.clean(str(value), limit)
        elif isinstance(value, dict):
            clean = {
                self.clean_value(name, depth - 1, limit): self.clean_value(each, depth - 1, limit)
                for name, each in value.items()
            }
        elif isinstance(value, _CONTAINERS):
            each = (self.clean_value(each, depth - 1, limit) for each in value)
            clean = type(value)._make(each) if hasattr(value, "_make") else type(value)(each)
        return clean  # type: ignore[return-value]  # the same type, except below `depth`: a string

    def _clean_fields(self, value: Any, depth: int, limit: int) -> object:
        changed: dict[str, object] = {}
        for name in _field_names(value):
            old = getattr(value, name)
            if old.__class__ in _PLAIN:
                continue
            new = self.clean_value(old, depth - 1, limit)
            # Equal objects may differ in fields that are not compared; an unchanged one stays itself.
            if new is not old if _has_fields(old) else new != old:
                changed[name] = new
        if not changed:
            return value
        replace = msgspec.structs.replace if isinstance(value, msgspec.Struct) else dataclasses.replace
        return replace(value, **changed)


def _has_fields(value: object) -> bool:
    return isinstance(value, msgspec.Struct) or dataclasses.is_dataclass(value)


def _field_names(value: Any) -> Iterable[str]:
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    return (each.name for each in dataclasses.fields(value))


_PLAIN = frozenset((int, float, bool, type(None)))
_CONTAINERS = (dict, list, tuple, set, frozenset)


def _without_parts(text: str, forms: Iterable[str]) -> str:
    """Mask parts of secrets at each place where a child has cut a text.

    Children cannot mask secrets before they cut, because they do not know them.
    """
    pieces = _CHILDS_CUT.split(text)
    for index in range(0, len(pieces) - 1, 2):
        pieces[index] = _without_beginning(pieces[index], forms)
        pieces[index + 2] = _without_end(pieces[index + 2], forms)
    return "".join(pieces)


def _without_beginning(text: str, forms: Iterable[str]) -> str:
    """If the text ends with the first part of a secret, mask that part."""
    last = text[-SHORTEST_PART:]
    ends = (
        at + len(last)
        for form in forms
        for at in _places(last, form)
        if text.endswith(form[: at + len(last)])
    )
    size = max(ends, default=0)
    return text[: len(text) - size] + MASK if size else text


def _without_end(text: str, forms: Iterable[str]) -> str:
    """If the text starts with the last part of a secret, mask that part."""
    first = text[:SHORTEST_PART]
    sizes = (len(form) - at for form in forms for at in _places(first, form) if text.startswith(form[at:]))
    size = max(sizes, default=0)
    return MASK + text[size:] if size else text


def _places(part: str, form: str) -> Iterator[int]:
    at = form.find(part) if len(part) == SHORTEST_PART else -1
    while at >= 0:
        yield at
        at = form.find(part, at + 1)


def _parts(secret: str) -> set[str]:
    """Return the texts to mask for a secret: the whole secret and each of its lines.

    Each of them is returned twice: unchanged, and without control characters.
    """
    lines = (line.strip() for line in secret.split("\n"))
    wholes = (secret.strip(), *(line for line in lines if not _PEM_EDGE.fullmatch(line)))
    return {
        part
        for whole in wholes
        if _is_worth_masking(whole)
        for form in (whole, printable(whole))
        for begin in range(0, len(form), LONGEST_SECRET)
        if len(part := form[begin : begin + LONGEST_SECRET]) >= SHORTEST_MIXED
    }


def _is_worth_masking(secret: str) -> bool:
    if len(secret) >= SHORTEST_SECRET:
        return True
    mixed = any(map(str.isdigit, secret)) and any(map(str.isalpha, secret))
    return mixed and len(secret) >= SHORTEST_MIXED


_COMPONENT, _WHOLE_URL = "!'()*", "!'()*;,/?:@&=+$#"
"""Characters that JavaScript's `encodeURIComponent` and `encodeURI` keep in addition to those that Python
keeps.
"""


def spellings(secret: str) -> set[str]:
    """Return the secret as it is, and as repr, JSON, URL, base64, and hex write it."""
    data = secret.encode("utf-8", "surrogatepass")
    forms = {
        secret,
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        repr(data)[2:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        data.hex(),
        data.hex().upper(),
        *_base64_parts(data),
    }
    for encoded in (quote_plus(data), *(quote(data, safe) for safe in ("", "/", _COMPONENT, _WHOLE_URL))):
        forms |= {encoded, re.sub("%..", lambda match: match[0].lower(), encoded)}
    return forms


def _base64_parts(data: bytes) -> Iterable[str]:
    """Return the base64 of the data for each of the three positions in a group of bytes where it may start.

    Digits at its ends that also encode bits of a neighboring byte are left out, because they vary.
    """
    for before in range(3):
        digits = base64.b64encode(bytes(before) + data).decode()
        part = digits[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        yield part
        yield part.replace("+", "-").replace("/", "_")


def matching(texts: Iterable[str]) -> re.Pattern[str]:
    """Return an expression that matches each of the texts, the longest where several match.

    It is a tree of common prefixes. Unlike with a flat alternation, its time per character hardly grows with
    the number of texts.
    """
    tree: dict[str, Any] = {}
    for text in texts:
        node = tree
        for char in text:
            node = node.setdefault(char, {})
        node[""] = {}
    return re.compile(_source(tree))


def _source(tree: dict[str, Any]) -> str:
    branches = []
    for char, below in tree.items():
        if not char:
            continue
        run = char
        while len(below) == 1 and "" not in below:
            ((next_char, below),) = below.items()
            run += next_char
        branches.append(re.escape(run) + _source(below))
    if not branches:
        return ""
    return f"(?:{'|'.join(branches)})" + ("?" if "" in tree else "")
