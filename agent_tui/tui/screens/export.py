"""The export page: the options in effect, as code, `.env`, flags, or TOML."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Select, Static

from agent_tui.options.declare import DefaultsContext
from agent_tui.options.export import FORMATS, default_format
from agent_tui.options.resolve import Resolution
from agent_tui.tui.screens.page import BACK, Page


class ExportPage(Page[None]):
    """Shows the options that differ from their defaults, in a selectable format; c copies the text."""

    DEFAULT_CSS = """
    ExportPage {
        #export-box {
            width: 100%; max-width: 110; height: auto; max-height: 100%;
        }
        Select { width: 30; margin-bottom: 1; }
        #export-scroll { height: auto; max-height: 24; }
        Static { height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", BACK),
        Binding("c", "copy", "Copy", priority=True),
    ]

    def __init__(self, resolution: Resolution, context: DefaultsContext) -> None:
        """Select the format of the agent's own language first."""
        super().__init__()
        self._texts = {name: make(resolution, context) for name, make in FORMATS.items()}
        self._shown = default_format(resolution.options.agent)

    def compose(self) -> ComposeResult:
        with Vertical(id="export-box", classes="page-box") as box:
            box.border_title = "Export"
            yield Select(
                [(name, name) for name in FORMATS], value=self._shown, allow_blank=False, compact=True
            )
            with VerticalScroll(id="export-scroll", can_focus=False):
                yield Static(Content(self._texts[self._shown]), id="export-text", markup=False)
        yield self.key_bar()

    @on(Select.Changed)
    def _chosen(self, event: Select.Changed) -> None:
        event.stop()
        self._shown = str(event.value)
        self.query_one("#export-text", Static).update(Content(self._texts[self._shown]))

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self._texts[self._shown])
        self.app.notify(f"copied as {self._shown}", markup=False)

    def action_close(self) -> None:
        self.dismiss(None)
