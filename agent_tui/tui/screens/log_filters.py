"""The log filters page: level, jobs, processes, and generations."""

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import OptionList, Select, Static
from textual.widgets.option_list import Option

from agent_tui.model.logs import LogLevel
from agent_tui.model.state import AppState
from agent_tui.tui.screens.page import Page
from agent_tui.tui.widgets.log_choices import LEVEL, LEVELS, Chosen, chips, choices, toggle

ALL = "all"


class LogFilters(Page[None]):
    """Each choice takes effect at once; Esc closes it."""

    DEFAULT_CSS = """
    LogFilters {
        #filters-box {
            width: 64; max-width: 100%; height: auto; max-height: 90%;
        }
        #filters-level { height: 1; margin-bottom: 1; }
        #filters-word { width: 9; }
        #filters-level Select { width: 1fr; }
        OptionList {
            height: auto; max-height: 100%;
            border: none; padding: 0;
            background: $surface; background-tint: transparent;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,F", "close", "Close", show=False),
        Binding("backspace,delete", "clear", "Show all", show=False),
    ]

    def __init__(
        self, state: AppState, level: LogLevel, chosen: Chosen, choose: Callable[[Chosen], None]
    ) -> None:
        """`level` is the option logLevel: the view never shows lines below it."""
        super().__init__()
        self._state, self._level, self._chosen, self._choose = state, level, chosen, choose

    def compose(self) -> ComposeResult:
        words = [(f"{self._level.label} and above (logLevel)", ALL)]
        words += [(f"{level.label} and above", level.label) for level in LEVELS if level > self._level]
        shown = self._chosen.level
        value = shown.label if shown is not None and shown > self._level else ALL
        with Vertical(id="filters-box", classes="page-box") as box:
            box.border_title = "Log filters"
            box.border_subtitle = "Enter select · Backspace clear all · Esc close"
            with Horizontal(id="filters-level"):
                yield Static("Level", id="filters-word", markup=False)
                yield Select(words, value=value, allow_blank=False, compact=True)
            yield OptionList(*self._options(), compact=True)

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()

    def _options(self) -> list[Option]:
        """Return the headings and their choices; selected ones are ticked."""
        ticked = {chip.name for chip in chips(self._chosen, None)}
        options: list[Option] = []
        for heading, rows in choices(self._state, self._chosen):
            if rows:
                options.append(Option(Content.styled(heading, "bold"), disabled=True))
            for chip in rows:
                mark = "✓" if chip.name in ticked else " "
                options.append(Option(Content(f" {mark} {chip.label}"), id=chip.name))
        return options

    @on(Select.Changed)
    def _level_chosen(self, event: Select.Changed) -> None:
        event.stop()
        level = None if event.value == ALL else LogLevel[str(event.value).upper()]
        if level is not self._chosen.level:
            off = f"{LEVEL}{self._chosen.level.label}" if self._chosen.level is not None else ""
            self._apply(toggle(self._chosen, f"{LEVEL}{level.label}" if level is not None else off))

    @on(OptionList.OptionSelected)
    def _toggled(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id is not None:
            self._apply(toggle(self._chosen, event.option_id))

    def action_clear(self) -> None:
        """Remove all filters."""
        self._apply(Chosen())
        self.query_one(Select).value = ALL

    def action_close(self) -> None:
        self.dismiss(None)

    def _apply(self, chosen: Chosen) -> None:
        self._chosen = chosen
        self._choose(chosen)
        rows = self.query_one(OptionList)
        for index, option in enumerate(self._options()):
            rows.replace_option_prompt_at_index(index, option.prompt)
