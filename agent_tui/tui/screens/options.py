"""The options page: all options in a form. Edits are collected, shown as a diff, and applied together."""

from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static

from agent_tui.engine.engine_api import EngineAPI
from agent_tui.model import commands as cmd
from agent_tui.model.requests import ReadSecrets, Secrets
from agent_tui.model.settings import SettingsView
from agent_tui.options.declare import OPTIONS, Option
from agent_tui.options.kinds import MASK
from agent_tui.tui.screens.confirm import Confirm
from agent_tui.tui.screens.page import Page
from agent_tui.tui.widgets.draft_controls import Control, control_for
from agent_tui.tui.widgets.option_rows import check, note
from agent_tui.tui.widgets.text import MUTED, brief


def current_text(option: Option, settings: SettingsView, secrets: Secrets) -> str:
    """Return the option's value as text: the one pending for the next start, or else the one in effect.

    Secrets are not masked.
    """
    if option.kind.secret:
        return secrets.values[option.name]
    in_force = option.kind.write(settings.resolution.value(option))
    return settings.pending.get(option.name, in_force)


def difference(option: Option, before: str, after: str) -> str:
    """Return one edit as text, with secrets masked."""
    if option.kind.secret:
        before, after = (MASK if text else "" for text in (before, after))
    return f"{option.name} {brief(before, 30) or '–'} → {brief(after, 30) or '–'} ({option.effect.label})"


class DraftRow(Vertical):
    """One option: name, control, when it applies, and a note."""

    DEFAULT_CSS = """
    DraftRow {
        height: auto;
        margin-bottom: 1;
        .draft-line { height: auto; }
        .draft-name { width: 26; text-style: bold; }
        .draft-applies { width: 24; color: $text-muted; text-align: right; }
        .draft-note { height: auto; padding-left: 2; }
    }
    """

    def __init__(self, option: Option, settings: SettingsView, secrets: Secrets) -> None:
        super().__init__(id=f"draft-{option.name}")
        self.option = option
        self.control = control_for(option, settings.function_names)
        self._note = Static("", classes="draft-note", markup=False)
        self._settings = settings
        self.before = current_text(option, settings, secrets)

    def compose(self) -> ComposeResult:
        with Horizontal(classes="draft-line"):
            yield Static(Content(self.option.name), classes="draft-name", markup=False)
            yield self.control
            yield Static(Content(self.option.effect.label), classes="draft-applies", markup=False)
        yield self._note

    def on_mount(self) -> None:
        self.control.write(self.before)
        self.refresh_note()

    @property
    def edited(self) -> bool:
        """Whether the user changed the text."""
        return self.control.text != self.before

    @property
    def error(self) -> str:
        """What is wrong with the edit; empty if nothing is."""
        return check(self.option, self.control.text) if self.edited else ""

    def show_value(self, settings: SettingsView, secrets: Secrets) -> None:
        """Show the settings in effect; keeps an edit."""
        edited, self._settings = self.edited, settings
        self.before = current_text(self.option, settings, secrets)
        if not edited:
            self.control.write(self.before)
        self.refresh_note()

    def reset(self) -> None:
        """Discard the edit."""
        self.control.write(self.before)
        self.refresh_note()

    def refresh_note(self) -> None:
        """Update the note: an error, the edit, or else source and help."""
        if self.error:
            content = Content.styled(f"✗ {brief(self.error)}", "bold $text-error")
        elif self.edited:
            text = difference(self.option, self.before, self.control.text)
            content = Content.styled(f"● {text}", "$text-warning")
        elif self.option.name in self._settings.pending:
            now = self.option.kind.write(self._settings.resolution.value(self.option)) or "–"
            content = Content.styled(
                f"takes effect at the next start, once saved · now {brief(now)}", "$text-warning"
            )
        else:
            content = note(self.option, self._settings.resolution)
        self._note.update(content)


class OptionsPage(Page[None]):
    """All options. Ctrl+S applies the edits; Esc discards them, or closes the page if there are none."""

    DEFAULT_CSS = """
    OptionsPage {
        #options-box {
            width: 100%; max-width: 130; height: 100%;
        }
        #options-rows { height: 1fr; scrollbar-size-vertical: 1; }
        #options-diff { height: auto; max-height: 6; }
        #options-buttons { height: 1; align-horizontal: right; }
        #options-buttons Button { margin-left: 2; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back"),
        Binding("ctrl+s", "apply", "Apply", priority=True),
        Binding("ctrl+z", "undo", "Undo", priority=True),
        Binding("ctrl+w", "save", "Save", priority=True),
        Binding("ctrl+g", "save_in_clear", "Save secrets as plain text", priority=True),
        Binding("ctrl+x", "export", "Export", priority=True),
        Binding("down", "app.focus_next", show=False),
        Binding("up", "app.focus_previous", show=False),
    ]

    def __init__(
        self,
        engine: EngineAPI,
        secrets: Secrets,
        export: Callable[[], Awaitable[None]],
    ) -> None:
        """`secrets` are the values that the state masks."""
        super().__init__()
        self._engine = engine
        self._export = export
        self._settings = engine.state.settings
        self._rows = {option.name: DraftRow(option, self._settings, secrets) for option in OPTIONS}
        self._said = ""
        self._failed = False

    def compose(self) -> ComposeResult:
        with Vertical(id="options-box", classes="page-box") as box:
            box.border_title = "Options"
            box.border_subtitle = "Ctrl+S apply · Ctrl+Z undo · Ctrl+W save · Ctrl+X export · Esc back"
            with VerticalScroll(id="options-rows", can_focus=False):
                yield from self._rows.values()
            yield Static("", id="options-diff", markup=False)
            with Horizontal(id="options-buttons"):
                yield Button(Content("Undo"), id="options-undo", compact=True)
                yield Button(Content("Export"), id="options-export", compact=True)
                yield Button(Content("Save secrets as plain text (Ctrl+G)"), id="options-clear", compact=True)
                yield Button(Content("Save"), id="options-save", compact=True)
                yield Button(Content("Apply"), id="options-apply", variant="primary", compact=True)

    def on_mount(self) -> None:
        self._refresh()

    @property
    def edits(self) -> dict[str, str]:
        """The edits that are not applied yet."""
        return {name: row.control.text for name, row in self._rows.items() if row.edited}

    @on(Control.Changed)
    def _changed(self) -> None:
        self._said = ""
        self._refresh()

    @on(Button.Pressed, "#options-apply")
    def action_apply(self) -> None:
        """Apply all edits, or none of them."""
        wrong = [row for row in self._rows.values() if row.error]
        if wrong:
            wrong[0].scroll_visible(animate=False)
            self._say(f"{wrong[0].option.name}: {wrong[0].error}", failed=True)
        elif edits := self.edits:
            self._say("applying…")
            self._start(cmd.SetOptions(edits))

    @on(Button.Pressed, "#options-undo")
    def action_undo(self) -> None:
        """Undo what was applied last."""
        self._start(cmd.UndoOptions())

    @on(Button.Pressed, "#options-save")
    def action_save(self) -> None:
        """Save the applied options to the config file."""
        if self.edits:
            self._say("not saved: apply the edits first (Ctrl+S)", failed=True)
        else:
            self._start(cmd.SaveOptions())

    @on(Button.Pressed, "#options-clear")
    def action_save_in_clear(self) -> None:
        """Save edited secrets as plain text, in a file that only its owner can read."""
        if self._secrets:
            self.run_worker(self._save_in_clear(), group="options")

    async def _save_in_clear(self) -> None:
        names = ", ".join(self._secrets)
        question = Confirm(f"Save {names} as plain text?", "Only your user can read the file.")
        if await self.app.push_screen_wait(question):
            await self._command(cmd.SaveOptions(clear_secrets=True))

    @property
    def _secrets(self) -> list[str]:
        """The names of secrets that were edited and are not saved."""
        return [
            name
            for name, row in self._rows.items()
            if row.option.kind.secret and name in self._settings.edited
        ]

    @on(Button.Pressed, "#options-export")
    def action_export(self) -> None:
        """Open the export page."""
        self.run_worker(self._export(), group="export")

    def action_back(self) -> None:
        """Discard the edits, or close the page if there are none."""
        if not self.edits:
            self.dismiss(None)
            return
        for row in self._rows.values():
            row.reset()
        self._say("edits discarded · Esc close")

    def _start(self, command: cmd.Command) -> None:
        self.run_worker(self._command(command), group="options")

    async def _command(self, command: cmd.Command) -> None:
        result = await self._engine.send(command)
        self._say(result.text, failed=not result.ok)
        if result.ok:
            secrets = await self._engine.request(ReadSecrets())
            self._settings = self._engine.state.settings
            for row in self._rows.values():
                row.show_value(self._settings, secrets)
            self._refresh()

    def _say(self, text: str, *, failed: bool = False) -> None:
        self._said, self._failed = brief(text), failed
        self._refresh()

    def _refresh(self) -> None:
        for row in self._rows.values():
            row.refresh_note()
        edits = [row for row in self._rows.values() if row.edited]
        if self._said:
            mark, style = ("✗ ", "bold $text-error") if self._failed else ("", "$text-success")
            content = Content.styled(f"{mark}{self._said}", style)
        elif edits:
            lines = [difference(row.option, row.before, row.control.text) for row in edits]
            content = Content.styled("\n".join(lines), "$text-warning")
        else:
            content = Content.styled("no edits", MUTED)
        self.query_one("#options-diff", Static).update(content)
        self.query_one("#options-apply", Button).disabled = not edits
        self.query_one("#options-clear", Button).display = bool(self._secrets)
        self.query_one("#options-undo", Button).disabled = not self._settings.can_undo
        self.query_one("#options-save", Button).disabled = not self._settings.edited
