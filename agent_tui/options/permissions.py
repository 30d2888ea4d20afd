"""The option `permissions`: what the agent may do in the room."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent_tui.options.kinds import BOOLEAN, OptionKind

SOURCES = ("camera", "microphone", "screen_share", "screen_share_audio")


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the agent may do in the room (worker-protocol §7)."""

    can_publish: bool = True
    can_subscribe: bool = True
    can_publish_data: bool = True
    can_update_metadata: bool = True
    can_publish_sources: tuple[str, ...] = ()
    """The sources from which the agent may publish; empty for all."""
    hidden: bool = False


FLAGS = {
    "canPublish": "can_publish",
    "canSubscribe": "can_subscribe",
    "canPublishData": "can_publish_data",
    "canUpdateMetadata": "can_update_metadata",
    "hidden": "hidden",
}
"""Permissions that are true or false: the option's name → the name of its field."""

_SOURCES = "canPublishSources"


def permissions() -> OptionKind:
    """Return the kind of permissions: `canPublish=false,hidden=true`, or a mapping of these names."""
    names = ", ".join((*FLAGS, _SOURCES))
    schema = {
        "type": ["object", "string"],
        "additionalProperties": False,
        "properties": {
            **{name: {"type": "boolean"} for name in FLAGS},
            _SOURCES: {"type": "array", "items": {"enum": list(SOURCES)}},
        },
    }
    return OptionKind(
        f"name=true or name=false, separated by commas; the names are {names}",
        _convert,
        schema,
        write=_write,
        word="LIST",
    )


def as_mapping(value: Permissions) -> dict[str, Any]:
    """Return the permissions that differ from their defaults, by name."""
    defaults = Permissions()
    changed: dict[str, Any] = {
        name: getattr(value, field)
        for name, field in FLAGS.items()
        if getattr(value, field) != getattr(defaults, field)
    }
    if value.can_publish_sources:
        changed[_SOURCES] = list(value.can_publish_sources)
    return changed


def _write(value: object) -> str:
    assert isinstance(value, Permissions)
    texts = {
        name: "+".join(each) if isinstance(each, list) else str(each).lower()
        for name, each in as_mapping(value).items()
    }
    return ",".join(f"{name}={text}" for name, text in texts.items())


def _convert(raw: object) -> Permissions:
    if isinstance(raw, Permissions):
        return raw
    if isinstance(raw, str):
        raw = dict(_pair(part) for part in raw.split(",") if part.strip())
    if not isinstance(raw, Mapping):
        raise ValueError("is not a list of permissions")
    fields: dict[str, Any] = {}
    for name, value in raw.items():
        if name == _SOURCES:
            fields["can_publish_sources"] = _sources(value)
        elif name in FLAGS:
            fields[FLAGS[name]] = _flag(name, value)
        else:
            raise ValueError(f"contains the unknown permission {name!r}")
    return Permissions(**fields)


def _pair(part: str) -> tuple[str, str]:
    name, equals, value = part.partition("=")
    if not equals:
        raise ValueError(f"contains {part.strip()!r} without a value")
    return name.strip(), value.strip()


def _flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in BOOLEAN:
        return BOOLEAN[value.lower()]
    raise ValueError(f"sets {name} to {value!r}, which is neither true nor false")


def _sources(value: object) -> tuple[str, ...]:
    words = [each for each in value.split("+") if each] if isinstance(value, str) else value
    if not isinstance(words, (list, tuple)) or any(word not in SOURCES for word in words):
        raise ValueError(f"sets {_SOURCES} to sources other than {'+'.join(SOURCES)}")
    return tuple(dict.fromkeys(words))
