"""The form for test dispatches: how many, into which room, with which metadata."""

import json
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from agent_tui.logs.sanitise import sanitise
from agent_tui.model.commands import Dispatch
from agent_tui.tui.text import PRINTABLE, one_line

MOST = 100
"""Test dispatches of one form; bursts and sweeps have their own ways."""


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
    name = one_line(room.strip(), 30)
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


def read(count: str, room: str, metadata: str) -> Dispatch | None:
    """The command, or None while a field is wrong."""
    if count_error(count) or room_error(room):
        return None
    return Dispatch(count=int(count), room=room.strip(), metadata=metadata)


class DispatchForm(ModalScreen[Dispatch | None]):
    """Begins with the values of `last`; returns a command without a confirmed host, or None."""

    DEFAULT_CSS = """
    DispatchForm {
        align: center middle;

        #form-box {
            width: 72; max-width: 100%; height: auto; max-height: 100%;
            padding: 1 2 0 2;
            border: round $primary;
            border-title-color: $text;
            background: $surface;
        }
        .form-line { height: 1; }
        .form-label { width: 10; text-style: bold; }
        Input { width: 1fr; background: $panel; }
        .form-note { height: auto; margin: 0 0 1 10; color: $text-muted; }
        .form-note.-wrong { color: $text-error; }
        #form-buttons { height: auto; align-horizontal: right; }
        Button { margin-left: 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel"),
        Binding("down", "app.focus_next", show=False),
        Binding("up", "app.focus_previous", show=False),
    ]

    def __init__(self, last: Dispatch | None = None) -> None:
        super().__init__()
        self._last = last or Dispatch()

    def compose(self) -> ComposeResult:
        with Vertical(id="form-box") as box:
            box.border_title = "Dispatch test jobs"
            for name, value in (
                ("count", str(self._last.count)),
                ("room", self._last.room),
                ("metadata", self._last.metadata),
            ):
                shown = " ".join(sanitise(value).split("\n"))
                with Horizontal(classes="form-line"):
                    yield Static(Content(name.capitalize()), classes="form-label", markup=False)
                    yield Input(shown, id=f"form-{name}", compact=True, restrict=PRINTABLE)
                yield Static("", id=f"form-{name}-note", classes="form-note", markup=False)
            with Horizontal(id="form-buttons"):
                yield Button(Content("Cancel (Esc)"), id="form-cancel")
                yield Button(Content("Dispatch (Enter)"), id="form-go", variant="primary")

    def on_mount(self) -> None:
        self.query_one("#form-count").focus()
        self._check()

    @property
    def _values(self) -> tuple[str, str, str]:
        count, room, metadata = (
            self.query_one(f"#form-{name}", Input).value for name in ("count", "room", "metadata")
        )
        return count, room, metadata

    @on(Input.Changed)
    def _check(self) -> None:
        count, room, metadata = self._values
        self._note("count", count_error(count), f"1 to {MOST}")
        self._note("room", room_error(room), room_note(room, count))
        self._note("metadata", "", metadata_note(metadata))
        self.query_one("#form-go", Button).disabled = read(*self._values) is None

    def _note(self, name: str, error: str, otherwise: str) -> None:
        note = self.query_one(f"#form-{name}-note", Static)
        note.update(Content(f"✗ {error}" if error else otherwise))
        note.set_class(bool(error), "-wrong")

    @on(Input.Submitted)
    @on(Button.Pressed, "#form-go")
    def _submit(self) -> None:
        command = read(*self._values)
        if command is not None:
            self.dismiss(command)

    @on(Button.Pressed, "#form-cancel")
    def action_cancel(self) -> None:
        self.dismiss(None)
