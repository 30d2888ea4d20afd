"""The two lines on top: which code, registered where, and what it does and costs."""

from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from agent_tui.model.state import AppState
from agent_tui.options.declare import ServerOptions
from agent_tui.tui.widgets.header_text import LoadHistory, left_parts, right_parts, second_parts, tuning_parts
from agent_tui.tui.widgets.text import Part, Span, fit, joined, to_contents, width_of

_DOT = " · "
_GAP = "   "

TICK_S = 0.25
"""While the state stays the same, only its times move on, and those in whole seconds."""


class Header(Widget):
    """Two lines that give up their least important parts when the screen is narrow."""

    DEFAULT_CSS = """
    Header {
        height: 2;
        padding: 0 1;
        background: $panel;
        color: $foreground;
    }
    """

    class Clicked(Message):
        """Somebody wants to know more."""

    def on_click(self) -> None:
        self.post_message(self.Clicked())

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._history = LoadHistory()
        self._state: AppState | None = None
        self._moment: tuple[int, ServerOptions, str] | None = None
        self._left: tuple[Part, ...] = ()
        self._right: tuple[Part, ...] = ()
        self._second: tuple[Part, ...] = ()

    def show(self, state: AppState, now: float, options: ServerOptions, tuning: str = "") -> None:
        """Shows the state; `now` is in Unix seconds. Paints only if something reads differently.

        `tuning` is the load or sweep that runs, in a few words.
        """
        tick = int(now / TICK_S)
        if state is self._state and (tick, options, tuning) == self._moment:
            return
        self._state, self._moment = state, (tick, options, tuning)
        self._history.sample(state.worker, now)
        left, right = (*left_parts(state, now), *tuning_parts(tuning)), right_parts(state, now)
        second = second_parts(state, now, options, self._history.samples)
        if (left, right, second) != (self._left, self._right, self._second):
            self._left, self._right, self._second = left, right, second
            self.refresh()

    def render(self) -> Content:
        width = self.content_size.width
        lines = fit((*self._left, *self._right), width, _DOT)
        left = joined(lines[: len(self._left)], _DOT)
        right = joined(lines[len(self._left) :], _DOT)
        blank = Span(" " * max(width - width_of(left) - width_of(right), 1))
        second = joined(fit(self._second, width, _GAP), _GAP)
        return to_contents(((*left, blank, *right), second))
