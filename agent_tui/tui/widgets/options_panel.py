"""The options panel: all options with their values, sources, and help."""

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from agent_tui.model.state import AppState
from agent_tui.options.resolve import Resolution
from agent_tui.tui.widgets.option_controls import Choice, Field, OptionRow, Stepper
from agent_tui.tui.widgets.option_rows import LIVE, edited, not_live

_CONTROLS: dict[str, type[OptionRow]] = {"numIdleProcesses": Stepper, "logLevel": Choice}
"""The controls of options; every other live option has a `Field`."""


class OptionsPanel(VerticalScroll):
    """Live options are editable here; the others only show their value."""

    BORDER_TITLE = "Options"
    DEFAULT_CSS = """
    OptionsPanel {
        height: 1fr;
        border: round $panel-lighten-2;
        border-title-color: $foreground;
        padding: 0 1;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;

        &:focus, &:focus-within { border: round $accent; }
        #options-fixed { height: auto; padding-right: 1; }
    }
    """

    @dataclass
    class Edited(Message):
        """The user set a live option; `value` is its text."""

        name: str
        value: str

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows = {option.name: _CONTROLS.get(option.name, Field)(option) for option in LIVE}
        self._fixed = Static("", id="options-fixed", markup=False)
        self._painted = Content()
        self._resolution: Resolution | None = None
        self._stopping = False

    def compose(self) -> ComposeResult:
        yield from self._rows.values()
        yield self._fixed

    def on_mount(self) -> None:
        if self._resolution is not None:
            self.show_options(self._resolution)

    def show(self, state: AppState, now: float) -> None:
        """Show the port in use, and disable editing while agent-tui is stopping."""
        self._rows["port"].show_fact(f"listening on {state.http_url}" if state.http_url else "")
        if bool(state.stopping) != self._stopping:
            self._stopping = bool(state.stopping)
            self._enable()

    def show_options(self, resolution: Resolution) -> None:
        """Show the options in effect; keeps what the user is typing."""
        self._resolution = resolution
        if not self.is_mounted:
            return
        for row in self._rows.values():
            row.show_value(resolution)
        self._enable()
        count = edited(resolution)
        self.border_title = f"Options · {count} edited" if count else "Options"
        content = not_live(resolution)
        if not content.is_same(self._painted):
            self._painted = content
            self._fixed.update(content)

    def failed(self, name: str, text: str) -> None:
        """Restore the old value of an option after a refused edit and show why."""
        if name in self._rows:
            self._rows[name].fail(text)

    def _enable(self) -> None:
        for row in self._rows.values():
            row.disabled = self._stopping or self._resolution is None

    @on(OptionRow.Wanted)
    def _wanted(self, event: OptionRow.Wanted) -> None:
        event.stop()
        self.post_message(self.Edited(event.name, event.value))
