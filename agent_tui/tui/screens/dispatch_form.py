"""The form for test dispatches: how many, into which room, with what, made which way, for how long."""

import json
from collections.abc import Mapping

from agent_tui.model.commands import Dispatch, DispatchBy
from agent_tui.tui.screens.fields import Field, FieldForm, Note, Values, judged, seconds
from agent_tui.tui.widgets.text import brief

MOST = 100
"""Test dispatches of one form; bursts and sweeps have their own ways."""

LENGTH_EXPECTS = "500ms, 10s, 2m or nothing"
LENGTH_NOTE = "ended after it; empty: like all test jobs"
ATTRIBUTES_EXPECTS = 'a=1, b=2 or {"a": "1"}'
WAYS = {
    DispatchBy.SERVER.value: "server: as a real caller's job comes",
    DispatchBy.SIMULATE.value: "simulate: offered to this worker alone",
}
_WAY_NOTES = {
    DispatchBy.SERVER: "a new room, or CreateDispatch for an agent with a name",
    DispatchBy.SIMULATE: "whatever the worker's load; needs no free worker",
}


def count_error(text: str) -> str:
    """Why this is no count, or nothing."""
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdigit()):
        return f"give a whole number from 1 to {MOST}"
    if not 1 <= int(stripped[:9]) <= MOST:
        return f"{stripped[:9]} is not within 1 to {MOST}"
    return ""


def room_error(text: str) -> str:
    """Why this is no name for a room, or nothing."""
    if any(not char.isprintable() for char in text.strip()):
        return "a room's name holds printable characters only"
    return ""


def room_note(room: str, count: str) -> str:
    """Which rooms there will be."""
    several = not count_error(count) and int(count) > 1
    name = brief(room.strip(), 30)
    if not name:
        return "a name of its own for each" if several else "a new one with a name of its own"
    return f"each job has its own, beginning with {name}" if several else "this one"


def metadata_note(text: str) -> str:
    """What the agent gets; text that was meant as JSON and is none is told, and sent all the same."""
    stripped = text.strip()
    if not stripped:
        return "none"
    if stripped[0] not in "{[":
        return "sent as text"
    try:
        json.loads(stripped)
    except (ValueError, RecursionError):
        return "⚠ begins like JSON but is none; it is sent as it is"
    return "sent as it is, valid JSON"


def parse_attributes(text: str) -> dict[str, str]:
    """`key=value` pairs with commas between, or a JSON object of texts. Raises ValueError."""
    stripped = text.strip()
    if stripped.startswith("{"):
        try:
            found = json.loads(stripped)
        except (ValueError, RecursionError):
            raise ValueError("is not JSON") from None
        if not all(isinstance(value, str) for value in found.values()):
            raise ValueError("has values that are no texts")
        return dict(found)
    pairs = [pair.partition("=") for pair in stripped.split(",") if pair.strip()]
    if not all(key.strip() and equals for key, equals, _ in pairs):
        raise ValueError("is not a list of pairs")
    return {key.strip(): value.strip() for key, _, value in pairs}


def attributes_text(attributes: Mapping[str, str]) -> str:
    """The attributes as `parse_attributes` takes them back."""
    text = ", ".join(f"{key}={value}" for key, value in attributes.items())
    try:
        plain = parse_attributes(text) == dict(attributes)
    except ValueError:
        plain = False
    return text if plain else json.dumps(dict(attributes), ensure_ascii=False)


def notes(values: Values) -> dict[str, Note]:
    """The line below each field."""
    by, identity = DispatchBy(values["by"]), values["identity"].strip()
    simulated = by is DispatchBy.SIMULATE
    count, room = count_error(values["count"]), room_error(values["room"])
    attributes = judged(parse_attributes, values["attributes"], ATTRIBUTES_EXPECTS)
    if not attributes.wrong:
        number = len(parse_attributes(values["attributes"]))
        attributes = Note(f"{number} sent" if number else f"none; {ATTRIBUTES_EXPECTS}")
    return {
        "count": Note(count or f"1 to {MOST}", bool(count)),
        "room": Note(room or room_note(values["room"], values["count"]), bool(room)),
        "metadata": Note(metadata_note(values["metadata"])),
        "attributes": attributes,
        "by": Note(_WAY_NOTES[by]),
        "identity": _identity_note(values, identity, simulated=simulated),
        "length": judged(_length, values["length"], LENGTH_EXPECTS, LENGTH_NOTE),
    }


def _identity_note(values: Values, identity: str, *, simulated: bool) -> Note:
    """A simulated job carries things only as those of a participant whom it is about."""
    if not simulated:
        return Note("only for a simulated job")
    if identity:
        return Note("a pretended participant, who has the metadata and attributes")
    if values["metadata"].strip() or values["attributes"].strip():
        return Note("give a name: metadata and attributes need a participant", True)
    return Note("nobody: the job is about the room")


def _length(text: str) -> float | None:
    return seconds(text) if text.strip() else None


def read(values: Values) -> Dispatch:
    """The command of values that no note finds wrong."""
    by = DispatchBy(values["by"])
    return Dispatch(
        int(values["count"]),
        values["room"].strip(),
        values["metadata"],
        by=by,
        attributes=parse_attributes(values["attributes"]),
        identity=values["identity"].strip() if by is DispatchBy.SIMULATE else "",
        length_s=_length(values["length"]),
    )


class DispatchForm(FieldForm[Dispatch]):
    """Begins with the values of `last`; returns a command without a confirmed host, or None."""

    def __init__(self, last: Dispatch | None = None) -> None:
        last = last or Dispatch()
        fields = (
            Field("count", "Count", str(last.count)),
            Field("room", "Room", last.room),
            Field("metadata", "Metadata", last.metadata),
            Field("attributes", "Attributes", attributes_text(last.attributes)),
            Field("by", "Made by", last.by.value, WAYS),
            Field("identity", "Identity", last.identity),
            Field("length", "Job length", "" if last.length_s is None else f"{last.length_s:g}s"),
        )
        super().__init__("Dispatch test jobs", fields, "Dispatch")

    def notes(self, values: Values) -> Mapping[str, Note]:
        return notes(values)

    def read(self, values: Values) -> Dispatch:
        return read(values)
