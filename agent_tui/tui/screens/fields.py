"""The base class of small forms. Each field has a note below: what its value means, or what is wrong."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Static

from agent_tui.options import kinds
from agent_tui.tui.screens.page import FormRows, Page
from agent_tui.tui.widgets.controls import Choice, Control, TextField
from agent_tui.tui.widgets.text import Line, brief, to_contents

T = TypeVar("T")

ROWS_OF_FIELD, ROWS_AROUND = 2, 6
"""The rows of a field with its note, and those of the form's border, padding, and buttons."""

NOTE_WIDTH = 60
"""Maximum characters of a note, after its mark, that fit on one line at 80 columns."""

Values = Mapping[str, str]
"""The fields' values by their names."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `choices` (value → label) limits it to these values."""

    name: str
    label: str
    value: str = ""
    choices: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """The line below a field. `wrong`: it is an error, and the form cannot be submitted."""

    text: str
    wrong: bool = False


def checked(parse: Callable[[str], object], text: str, expects: str, good: str = "") -> Note:
    """Return the note on a field: `good`, or the value followed by the text of the parser's ValueError."""
    try:
        parse(text)
    except ValueError as error:
        why = f"{brief(text, 16)} {str(error).partition(',')[0]}" if text.strip() else ""
        whole = f"{why}: enter {expects}" if why else f"enter {expects}"
        return Note(whole if len(whole) <= NOTE_WIDTH else why, wrong=True)
    return Note(good or expects)


def seconds(text: str) -> float:
    """Parse a duration such as `500ms` or `2s`; return seconds. Raises ValueError."""
    value = kinds.duration(1).convert(text)
    assert isinstance(value, (int, float))
    return value / 1000


class FieldForm(Page[T | None]):
    """Returns the result of `read` when submitted, None when cancelled."""

    DEFAULT_CSS = """
    FieldForm {
        #form-box {
            width: 80; max-width: 100%; height: auto; max-height: 100%;
            padding: 1 2 0 2;
        }
        #form-fields { height: auto; max-height: 100%; scrollbar-size-vertical: 1; }
        .form-line { height: 1; }
        .form-label { width: 12; text-style: bold; }
        .form-note { height: auto; margin: 0 0 0 12; color: $text-muted; }
        .form-note.-wrong { color: $text-error; }
        #form-about { height: auto; text-wrap: nowrap; text-overflow: ellipsis; }
        #form-buttons { height: 3; align-horizontal: right; }
        Button { margin-left: 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel"),
        Binding("down", "app.focus_next", show=False),
        Binding("up", "app.focus_previous", show=False),
    ]

    def __init__(self, title: str, fields: Sequence[Field], go: str) -> None:
        """`go` is the label of the submit button."""
        super().__init__()
        self._title, self._fields, self._go = title, tuple(fields), go

    @abstractmethod
    def notes(self, values: Values) -> Mapping[str, Note]:
        """Return the note below each field."""

    def about(self, values: Values) -> tuple[Line, ...]:
        """Return what submitting these valid values will do; by default nothing is said.

        The lines are above the buttons, as many as fit, so the most important one comes first.
        """
        return ()

    @abstractmethod
    def read(self, values: Values) -> T:
        """Return the form's result; called only while no field shows an error."""

    def compose(self) -> ComposeResult:
        with Vertical(id="form-box", classes="page-box") as box:
            box.border_title = self._title
            with FormRows(id="form-fields"):
                for field in self._fields:
                    with Horizontal(classes="form-line"):
                        yield Static(Content(field.label), classes="form-label", markup=False)
                        yield self._control(field)
                    yield Static("", id=f"form-{field.name}-note", classes="form-note", markup=False)
            yield Static("", id="form-about", markup=False)
            with Horizontal(id="form-buttons"):
                yield Button(Content("Cancel (Esc)"), id="form-cancel")
                yield Button(Content(f"{self._go} (Enter)"), id="form-go", variant="primary")

    @staticmethod
    def _control(field: Field) -> TextField | Choice:
        name = f"form-{field.name}"
        if field.choices is not None:
            return Choice(field.choices, field.value, id=name)
        return TextField(field.value, id=name)

    def on_mount(self) -> None:
        self.set_focus(self.query_one(f"#form-{self._fields[0].name}"))  # the next keys may already be there
        self.check()

    @property
    def values(self) -> Values:
        """The fields' current values."""
        found = {}
        for field in self._fields:
            control = self.query_one(f"#form-{field.name}")
            assert isinstance(control, (TextField, Choice))
            found[field.name] = control.value
        return found

    def on_resize(self) -> None:
        self.check()

    @on(Control.Edited)
    def check(self) -> None:
        """Show the notes of the current values."""
        notes = self.notes(self.values)
        for field in self._fields:
            note = notes[field.name]
            shown = self.query_one(f"#form-{field.name}-note", Static)
            shown.update(Content(f"✗ {note.text}" if note.wrong else note.text))
            shown.set_class(note.wrong, "-wrong")
        is_wrong = any(note.wrong for note in notes.values())
        about = () if is_wrong else self.about(self.values)
        shown = self.query_one("#form-about", Static)
        room = self.app.size.height - ROWS_OF_FIELD * len(self._fields) - ROWS_AROUND
        about = about[: max(room, 1)]
        shown.display = bool(about)
        shown.update(to_contents(((), *about) if room > len(about) else about))
        self.query_one("#form-go", Button).disabled = is_wrong

    @on(Control.Entered)
    @on(Button.Pressed, "#form-go")
    def _submit(self) -> None:
        values = self.values
        if not any(note.wrong for note in self.notes(values).values()):
            self.dismiss(self.read(values))

    @on(Button.Pressed, "#form-cancel")
    def action_cancel(self) -> None:
        self.dismiss(None)
