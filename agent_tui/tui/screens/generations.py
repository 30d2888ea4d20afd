"""The generations page: each load of the agent's code, what changed, its steps, jobs, and errors."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.widgets import Input, Static

from agent_tui.model import commands as cmd
from agent_tui.model.errors import UserError
from agent_tui.model.state import AppState
from agent_tui.tui.screens.confirm import Confirm
from agent_tui.tui.screens.page import BACK, FULL, Follower, Page
from agent_tui.tui.widgets.diff_rows import diff_lines, failure_lines, first_change
from agent_tui.tui.widgets.load_list import LoadList
from agent_tui.tui.widgets.load_rows import Entry, fact_lines, step_lines
from agent_tui.tui.widgets.text import Line, Span, Tone, to_contents

Compared = tuple[int, int | None]
"""A load's number, and the number of the load to compare it with; None for the load before it."""

Send = Callable[[cmd.Command], Awaitable[cmd.CommandResult]]

NO_LOADS: tuple[Line, ...] = ((Span("no load yet: each load of the agent file appears here", Tone.DIM),),)
BESIDE = 150
"""Minimum width, in cells, at which the facts are beside the diff; otherwise they are above it."""

LOW = 30
"""Below this height, in rows, the diff takes the whole page while it has the focus."""

STEP_COLUMNS = 3
"""Steps per row if they do not fit in one column above the diff."""

ROLLED_BACK = "rolled back to {} · the next save or r loads the files on disk"
BACK_TO = "Its code becomes a new generation. Your files do not change; the next save or r loads them again."


class GenerationsPage(Follower, Page[None]):
    """Lists the loads and follows new ones; Esc, g, or q closes the page."""

    DEFAULT_CLASSES = FULL
    DEFAULT_CSS = """
    GenerationsPage {
        #loads-list { width: 1fr; height: auto; max-height: 40%; min-height: 3; }
        #loads-about { layout: vertical; height: 1fr; border-top: solid $primary; }
        #loads-about:focus-within { border-top: heavy $accent; }
        #loads-facts { height: auto; max-height: 50%; margin-bottom: 1; }
        #loads-text { height: 1fr; scrollbar-size-vertical: 1; }
        #loads-text > Static { height: auto; }
        &.-beside #loads-about { layout: horizontal; }
        &.-beside #loads-facts { width: 60; max-height: 100%; padding-right: 2; }
        &.-low #loads-list { max-height: 6; }
        &.-low #loads-facts { margin-bottom: 0; }
        &.-low.-reading #loads-list, &.-low.-reading #loads-facts { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", BACK),
        Binding("q", "close", BACK, show=False),
        Binding("g", "close", show=False, id="generations"),  # the id makes it follow the user's key
        Binding("enter", "other_pane", show=False),
        Binding("tab,left_square_bracket,right_square_bracket", "other_pane", show=False, priority=True),
        Binding("1", "pane(1)", show=False),
        Binding("2", "pane(2)", show=False),
        Binding("pageup", "scroll(-1)", show=False, priority=True),
        Binding("pagedown", "scroll(1)", show=False, priority=True),
        Binding("space", "scroll(1)", show=False),
        Binding("c", "compare", "Compare"),
        Binding("b", "roll_back", "Roll back"),
        Binding("e", "edit", "Edit"),
        Binding("r", "reload", "Reload"),
    ]

    def __init__(self, send: Send, edit: Callable[[Path, int], None], chosen: int | None = None) -> None:
        """`edit` opens a file at a line; it raises UserError if there is no editor. `chosen` is selected
        first, by default the newest generation.
        """
        super().__init__()
        self._send = send
        self._edit = edit
        self._state = AppState()
        self._now = 0.0
        self._composed = False
        self._diffs: dict[Compared, str] = {}
        self._with_current = False
        self._asked: tuple[object, ...] | None = None
        self._problem = ""
        self._list = LoadList(chosen, id="loads-list")
        self._facts = Static(id="loads-facts", markup=False)
        self._text = Static(markup=False)
        self._box = Vertical(id="loads-box", classes="page-box")
        self._scroll = VerticalScroll(id="loads-text")
        self._facts_shown: tuple[Line, ...] = ()
        self._text_shown: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        with self._box as box:
            box.border_title = "Generations"
            yield self._list
            with Container(id="loads-about"):
                yield self._facts
                with self._scroll:
                    yield self._text
        yield self.key_bar()

    def on_mount(self) -> None:
        self._composed = True
        self._list.focus()
        self.show(self._state, self._now)

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width >= BESIDE, "-beside")
        self.set_class(event.size.height < LOW, "-low")
        self.call_after_refresh(self._paint)

    def on_descendant_focus(self) -> None:
        """In a terminal with few rows, the diff takes the whole page while it has the focus."""
        self.set_class(self._scroll.has_focus, "-reading")

    def show(self, state: AppState, now: float) -> None:
        """Show the state; `now` is in Unix seconds."""
        self._state, self._now = state, now
        if self._composed and self.is_attached:
            back = state.generation.rolled_back_to
            title = f"Generations · {ROLLED_BACK.format(back)}" if back else "Generations"
            self._box.border_title = title
            self._list.show(state, now)
            self._selected()

    @on(LoadList.RowHighlighted)
    def _selected(self) -> None:
        """Request the diff of the selected load, unless it is cached."""
        entry = self._list.selected
        if entry is not None and (self._compared(entry), entry.outcome) != self._asked:
            compared = self._compared(entry)
            self._asked, self._problem = (compared, entry.outcome), ""
            self._scroll.scroll_home(animate=False)
            if entry.record is not None and compared not in self._diffs:
                self.run_worker(self._ask(compared), group="diff", exclusive=True)
        self._paint()

    def _compared(self, entry: Entry) -> Compared:
        current = self._state.generation.current
        if self._with_current and entry.number != current:
            return entry.number, current
        before = [load for load in self._state.loads if load.number < entry.number]
        good = max((load.number for load in before if load.good), default=None)
        # The previous load may have failed: what runs, and what an edit started from, is the last good one.
        return entry.number, good if before and before[-1].number != good else None

    async def _ask(self, compared: Compared) -> None:
        result = await self._answer(cmd.DiffGeneration(*compared))
        if result.ok:
            self._diffs[compared] = result.text
        else:
            self._problem = result.text
        self._paint()

    # -- painting ------------------------------------------------------------------------------------------

    def _paint(self) -> None:
        entry = self._list.selected
        if not self.is_attached:
            return
        if entry is None:
            shown_facts = NO_LOADS if not self._state.loads else ()
            self._facts_shown, self._text_shown = shown_facts, ()
            self._facts.update(to_contents(shown_facts))
            self._text.update("")
            return
        facts = fact_lines(entry, self._state, self._now, self._facts.scrollable_content_region.width)
        if entry.record is not None:
            room = self.query_one("#loads-about").size.height // 2 - len(facts)
            has_room = self.has_class("-beside") or room >= len(entry.record.steps.measured)
            facts += step_lines(entry.record, 1 if has_room else STEP_COLUMNS)
        if facts != self._facts_shown:
            self._facts_shown = facts
            self._facts.update(to_contents(facts))
        width = self._scroll.scrollable_content_region.width
        diff = self._diffs.get(self._compared(entry))
        shown = (entry, width, diff, self._problem)
        if shown != self._text_shown:  # do not rebuild a diff of thousands of lines each second
            self._text_shown = shown
            self._text.update(to_contents(self._text_lines(entry, diff, width)))

    def _text_lines(self, entry: Entry, diff: str | None, width: int) -> tuple[Line, ...]:
        lines: tuple[Line, ...] = ()
        if entry.record is not None and not entry.record.good:
            lines = (*failure_lines(entry.record, self._state, width), ())
        if diff is not None:
            return (*lines, *diff_lines(diff, width))
        return (*lines, (Span(self._problem, Tone.DIM),))

    # -- keys ----------------------------------------------------------------------------------------------

    def action_close(self) -> None:
        self.dismiss(None)

    def action_back(self) -> None:
        """Go back from the diff to the list, and from the list to the dashboard."""
        if self._scroll.has_focus:
            self._list.focus()
        else:
            self.dismiss(None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "other_pane":
            return not isinstance(self.focused, Input)  # there, the keys are text
        return super().check_action(action, parameters)

    @on(LoadList.Opened)
    def _read(self) -> None:
        self._scroll.focus()

    def action_other_pane(self) -> None:
        """Move the focus between the list and the text."""
        text = self._scroll
        (self._list if text.has_focus else text).focus()

    def action_pane(self, number: int) -> None:
        """Move the focus to the list (1) or the text (2)."""
        (self._list if number == 1 else self._scroll).focus()

    def action_scroll(self, pages: int) -> None:
        text = self._scroll
        text.scroll_relative(y=pages * max(text.size.height - 1, 1), animate=False)

    def action_compare(self) -> None:
        """Compare with the current generation (what a rollback would change), or with the previous load."""
        self._with_current = not self._with_current
        self._selected()

    def action_edit(self) -> None:
        """Open the failing line, or else the first changed line, or else the agent file."""
        agent, entry = Path(self._state.agent), self._list.selected
        record = entry.record if entry is not None else None
        place = agent, 1
        if record is not None and record.file:
            place = agent.parent / record.file, record.line or 1
        elif entry is not None and (change := first_change(self._diffs.get((entry.number, None), ""))):
            place = agent.parent / change[0], change[1]
        try:
            self._edit(*place)
        except UserError as error:
            self._notify(str(error), failed=True)

    def action_reload(self) -> None:
        self.run_worker(self._command(cmd.Reload()), group="load")

    def action_roll_back(self) -> None:
        """Roll back to the selected generation after a confirmation."""
        entry = self._list.selected
        if entry is None or entry.record is None or not entry.record.good:
            self._notify("cannot roll back to it: select a generation that has loaded", failed=True)
        elif entry.number == self._state.generation.current:
            self._notify(f"generation {entry.number} is already current", failed=True)
        else:
            self.run_worker(self._roll_back(entry.number), group="load")

    async def _roll_back(self, number: int) -> None:
        if await self.app.push_screen_wait(Confirm(f"Roll back to generation {number}?", BACK_TO)):
            await self._command(cmd.RollBack(number))

    async def _command(self, command: cmd.Command) -> None:
        result = await self._answer(command)
        self._notify(result.text, failed=not result.ok)
        if result.ok:
            self._list.select_newest()

    async def _answer(self, command: cmd.Command) -> cmd.CommandResult:
        try:
            return await self._send(command)
        except UserError as error:
            return cmd.CommandResult(False, str(error))

    def _notify(self, text: str, *, failed: bool = False) -> None:
        self.notify(text, severity="error" if failed else "information", markup=False)
