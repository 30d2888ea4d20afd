"""The options page: all options in a form. Edits are collected, shown as a diff, and applied together."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, Static

from agent_tui.engine.engine_api import EngineAPI
from agent_tui.model import commands as cmd
from agent_tui.model.requests import ReadSecrets, Secrets
from agent_tui.model.state import AppState
from agent_tui.options.declare import OPTIONS, Option
from agent_tui.tui.screens.confirm import Confirm
from agent_tui.tui.screens.page import BACK, FULL, Follower, FormRows, Page
from agent_tui.tui.widgets.controls import Control
from agent_tui.tui.widgets.option_row import DraftRow, update
from agent_tui.tui.widgets.option_text import difference, groups, help_lines, implied, matches
from agent_tui.tui.widgets.text import MUTED, PRINTABLE, brief, counted, to_contents


class Group(Vertical):
    """The options of one section, under its name."""

    DEFAULT_CSS = """
    Group {
        height: auto;
        margin-bottom: 1;
        .group-title { height: 1; color: $text-primary; text-style: bold; }
    }
    """

    def __init__(self, title: str, rows: Sequence[DraftRow]) -> None:
        super().__init__()
        self._title, self.rows = title, tuple(rows)

    def compose(self) -> ComposeResult:
        yield Static(Content(self._title), classes="group-title", markup=False)
        yield from self.rows


class OptionsPage(Follower, Page[None]):
    """All options. Ctrl+S applies the edits; Esc closes the page, and asks first if there are edits."""

    DROP_PRIORITIES: ClassVar[Mapping[str, int]] = {"Export": 4, "Undo": 3, "Save secrets as plain text": 2}
    DEFAULT_CLASSES = FULL
    DEFAULT_CSS = """
    OptionsPage {
        #options-find { height: 1; border: none; padding: 0; background: $panel; display: none; }
        #options-find.-shown { display: block; }
        #options-main { height: 1fr; }
        #options-rows { width: 2fr; height: 1fr; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
        #options-help {
            width: 1fr; min-width: 42; max-width: 70; height: 1fr; padding: 0 1;
            border-left: solid $foreground 30%; scrollbar-size-vertical: 1;
        }
        #options-help Static { height: auto; }
        #options-diff { height: 1; text-overflow: ellipsis; text-wrap: nowrap; }
        #options-buttons { height: 1; align-horizontal: right; }
        #options-buttons Button { margin-left: 2; }
        #options-buttons Button:disabled { background: $panel; color: $text-muted; text-opacity: 100%; }
        &.-narrow #options-main { layout: vertical; }
        &.-narrow #options-rows { width: 100%; }
        &.-narrow #options-help {
            width: 100%; max-width: 100%; height: 6; padding: 0;
            border-left: none; border-top: solid $foreground 30%;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", BACK),
        Binding("ctrl+s", "apply", "Apply", priority=True),
        Binding("ctrl+z", "undo", "Undo", priority=True),
        Binding("ctrl+w", "save", "Save", priority=True),
        Binding("ctrl+g", "save_in_clear", "Save secrets as plain text", priority=True),
        Binding("ctrl+x", "export", "Export", priority=True),
        Binding("slash", "find", "Search"),
        Binding("ctrl+o", "changed_only", "Changed only", priority=True),
        Binding("down", "step(1)", show=False),
        Binding("up", "step(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("home", "step(-999)", show=False),
        Binding("end", "step(999)", show=False),
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
        self._secrets = secrets
        self._settings = engine.state.settings
        self._used = implied(engine.state)
        self._groups = [
            Group(section.value, [self._row(option) for option in options])
            for section, options in groups(OPTIONS).items()
        ]
        self._rows = {row.option.name: row for group in self._groups for row in group.rows}
        self._focused = next(iter(self._rows.values()))
        self._changed_only = False
        self._said = ""
        self._failed = False

    def compose(self) -> ComposeResult:
        with Vertical(id="options-box", classes="page-box"):
            yield Input(placeholder="/ name, help, flag, or variable", id="options-find", restrict=PRINTABLE)
            with Horizontal(id="options-main"):
                with FormRows(id="options-rows"):
                    yield from self._groups
                    yield Static("", id="options-none", markup=False)
                with VerticalScroll(id="options-help", can_focus=False):
                    yield Static("", id="options-about", markup=False)
            yield Static("", id="options-diff", markup=False)
            with Horizontal(id="options-buttons"):
                yield Button(Content("Undo"), id="options-undo", compact=True)
                yield Button(Content("Export"), id="options-export", compact=True)
                yield Button(Content("Save secrets as plain text (Ctrl+G)"), id="options-clear", compact=True)
                yield Button(Content("Save"), id="options-save", compact=True)
                yield Button(Content("Apply"), id="options-apply", variant="primary", compact=True)
        yield self.key_bar()

    def drop_priority(self, binding: Binding) -> int | None:
        unusable = {
            "apply": not self.edits,
            "undo": not self.edits and not self._settings.can_undo,
            "save": not self._settings.edited,
            "save_in_clear": not self._unsaved_secrets,
        }
        return None if unusable.get(binding.action) else super().drop_priority(binding)

    def on_mount(self) -> None:
        self._focused.focus_control()
        self.call_after_refresh(self._refresh)

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_help)

    def show(self, state: AppState, now: float) -> None:
        """Show the options in effect; keeps the edits."""
        used = implied(state)
        if (state.settings is not self._settings or used != self._used) and self.is_mounted:
            self._settings, self._used = state.settings, used
            self.run_worker(self._read(), group="secrets", exclusive=True)

    async def _read(self) -> None:
        """Read the secrets, and show all values."""
        self._secrets = await self._engine.request(ReadSecrets())
        for row in self._rows.values():
            row.show_value(self._settings, self._secrets, self._used.get(row.option.name, ""))
        self._refresh()

    def _row(self, option: Option) -> DraftRow:
        return DraftRow(option, self._settings, self._secrets, self._used.get(option.name, ""))

    @property
    def edits(self) -> dict[str, str]:
        """The edits that are not applied yet."""
        return {name: row.text for name, row in self._rows.items() if row.edited}

    @on(Control.Edited)
    def _changed(self) -> None:
        self._said = ""
        self._focused.refused = ""
        self._refresh()

    # -- which rows are shown, and the focus ---------------------------------------------------------------

    @property
    def _find(self) -> Input:
        return self.query_one("#options-find", Input)

    def action_find(self) -> None:
        """Open the search."""
        self._find.add_class("-shown")
        self.set_focus(self._find)  # at once: the next keys are the text

    @on(Input.Changed, "#options-find")
    def _typed(self) -> None:
        self._refresh()

    @on(Input.Submitted, "#options-find")
    def _found(self) -> None:
        self.action_step(1)

    def action_changed_only(self) -> None:
        """Show only options that something other than the defaults sets, or all options again."""
        self._changed_only = not self._changed_only
        self._refresh()

    def _filter(self) -> None:
        """Show the rows that match the search; with `changed only`, only those that differ from defaults."""
        shown = 0
        for group in self._groups:
            for row in group.rows:
                kept = row.is_changed or (row is self._focused and row.has_focus_within)
                row.display = matches(row.option, self._find.value) and (kept or not self._changed_only)
            group.display = any(row.display for row in group.rows)
            shown += sum(row.display for row in group.rows)
        changed = sum(row.is_changed for row in self._rows.values())
        what = f"{shown} of {len(self._rows)}" if shown < len(self._rows) else str(shown)
        title = f"Options · {what}, {changed} changed{' · changed only' if self._changed_only else ''}"
        self.query_one("#options-box").border_title = title
        nothing = (
            "" if shown else "no option matches: Esc ends the search, Ctrl+O shows unchanged options too"
        )
        update(self.query_one("#options-none", Static), Content.styled(nothing, MUTED))

    def on_descendant_focus(self) -> None:
        row = next((each for each in self._rows.values() if each.has_focus_within), None)
        if row is not None and row is not self._focused:
            self._focused = row
            self.query_one("#options-help").scroll_home(animate=False)
            self._show_help()

    def _show_help(self) -> None:
        width = self.query_one("#options-help").scrollable_content_region.width
        lines = help_lines(
            self._focused.option,
            self._settings,
            max(width, 20),
            used=self._used.get(self._focused.option.name, ""),
            compact=self.has_class("-narrow"),
        )
        update(self.query_one("#options-about", Static), to_contents(lines))

    def action_step(self, by: int) -> None:
        """Focus the next or previous option; from the search field, the first match."""
        rows = [row for row in self._rows.values() if row.display]
        if not rows:
            return
        at = rows.index(self._focused) if self._focused in rows else -1
        if self._find.has_focus:
            at = -1
        rows[min(max(at + by, 0), len(rows) - 1)].focus_control()

    def action_page(self, pages: int) -> None:
        """Move the focus by a page."""
        box = self.query_one("#options-rows")
        rows = [row for row in self._rows.values() if row.display]
        fit = box.size.height * len(rows) // max(box.virtual_size.height, 1)
        self.action_step(pages * max(fit - 1, 1))

    # -- commands ------------------------------------------------------------------------------------------

    @on(Button.Pressed, "#options-apply")
    def action_apply(self) -> None:
        """Apply all edits, or none of them."""
        wrong = [row for row in self._rows.values() if row.error]
        if wrong:
            wrong[0].focus_control()
            self._say(f"{wrong[0].option.name}: {wrong[0].error}", failed=True)
        elif edits := self.edits:
            self._say("applying…")
            self._start(cmd.SetOptions(edits))

    @on(Button.Pressed, "#options-undo")
    def action_undo(self) -> None:
        """Undo the last edit: what is not applied yet, else what was applied last."""
        if edits := self.edits:
            row = self._focused if self._focused.option.name in edits else self._rows[[*edits][-1]]
            row.reset()
            row.focus_control()
            self._say(f"{row.option.name}: the edit is undone; it was not applied")
        else:
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
        if self._unsaved_secrets:
            self.run_worker(self._save_in_clear(), group="options")

    async def _save_in_clear(self) -> None:
        names = ", ".join(self._unsaved_secrets)
        question = Confirm(f"Save {names} as plain text?", "Only your user can read the file.")
        if await self.app.push_screen_wait(question):
            await self._command(cmd.SaveOptions(clear_secrets=True))

    @property
    def _unsaved_secrets(self) -> list[str]:
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
        """End the search, or close the page; ask first if edits would be lost."""
        if self._find.has_class("-shown"):
            self._find.value = ""
            self._find.remove_class("-shown")
            self._focused.focus_control()
        elif not self.edits:
            self.dismiss(None)
        else:
            self.run_worker(self._discard(), group="options")

    async def _discard(self) -> None:
        names = ", ".join(self.edits)
        question = f"Discard {counted(len(self.edits), 'edit')}?"
        if await self.app.push_screen_wait(
            Confirm(question, f"Not applied: {names}. Ctrl+S applies.", yes="Discard", no="Keep editing")
        ):
            self.dismiss(None)

    def _start(self, command: cmd.Command) -> None:
        self.run_worker(self._command(command), group="options")

    async def _command(self, command: cmd.Command) -> None:
        edits = self.edits
        result = await self._engine.send(command)
        if result.ok:
            if isinstance(command, cmd.SetOptions):
                for name in edits:
                    self._rows[name].reset()
            self._settings = self._engine.state.settings
            await self._read()
        elif (row := self._rows.get(result.text.partition(":")[0])) is not None:
            row.refused = result.text.partition(": ")[2]
            row.focus_control()
        self._say(result.text, failed=not result.ok)

    def _say(self, text: str, *, failed: bool = False) -> None:
        self._said, self._failed = brief(text), failed
        self._refresh()

    def _refresh(self) -> None:
        """Paint everything that depends on the edits."""
        if not self.is_mounted:
            return
        self._filter()
        self._show_help()
        for row in self._rows.values():
            row.refresh_note()
        edits = [row for row in self._rows.values() if row.edited]
        if self._said:
            mark, style = ("✗ ", "bold $text-error") if self._failed else ("", "$text-success")
            content = Content.styled(f"{mark}{self._said}", style)
        elif edits:
            texts = ", ".join(difference(row.option, row.before, row.text) for row in edits)
            content = Content.styled(f"{counted(len(edits), 'edit')} not applied: {texts}", "$text-warning")
        else:
            content = Content.styled("no edits", MUTED)
        update(self.query_one("#options-diff", Static), content)
        self.query_one("#options-apply", Button).disabled = not edits
        self.query_one("#options-clear", Button).display = bool(self._unsaved_secrets)
        self.query_one("#options-undo", Button).disabled = not (edits or self._settings.can_undo)
        self.query_one("#options-save", Button).disabled = not self._settings.edited
        self.refresh_bindings()
