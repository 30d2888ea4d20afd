"""The forms in which a secret may turn up in text, and one regular expression that finds them all."""

import base64
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

_COMPONENT, _WHOLE_URL = "!'()*", "!'()*;,/?:@&=+$#"
"""What JavaScript's `encodeURIComponent` and `encodeURI` leave as it is, beside what Python leaves."""


def spellings(secret: str) -> set[str]:
    """Return the secret as it is, and as repr, JSON, URL, base64 and hex write it."""
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
    """Return what base64 makes of the data at each of the three places in a group where it may begin.

    A digit at either end that holds bits of a neighbour too is left out: it differs with the neighbour.
    """
    for before in range(3):
        digits = base64.b64encode(bytes(before) + data).decode()
        part = digits[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        yield part
        yield part.replace("+", "-").replace("/", "_")


def matching(texts: Iterable[str]) -> re.Pattern[str]:
    """Return an expression that matches each of the texts, the longest where several begin.

    It is a tree of common beginnings: its time per character hardly grows with the number of texts, as that
    of a flat alternation does.
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
