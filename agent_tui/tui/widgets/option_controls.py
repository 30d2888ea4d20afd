"""The rows of the options panel: a stepper, a choice, and a text field, each with a note below."""

from dataclasses import dataclass
from typing import Any

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Button, Input, Select, Static

from agent_tui.options.declare import LOG_LEVELS, Option
from agent_tui.options.resolve import Resolution
from agent_tui.tui.widgets.option_rows import Edit, check, effective, note, written
from agent_tui.tui.widgets.text import PRINTABLE, brief


class OptionRow(Vertical):
    """One live option. Changes from elsewhere do not overwrite what the user is typing."""

    DEFAULT_CSS = """
    OptionRow {
        height: auto;
        padding-right: 1;

        .option-line { height: 1; }
        .option-name { width: 25; text-style: bold; }
        .option-note { height: auto; }
    }
    """

    @dataclass
    class Wanted(Message):
        """The user entered another valid value."""

        name: str
        value: str

    def __init__(self, option: Option) -> None:
        super().__init__(id=f"option-{option.name}", disabled=True)
        self.option = option
        self.edit = Edit()
        self._note = Static("", classes="option-note", markup=False)
        self._painted = Content()
        self._usual = Content()
        self._reason = ""
        self._fact = ""
        self._resolution: Resolution | None = None

    def controls(self) -> tuple[Widget, ...]:
        """Return the widgets beside the name."""
        return ()

    def refresh_control(self) -> None:
        """Show `edit.target`, unless the user is editing."""

    def hint(self) -> str:
        """Return the note about a pending edit; empty without one."""
        return "applying…" if self.edit.asked else ""

    def compose(self) -> ComposeResult:
        with Horizontal(classes="option-line"):
            yield Static(Content(self.option.name), classes="option-name", markup=False)
            yield from self.controls()
        yield self._note

    def show_value(self, resolution: Resolution) -> None:
        """Show the options in effect."""
        if self.edit.receive(effective(self.option, resolution)):
            self._reason = ""
        self._resolution = resolution
        self._usual = note(self.option, resolution, self._fact)
        self.refresh_control()
        self.refresh_note()

    def show_fact(self, fact: str) -> None:
        """Show the value's result in the note, such as the address that port 0 was bound to."""
        if fact == self._fact:
            return
        self._fact = fact
        if self._resolution is not None:
            self.show_value(self._resolution)

    def fail(self, text: str) -> None:
        """Restore the old value after a refused edit and show the reason."""
        self.edit.fail()
        self.refresh_control()
        self.say(brief(text) or "not accepted")

    def say(self, reason: str) -> None:
        """Show why a value is invalid; an empty reason clears the error."""
        self._reason = reason
        self.refresh_note()

    def refresh_note(self) -> None:
        """Update the note: an error, a hint, or else source and help."""
        hint = self.hint()
        if self._reason:
            content = Content.styled(f"✗ {self._reason}", "bold $text-error")
        elif hint:
            content = Content.styled(hint, "$text-warning")
        else:
            content = self._usual
        if not content.is_same(self._painted):
            self._painted = content
            self._note.update(content)
            if self.has_focus_within:
                self.call_after_refresh(self.scroll_visible, animate=False)

    def on_descendant_focus(self) -> None:
        """Scroll the note into view together with its control."""
        self.call_after_refresh(self.scroll_visible, animate=False)

    def ask(self, value: object) -> None:
        """Request another valid value."""
        self.edit.asked.append(value)
        self._reason = ""
        self.refresh_control()
        self.refresh_note()
        self.post_message(self.Wanted(self.option.name, written(self.option, value)))


class Stepper(OptionRow):
    """An integer between two buttons."""

    DEFAULT_CSS = """
    Stepper {
        Button { width: 3; min-width: 3; }
        .option-value { width: auto; min-width: 4; padding: 0 1; text-align: center; text-style: bold; }
    }
    """

    def controls(self) -> tuple[Widget, ...]:
        self._value = Static("–", classes="option-value", markup=False)
        less = Button(Content("-"), id="option-less", compact=True, tooltip="one fewer")
        more = Button(Content("+"), id="option-more", compact=True, tooltip="one more")
        for button in (less, more):
            button.active_effect_duration = 0  # during the effect a button ignores clicks
        return less, self._value, more

    def refresh_control(self) -> None:
        self._value.update(Content(str(self.edit.target)))

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        target = self.edit.target
        if not isinstance(target, int):
            return
        wanted = target + (1 if event.button.id == "option-more" else -1)
        reason = check(self.option, str(wanted))
        if reason:
            self.say(reason)
        else:
            self.ask(wanted)


class Choice(OptionRow):
    """A select with the log levels."""

    DEFAULT_CSS = """
    Choice Select { width: 1fr; max-width: 20; }
    """

    def controls(self) -> tuple[Widget, ...]:
        words = [(word, word) for word in LOG_LEVELS]
        self._select: Select[str] = Select(words, allow_blank=False, compact=True)
        return (self._select,)

    def refresh_control(self) -> None:
        target = self.edit.target
        if isinstance(target, str) and not self._select.expanded and self._select.value != target:
            with self._select.prevent(Select.Changed):
                self._select.value = target

    @on(Select.Changed)
    def _changed(self, event: Select.Changed) -> None:
        event.stop()
        if self.edit.current is not None and event.value != self.edit.target:
            self.ask(event.value)


class Field(OptionRow):
    """A text input. It checks the value while typing; Enter applies it, Escape restores the old one."""

    DEFAULT_CSS = """
    Field Input { width: 1fr; max-width: 40; }
    """

    def controls(self) -> tuple[Widget, ...]:
        self._input = Input(
            compact=True, restrict=PRINTABLE, tooltip=f"{self.option.kind.expects} · Enter apply"
        )
        self._set = ""
        return (self._input,)

    @property
    def dirty(self) -> bool:
        """Whether the typed text is not applied yet."""
        return self._input.value != self._set

    def hint(self) -> str:
        return "not applied · Enter apply · Esc discard" if self.dirty else super().hint()

    def refresh_control(self) -> None:
        if not self.dirty:
            self._write(written(self.option, self.edit.target))

    def _write(self, text: str) -> None:
        self._set = text
        if self._input.value != text:
            with self._input.prevent(Input.Changed):
                self._input.value = text

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.say(check(self.option, event.value) if self.dirty else "")

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        if not self.dirty or check(self.option, event.value):
            return
        value: Any = self.option.kind.convert(event.value)
        self._write(written(self.option, value))
        if value == self.edit.target:
            self.say("")
        else:
            self.ask(value)

    def on_key(self, event: events.Key) -> None:
        """On Escape, restore the old value, or leave the field if it is unchanged."""
        if event.key != "escape":
            return
        event.stop()
        if self.dirty:
            self._write(written(self.option, self.edit.target))
            self.say("")
        else:
            self.screen.set_focus(None)
