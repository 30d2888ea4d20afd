"""The options panel: every option with its value, where it came from and what it is for."""

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
from agent_tui.tui.widgets.option_rows import LIVE, edited, next_start

_CONTROLS: dict[str, type[OptionRow]] = {"numIdleProcesses": Stepper, "logLevel": Choice}
"""Every other live option is a field."""


class OptionsPanel(VerticalScroll):
    """Live options can be edited; the others say where to change them for the next start."""

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
        """A live option shall have this value, written as one would type it."""

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
        """Nothing can be edited any more once the end has begun; port 0 is another one in fact."""
        self._rows["port"].tell(f"{state.http_url} in use" if state.http_url else "")
        if bool(state.stopping) != self._stopping:
            self._stopping = bool(state.stopping)
            self._enable()

    def show_options(self, resolution: Resolution) -> None:
        """Shows the options in force; what the user is typing stays."""
        self._resolution = resolution
        if not self.is_mounted:
            return
        for row in self._rows.values():
            row.show_value(resolution)
        self._enable()
        count = edited(resolution)
        self.border_title = f"Options · {count} edited" if count else "Options"
        content = next_start(resolution)
        if not content.is_same(self._painted):
            self._painted = content
            self._fixed.update(content)

    def failed(self, name: str, text: str) -> None:
        """An edit was not taken, and why; the old value is back."""
        if name in self._rows:
            self._rows[name].fail(text)

    def _enable(self) -> None:
        for row in self._rows.values():
            row.disabled = self._stopping or self._resolution is None

    @on(OptionRow.Wanted)
    def _wanted(self, event: OptionRow.Wanted) -> None:
        event.stop()
        self.post_message(self.Edited(event.name, event.value))
