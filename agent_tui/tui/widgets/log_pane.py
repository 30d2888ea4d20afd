"""The log pane: a title line, the lines, and a field for finding text in them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

from agent_tui.logs.ring import CAPACITY
from agent_tui.model.events import LogsAdded
from agent_tui.model.logs import LogLevel, LogLine
from agent_tui.model.state import AppState
from agent_tui.tui.screens.log_record import LogRecord
from agent_tui.tui.widgets.log_bars import FindInput, LogTitle
from agent_tui.tui.widgets.log_text import Title, next_level, owner_label
from agent_tui.tui.widgets.log_view import LogView

if TYPE_CHECKING:
    from textual.widget import Widget

Pull = Callable[[int, int], tuple[LogLine, ...]]
FIND_HELP = "Enter keeps · Esc ends · ↑↓ goes on · Ctrl+O only found lines"


class LogPane(Vertical):
    """Shows what `pull` gives for the ranges that `added` announces."""

    DEFAULT_CSS = """
    LogPane {
        min-height: 3;
        &:focus-within > LogTitle { background: $primary-muted; }
        & > #log-find {
            display: none;
            height: 1;
            background: $panel;
            & > #log-find-word { width: 7; text-style: bold; }
            & > FindInput { width: 1fr; }
            & > #log-find-help { width: auto; color: $text-muted; padding: 0 1; }
        }
        &.-finding > #log-find { display: block; }
        &.-narrow #log-find-help { display: none; }
    }
    """

    @dataclass
    class LevelChanged(Message):
        """The user wants lines from this level on. The pane itself changes when `level` is set."""

        level: LogLevel

    def __init__(
        self,
        pull: Pull,
        *,
        level: LogLevel = LogLevel.INFO,
        capacity: int = CAPACITY,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """`pull(first, end)` gives the stored lines of a range, without those that were evicted.

        `capacity` is the store's.
        """
        super().__init__(id=id, classes=classes)
        self._pull = pull
        self._title = LogTitle()
        self._view = LogView(level, capacity)
        self._input = FindInput(compact=True, select_on_focus=False, placeholder="text in the lines shown")
        self._state: AppState | None = None
        self._dropped = 0
        self._before_find: tuple[Widget | None, bool, int | None] = (None, True, None)

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._view
        with Horizontal(id="log-find"):
            yield Static(" Find ", id="log-find-word", markup=False)
            yield self._input
            yield Static(FIND_HELP, id="log-find-help", markup=False)

    def on_mount(self) -> None:
        self._retitle()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width < 100, "-narrow")

    # -- what the app tells ------------------------------------------------------------------------------

    def show(self, state: AppState, now: float) -> None:
        """Takes over lines that nobody announced (those before the subscription), and the owner's name."""
        if state is self._state:
            return
        self._state = state
        self.added(LogsAdded(state.log_end, state.log_end, state.logs_dropped))
        self._retitle()

    def added(self, event: LogsAdded) -> None:
        """Pulls what is new up to `event.end`. Once per batch; again for the same lines is free."""
        if event.dropped != self._dropped:
            self._dropped = event.dropped
            self._retitle()
        if event.end > self._view.rows.end:
            self._view.add(self._pull(self._view.rows.end, event.end))

    @property
    def level(self) -> LogLevel:
        """Lines below this level are not shown."""
        return self._view.rows.level

    @level.setter
    def level(self, level: LogLevel) -> None:
        if level is not self.level:
            self._view.filter(level, self.owner)

    @property
    def owner(self) -> str | None:
        """Only lines of this process or job (by id; the host's is empty); None shows all."""
        return self._view.rows.owner

    @owner.setter
    def owner(self, owner: str | None) -> None:
        if owner != self.owner:
            self._view.filter(self.level, owner)

    @property
    def follow(self) -> bool:
        """Whether the newest line is kept in view. Set it to go there."""
        return self._view.follow

    @follow.setter
    def follow(self, follow: bool) -> None:
        self._view.follow = follow

    @property
    def needle(self) -> str:
        """The text that is looked for; empty when none is."""
        return self._view.rows.needle

    # -- what keys do ------------------------------------------------------------------------------------

    def cycle_level(self) -> None:
        """Asks for the next level."""
        self.post_message(self.LevelChanged(next_level(self.level)))

    def start_find(self) -> None:
        """Opens the field for the text to find."""
        if not self.has_class("-finding"):
            self._before_find = (self.screen.focused, self.follow, self._view.bottom)
        self.add_class("-finding")
        self._input.focus()

    def end_find(self) -> None:
        """Nothing is looked for any more; what was before the find is again."""
        focused, followed, _ = self._before_find
        leaving = self._input.has_focus
        self.remove_class("-finding")
        with self._input.prevent(Input.Changed):
            self._input.value = ""
        self._view.find("", False)
        if followed:
            self.follow = True
        if leaving:
            (focused if focused is not None and focused.is_attached else self._view).focus()

    def find_next(self) -> None:
        """Goes to the next line that was found, after the newest to the oldest."""
        self._go(1)

    def find_previous(self) -> None:
        """Goes to the line that was found before, after the oldest to the newest."""
        self._go(-1)

    def _go(self, step: int) -> None:
        if not self.needle:
            self.start_find()
            return
        view, rows = self._view, self._view.rows
        if view.selected is not None:
            start = view.selected
        else:
            start = rows.end if step < 0 or view.bottom is None else view.bottom
        index = rows.match_after(start) if step > 0 else rows.match_before(start)
        if index is not None:
            view.reveal(index)

    # -- messages of the parts ---------------------------------------------------------------------------

    @on(Input.Changed)
    def _search(self, event: Input.Changed) -> None:
        event.stop()
        self._view.find(event.value, self._view.rows.only_matches)
        _, followed, origin = self._before_find
        if event.value and origin is not None:
            index = self._view.rows.match_before(origin + 1)
            if index is not None:
                self._view.reveal(index)
        elif not event.value and followed:
            self.follow = True

    @on(Input.Submitted)
    def _keep(self, event: Input.Submitted) -> None:
        event.stop()
        if not event.value:
            self.end_find()
            return
        self.remove_class("-finding")
        self._view.focus()

    @on(FindInput.Left)
    @on(LogView.Released)
    def _leave(self, event: Message) -> None:
        event.stop()
        if self.needle or isinstance(event, FindInput.Left):
            self.end_find()

    @on(FindInput.Go)
    def _go_on(self, event: FindInput.Go) -> None:
        event.stop()
        if self.needle:
            self._go(event.step)

    @on(FindInput.OnlyToggled)
    def _toggle_only(self, event: FindInput.OnlyToggled) -> None:
        event.stop()
        if self.needle:
            self._view.find(self.needle, not self._view.rows.only_matches)

    @on(LogView.Opened)
    def _open(self, event: LogView.Opened) -> None:
        event.stop()
        self.app.push_screen(LogRecord(event.line))

    @on(LogView.Changed)
    def _changed(self, event: LogView.Changed) -> None:
        event.stop()
        self._retitle()

    @on(LogTitle.Clicked)
    def _clicked(self, event: LogTitle.Clicked) -> None:
        event.stop()
        if event.name == "level":
            self.cycle_level()
        elif event.name == "owner":
            self.owner = None
        elif event.name == "find":
            self.start_find()
        elif event.name == "follow":
            self.follow = not self.follow

    def _retitle(self) -> None:
        rows = self._view.rows
        self._title.show(
            Title(
                level=rows.level,
                owner=owner_label(rows.owner, self._state),
                needle=rows.needle,
                only_matches=rows.only_matches,
                rank=0 if self._view.selected is None else rows.rank(self._view.selected),
                found=rows.found,
                follow=self._view.follow,
                unseen=self._view.unseen,
                dropped=self._dropped,
                lines=rows.end - rows.first,
            )
        )
