"""Kinds of option value: each turns what a person or a program wrote into a value, or says why not.

Values come as text (flag, environment, file) or typed (from the agent's code); one `convert` serves both.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(ms|s|m|h)?\s*")
_UNIT_MS = {"ms": 1.0, "s": 1_000.0, "m": 60_000.0, "h": 3_600_000.0}
MAX_MS = 2_147_483_647
"""The longest duration that every runtime can count: JavaScript's timers overflow beyond it."""

_WORDS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


@dataclass(frozen=True, slots=True)
class Kind:
    """How values of an option are written. `expects` completes the sentence "give …"."""

    expects: str
    convert: Callable[[object], object]
    """Raises ValueError with what is wrong ("is below 0")."""
    secret: bool = False


def text(expects: str = "a text", *, forbidden: str = "", empty: bool = True) -> Kind:
    """Any text; surrounding white space is dropped."""

    def convert(raw: object) -> str:
        if not isinstance(raw, str):
            raise ValueError("is not a text")
        if any(ord(char) < 0x20 or char in forbidden for char in raw):
            raise ValueError("holds a character that is not allowed")
        if not empty and not raw.strip():
            raise ValueError("is empty")
        return raw.strip()

    return Kind(expects, convert)


def secret(expects: str) -> Kind:
    """A text that is masked wherever it could be seen."""
    return Kind(expects, text().convert, secret=True)


def whole(low: int, high: int, note: str = "") -> Kind:
    """A whole number in low…high."""

    def convert(raw: object) -> int:
        number = _number(raw)
        if number != int(number) if math.isfinite(number) else True:
            raise ValueError("is not a whole number")
        return int(_within(number, low, high))

    return Kind(f"a whole number from {low} to {high}{note}", convert)


def number(low: float, high: float, expects: str) -> Kind:
    """A number in low…high; `inf` where high is infinite."""

    def convert(raw: object) -> float:
        return _within(_number(raw), low, high)

    return Kind(expects, convert)


def duration(low_ms: int = 0) -> Kind:
    """A duration, kept in milliseconds: `10s`, `500ms`, `2m`, or a plain number of milliseconds."""

    def convert(raw: object) -> int:
        if isinstance(raw, str):
            match = _DURATION.fullmatch(raw)
            if match is None:
                raise ValueError("is not a duration")
            value = float(match[1]) * _UNIT_MS[match[2] or "ms"]
        else:
            value = _number(raw)
        return round(_within(value, low_ms, MAX_MS, "ms"))

    return Kind(f"a duration such as 10s, 500ms or 10000 (milliseconds), at least {low_ms} ms", convert)


def choice(*words: str) -> Kind:
    """One of a few words, in any case."""

    def convert(raw: object) -> str:
        if not isinstance(raw, str) or raw.strip().lower() not in words:
            raise ValueError("is not one of them")
        return raw.strip().lower()

    return Kind("one of " + ", ".join(words), convert)


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the agent may do in the room (worker-protocol §7)."""

    can_publish: bool = True
    can_subscribe: bool = True
    can_publish_data: bool = True
    can_update_metadata: bool = True
    can_publish_sources: tuple[str, ...] = ()
    hidden: bool = False


_PERMISSION_FIELDS = {
    "canPublish": "can_publish",
    "canSubscribe": "can_subscribe",
    "canPublishData": "can_publish_data",
    "canUpdateMetadata": "can_update_metadata",
    "canPublishSources": "can_publish_sources",
    "hidden": "hidden",
}
_SOURCES = ("camera", "microphone", "screen_share", "screen_share_audio")


def permissions() -> Kind:
    """Permissions: `canPublish=false,hidden=true`, or a mapping with those names."""

    def convert(raw: object) -> Permissions:
        if isinstance(raw, Permissions):
            return raw
        if isinstance(raw, str):
            raw = dict(_pair(part) for part in raw.split(",") if part.strip())
        if not isinstance(raw, Mapping):
            raise ValueError("is not a list of permissions")
        fields: dict[str, Any] = {}
        for name, value in raw.items():
            if name not in _PERMISSION_FIELDS:
                raise ValueError(f"names an unknown permission {name!r}")
            fields[_PERMISSION_FIELDS[name]] = (
                _sources(value) if name == "canPublishSources" else _flag(name, value)
            )
        return Permissions(**fields)

    names = ", ".join(_PERMISSION_FIELDS)
    return Kind(f"name=true or name=false, separated by commas, of {names}", convert)


def _pair(part: str) -> tuple[str, str]:
    name, equals, value = part.partition("=")
    if not equals:
        raise ValueError(f"has {part.strip()!r} without a value")
    return name.strip(), value.strip()


def _flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _WORDS:
        return _WORDS[value.lower()]
    raise ValueError(f"gives {name} the value {value!r}, which is neither true nor false")


def _sources(value: object) -> tuple[str, ...]:
    words = value.split("+") if isinstance(value, str) else value
    if not isinstance(words, (list, tuple)) or any(word not in _SOURCES for word in words):
        raise ValueError(f"gives canPublishSources other sources than {'+'.join(_SOURCES)}")
    return tuple(words)


def _number(raw: object) -> float:
    if isinstance(raw, bool) or not isinstance(raw, (str, int, float)):
        raise ValueError("is not a number")
    try:
        value = float(raw)
    except ValueError:
        raise ValueError("is not a number") from None
    if math.isnan(value):
        raise ValueError("is not a number")
    return value


def _within(value: float, low: float, high: float, unit: str = "") -> float:
    if value < low:
        raise ValueError(f"is below {low:g}{unit and ' ' + unit}")
    if value > high:
        raise ValueError(f"is above {high:g}{unit and ' ' + unit}")
    return value
