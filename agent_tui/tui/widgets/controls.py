"""The controls of options and dialogs: a text field, a choice, a number, and permissions."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Checkbox, Input, Static

from agent_tui.logs.sanitize import sanitize
from agent_tui.options.declare import Option
from agent_tui.options.kinds import MASK, OptionKind
from agent_tui.options.permissions import FLAGS, SOURCES, Permissions
from agent_tui.tui.widgets.text import PRINTABLE, brief, one_line

BOX_WIDTH = 24
FROM_AGENT_FILE = "set by the agent file"


class Control:
    """Base class of all controls: shows a value, which the user can replace."""

    applies_at_once = True
    """Whether each change gives a complete value, unlike text, which is complete at Enter."""

    class Edited(Message):
        """The user changed the value."""

    class Entered(Message):
        """The user pressed Enter."""

    @property
    @abstractmethod
    def edit(self) -> str | None:
        """The user's new value, as text; None if the user has not changed the value shown."""

    @abstractmethod
    def show_value(self, text: str) -> None:
        """Show another current value; the user's edit is kept."""

    @abstractmethod
    def reset(self) -> None:
        """Discard the user's edit."""


class TextField(Input, Control):
    """A text input. What the user types replaces the shown value, which is its placeholder.

    While it is empty, right or end copies the shown value into it, and backspace sets an empty value.
    """

    DEFAULT_CSS = """
    TextField {
        width: 1fr; background: $panel;
        &>.input--placeholder { color: $foreground 75%; }
        &.-nothing>.input--placeholder { color: $foreground 45%; }
    }
    """
    applies_at_once = False

    unset = "not set"
    """The text of the empty field."""

    finds = False
    """Whether `/` in the empty field starts the page's search instead of typing a slash."""

    def __init__(self, value: str = "", *, id: str | None = None, kind: OptionKind | None = None) -> None:
        """`kind` is the kind of an option's value."""
        shown = " ".join(sanitize(value).split("\n"))
        # An edit is extended when the focus comes back; in a dialog, typing replaces the value.
        super().__init__(shown, id=id, compact=True, restrict=PRINTABLE, select_on_focus=kind is None)
        self._shown = ""
        self._cleared = False
        self._kind = kind
        self.password = kind is not None and kind.secret

    @property
    def edit(self) -> str | None:
        if self.value:
            return self.value
        return "" if self._cleared else None

    def show_value(self, text: str) -> None:
        self._shown = text
        self._describe()

    def reset(self) -> None:
        self._cleared = False
        with self.prevent(Input.Changed):
            self.value = ""
        self._describe()

    def toggle_reveal(self) -> None:
        """Show or hide the secret."""
        self.password = not self.password
        self._describe()

    def _describe(self) -> None:
        hidden = MASK if self._shown and self.password else one_line(self._shown)
        self.placeholder = "empty" if self._cleared else hidden or self.unset
        self.set_class(self._cleared or not self._shown, "-nothing")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("home", "end") and not self.value:
            return False  # keys of the page
        return super().check_action(action, parameters)

    async def _on_key(self, event: events.Key) -> None:
        focused = self.screen.focused
        if focused is not None and focused is not self:
            # It was on its way while an earlier key moved the focus.
            focused.post_message(events.Key(event.key, event.character))
        elif self.finds and event.key == "slash" and not self.value:
            await self.run_action("screen.find")
        elif self.value or not self._edit_shown(event.key):
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()

    def _edit_shown(self, key: str) -> bool:
        """Handle a key in the empty field; return whether it was one."""
        if key == "right" and self._shown:
            self.value = self._shown
            self.cursor_position = len(self.value)
        elif key in ("backspace", "delete") and self._shown and self._may_be_empty:
            self._cleared = not self._cleared
            self._describe()
            self.post_message(self.Edited())
        else:
            return False
        return True

    @property
    def _may_be_empty(self) -> bool:
        try:
            return self._kind is not None and self._kind.convert("") == ""
        except ValueError:
            return False

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.value:
            self._cleared = False
            self._describe()
        self.post_message(self.Edited())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Entered())


class Choice(Static, Control, can_focus=True):
    """A field with a few values; left, right, space, or a click selects another one."""

    DEFAULT_CSS = """
    Choice {
        width: 1fr; height: 1;
        background: $panel;
        &:focus { background: $primary-muted; text-style: bold; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "go(-1)", show=False),
        Binding("right,space", "go(1)", show=False),
        Binding("enter", "submit", show=False),
    ]

    def __init__(self, choices: Mapping[str, str], value: str = "", *, id: str | None = None) -> None:
        """`choices`: value → label."""
        super().__init__(id=id, markup=False)
        self._choices = dict(choices)
        self.value = value if value in choices else next(iter(choices), "")
        self._shown = self.value

    def on_mount(self) -> None:
        self._draw()

    @property
    def edit(self) -> str | None:
        return None if self.value == self._shown else self.value

    def show_value(self, text: str) -> None:
        if self.edit is None:
            self.value = text
        self._shown = text
        self._draw()

    def show_choices(self, choices: Mapping[str, str]) -> None:
        """Offer other values."""
        self._choices = dict(choices)
        self._draw()

    def reset(self) -> None:
        self.value = self._shown
        self._draw()

    def after(self, by: int) -> str:
        """Return the value `by` places after the current one."""
        names = list(self._choices)
        if self.value not in names:
            return names[0]
        return names[(names.index(self.value) + by) % len(names)]

    def action_go(self, by: int) -> None:
        self.value = self.after(by)
        self._draw()
        self.post_message(self.Edited())

    def action_submit(self) -> None:
        self.post_message(self.Entered())

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.action_go(-1 if event.x <= 1 else 1)

    def _draw(self) -> None:
        self.update(Content(f" ◂ {brief(self._choices.get(self.value, self.value))} ▸"))


class Stepper(Choice):
    """A whole number; left and right, or clicks, change it by one."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__({"0": "0"}, id=id)
        self._choices = {}

    def after(self, by: int) -> str:
        return str(int(self.value) + by)


class Box(Checkbox):
    """A checkbox that shows its state as `[x]` or `[ ]`. Textual's differ only in color."""

    DEFAULT_CSS = """
    Box {
        & > .toggle--button, &.-on > .toggle--button { color: $text; background: transparent; }
        &.-on > .toggle--button { text-style: bold; }
    }
    """

    @property
    def _button(self) -> Content:
        return Content.assemble(("[x]" if self.value else "[ ]", self.get_visual_style("toggle--button")))


class PermissionsControl(Horizontal, Control):
    """A checkbox per permission, and per source that the agent may publish.

    An empty list of sources means all of them, so then all boxes are checked.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    DEFAULT_CSS = """
    PermissionsControl {
        layout: grid; grid-size: 1; grid-rows: 1;
        width: 1fr; height: auto;
        Checkbox { width: auto; margin-right: 1; }
    }
    """

    def __init__(self, option: Option) -> None:
        super().__init__()
        self._option = option
        self._flags = {name: self._box(name) for name in FLAGS}
        self._sources = {name: self._box(name) for name in SOURCES}
        self._sources_shown: tuple[str, ...] = ()
        self._shown: str | None = None
        for box in self._sources.values():
            box.tooltip = "only checked sources may be published; unchecking the last one checks all"

    def on_resize(self, event: events.Resize) -> None:
        self.styles.grid_size_columns = max(event.size.width // BOX_WIDTH, 1)

    @staticmethod
    def _box(name: str) -> Box:
        return Box(Content(name), compact=True, id=f"permission-{name}")

    def compose(self) -> ComposeResult:
        yield from self._flags.values()
        yield from self._sources.values()

    @property
    def edit(self) -> str | None:
        text = self._text
        return None if self._shown is None or text == self._shown else text

    @property
    def _text(self) -> str:
        fields: dict[str, Any] = {FLAGS[name]: box.value for name, box in self._flags.items()}
        return self._option.kind.write(Permissions(**fields, can_publish_sources=self._checked))

    @property
    def _checked(self) -> tuple[str, ...]:
        checked = tuple(name for name, box in self._sources.items() if box.value)
        if set(checked) == set(self._sources_shown or SOURCES):
            return self._sources_shown  # unchanged: keep an explicit list of all sources
        return () if len(checked) == len(SOURCES) else checked

    def show_value(self, text: str) -> None:
        edited, self._shown = self.edit is not None, text
        if not edited:
            self.reset()

    def reset(self) -> None:
        value = self._option.kind.convert(self._shown or "")
        assert isinstance(value, Permissions)
        for name, box in self._flags.items():
            self._set(box, value=getattr(value, FLAGS[name]))
        self._sources_shown = value.can_publish_sources
        self._check(self._sources_shown)

    def _check(self, sources: tuple[str, ...]) -> None:
        for name, box in self._sources.items():
            self._set(box, value=name in (sources or SOURCES))

    def _set(self, box: Checkbox, *, value: bool) -> None:
        if box.value != value:
            with box.prevent(Checkbox.Changed):
                box.value = value

    @on(Checkbox.Changed)
    def _ticked(self, event: Checkbox.Changed) -> None:
        event.stop()
        if not any(box.value for box in self._sources.values()):
            self._check(())
        self.post_message(self.Edited())


AnyControl = TextField | Choice | PermissionsControl


def control_for(option: Option, function_names: tuple[str, ...]) -> AnyControl:
    """Return a control for the option."""
    if option.name == "permissions":
        return PermissionsControl(option)
    if option.name == "numIdleProcesses":
        return Stepper()
    if choices := choices_of(option, function_names):
        return Choice(choices)
    return TextField(kind=option.kind)


def choices_of(option: Option, function_names: tuple[str, ...]) -> dict[str, str]:
    """Return the option's values with their labels, if there are few: its words, or functions of the file."""
    if option.kind.word == "NAME":
        return {"": FROM_AGENT_FILE, **{name: name for name in function_names}}
    return {word: word for word in option.kind.words}
