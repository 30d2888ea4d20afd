"""The pane above the processes: the steps of the start, and current problems (problems.py)."""

from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget
from textual.widgets import Static

from agent_tui.logs.sanitize import sanitize
from agent_tui.model.child import ProcessKind
from agent_tui.model.events import ProcessState
from agent_tui.model.state import AppState, RegistrationState
from agent_tui.options.declare import ServerOptions
from agent_tui.options.urls import shown_url
from agent_tui.tui.widgets.problems import Problem, all_lines, problems, problems_title
from agent_tui.tui.widgets.text import (
    Line,
    Span,
    Tone,
    milliseconds,
    one_line,
    project_path,
    to_contents,
)


class Status(Enum):
    """The status of a step: its glyph, word, and tone."""

    WAITING = ("·", "waiting", Tone.DIM)
    DOING = ("◌", "running", Tone.WARN)
    DONE = ("✓", "done", Tone.GOOD)
    FAILED = ("✗", "failed", Tone.BAD)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the start. `seconds` is how long it has taken; None if its start was not seen."""

    name: str
    status: Status
    detail: str = ""
    seconds: float | None = None


def steps(state: AppState, target: int) -> tuple[Step, ...]:
    """Return the steps of the start; `target` is numIdleProcesses."""
    return (_interpreter(state), _server(state), _code(state), _registration(state), _idle(state, target))


def _interpreter(state: AppState) -> Step:
    on = state.interpreter
    if on is None:
        return Step("interpreter", Status.DOING)
    path = project_path(on.path, state.agent)
    return Step(on.language, Status.DONE, f"{path} ({on.version}, {on.found_as})")


def _server(state: AppState) -> Step:
    if state.server is None:
        return Step("server", Status.DOING if state.interpreter else Status.WAITING)
    remote = "REMOTE, " if state.server.remote else ""
    return Step("server", Status.DONE, f"{shown_url(state.server.url)} ({remote}{state.server.kind})")


def _code(state: AppState) -> Step:
    generation = state.generation
    runtime = " ".join(filter(None, (generation.runtime, generation.sdk_version)))
    name, file = "agent file", PurePath(state.agent).name
    if generation.is_broken:
        return Step(name, Status.FAILED, generation.error)
    if generation.current:
        return Step(name, Status.DONE, f"{file}, {runtime}" if runtime else file)
    if generation.loading:
        return Step(name, Status.DOING, f"loading {file} and its imports")
    return Step(name, Status.WAITING, file)


def _registration(state: AppState) -> Step:
    name, worker = "registration", state.worker
    match worker.state:
        case RegistrationState.REGISTERED | RegistrationState.SUSPECT:
            return Step(name, Status.DONE, worker.worker_id)
        case RegistrationState.REFUSED | RegistrationState.OFFLINE:
            return Step(name, Status.FAILED, worker.reason)
        case RegistrationState.BACKING_OFF:
            return Step(name, Status.DOING, f"{worker.reason} · retrying")
    return Step(name, Status.DOING if state.generation.current else Status.WAITING)


def _idle(state: AppState, target: int) -> Step:
    jobs = [p for p in state.live_processes if p.kind is ProcessKind.JOB]
    ready = sum(p.state is not ProcessState.STARTING for p in jobs)
    counted = f"{min(ready, target)} of {target}"
    if state.generation.current and ready >= target:
        return Step("idle processes", Status.DONE, counted)
    if state.starts.failures:
        return Step("idle processes", Status.DOING, f"{counted} · {state.starts.error} · retrying")
    return Step("idle processes", Status.DOING if jobs else Status.WAITING, counted)


class StepTimes:
    """Measures how long each step takes, from one state to the next."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._took: dict[str, float] = {}

    def timed(self, plain: tuple[Step, ...], state: AppState, now: float) -> tuple[Step, ...]:
        """Return the steps with their seconds; a step that was done at the first state has none."""
        return tuple(
            Step(step.name, step.status, step.detail, self._seconds(step, state, now)) for step in plain
        )

    def _seconds(self, step: Step, state: AppState, now: float) -> float | None:
        name = step.name
        if step.status is Status.WAITING:
            self._started.pop(name, None)
            self._took.pop(name, None)
            return None
        if step.status is Status.DOING:
            self._took.pop(name, None)
            return max(now - self._started.setdefault(name, now), 0.0)
        if name in self._started:
            self._took.setdefault(name, max(now - self._started[name], 0.0))
        return self._took.get(name)


def step_lines(timed: tuple[Step, ...]) -> tuple[Line, ...]:
    """Return one line per step: glyph, word, name, seconds, detail."""
    return tuple(_step_line(step) for step in timed)


def _step_line(step: Step) -> Line:
    glyph, word, tone = step.status.value
    seconds = "" if step.seconds is None else milliseconds(1000 * step.seconds)
    return (
        Span(f"{glyph} {word:<10}", tone),
        Span(f"{step.name:<15}", Tone.DIM if step.status is Status.WAITING else Tone.PLAIN),
        Span(f"{seconds:>7}  "),
        Span(one_line(step.detail), Tone.DIM),
    )


def steps_in_brief(timed: tuple[Step, ...]) -> Line:
    """Return all steps in one line, to leave room for an error."""
    spans: list[Span] = []
    for step in timed:
        glyph, _, tone = step.status.value
        name = step.name.removesuffix(" processes")
        spans += [Span("  " if spans else ""), Span(glyph, tone), Span(f" {name}", Tone.DIM)]
    return tuple(spans)


TRACE_ROWS = 20
"""Maximum visible rows of a traceback."""

TRACE_ROWS_SERVING = 6
"""The maximum while an older generation serves, to leave room for its processes."""

TRACE_ROWS_LEAST = 4
"""With fewer rows left, including a blank one, no traceback is shown."""

BORDER = 2
"""Rows of the pane's border."""

LOW = 30
"""In terminals with fewer rows, no traceback is shown while a generation serves; `g` shows it."""

ROWS_SHARE = 3
"""Several problems take at most this share of the screen's rows; the first one takes what it needs."""

TRACE_LENGTH = 12_000
"""Maximum characters of a traceback; the last ones are kept, because the error is at the end."""


class StartPane(Vertical):
    """Shows the steps of the start, or current problems: the cause, where, and what to do.

    The app shows the pane while `needed` is True.
    """

    DEFAULT_CSS = """
    StartPane {
        height: auto;
        border: round $warning;
        padding: 0 1;
        &.-trouble { border: round $error; }
        & > #start-problems { height: auto; text-wrap: nowrap; text-overflow: ellipsis; }
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
        """Whether agent-tui is still starting, or there is a problem to show."""
        self._state: AppState | None = None
        self._started = False
        self.own: dict[str, Problem] = {}
        """Problems of the screen itself, by what they are about; all others are in the state."""
        self.found: tuple[Problem, ...] = ()
        """The problems that are shown or counted."""
        self._hidden: frozenset[str] = frozenset()
        """The ids of the problems that the user has hidden, until they are solved."""
        self._times = StepTimes()
        self._shown: dict[str, tuple[Line, ...]] = {}
        self._trace = ""
        self._trace_rows = 0
        self._problems = Static(markup=False, id="start-problems")
        self._steps = Static(markup=False, id="start-steps")
        self._trace_text = Static(markup=False)

    def compose(self) -> ComposeResult:
        yield self._problems
        yield self._steps
        with VerticalScroll(id="start-trace"):
            yield self._trace_text

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return the number of rows for the whole text; in fewer rows, the traceback scrolls."""
        above = sum(part.get_content_height(container, viewport, width) for part in self._above())
        return above + (1 + self._trace_rows if self._trace else 0)

    def on_resize(self) -> None:
        self._fit_trace()

    def _above(self) -> list[Static]:
        return [part for part in (self._problems, self._steps) if part.display]

    def _fit_trace(self) -> None:
        """Limit the height of the traceback to the rows that are left, which `height: auto` does not do."""
        room = self.content_size.height - sum(part.outer_size.height for part in self._above()) - 1
        self.query_one("#start-trace").styles.max_height = max(room, 1)

    def on_mount(self) -> None:
        if not self._shown:
            self._put((), step_lines(steps(AppState(), 0)), "")

    def show(self, state: AppState, now: float, options: ServerOptions) -> None:
        """Show the state; `now` is in Unix seconds."""
        current = () if state.stopping else (*problems(state, now, options), *self.own.values())
        self._hidden &= {each.id for each in current}
        self.found = found = tuple(each for each in current if each.id not in self._hidden)
        if state is self._state and not found and not self.needed:
            return
        self._state = state
        timed = self._times.timed(steps(state, options.num_idle_processes), state, now)
        self._started = self._started or (
            state.totals.started > 0 or all(step.status is Status.DONE for step in timed)
        )
        self.needed = bool(found) or not self._started
        if not found:
            self._put((), step_lines(timed), "")
        else:
            brief = () if state.generation.current else (steps_in_brief(timed),)
            low, room = self.app.size.height < LOW, self._room() - len(brief)
            lines = all_lines(found, self.content_size.width, self.app.size.height // ROWS_SHARE, room)
            no_trace = (low and state.generation.current) or room - len(lines) < TRACE_ROWS_LEAST
            self._put(lines, brief, "" if no_trace else found[0].trace)
        is_error = any(each.is_error for each in found)
        self.set_class(is_error, "-trouble")
        title = problems_title(found) if found else "Starting"
        if title != self.border_title:
            self.border_title = title
            self.border_subtitle = "Esc hide" if found else ""

    def _room(self) -> int:
        """Return the number of rows that the text can have, as far as `max-height` allows."""
        most, column = self.styles.max_height, self.parent
        assert isinstance(column, Widget)
        rows = column.size.height
        return (rows if most is None else int(most.resolve(column.size, self.app.size))) - BORDER

    def hide(self) -> None:
        """Hide the problems that are shown, each until it is solved."""
        self._hidden |= {each.id for each in self.found}
        self._state = None

    def _put(self, problems: tuple[Line, ...], steps: tuple[Line, ...], trace: str) -> None:
        for part, lines in ((self._problems, problems), (self._steps, steps)):
            if lines != self._shown.get(str(part.id)):
                same_rows = len(lines) == len(self._shown.get(str(part.id), ()))
                self._shown[str(part.id)] = lines
                part.update(to_contents(lines), layout=not same_rows)
                part.display = bool(lines)
                self.call_after_refresh(self._fit_trace)
        if trace != self._trace:
            self._trace = trace
            text = sanitize(trace[-TRACE_LENGTH:]).strip("\n")
            most = TRACE_ROWS_SERVING if self._state and self._state.generation.current else TRACE_ROWS
            self._trace_rows = min(text.count("\n") + 1, most)
            self._trace_text.update(Content(text))
            self.set_class(bool(trace), "-trace")
            self.call_after_refresh(self._to_the_last_frame)

    def _to_the_last_frame(self) -> None:
        self.query_one("#start-trace").scroll_end(animate=False, x_axis=False)
