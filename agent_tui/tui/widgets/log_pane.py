"""The log pane: a title, the lines, and prompts to find text or go to a time."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input

from agent_tui.logs.ring import CAPACITY
from agent_tui.model.logs import LogLevel, LogLine
from agent_tui.model.state import AppState
from agent_tui.tui.widgets.line_keys import ONLY_FOUND
from agent_tui.tui.widgets.log_bars import FindInput, LogPrompt, LogTitle, PromptInput, Title
from agent_tui.tui.widgets.log_filter import NOTHING, Chosen, chips, parse, without
from agent_tui.tui.widgets.log_text import EXAMPLES, clock, parse_time
from agent_tui.tui.widgets.log_view import LogView

FIND_HELP = "Ctrl+O only matches · Ctrl+R regex · Esc close"
TIME_HELP = f"{EXAMPLES} · Esc close"
TOO_SLOW = "search cancelled: this regular expression is too slow on these lines"


class LogPane(Vertical):
    """The title, the lines, and the prompts; search and filters. The app adds lines with `add`."""

    DEFAULT_CSS = """
    LogPane {
        min-height: 3;
        &:focus-within > LogTitle { background: $primary-muted; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", show=False),
        ONLY_FOUND,
    ]

    def __init__(
        self,
        *,
        level: LogLevel = LogLevel.INFO,
        capacity: int = CAPACITY,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """`capacity` is the number of lines that the log store keeps."""
        super().__init__(id=id, classes=classes)
        self._level = level
        self._chosen = Chosen()
        self._title = LogTitle()
        self._view = LogView(level, capacity)
        self._find_field = FindInput(
            compact=True, select_on_focus=False, placeholder="text, or re:PATTERN for a regex"
        )
        self._find = LogPrompt("Find", self._find_field, FIND_HELP, id="log-find")
        self._time = LogPrompt("Go to", PromptInput(compact=True), TIME_HELP, id="log-time")
        self._state: AppState | None = None
        self._key = ""
        self._origin: tuple[bool, int | None] = (True, None)
        self._when_scanned: Callable[[], None] | None = None

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._view
        yield self._find
        yield self._time

    def on_mount(self) -> None:
        self._retitle()

    def on_resize(self, event: events.Resize) -> None:
        for prompt in (self._find, self._time):
            prompt.set_class(event.size.width < 100, "-narrow")

    # -- called by the app -------------------------------------------------------------------------------

    def name_key(self, key: str) -> None:
        """Name the key that moves the focus here in the title."""
        self._key = key
        self._retitle()

    def show(self, state: AppState, now: float) -> None:
        """Update the title from the state: owners' names and the number of dropped lines."""
        if state is not self._state:
            self._state = state
            self._view.name_owners(state)
            self._retitle()

    @property
    def end(self) -> int:
        """Index of the next line to add."""
        return self._view.rows.end

    def add(self, lines: Sequence[LogLine]) -> None:
        """Add the next lines. A gap before them means that the store evicted lines."""
        self._view.add(lines)

    @property
    def level(self) -> LogLevel:
        """The option logLevel: lines below it are never shown."""
        return self._level

    @level.setter
    def level(self, level: LogLevel) -> None:
        if level is not self._level:
            self._level = level
            self._choose(self._chosen)

    @property
    def chosen(self) -> Chosen:
        """The selected filters; settable."""
        return self._chosen

    @chosen.setter
    def chosen(self, chosen: Chosen) -> None:
        if chosen != self._chosen:
            self._choose(chosen)

    @property
    def wrap(self) -> bool:
        """Whether long lines are wrapped; settable."""
        return self._view.wrap

    @wrap.setter
    def wrap(self, wrap: bool) -> None:
        self._view.wrap = wrap

    @property
    def owner(self) -> str | None:
        """The id of the only process or job shown; empty for agent-tui itself, None for several."""
        return next(iter(self._chosen.owners)) if len(self._chosen.owners) == 1 else None

    @owner.setter
    def owner(self, owner: str | None) -> None:
        self.chosen = replace(self._chosen, owners=frozenset(() if owner is None else (owner,)))

    def _choose(self, chosen: Chosen) -> None:
        self._chosen = chosen
        shown = replace(
            self._view.rows.filter,
            level=max(self._level, chosen.level or self._level),
            owners=chosen.owners,
            generations=chosen.generations,
        )
        self._view.request(shown)
        self._retitle()

    @property
    def needle(self) -> str:
        """The search as typed; empty without one."""
        return self._view.rows.query.typed

    # -- find --------------------------------------------------------------------------------------------

    def action_find(self) -> None:
        """Open the find prompt."""
        if not self._find.is_open:
            self._origin = (self._view.follow, self._view.bottom)
        self._time.close(self._view)
        self._find.open()

    def end_find(self) -> None:
        """End the search and return to the place before it."""
        self._find.close(self._view, back=True)
        with self._find_field.prevent(Input.Changed):
            self._find_field.value = ""
        self._when_scanned = None
        self._view.request(replace(self._view.rows.filter, query=NOTHING, only_matches=False))
        if self._origin[0]:
            self._view.follow = True

    def action_find_next(self) -> None:
        """Go to the next match; after the newest one, to the oldest."""
        self._go(1)

    def action_find_previous(self) -> None:
        """Go to the previous match; after the oldest one, to the newest."""
        self._go(-1)

    def action_only_found(self) -> None:
        """Switch between matching lines and all lines."""
        if not self.needle:
            self.action_find()
            return
        shown = self._view.rows.filter
        self._view.request(replace(shown, only_matches=not shown.only_matches))

    def _go(self, step: int) -> None:
        if not self.needle:
            self.action_find()
            return
        view, rows = self._view, self._view.rows
        if rows.scanned is not None:  # the search is still running
            self._when_scanned = partial(self._go, step)
            return
        if view.selected is not None:
            start = view.selected
        else:
            start = rows.end if step < 0 or view.bottom is None else view.bottom
        index = rows.index.match_after(start) if step > 0 else rows.index.match_before(start)
        if index is not None:
            view.reveal(index)

    def _show_latest_found(self) -> None:
        """Select the last match before the place where the search started."""
        origin = self._origin[1]
        index = None if origin is None else self._view.rows.index.match_before(origin + 1)
        if index is not None:
            self._view.reveal(index)

    @on(Input.Changed, "FindInput")
    def _search(self, event: Input.Changed) -> None:
        event.stop()
        try:
            query = parse(event.value)
        except ValueError as error:
            self._find.say(str(error))
            return
        self._find.say("")
        self._when_scanned = self._show_latest_found if query else None
        shown = self._view.rows.filter
        self._view.request(replace(shown, query=query, only_matches=shown.only_matches and bool(query)))
        if not query and self._origin[0]:
            self._view.follow = True

    @on(Input.Submitted, "FindInput")
    def _keep(self, event: Input.Submitted) -> None:
        event.stop()
        if not self.needle:
            self.end_find()
        elif not self._find.has_class("-failed"):
            self._find.close(self._view)

    @on(FindInput.Go)
    def _go_on(self, event: FindInput.Go) -> None:
        event.stop()
        if self.needle:
            self._go(event.step)

    @on(LogView.Scanned)
    def _scanned(self, event: LogView.Scanned) -> None:
        event.stop()
        then, self._when_scanned = self._when_scanned, None
        if then is not None:
            then()

    @on(LogView.SearchCancelled)
    def _search_cancelled(self, event: LogView.SearchCancelled) -> None:
        event.stop()
        self._when_scanned = None
        if self._find.is_open:
            self._find.say(TOO_SLOW)
        else:
            self.notify(TOO_SLOW, severity="error", markup=False)

    # -- go to a time --------------------------------------------------------------------------------------

    def action_go_to_time(self) -> None:
        """Open the prompt for a time."""
        self._find.close(self._view)
        self._time.field.value = ""
        self._time.open()

    @on(Input.Submitted, "PromptInput")
    def _time_typed(self, event: Input.Submitted) -> None:
        event.stop()
        wrong = self._go_to_time(event.value)
        if wrong:
            self._time.say(wrong)
            self._time.field.action_select_all()  # to type another one over it
        else:
            self._time.close(self._view)

    def _go_to_time(self, typed: str) -> str:
        """Go to the first shown line at or after that time, or the nearest one; return an error or ''."""
        view, rows = self._view, self._view.rows
        here = view.current
        if here is None:
            return "no lines to go to"
        oldest, newest = rows.at(0)[0].ts, rows.at(len(rows) - 1)[0].ts
        try:
            ts = parse_time(typed, here.ts, oldest, newest)
        except ValueError as error:
            return str(error)
        row = rows.row_at_time(ts)
        view.go_to(row)
        wanted = clock(ts, millis=False)
        if row >= len(rows):
            return f"no line at or after {wanted}; the newest is {clock(newest, millis=False)}"
        if row == 0 and ts < oldest:
            return f"no line at or before {wanted}; the oldest is {clock(oldest, millis=False)}"
        return ""

    # -- filters -------------------------------------------------------------------------------------------

    def action_log_filters(self) -> None:
        """Open the page of log filters; its choices take effect at once."""
        from agent_tui.tui.screens.log_pages import LogFilters

        def choose(chosen: Chosen) -> None:
            self.chosen = chosen

        state = self._state or AppState()
        self.app.push_screen(LogFilters(state, self._level, self._chosen, choose))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "leave":  # without a prompt or a search, Esc is for the app
            return bool(self.needle) or self._find.is_open or self._time.is_open
        return super().check_action(action, parameters)

    def action_leave(self) -> None:
        """Close the prompt that has the focus, or else end the search."""
        if self._time.is_open and self._time.field.has_focus:
            self._time.close(self._view, back=True)
        elif self.needle or self._find.is_open:
            self.end_find()

    # -- messages from its widgets -----------------------------------------------------------------------

    @on(LogView.Changed)
    def _changed(self, event: LogView.Changed) -> None:
        event.stop()
        self._retitle()

    @on(LogTitle.Clicked)
    def _clicked(self, event: LogTitle.Clicked) -> None:
        event.stop()
        view = self._view
        actions: dict[str, Callable[[], None]] = {
            "log_filters": self.action_log_filters,
            "find": self.action_find,
            "copy_lines": view.action_copy_lines,
            "wrap": view.action_wrap,
        }
        if event.name == "follow":
            view.follow = not view.follow
        elif event.name in actions:
            actions[event.name]()
        else:
            self.chosen = without(self._chosen, event.name)

    def _retitle(self) -> None:
        view, rows = self._view, self._view.rows
        picked = view.picked
        several = picked is not None and picked[0] != picked[1]
        self._title.show(
            Title(
                level=self._level,
                key=self._key,
                chips=chips(self._chosen, self._state),
                needle=rows.query.typed,
                only_matches=rows.filter.only_matches,
                rank=0 if view.selected is None else rows.index.rank(view.selected),
                found=len(rows.index.matches),
                scanned=rows.scanned,
                picked=len(rows.shown(*picked)) if several and picked is not None else 0,
                follow=view.follow,
                wrap=view.wrap,
                unseen=view.unseen,
                dropped=self._state.logs_dropped if self._state else 0,
                lines=rows.end - rows.first,
            )
        )
