"""A conversation: the session's line, the blocks, a prompt to find text, and the input line."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

from agent_tui.model import commands as cmd
from agent_tui.model.conversations import SessionView
from agent_tui.model.state import AppState
from agent_tui.tui.widgets.line_keys import ONLY_FOUND
from agent_tui.tui.widgets.log_bars import LogPrompt, PromptInput
from agent_tui.tui.widgets.swap_text import session_code
from agent_tui.tui.widgets.talk_input import TalkInput
from agent_tui.tui.widgets.talk_notes import first_hint, head_line, newest, sessions_of
from agent_tui.tui.widgets.talk_steps import DEFAULT_LIMITS, Limits
from agent_tui.tui.widgets.talk_view import TalkView
from agent_tui.tui.widgets.text import Line, Span, Tone, clip, counted, one_line, to_content, width_of

if TYPE_CHECKING:
    from textual.widget import Widget

FIND_HELP = "Ctrl+O only matches · Esc close"
ENDED = "ended · select a running call"


class TalkFind(PromptInput):
    """The input for the text to find."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "go(-1)", "Previous match", show=False),
        Binding("down", "go(1)", "Next match", show=False),
    ]

    @dataclass
    class Go(Message):
        """Go to the next (1) or previous (-1) match."""

        step: int

    def action_go(self, step: int) -> None:
        self.post_message(self.Go(step))


class TalkPane(Vertical):
    """The sessions of one job, one at a time. The app passes the state and the job."""

    DEFAULT_CSS = """
    TalkPane {
        #talk-head { height: 1; padding: 0 1; }
        TalkView { padding: 0 1; }
        #talk-line { height: 1; background: $panel; }
        #talk-sign { width: auto; padding: 0 1; text-style: bold; color: $accent; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", show=False),
        Binding("ctrl+g", "interrupt", "Interrupt", id="interrupt"),
        Binding("slash", "find", "Find", show=False, id="find"),
        Binding("n", "find_next", "Next match", show=False, id="find_next"),
        Binding("N", "find_previous", "Previous match", show=False, id="find_previous"),
        Binding("m", "only_found", "Only matches", show=False, id="only_found"),
        ONLY_FOUND,
        Binding("left", "switch(-1)", "Previous session", show=False),
        Binding("right", "switch(1)", "Next session", show=False),
        Binding("y", "copy_lines", "Copy", show=False, id="copy_lines"),
        Binding("I", "inspect", "LLM context", id="inspect"),
        Binding("X", "save", "Save", show=False, id="export_logs"),
    ]

    @dataclass
    class Said(Message):
        """The user sent a turn."""

        pane: "TalkPane"
        command: cmd.Say

    @dataclass
    class InterruptRequested(Message):
        """The user wants to cut off the current reply."""

        command: cmd.Interrupt

    @dataclass
    class ContextRequested(Message):
        """The user wants to see what the LLM of the session will see."""

        command: cmd.InspectSession

    @dataclass
    class SaveRequested(Message):
        """The user wants to save the conversation to a file."""

        session: SessionView

    class Left(Message):
        """The user wants to leave the conversation."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._head = Static(id="talk-head", markup=False)
        self.view = TalkView()
        self.view.limits = limits
        self._field = TalkFind(compact=True, select_on_focus=False, placeholder="text to find")
        self._find = LogPrompt("Find", self._field, FIND_HELP, id="talk-find")
        self.input = TalkInput()
        self._state = AppState()
        self._now = 0.0
        self._job_id = ""
        self._picked: str | None = None
        """The key of the session that the user picked."""
        self._session: SessionView | None = None
        self._count = 0
        self._shown_head: Line = ()
        self._before_input: Widget | None = None

    def compose(self) -> ComposeResult:
        yield self._head
        yield self.view
        yield self._find
        with Horizontal(id="talk-line"):
            yield Static(">", id="talk-sign", markup=False)
            yield self.input

    @property
    def session(self) -> SessionView | None:
        """The session that is shown."""
        return self._session

    @property
    def limits(self) -> Limits:
        """The limits above which turns and steps are marked as slow; settable."""
        return self.view.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self.view.limits = limits

    # -- called by what contains it ----------------------------------------------------------------------

    def show(self, state: AppState, now: float, job_id: str) -> None:
        """Show the job's session that the user picked, or else its newest open one."""
        if job_id != self._job_id:
            self._job_id, self._picked = job_id, None
        self._state, self._now = state, now
        sessions = sessions_of(job_id, state)
        self._count = len(sessions)
        session = self._choose(sessions)
        if session is not None:
            self.input.switch(session.key)
            is_open = session.ended_at is None
            self.input.placeholder = "type to the agent" if is_open else ENDED
        self._session = session
        self.view.show(session, now, first_hint(session, state) if session is not None else "")
        self._paint_head()

    def show_again(self, state: AppState, now: float) -> None:
        """Show a newer state of the same job."""
        if self._job_id:
            self.show(state, now, self._job_id)

    def _choose(self, sessions: tuple[SessionView, ...]) -> SessionView | None:
        """Return the session to show. A session that the user is typing to is not replaced."""
        of_key = {each.key: each for each in sessions}
        if self._picked in of_key:
            return of_key[self._picked or ""]
        shown = of_key.get(self._session.key) if self._session is not None else None
        if shown is not None and shown.ended_at is None and self.input.value:
            return shown
        return newest(sessions)

    def type(self) -> None:
        """Move the focus to the input line, or to the conversation if it has ended."""
        if self._session is None or self._session.ended_at is not None:
            self.view.focus()
            return
        if self.screen.focused is not self.input:
            self._before_input = self.screen.focused
        self.screen.set_focus(self.input)  # at once: the next keys may already be there

    def restore(self, command: cmd.Say) -> None:
        """Put a refused turn back into the input line, unless another session is shown now."""
        session = self._session
        if session is not None and (session.job_id, session.number) == (command.job_id, command.session):
            self.input.restore()

    # -- the line above ----------------------------------------------------------------------------------

    @on(TalkView.Changed)
    def _changed(self, event: TalkView.Changed) -> None:
        event.stop()
        self._paint_head()

    def _paint_head(self) -> None:
        width = self._head.scrollable_content_region.width
        if self._session is None or width <= 0:
            return
        right = self._right()
        room = max(width - width_of(right) - 1, 0)
        code = session_code(self._session, self._state)
        left = head_line(self._session, self._count, room, code)
        gap = Span(" " * max(width - width_of(left) - width_of(right), 1))
        line = (*left, gap, *right)
        if line != self._shown_head:
            self._shown_head = line
            self._head.update(to_content(line))

    def _right(self) -> Line:
        """Return the search, and whether the newest row stays in view."""
        rows, view = self.view.rows, self.view
        if rows.needle:
            at = view.selected_index
            rank = rows.rank(at) if at is not None else 0
            found = len(rows.matches)
            count = f"{rank}/{found}" if rank else counted(found, "match", "matches")
            only = " only" if rows.only_matches else ""
            return (Span(f"/{clip(one_line(rows.needle), 16)}", Tone.STRONG), Span(f" {count}{only}"))
        return () if view.follow else (Span("‖ paused", Tone.WARN), Span(" f follow", Tone.DIM))

    def on_resize(self) -> None:
        self._shown_head = ()
        self.call_after_refresh(self._paint_head)
        self._find.set_class(self.size.width < 90, "-narrow")

    # -- typing ------------------------------------------------------------------------------------------

    @on(TalkInput.Sent)
    def _sent(self, event: TalkInput.Sent) -> None:
        event.stop()
        session = self._session
        if session is None or session.ended_at is not None:
            self.notify(f"this session has {ENDED}", severity="error", markup=False)
            self.input.restore()
            return
        self.view.follow = True
        self.post_message(self.Said(self, cmd.Say(session.job_id, event.text, session.number)))

    def on_paste(self, event: events.Paste) -> None:
        """Paste into the input line, although the conversation has the focus."""
        if self._session is not None and self._session.ended_at is None and not self._find.is_open:
            event.stop()
            self.type()
            self.input.paste(event.text)

    @on(TalkInput.PageRequested)
    def _paged(self, event: TalkInput.PageRequested) -> None:
        event.stop()
        self.view.action_page(event.pages)

    @on(TalkInput.Left)
    def _input_left(self, event: TalkInput.Left) -> None:
        """Return the focus to where it was before the user typed."""
        event.stop()
        before, self._before_input = self._before_input, None
        (before if before is not None and before.is_attached else self.view).focus()

    @on(TalkView.TypeRequested)
    def _type_requested(self, event: TalkView.TypeRequested) -> None:
        event.stop()
        self.type()

    def action_interrupt(self) -> None:
        """Cut off the current reply."""
        if (session := self._open_session("nothing to interrupt")) is not None:
            self.post_message(self.InterruptRequested(cmd.Interrupt(session.job_id, session.number)))

    def action_inspect(self) -> None:
        """Show what the LLM will get with the next turn."""
        if (session := self._open_session("no context to show")) is not None:
            self.post_message(self.ContextRequested(cmd.InspectSession(session.job_id, session.number)))

    def _open_session(self, problem: str) -> SessionView | None:
        """Return the session if it is open; otherwise notify the user of the problem."""
        if self._session is not None and self._session.ended_at is None:
            return self._session
        why = "the session has ended" if self._session is not None else "no session is shown"
        self.notify(f"{problem}: {why}", severity="error", markup=False)
        return None

    def action_save(self) -> None:
        """Save the conversation to a file."""
        if self._session is not None:
            self.post_message(self.SaveRequested(self._session))

    def action_copy_lines(self) -> None:
        self.view.action_copy_lines()

    def action_switch(self, step: int) -> None:
        """Show the next or previous session of the job."""
        sessions = sessions_of(self._job_id, self._state)
        if len(sessions) > 1 and self._session is not None:
            keys = [each.key for each in sessions]
            at = keys.index(self._session.key) if self._session.key in keys else 0
            self._picked = keys[(at + step) % len(keys)]
            self.show(self._state, self._now, self._job_id)

    # -- find --------------------------------------------------------------------------------------------

    def action_find(self) -> None:
        self._find.open()

    def action_find_next(self) -> None:
        self._go(1)

    def action_find_previous(self) -> None:
        self._go(-1)

    def action_only_found(self) -> None:
        """Switch between the matching blocks and all blocks."""
        rows = self.view.rows
        if rows.needle:
            self.view.search(rows.needle, only_matches=not rows.only_matches)
        else:
            self.action_find()

    def _go(self, step: int) -> None:
        if self.view.rows.needle:
            self.view.go_to_match(step)
        else:
            self.action_find()

    @on(Input.Changed, "TalkFind")
    def _search(self, event: Input.Changed) -> None:
        event.stop()
        view = self.view
        view.search(event.value, only_matches=view.rows.only_matches)
        if view.rows.matches and not view.rows.rank(
            view.selected_index if view.selected_index is not None else -1
        ):
            view.go_to_match(-1)

    @on(Input.Submitted, "TalkFind")
    def _keep(self, event: Input.Submitted) -> None:
        event.stop()
        if self.view.rows.needle:
            self._find.close(self.view)
        else:
            self._end_find()

    @on(TalkFind.Go)
    def _go_on(self, event: TalkFind.Go) -> None:
        event.stop()
        self._go(event.step)

    def _end_find(self) -> None:
        """End the search and follow again."""
        self._find.close(self.view, back=True)
        with self._field.prevent(Input.Changed):
            self._field.value = ""
        self.view.search("")

    # -- leaving -----------------------------------------------------------------------------------------

    def action_leave(self) -> None:
        """Close the search, or else leave the conversation."""
        if self._find.is_open or self.view.rows.needle:
            self._end_find()
        else:
            self.post_message(self.Left())
