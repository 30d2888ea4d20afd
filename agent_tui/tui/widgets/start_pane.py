"""The pane above the processes while agent-tui starts, and when an error needs the user."""

from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.widgets import Static

from agent_tui.logs.sanitise import sanitise
from agent_tui.model.child import ProcessKind
from agent_tui.model.events import ProcessState
from agent_tui.model.state import AppState, RegistrationState
from agent_tui.options.declare import ServerOptions
from agent_tui.options.urls import shown_url
from agent_tui.tui.widgets.text import Line, Span, Tone, one_line, project_path, to_contents, wrapped


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


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error that needs the user: what happened, where, and what to do; `trace` may have many lines."""

    title: str
    what: str
    place: str
    todo: tuple[str, ...]
    trace: str = ""


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
    seconds = "" if step.seconds is None else f"{step.seconds:.1f} s"
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
        spans += [Span("  " if spans else ""), Span(glyph, tone), Span(f" {step.name}", Tone.DIM)]
    return tuple(spans)


def trouble(state: AppState, options: ServerOptions) -> Trouble | None:
    """Return the error that needs the user, or None; errors of the file come before those of the server."""
    generation, worker = state.generation, state.worker
    if generation.is_broken:
        return _broken(state)
    if worker.state is RegistrationState.REFUSED:
        return Trouble("The server refused the worker", worker.reason, "", _credentials(options))
    if worker.state is RegistrationState.OFFLINE:
        return Trouble("The server is unreachable", worker.reason, "", _unreachable(state))
    return None


def _broken(state: AppState) -> Trouble:
    generation = state.generation
    file = project_path(generation.file or state.agent, state.agent)
    place = f"{file}:{generation.line}" if generation.file and generation.line else file
    edit = "e edit line" if generation.file and generation.line else "e edit"
    if generation.failed == generation.current:
        retries = (
            "agent-tui retries the start; accepted jobs wait for it"
            if state.starts.accepting
            else "agent-tui retries the start and accepts no offers until it succeeds"
        )
        todo: tuple[str, ...] = (retries, f"fix it and save · {edit} · {_retry(state)}")
        title = "The agent's processes fail to start"
        return Trouble(title, generation.error, place, todo, generation.traceback)
    if generation.current:
        todo = (f"generation {generation.current} still takes new jobs · {edit} · g details · Esc hide",)
    else:
        todo = (f"fix it and save · {edit} · {_retry(state)}",)
    return Trouble("The agent file failed to load", generation.error, place, todo, generation.traceback)


def _retry(state: AppState) -> str:
    return "r retry (reload is paused: p resume)" if state.watching.paused else "r retry"


def _credentials(options: ServerOptions) -> tuple[str, ...]:
    keys = "LIVEKIT_API_KEY and LIVEKIT_API_SECRET in .env.local or .env"
    flags = "--api-key and --api-secret"
    if options.worker_token:
        keys = f"LIVEKIT_WORKER_TOKEN, or {keys}"
        flags = f"--worker-token, {flags}"
    return (
        f"fix {keys}, then press r",
        f"or quit (q) and restart with {flags}, with --url for another server, or with --local",
    )


def _unreachable(state: AppState) -> tuple[str, ...]:
    server = shown_url(state.server.url) if state.server is not None else "the server"
    return (
        f"start {one_line(server, 200)} again, then press r",
        "or quit (q) and restart with --url for another server, or with --local for the embedded one",
    )


def trouble_lines(found: Trouble, width: int = 0) -> tuple[Line, ...]:
    """Return what happened, where, and what to do. Width 0 does not wrap."""
    lines: list[Line] = [(Span(f"✗ {found.title}", Tone.BAD),)]
    if found.place:
        lines.append((Span(one_line(found.place), Tone.STRONG),))
    lines.append((Span(one_line(found.what) or "no reason given"),))
    for todo in found.todo:
        first, *rest = wrapped(todo, width - 2) if width else [todo]
        lines.append((Span("→ ", Tone.WARN), Span(first)))
        lines += [(Span(f"  {row}"),) for row in rest]
    return tuple(lines)


TRACE_ROWS = 20
"""Maximum visible rows of a traceback."""

TRACE_ROWS_SERVING = 6
"""The maximum while an older generation serves, to leave room for its processes."""

LOW = 30
"""In terminals with fewer rows, no traceback is shown while an older generation serves; `g` shows it."""

TRACE_LENGTH = 12_000
"""Maximum characters of a traceback; the last ones are kept, because the error is at the end."""


class StartPane(Vertical):
    """Shows the steps of the start, or an error: what happened, where, and what to do.

    The app shows the pane while `needed` is True.
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
        """Whether agent-tui is still starting, or an error needs the user."""
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
        """Return the rows for all of its text; in fewer rows, the traceback scrolls."""
        above = sum(part.get_content_height(container, viewport, width) for part in self._above())
        return above + (1 + self._trace_rows if self._trace else 0)

    def on_resize(self) -> None:
        self._fit_trace()

    def _above(self) -> list[Static]:
        return [part for part in (self._trouble, self._steps) if part.display]

    def _fit_trace(self) -> None:
        """Limit the traceback to the rows left; with `height: auto` it would not know them."""
        room = self.content_size.height - sum(part.outer_size.height for part in self._above()) - 1
        self.query_one("#start-trace").styles.max_height = max(room, 1)

    def on_mount(self) -> None:
        if not self._shown:
            self._put((), step_lines(steps(AppState(), 0)), "")

    def show(self, state: AppState, now: float, options: ServerOptions) -> None:
        """Show the state; `now` is in Unix seconds."""
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
            self._put(trouble_lines(found, self.content_size.width), brief, "" if low else found.trace)
        self.set_class(found is not None, "-trouble")
        title = "Starting" if found is None else "Needs attention"
        if title != self.border_title:
            self.border_title = title

    def close(self) -> None:
        """Hide the error of a save that failed to load, until the next one fails."""
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
