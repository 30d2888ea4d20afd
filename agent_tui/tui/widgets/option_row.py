"""An option with its control and a note below. The panel applies each edit; the page applies all at once."""

from dataclasses import dataclass

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Checkbox, Static

from agent_tui.model.requests import Secrets
from agent_tui.model.settings import SettingsView
from agent_tui.options.declare import Option
from agent_tui.options.resolve import Resolution
from agent_tui.tui.widgets.controls import (
    Choice,
    Control,
    PermissionsControl,
    TextField,
    choices_of,
    control_for,
)
from agent_tui.tui.widgets.option_text import (
    Edit,
    check,
    current_text,
    edit_note,
    effective,
    is_changed,
    note,
    source,
    written,
)
from agent_tui.tui.widgets.text import brief


def update(static: Static, content: Content) -> bool:
    """Show the content if it differs, since each update costs a layout; return whether it did."""
    shown = static.content
    if isinstance(shown, Content) and content.is_same(shown):
        return False
    static.update(content)
    return True


class OptionRow(Vertical):
    """The base class: name, control, and a note, which is hidden while it is empty."""

    DEFAULT_CSS = """
    OptionRow {
        height: auto;
        padding-right: 1;

        .option-line { height: auto; }
        .option-name { width: 25; height: 1; }
        TextField, Choice { max-width: 60; }
        .option-aside { width: 22; height: 1; padding-left: 1; color: $text-muted; }
        .option-note { height: auto; display: none; }
        .option-note.-shown { display: block; }
        .option-reveal { min-width: 6; width: 6; }
        &:focus-within .option-name { color: $text-accent; text-style: bold; }
    }
    """

    def __init__(self, option: Option, function_names: tuple[str, ...] = (), *, id: str) -> None:
        super().__init__(id=id)
        self.option = option
        self.control = control_for(option, function_names)
        self.aside: Static | None = None
        self.name_shown = Static(Content(option.name), classes="option-name", markup=False)
        self._note = Static("", classes="option-note", markup=False)

    def compose(self) -> ComposeResult:
        with Horizontal(classes="option-line"):
            yield self.name_shown
            yield self.control
            if self.option.kind.secret and isinstance(self.control, TextField):
                yield Button(
                    Content("show"), compact=True, classes="option-reveal", tooltip="show or hide it"
                )
            if self.aside is not None and not isinstance(self.control, PermissionsControl):
                yield self.aside
        yield self._note

    def on_click(self, event: events.Click) -> None:
        """Go to the control, also if the name or the note was clicked."""
        if event.widget is not self.control and not self.has_focus_within:
            self.focus_control()

    def focus_control(self) -> None:
        """Move the focus to the control, or to its first part if it has several."""
        first = self.control if self.control.can_focus else self.control.query(Checkbox).first()
        first.focus()

    def say(self, content: Content) -> None:
        """Show a note; an empty one is hidden."""
        if not update(self._note, content):
            return
        self._note.set_class(bool(content.plain), "-shown")
        if self.has_focus_within:
            self.call_after_refresh(self.scroll_visible, animate=False)

    def on_descendant_focus(self) -> None:
        """Scroll the note into view together with its control."""
        self.call_after_refresh(self.scroll_visible, animate=False)

    @on(Button.Pressed, ".option-reveal")
    def _reveal(self, event: Button.Pressed) -> None:
        event.stop()
        if isinstance(self.control, TextField):
            self.control.toggle_reveal()
            event.button.label = Content("show" if self.control.password else "hide")


class LiveRow(OptionRow):
    """An option of the panel: each edit is requested at once, text once the user presses Enter.

    Changes from elsewhere do not overwrite what the user is typing.
    """

    @dataclass
    class Wanted(Message):
        """The user entered another valid value."""

        name: str
        value: str

    def __init__(self, option: Option) -> None:
        super().__init__(option, id=f"option-{option.name}")
        self.disabled = True
        self.edit = Edit()
        self._reason = ""
        self._fact = ""
        self._resolution: Resolution | None = None

    def show_value(self, resolution: Resolution) -> None:
        """Show the options in effect."""
        if self.edit.receive(effective(self.option, resolution)):
            self._reason = ""
        self._resolution = resolution
        self._show_target()

    def show_fact(self, fact: str) -> None:
        """Show in the note what the value led to, such as the port that was bound for port 0."""
        if fact != self._fact:
            self._fact = fact
            self.refresh_note()

    def fail(self, text: str) -> None:
        """Restore the old value after a refused edit and show the reason."""
        self.edit.fail()
        self._reason = brief(text) or "not accepted"
        self._show_target()

    def _show_target(self) -> None:
        self.control.show_value(written(self.option, self.edit.target))
        self.refresh_note()

    def refresh_note(self) -> None:
        """Update the note: an error, a hint, or else source and help."""
        if self._reason:
            self.say(Content.styled(f"✗ {self._reason}", "bold $text-error"))
        elif self.control.edit is not None:
            self.say(Content.styled("not applied · Enter apply · Esc discard", "$text-warning"))
        elif self.edit.asked:
            self.say(Content.styled("applying…", "$text-warning"))
        elif self._resolution is not None:
            self.say(note(self.option, self._resolution, self._fact))

    @on(Control.Edited)
    def _changed(self, event: Control.Edited) -> None:
        event.stop()
        text = self.control.edit
        self._reason = check(self.option, text) if text is not None else ""
        if self.control.applies_at_once:
            self._apply()
        self.refresh_note()

    @on(Control.Entered)
    def _submitted(self, event: Control.Entered) -> None:
        event.stop()
        if not self._reason:
            self._apply()

    def _apply(self) -> None:
        """Request the user's value, unless it is invalid or only another spelling of the current one."""
        text = self.control.edit
        if text is None:
            return
        self.control.reset()
        if self._reason or self.edit.current is None:
            return
        value = self.option.kind.convert(text)
        if value != self.edit.target:
            self.edit.asked.append(value)
            self.post_message(self.Wanted(self.option.name, written(self.option, value)))
        self._show_target()

    def on_key(self, event: events.Key) -> None:
        """On Escape, discard what the user typed, or leave the control if nothing was typed."""
        if event.key != "escape":
            return
        event.stop()
        if self.control.edit is not None:
            self.control.reset()
            self._reason = ""
            self.refresh_note()
        else:
            self.screen.set_focus(None)


class DraftRow(OptionRow):
    """An option of the options page: edits are collected. A dot marks those that something sets."""

    DEFAULT_CSS = """
    DraftRow .option-name { width: 27; }
    """

    def __init__(self, option: Option, settings: SettingsView, secrets: Secrets, used: str = "") -> None:
        """`used` is what is used if the option is not set."""
        super().__init__(option, settings.function_names, id=f"draft-{option.name}")
        self.aside = Static("", classes="option-aside", markup=False)
        if isinstance(self.control, TextField):
            self.control.finds = True
        self.refused = ""
        """Why the engine refused the edit."""
        self._settings, self._secrets, self._used = settings, secrets, used

    def on_mount(self) -> None:
        self.show_value(self._settings, self._secrets, self._used)

    @property
    def before(self) -> str:
        """The value without the edit, as text."""
        return current_text(self.option, self._settings, self._secrets)

    @property
    def text(self) -> str:
        """The value with the edit, as text."""
        return self.before if self.control.edit is None else self.control.edit

    @property
    def edited(self) -> bool:
        """Whether the user changed the value."""
        return self.text != self.before

    @property
    def error(self) -> str:
        """What is wrong with the edit; empty if it is valid."""
        return check(self.option, self.text) or self.refused if self.edited else ""

    @property
    def is_changed(self) -> bool:
        """Whether anything other than the defaults sets the option, or the user edited it here."""
        return self.edited or is_changed(self.option, self._settings)

    def show_value(self, settings: SettingsView, secrets: Secrets, used: str = "") -> None:
        """Show the options in effect; keeps the edit. `used` is what is used if the option is not set."""
        self._settings, self._secrets = settings, secrets
        if used and isinstance(self.control, TextField):
            self.control.unset = used
        if isinstance(self.control, Choice) and (choices := choices_of(self.option, settings.function_names)):
            self.control.show_choices(choices)
        self.control.show_value(self.before)
        self.refresh_note()

    def reset(self) -> None:
        """Discard the edit."""
        self.control.reset()
        self.refused = ""

    def refresh_note(self) -> None:
        """Update the note (an error, the edit, or a pending value) and the source beside the control."""
        if self.error:
            self.say(Content.styled(f"✗ {brief(self.error)}", "bold $text-error"))
        elif self.edited:
            self.say(Content.styled(f"● {edit_note(self.option, self.before)}", "$text-warning"))
        elif self.option.name in self._settings.pending:
            now = self.option.kind.write(self._settings.resolution.value(self.option)) or "–"
            text = f"takes effect at the next start, once saved · now {brief(now)}"
            self.say(Content.styled(text, "$text-warning"))
        else:
            self.say(Content())
        changed = is_changed(self.option, self._settings)
        dot = Content.styled("• " if self.is_changed else "  ", "$text-accent")
        update(self.name_shown, dot + Content(self.option.name))
        if self.aside is not None:
            shown = source(self.option, self._settings.resolution) if changed else ""
            update(self.aside, Content.styled(shown, "$text-accent"))
