"""The controls of the options page. Each holds an option's value as text."""

from abc import abstractmethod
from typing import Any

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Checkbox, Input, Select

from agent_tui.options.declare import Option
from agent_tui.options.permissions import FLAGS, SOURCES, Permissions
from agent_tui.tui.widgets.text import PRINTABLE

BOX_WIDTH = 24
FROM_AGENT_FILE = "set by the agent file"


class Control(Horizontal):
    """The base class: holds `text` and posts `Changed` when the user edits it."""

    DEFAULT_CSS = """
    Control {
        width: 1fr; height: auto;
        Input { width: 1fr; max-width: 48; background: $panel; }
        Select { width: 1fr; max-width: 30; }
        Checkbox { width: auto; margin-right: 1; }
        Button { min-width: 6; }
    }
    """

    class Changed(Message):
        """The user changed the text."""

    @property
    @abstractmethod
    def text(self) -> str:
        """The value as text, in the form that the option parses."""

    @abstractmethod
    def write(self, text: str) -> None:
        """Show another value without posting `Changed`."""


class TextControl(Control):
    """A text input; secrets are hidden until the user presses "show"."""

    def __init__(self, option: Option) -> None:
        super().__init__()
        self._input = Input(
            compact=True, restrict=PRINTABLE, password=option.kind.secret, tooltip=f"{option.kind.expects}"
        )
        self._secret = option.kind.secret

    def compose(self) -> ComposeResult:
        yield self._input
        if self._secret:
            yield Button(Content("show"), compact=True, tooltip="show or hide the secret")

    @property
    def text(self) -> str:
        return self._input.value

    def write(self, text: str) -> None:
        if self._input.value != text:
            with self._input.prevent(Input.Changed):
                self._input.value = text

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed())

    @on(Button.Pressed)
    def _reveal(self, event: Button.Pressed) -> None:
        event.stop()
        self._input.password = not self._input.password
        event.button.label = Content("show" if self._input.password else "hide")


class ChoiceControl(Control):
    """A select with a few values, each with a label."""

    def __init__(self, choices: dict[str, str]) -> None:
        super().__init__()
        self._choices = choices
        self._select: Select[str] = Select(self._options(choices), allow_blank=False, compact=True)
        self._written: str | None = None

    @staticmethod
    def _options(choices: dict[str, str]) -> list[tuple[str, str]]:
        return [(words, text) for text, words in choices.items()]

    def compose(self) -> ComposeResult:
        yield self._select

    @property
    def text(self) -> str:
        return str(self._select.value)

    def write(self, text: str) -> None:
        self._written = text
        with self._select.prevent(Select.Changed):
            if text not in self._choices:
                self._choices = {**self._choices, text: text}
                self._select.set_options(self._options(self._choices))
            if self._select.value != text:
                self._select.value = text

    @on(Select.Changed)
    def _chosen(self, event: Select.Changed) -> None:
        event.stop()
        if event.value != self._written:
            self._written = str(event.value)
            self.post_message(self.Changed())


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


class PermissionsControl(Control):
    """A checkbox per permission, and per source that the agent may publish.

    An empty list of sources means all of them, so then all boxes are checked.
    """

    DEFAULT_CSS = """
    PermissionsControl { layout: grid; grid-size: 1; grid-rows: 1; }
    """

    def __init__(self, option: Option) -> None:
        super().__init__()
        self._option = option
        self._flags = {name: self._box(name) for name in FLAGS}
        self._sources = {name: self._box(name) for name in SOURCES}
        self._written: tuple[str, ...] = ()
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
    def text(self) -> str:
        fields: dict[str, Any] = {FLAGS[name]: box.value for name, box in self._flags.items()}
        return self._option.kind.write(Permissions(**fields, can_publish_sources=self._chosen))

    @property
    def _chosen(self) -> tuple[str, ...]:
        checked = tuple(name for name, box in self._sources.items() if box.value)
        if set(checked) == set(self._written or SOURCES):
            return self._written  # unchanged: keep an explicit list of all sources
        return () if len(checked) == len(SOURCES) else checked

    def write(self, text: str) -> None:
        value = self._option.kind.convert(text)
        assert isinstance(value, Permissions)
        for name, box in self._flags.items():
            self._set(box, value=getattr(value, FLAGS[name]))
        self._written = value.can_publish_sources
        self._check(self._written)

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
        self.post_message(self.Changed())


def control_for(option: Option, function_names: tuple[str, ...]) -> Control:
    """Return a control for the option."""
    if option.name == "permissions":
        return PermissionsControl(option)
    if option.kind.word == "NAME":
        return ChoiceControl({"": FROM_AGENT_FILE, **{name: name for name in function_names}})
    if option.kind.words:
        return ChoiceControl({word: word for word in option.kind.words})
    return TextControl(option)
