"""Kinds of option values: each converts text or a typed value, or says why it cannot.

Text comes from flags, the environment, and the screen; typed values from the code and the config file.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agent_tui.options.characters import refused_character
from agent_tui.options.urls import parse_server_url, shown_url

MASK = "•••"
"""Shown instead of a secret."""

_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(ms|s|m|h)?\s*")
_UNIT_MS = {"ms": 1.0, "s": 1_000.0, "m": 60_000.0, "h": 3_600_000.0}
MAX_MS = 2_147_483_647
"""The longest duration: timers in JavaScript overflow beyond it."""

BOOLEAN = {
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
class OptionKind:
    """How values of an option are written. `expects` completes the sentence "give …"."""

    expects: str
    convert: Callable[[object], object]
    """Return the value. Raises ValueError with what is wrong, such as "is below 0"."""
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string"})
    """JSON schema of the values that the config file may hold."""
    secret: bool = False
    show: Callable[[object], str] = repr
    """Return a raw value as it is quoted in a message."""
    write: Callable[[object], str] = str
    """Return a value as text that `convert` accepts."""
    word: str = "TEXT"
    """The placeholder for the value in `--help`."""
    words: tuple[str, ...] = ()
    """All values, if there are few."""


def text(
    expects: str = "text", *, forbidden: str = "", empty: bool = True, longest: int | None = None
) -> OptionKind:
    """Return the kind of text without control characters. Surrounding white space is removed."""

    def convert(raw: object) -> str:
        if not isinstance(raw, str):
            raise ValueError("is not text")
        if what := refused_character(raw):
            raise ValueError(f"contains {what}")
        if found := next((char for char in raw if char in forbidden), ""):
            raise ValueError(f"contains {found!r}, which is not allowed")
        if not empty and not raw.strip():
            raise ValueError("is empty")
        if longest is not None and len(raw.strip()) > longest:
            raise ValueError(f"is longer than {longest} characters")
        return raw.strip()

    return OptionKind(expects, convert)


def secret(expects: str) -> OptionKind:
    """Return the kind of text that is masked wherever it is shown."""
    return OptionKind(expects, text().convert, secret=True, show=lambda raw: MASK)


def server_url(expects: str) -> OptionKind:
    """Return the kind of a LiveKit server's URL; it may be empty."""
    plain = text().convert

    def convert(raw: object) -> str:
        value = str(plain(raw))
        try:
            if value:
                parse_server_url(value)
        except ValueError as error:
            raise ValueError(f"cannot be used: {error}") from None
        return value

    return OptionKind(expects, convert, show=lambda raw: repr(shown_url(str(raw))), word="URL")


def function(expects: str) -> OptionKind:
    """Return the kind of a function's name in the agent file; it may be empty."""

    def convert(raw: object) -> str:
        if not isinstance(raw, str) or not (raw.strip() == "" or raw.strip().isidentifier()):
            raise ValueError("is not the name of a function")
        return raw.strip()

    return OptionKind(expects, convert, word="NAME")


def boolean(expects: str = "true or false") -> OptionKind:
    """Return the kind of a boolean: true or false, also written as yes, no, on, off, 1, or 0."""

    def convert(raw: object) -> bool:
        if isinstance(raw, bool):
            return raw
        if isinstance(raw, str) and raw.strip().lower() in BOOLEAN:
            return BOOLEAN[raw.strip().lower()]
        raise ValueError("is neither true nor false")

    return OptionKind(
        expects, convert, {"type": "boolean"}, write=lambda value: str(value).lower(), words=("false", "true")
    )


def integer(low: int, high: int, note: str = "") -> OptionKind:
    """Return the kind of whole number from `low` to `high`."""

    def convert(raw: object) -> int:
        number = _number(raw)
        if number != int(number) if math.isfinite(number) else True:
            raise ValueError("is not a whole number")
        return int(_within(number, low, high))

    schema = {"type": "integer", "minimum": low, "maximum": high}
    return OptionKind(f"a whole number from {low} to {high}{note}", convert, schema, word="N")


def number(low: float, high: float, expects: str) -> OptionKind:
    """Return the kind of number from `low` to `high`; `inf` is a number if `high` is infinite."""

    def convert(raw: object) -> float:
        return _within(_number(raw), low, high)

    schema = {"type": "number", "minimum": low}
    return OptionKind(expects, convert, schema, write=lambda value: f"{value:.15g}", word="N")


def duration(low_ms: int = 0) -> OptionKind:
    """Return the kind of duration, in ms, written as `10s`, `500ms`, `2m`, or a number of milliseconds."""

    def convert(raw: object) -> int:
        if isinstance(raw, str):
            match = _DURATION.fullmatch(raw)
            if match is None:
                raise ValueError("is not a duration")
            value = float(match[1]) * _UNIT_MS[match[2] or "ms"]
        else:
            value = _number(raw)
        return round(_within(value, low_ms, MAX_MS, "ms"))

    schema = {
        "anyOf": [
            {"type": "number", "minimum": low_ms, "maximum": MAX_MS},
            {"type": "string", "pattern": f"^{_DURATION.pattern}$"},
        ]
    }
    return OptionKind(
        f"a duration such as 10s, 500ms, or 10000 (milliseconds), from {low_ms} ms to 24 days",
        convert,
        schema,
        write=_duration,
        word="DURATION",
    )


def choice(*words: str) -> OptionKind:
    """Return the kind of a choice between these words, in upper or lower case."""

    def convert(raw: object) -> str:
        if not isinstance(raw, str) or raw.strip().lower() not in words:
            raise ValueError("is not a valid choice")
        return raw.strip().lower()

    return OptionKind(
        "one of " + ", ".join(words),
        convert,
        {"enum": list(words)},
        word="[" + "|".join(words) + "]",
        words=words,
    )


def _duration(value: object) -> str:
    ms = int(str(value))
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if ms >= size and ms % size == 0:
            return f"{ms // size}{unit}"
    return f"{ms}ms"


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
        raise ValueError(f"is below {low:.10g}{unit and ' ' + unit}")
    if value > high:
        raise ValueError(f"is above {high:.10g}{unit and ' ' + unit}")
    return value
