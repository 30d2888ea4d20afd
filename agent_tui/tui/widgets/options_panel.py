"""The options panel: all options with their values, sources, and help."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from agent_tui.model.state import AppState
from agent_tui.tui.widgets.option_text import LIVE, edited, not_live

if TYPE_CHECKING:
    from agent_tui.options.resolve import Resolution
    from agent_tui.tui.widgets.option_row import LiveRow


class OptionsPanel(VerticalScroll):
    """Live options can be edited here; the others are only shown."""

    DEFAULT_CSS = """
    OptionsPanel {
        height: 1fr;
        padding: 0 1;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;

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
        self._rows: dict[str, LiveRow] = {}
        """By option name; created when the panel is first shown, because they are most of the first frame."""
        self.note = ""
        """How many options were edited on the screen; empty if none was."""
        self._fixed = Static("", id="options-fixed", markup=False)
        self._painted = Content()
        self._resolution: Resolution | None = None
        self._stopping = False
        self._http_url: str | None = None

    def compose(self) -> ComposeResult:
        yield self._fixed

    async def on_show(self) -> None:
        if not self._rows:
            from agent_tui.tui.widgets.option_row import LiveRow

            self._rows = {option.name: LiveRow(option) for option in LIVE}
            await self.mount_all(self._rows.values(), before=self._fixed)
            self._paint()

    def show(self, state: AppState, now: float) -> None:
        """Show the options in effect, which keeps what the user is typing. While agent-tui is stopping, they
        cannot be edited.
        """
        shown = (state.settings.resolution, bool(state.stopping), state.http_url)
        if shown != (self._resolution, self._stopping, self._http_url):
            self._resolution, self._stopping, self._http_url = shown
            self._paint()

    def _paint(self) -> None:
        if self._resolution is None:
            return
        for row in self._rows.values():
            row.show_value(self._resolution)
            row.disabled = self._stopping
        if "port" in self._rows:
            self._rows["port"].show_fact(f"listening on {self._http_url}" if self._http_url else "")
        count = edited(self._resolution)
        self.note = f"{count} edited" if count else ""
        content = not_live(self._resolution)
        if not content.is_same(self._painted):
            self._painted = content
            self._fixed.update(content)

    def failed(self, name: str, text: str) -> None:
        """Restore the old value of an option after a refused edit and show why."""
        if name in self._rows:
            self._rows[name].fail(text)

    def on_live_row_wanted(self, event: "LiveRow.Wanted") -> None:
        event.stop()
        self.post_message(self.Edited(event.name, event.value))
