"""The pane in the middle while agent-tui starts, and when something needs the user."""

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.widgets import Static

from agent_tui.logs.sanitise import sanitise
from agent_tui.model.state import AppState
from agent_tui.options.declare import ServerOptions
from agent_tui.tui.widgets.start_steps import (
    Status,
    StepTimes,
    step_lines,
    steps,
    steps_in_brief,
    trouble,
    trouble_lines,
)
from agent_tui.tui.widgets.text import Line, to_contents

TRACE_ROWS = 20
"""Rows of a traceback that are shown at once, at most."""

TRACE_ROWS_SERVING = 6
"""The same while an older generation serves: its jobs want to be seen too."""

LOW = 30
"""Rows of a terminal below which it is not shown then at all: the generations page has it."""

TRACE_LENGTH = 12_000
"""Characters of a traceback that are kept: its last ones, where the error is."""


class StartPane(Vertical):
    """Says what is being waited for; in trouble what happened, where, and what to do next.

    Whether it is on the screen is for the app to decide; `needed` says when it has something to say.
    """

    DEFAULT_CSS = """
    StartPane {
        height: auto;
        border: round $warning;
        padding: 0 1;
        &.-trouble { border: round $error; }
        & > #start-trouble { height: auto; }
        & > #start-steps { height: auto; text-wrap: nowrap; text-overflow: ellipsis; }
        & > #start-trace {
            height: auto;
            margin-top: 1;
            background: $surface;
            scrollbar-size: 1 1;
            display: none;
            &:focus { background: $boost; }
            & > Static { width: auto; height: auto; }
        }
        &.-trace > #start-trace { display: block; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.border_title = "Starting"
        self.needed = True
        """Whether something is still waited for since the start, or needs the user."""
        self._state: AppState | None = None
        self._started = False
        self._closed_failure = 0
        self._times = StepTimes()
        self._shown: dict[str, tuple[Line, ...]] = {}
        self._trace = ""
        self._trace_rows = 0
        self._trouble = Static(markup=False, id="start-trouble")
        self._steps = Static(markup=False, id="start-steps")
        self._trace_text = Static(markup=False)

    def compose(self) -> ComposeResult:
        yield self._trouble
        yield self._steps
        with VerticalScroll(id="start-trace"):
            yield self._trace_text

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many rows as there is to read; the traceback scrolls in what the app grants of them."""
        above = sum(part.get_content_height(container, viewport, width) for part in self._above())
        return above + (1 + self._trace_rows if self._trace else 0)

    def on_resize(self) -> None:
        self._fit_trace()

    def _above(self) -> list[Static]:
        return [part for part in (self._trouble, self._steps) if part.display]

    def _fit_trace(self) -> None:
        """Rows in auto height know nothing of the room that is left, so the traceback is told."""
        room = self.content_size.height - sum(part.outer_size.height for part in self._above()) - 1
        self.query_one("#start-trace").styles.max_height = max(room, 1)

    def on_mount(self) -> None:
        if not self._shown:
            self._put((), step_lines(steps(AppState(), 0)), "")

    def show(self, state: AppState, now: float, options: ServerOptions) -> None:
        """Shows the state; `now` is in Unix seconds."""
        if state is self._state and not self.needed:
            return
        self._state = state
        timed = self._times.timed(steps(state, options.num_idle_processes), state, now)
        found = None if self._is_closed(state) else trouble(state, options)
        self._started = self._started or (
            state.totals.started > 0 or all(step.status is Status.DONE for step in timed)
        )
        self.needed = found is not None or not self._started
        if found is None:
            self._put((), step_lines(timed), "")
        else:
            brief = () if state.generation.current else (steps_in_brief(timed),)
            low = state.generation.current > 0 and self.app.size.height < LOW
            self._put(trouble_lines(found), brief, "" if low else found.trace)
        self.set_class(found is not None, "-trouble")
        title = "Starting" if found is None else "Needs attention"
        if title != self.border_title:
            self.border_title = title

    def close(self) -> None:
        """Takes the message of a save that does not load away, until the next one that does not."""
        if self._state is not None and self._state.generation.current:
            self._closed_failure = self._state.generation.failed
            self._state = None

    def _is_closed(self, state: AppState) -> bool:
        generation = state.generation
        return generation.is_broken and generation.failed <= self._closed_failure

    def _put(self, trouble: tuple[Line, ...], steps: tuple[Line, ...], trace: str) -> None:
        for part, lines in ((self._trouble, trouble), (self._steps, steps)):
            if lines != self._shown.get(str(part.id)):
                same_rows = part is self._steps and len(lines) == len(self._shown.get(str(part.id), ()))
                self._shown[str(part.id)] = lines
                part.update(to_contents(lines), layout=not same_rows)
                part.display = bool(lines)
                self.call_after_refresh(self._fit_trace)
        if trace != self._trace:
            self._trace = trace
            text = sanitise(trace[-TRACE_LENGTH:]).strip("\n")
            most = TRACE_ROWS_SERVING if self._state and self._state.generation.current else TRACE_ROWS
            self._trace_rows = min(text.count("\n") + 1, most)
            self._trace_text.update(Content(text))
            self.set_class(bool(trace), "-trace")
            self.call_after_refresh(self._to_the_last_frame)

    def _to_the_last_frame(self) -> None:
        self.query_one("#start-trace").scroll_end(animate=False, x_axis=False)
