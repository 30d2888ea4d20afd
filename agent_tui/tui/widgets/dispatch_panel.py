"""The dispatch panel: make test jobs, and see what became of each."""

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Static

from agent_tui.model.state import AppState
from agent_tui.tui.widgets.dispatch_rows import rows, without_media


class DispatchPanel(VerticalScroll):
    """Shows `AppState.dispatches`; its two buttons say the keys that do the same."""

    BORDER_TITLE = "Dispatch"
    DEFAULT_CSS = """
    DispatchPanel {
        height: 1fr;
        border: round $panel-lighten-2;
        border-title-color: $foreground;
        padding: 0 1;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;

        &:focus, &:focus-within { border: round $accent; }
        Horizontal { height: 1; }
        Button { min-width: 0; width: auto; margin-right: 2; }
        Static { width: 1fr; height: auto; padding-right: 1; }
        #dispatch-media { color: $text-warning; display: none; }
        #dispatch-media.-shown { display: block; }
    }
    """

    @dataclass
    class AgainRequested(Message):
        """A test job as last time is wanted."""

    @dataclass
    class FormRequested(Message):
        """Test jobs with other values are wanted."""

    def __init__(self, *, again_key: str = "d", form_key: str = "D", id: str | None = None) -> None:
        super().__init__(id=id)
        self._labels = (f"{again_key} again", f"{form_key} form…")
        self._media = Static("", id="dispatch-media", markup=False)
        self._rows = Static("", id="dispatch-rows", markup=False)
        self._state = AppState()
        self._now = 0.0
        self._painted = Content()

    @property
    def last_room(self) -> str:
        """The room of the newest dispatch made here; empty before the first."""
        return next((dispatch.room for dispatch in reversed(self._state.dispatches) if dispatch.ours), "")

    def compose(self) -> ComposeResult:
        again, form = self._labels
        with Horizontal():
            yield Button(Content(again), id="dispatch-again", compact=True)
            yield Button(Content(form), id="dispatch-form", compact=True)
        yield self._media
        yield self._rows

    def show(self, state: AppState, now: float) -> None:
        """Paints what became of the dispatches; `now` in Unix seconds."""
        before, second = self._state, int(self._now)
        self._state, self._now = state, now
        if state.server is not before.server:
            text = without_media(state)
            self._media.update(Content(text))
            self._media.set_class(bool(text), "-shown")
        same = state.dispatches is before.dispatches and state.jobs is before.jobs
        waits = any(dispatch.waits for dispatch in state.dispatches)
        if not same or (waits and int(now) != second):
            self._paint()

    def on_resize(self) -> None:
        self._paint()

    def _paint(self) -> None:
        width = self.scrollable_content_region.width - 1
        if width <= 0:
            return
        content = rows(self._state, self._now, width)
        if not content.is_same(self._painted):
            self._painted = content
            self._rows.update(content)

    @on(Button.Pressed, "#dispatch-again")
    def _again(self, event: Button.Pressed) -> None:
        event.stop()
        self.post_message(self.AgainRequested())

    @on(Button.Pressed, "#dispatch-form")
    def _form(self, event: Button.Pressed) -> None:
        event.stop()
        self.post_message(self.FormRequested())
