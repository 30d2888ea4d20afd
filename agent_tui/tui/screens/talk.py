"""The page of a job's conversation, and the page of what its session's LLM will see."""

from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from agent_tui.model.commands import InspectSession
from agent_tui.model.state import AppState
from agent_tui.tui.screens.page import FULL, Follower, Page, PageContext, TextPage
from agent_tui.tui.widgets.context_text import context_lines
from agent_tui.tui.widgets.talk_notes import sessions_of, why_none_of_job
from agent_tui.tui.widgets.talk_pane import TalkPane
from agent_tui.tui.widgets.text import Line, Span, Tone, clip, one_line

READING = "Enter type · Ctrl+G interrupt · I context · X save · Esc close"
TYPING = "Enter send · ↑ earlier · PgUp scroll · Ctrl+G interrupt · Esc leave"
"""The keys of the page, while the focus is in the conversation or in its input line."""


class TalkPage(Follower, Page[None]):
    """The sessions of one job. It follows each state, as the tab does. Esc closes it."""

    DEFAULT_CLASSES = FULL
    DEFAULT_CSS = """
    TalkPage {
        .page-box { padding: 0; }
        TalkPane { display: none; }
        &.-talking TalkPane { display: block; }
        &.-talking #talk-none { display: none; }
        #talk-none { padding: 0 1; color: $text-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", show=False),
        Binding("q", "close", "Close", show=False),
    ]

    def __init__(self, context: PageContext, job_id: str) -> None:
        super().__init__()
        self._page_context, self._job_id = context, job_id
        self._pane = TalkPane(context.limits)
        self._none = Static(id="talk-none", markup=False)
        self.set_class(bool(sessions_of(job_id, context.state())), "-talking")

    def compose(self) -> ComposeResult:
        with Vertical(classes="page-box") as box:
            job = self._page_context.state().jobs.get(self._job_id)
            room = f" · {clip(one_line(job.room), 40)}" if job is not None else ""
            box.border_title = Content(f"Talk{room}")
            box.border_subtitle = READING
            yield self._none
            yield self._pane

    def on_mount(self) -> None:
        self.show(self._page_context.state(), self._page_context.now())
        self._focus()  # at once: the next keys may already be there

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Name the keys that work where the focus is."""
        self.query_one(".page-box").border_subtitle = TYPING if event.widget is self._pane.input else READING

    def _focus(self) -> None:
        if self.has_class("-talking"):
            self._pane.type()

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._repaint)

    def _repaint(self) -> None:
        self.show(self._page_context.state(), self._page_context.now())

    def show(self, state: AppState, now: float) -> None:
        if not self.is_attached or not self.children:
            return
        is_talking = bool(sessions_of(self._job_id, state))
        started = is_talking and not self.has_class("-talking")
        self.set_class(is_talking, "-talking")
        if is_talking:
            self._pane.show(state, now, self._job_id)
            if started:
                self.call_after_refresh(self._focus)
        else:
            self._none.update(Content(why_none_of_job(self._job_id, state)))

    def action_close(self) -> None:
        self.dismiss(None)

    @on(TalkPane.Left)
    def _left(self, event: TalkPane.Left) -> None:
        event.stop()
        self.dismiss(None)


class ContextPage(TextPage):
    """The instructions, tools, and items that the LLM of a session will get with the next turn."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "refresh_context", "Refresh"),
        Binding("c", "copy", "Copy as JSON"),
        Binding("y", "copy", show=False),
    ]

    def __init__(self, context: PageContext, command: InspectSession) -> None:
        super().__init__("Context of the LLM", context, lambda state, now, width: self._text_lines(width))
        self._command = command
        self._text, self._problem = "", "Asking the session…"

    def on_mount(self) -> None:
        self.action_refresh_context()

    def _text_lines(self, width: int) -> tuple[Line, ...]:
        if self._problem:
            return ((Span(clip(one_line(self._problem), width), Tone.DIM),),)
        return context_lines(self._text, width)

    def action_refresh_context(self) -> None:
        """Fetch the context from the session again."""
        self.run_worker(self._ask(), group="context", exclusive=True)

    async def _ask(self) -> None:
        result = await self.context.engine.send(self._command)
        self._text, self._problem = (result.text, "") if result.ok else ("", result.text)
        self.repaint()

    def action_copy(self) -> None:
        """Copy the whole context as JSON."""
        if self._text:
            self.app.copy_to_clipboard(self._text)
            self.notify("copied the context as JSON", markup=False)
