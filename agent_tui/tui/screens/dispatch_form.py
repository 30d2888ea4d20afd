"""The form for test dispatches: room, count, metadata, attributes, method, identity, and job length."""

import json
from collections.abc import Mapping

from agent_tui.model.commands import Dispatch, DispatchBy
from agent_tui.tui.screens.fields import Field, FieldForm, Note, Values, checked, seconds
from agent_tui.tui.widgets.text import brief, counted

MOST = 100
"""Maximum number of test dispatches that one form sends. For more, use a test load or a sweep."""

LENGTH_EXPECTS = "500ms, 10s, 2m, or nothing"
LENGTH_NOTE = "the job ends after this time; empty: the --job-length value"
ATTRIBUTES_EXPECTS = 'a=1, b=2 or {"a": "1"}'
WAYS = {
    DispatchBy.SERVER.value: "through the server, like a real call",
    DispatchBy.SIMULATE.value: "simulated: offered to this worker only",
}
_WAY_NOTES = {
    DispatchBy.SERVER: "creates a room, or a dispatch if agentName is set",
    DispatchBy.SIMULATE: "at any load, even when the worker is full",
}


def count_error(text: str) -> str:
    """Return what is wrong with the count; empty if it is valid."""
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdigit()):
        return f"enter a whole number from 1 to {MOST}"
    if not 1 <= int(stripped[:9]) <= MOST:
        return f"{stripped[:9]} is not between 1 and {MOST}"
    return ""


def room_error(text: str) -> str:
    """Return what is wrong with the room's name; empty if it is valid."""
    if any(not char.isprintable() for char in text.strip()):
        return "only printable characters are allowed"
    return ""


def room_note(room: str, count: str) -> str:
    """Return which rooms the test jobs will use."""
    several = not count_error(count) and int(count) > 1
    name = brief(room.strip(), 30)
    if not name:
        return "empty: a new room for each job" if several else "empty: a new room"
    return f"one room per job; their names start with {name}" if several else "created if it does not exist"


def metadata_note(text: str) -> str:
    """Return how the metadata is sent, with a warning for text that looks like JSON but is invalid."""
    stripped = text.strip()
    if not stripped:
        return "none"
    if stripped[0] not in "{[":
        return "sent as text"
    try:
        json.loads(stripped)
    except (ValueError, RecursionError):
        return "⚠ looks like JSON but is invalid; sent as text"
    return "valid JSON"


def parse_attributes(text: str) -> dict[str, str]:
    """Parse comma-separated `key=value` pairs, or a JSON object of strings.

    Raise ValueError if the text is neither.
    """
    stripped = text.strip()
    if stripped.startswith("{"):
        try:
            found = json.loads(stripped)
        except (ValueError, RecursionError):
            raise ValueError("is not JSON") from None
        if not all(isinstance(value, str) for value in found.values()):
            raise ValueError("has values that are not strings")
        return dict(found)
    pairs = [pair.partition("=") for pair in stripped.split(",") if pair.strip()]
    if not all(key.strip() and equals for key, equals, _ in pairs):
        raise ValueError("is not a list of key=value pairs")
    return {key.strip(): value.strip() for key, _, value in pairs}


def attributes_text(attributes: Mapping[str, str]) -> str:
    """Return the attributes in a form that `parse_attributes` reads."""
    text = ", ".join(f"{key}={value}" for key, value in attributes.items())
    try:
        plain = parse_attributes(text) == dict(attributes)
    except ValueError:
        plain = False
    return text if plain else json.dumps(dict(attributes), ensure_ascii=False)


def notes(values: Values) -> dict[str, Note]:
    """Return the note below each field."""
    by, identity = DispatchBy(values["by"]), values["identity"].strip()
    simulated = by is DispatchBy.SIMULATE
    count, room = count_error(values["count"]), room_error(values["room"])
    attributes = checked(parse_attributes, values["attributes"], ATTRIBUTES_EXPECTS)
    if not attributes.wrong:
        number = len(parse_attributes(values["attributes"]))
        attributes = Note(counted(number, "attribute") if number else f"none; {ATTRIBUTES_EXPECTS}")
    return {
        "count": Note(count or f"1 to {MOST}", bool(count)),
        "room": Note(room or room_note(values["room"], values["count"]), bool(room)),
        "metadata": Note(metadata_note(values["metadata"])),
        "attributes": attributes,
        "by": Note(_WAY_NOTES[by]),
        "identity": _identity_note(values, identity, simulated=simulated),
        "length": checked(_length, values["length"], LENGTH_EXPECTS, LENGTH_NOTE),
    }


def _identity_note(values: Values, identity: str, *, simulated: bool) -> Note:
    """Return the note on the identity. A simulated job with metadata or attributes needs a participant."""
    if not simulated:
        return Note('used only with Method "simulated"')
    if identity:
        return Note("a simulated participant with the metadata and attributes")
    if values["metadata"].strip() or values["attributes"].strip():
        return Note("enter a name: metadata and attributes need a participant", True)
    return Note("empty: a room job, without a participant")


def _length(text: str) -> float | None:
    return seconds(text) if text.strip() else None


def read(values: Values) -> Dispatch:
    """Return the command for valid values."""
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
    """The form of test dispatches. It opens with the values of `last`. Its command has no
    confirmed host yet.
    """

    def __init__(self, last: Dispatch | None = None) -> None:
        last = last or Dispatch()
        fields = (
            Field("room", "Room", last.room),
            Field("count", "Count", str(last.count)),
            Field("metadata", "Metadata", last.metadata),
            Field("attributes", "Attributes", attributes_text(last.attributes)),
            Field("by", "Method", last.by.value, WAYS),
            Field("identity", "Identity", last.identity),
            Field("length", "Job length", "" if last.length_s is None else f"{last.length_s:g}s"),
        )
        super().__init__("Dispatch test jobs", fields, "Dispatch")

    def notes(self, values: Values) -> Mapping[str, Note]:
        return notes(values)

    def read(self, values: Values) -> Dispatch:
        return read(values)
