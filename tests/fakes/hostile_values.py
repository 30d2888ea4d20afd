"""Makes values of any type of the model that have a given text wherever the annotations allow one."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec

CONTROL = (
    *(chr(code) for code in (*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0))),
    *"\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\ufff9",
)
"""The characters that must not reach a terminal. They are written out to check the list of agent-tui."""

SECRET = "an-api-secret-0123456789"

HOSTILE = f"a\x1b[31mb\x1b]0;title\x07c\x9b31md\x9d0;title\x9ce{''.join(CONTROL)}f {SECRET} g"


def raw_in(text: str) -> list[str]:
    """Return the control characters of the text."""
    return [ascii(char) for char in CONTROL if char in text]


def with_text(annotation: Any, text: str) -> Any:
    """Return a value of that type with the text wherever one can be. Raises TypeError for other types."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in (str, object):
        return text
    if origin in (typing.Union, types.UnionType):
        first, *_ = (each for each in arguments if each is not type(None))
        return with_text(first, text)
    if origin is tuple:
        items = arguments[:1] if arguments[-1] is Ellipsis else arguments
        return tuple(with_text(each, text) for each in items)
    if origin in (list, set, frozenset):
        return origin([with_text(arguments[0], text)])
    if origin in (dict, Mapping):
        return {with_text(arguments[0], text): with_text(arguments[1], text)}
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return next(iter(annotation))
    if annotation in (int, float, bool):
        return annotation(1)
    if dataclasses.is_dataclass(annotation) or issubclass(annotation, msgspec.Struct):
        hints = typing.get_type_hints(annotation)
        return annotation(**{name: with_text(hint, text) for name, hint in hints.items()})
    raise TypeError(f"{annotation}: say here what holds a text in it")


def texts_in(value: Any) -> list[str]:
    """Return every text in a value, including keys."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for each in pair for text in texts_in(each)]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [text for each in value for text in texts_in(each)]
    if isinstance(value, msgspec.Struct):
        return [text for name in value.__struct_fields__ for text in texts_in(getattr(value, name))]
    if dataclasses.is_dataclass(value):
        return [text for field in dataclasses.fields(value) for text in texts_in(getattr(value, field.name))]
    return []
