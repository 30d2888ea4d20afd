"""The two header lines: code, registration, server; then jobs, idle processes, load, memory, and latency.

Each figure keeps its position: it takes the room of its largest usual value. Notices that come and go are on
the right.
"""

import math
from collections import deque
from collections.abc import Sequence
from pathlib import PurePath

from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from agent_tui.model.capacity import is_full
from agent_tui.model.child import ProcessKind
from agent_tui.model.dispatches import exposure
from agent_tui.model.events import ProcessState, ServerChosen
from agent_tui.model.state import (
    AppState,
    GenerationView,
    JobPhase,
    ProcessView,
    RegistrationState,
    WorkerView,
)
from agent_tui.options.declare import ServerOptions
from agent_tui.options.resolve import DEFAULT
from agent_tui.options.urls import shown_url
from agent_tui.tui.actions import ActionRequested
from agent_tui.tui.widgets.problems import problems, problems_title
from agent_tui.tui.widgets.text import (
    NONE,
    Line,
    Part,
    Span,
    Tone,
    clip,
    counted,
    duration,
    fit,
    in_mb,
    joined,
    milliseconds,
    one_line,
    pad,
    part,
    percent,
    percentile,
    to_content,
    to_contents,
    width_of,
)

RECENT_JOBS = 100
"""The number of recent jobs that the latencies are computed from."""

SAMPLE_S = 2.0
SAMPLES = 8
BARS = "▁▂▃▄▅▆▇█"
GENERATION_WIDTH = 23
"""Cells of `gen 10 ✓, 11 ◌ loading`, so that a load changes nothing else in the first line."""


class LoadHistory:
    """The last `SAMPLES` values of the measured load, one every `SAMPLE_S` seconds while registered."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self._sampled_at = -math.inf

    @property
    def samples(self) -> tuple[float, ...]:
        return tuple(self._samples)

    def sample(self, worker: WorkerView, now: float) -> None:
        """Take a sample if one is due. Does nothing before the first measurement."""
        measured = self._samples or worker.measured_load > 0
        if worker.is_registered and measured and abs(now - self._sampled_at) >= SAMPLE_S:
            self._samples.append(worker.measured_load)
            self._sampled_at = now


def bars(samples: tuple[float, ...], top: float) -> str:
    """Return samples as bars; `top` (the threshold, or 1 if there is none) is a full bar."""
    full = top if 0 < top < math.inf else 1.0
    return "".join(BARS[min(int(max(value, 0.0) / full * len(BARS)), len(BARS) - 1)] for value in samples)


def left_parts(state: AppState) -> tuple[Part, ...]:
    """Return the parts that describe the code: file, generation, runtime, and agent name."""
    failing = state.starts.is_failing and state.generation.loading <= state.generation.current
    code = _failing_part(state) if failing else _generation_part(state.generation)
    parts = [_file_part(state.agent)]
    if state.watching.paused:
        parts.append(part(1, (Span("‖ reload paused", Tone.WARN),), (Span("‖ paused", Tone.WARN),)))
    if back := state.generation.rolled_back_to:
        until = Span(" until the next save or r", Tone.DIM)
        rolled_back = Span(f"↶ rolled back to {back}", Tone.WARN)
        parts.append(Part(((8, (rolled_back, until)), (1, (rolled_back,)))))
    runtime = " ".join(filter(None, (state.generation.runtime, state.generation.sdk_version)))
    if runtime:
        parts.append(part(6, (Span(one_line(runtime, 40), Tone.DIM),)))
    if state.worker.agent_name:
        name = clip(one_line(state.worker.agent_name), 30)
        parts.append(part(9, (Span("name ", Tone.DIM), Span(name))))
    if state.worker.deployment:
        deployment = clip(one_line(state.worker.deployment), 30)
        parts.append(part(7, (Span("deployment ", Tone.DIM), Span(deployment))))
    return (*parts, _widened(code, GENERATION_WIDTH))


def _widened(code: Part, width: int) -> Part:
    """Return the part with the longest variant in at least `width` cells."""
    (priority, line), *shorter = code.variants
    return Part(((priority, (*line, Span(" " * max(width - width_of(line), 0)))), *shorter))


def _file_part(agent: str) -> Part:
    title = Span("agent-tui", Tone.DIM if agent else Tone.STRONG)
    if not agent:
        return part(0, (title,))
    file = one_line(PurePath(agent).name)
    full, short = Span(clip(file, 40), Tone.STRONG), Span(clip(file, 12), Tone.STRONG)
    return Part(((5, (title, Span("  "), full)), (2, (full,)), (0, (short,))))


def _generation_part(generation: GenerationView) -> Part:
    now = generation.current
    current: Line = (Span(f"gen {now} "), Span("✓", Tone.GOOD)) if now else ()
    if generation.loading > now:
        change: Line = (Span(f"{generation.loading} "), Span("◌ loading", Tone.WARN))
    elif generation.is_broken and generation.failed == now:
        return part(4, (Span(f"gen {now} "), Span("✗ fails to start", Tone.BAD)))
    elif generation.is_broken:
        change = (Span(f"{generation.failed} "), Span("✗ failed to load", Tone.BAD))
    elif now and generation.seconds is not None:
        took = Span(f" {milliseconds(generation.seconds * 1000)}", Tone.DIM)
        return Part(((6, (*current, took)), (3, current)))
    else:
        return part(3, current)
    short = (Span("gen "), *change)
    return Part(((4, (*current, Span(", "), *change)), (3, short)) if now else ((3, short),))


def _failing_part(state: AppState) -> Part:
    """Return the part for code whose processes fail to start; the pane at the top has the countdown."""
    number, bad = Span(f"gen {state.generation.current} "), Span("✗ fails to start", Tone.BAD)
    whys = (Span(f" · {clip(one_line(state.starts.error), width)}", Tone.DIM) for width in (100, 40))
    return Part((*((9, (number, bad, why)) for why in whys), (2, (number, bad))))


def tuning_parts(running: str) -> tuple[Part, ...]:
    """Return the part about the running load or sweep; empty if there is none."""
    return (part(1, (Span(f"◌ {running}", Tone.WARN),)),) if running else ()


def right_parts(state: AppState, now: float) -> tuple[Part, ...]:
    """Return the parts about the registration and the server."""
    standing = _registration_part(state, now)
    if state.server is None:
        return (standing,)
    if exposed(state):
        calls = (Span("▲ production calls can arrive", Tone.WARN),), (Span("▲ production", Tone.WARN),)
        return standing, Part(((5, calls[0]), (0, calls[1]))), _server_part(state.server)
    return standing, _server_part(state.server)


def exposed(state: AppState) -> str:
    """Return why production calls can reach this worker, which is in development; empty if they cannot."""
    worker, server = state.worker, state.server
    if server is None or not worker.is_registered:
        return ""
    production = state.settings.options.production
    known = worker.knows_deployments
    return exposure(server.url, worker.deployment, knows_deployments=known, production=production)


def _registration_part(state: AppState, now: float) -> Part:
    worker = state.worker
    if state.stopped or state.stopping:
        return part(0, (Span("■ stopped" if state.stopped else "■ stopping", Tone.WARN),))
    match worker.state:
        case RegistrationState.REGISTERED | RegistrationState.SUSPECT:
            return _online(worker, now)
        case RegistrationState.BACKING_OFF:
            return _backing_off(worker, now)
        case RegistrationState.REFUSED:
            return part(0, (Span("✗ refused by the server", Tone.BAD),), (Span("✗ refused", Tone.BAD),))
        case RegistrationState.OFFLINE:
            return part(0, (Span("✗ offline · r retry", Tone.BAD),), (Span("✗ offline", Tone.BAD),))
        case RegistrationState.CONNECTING if state.generation.current:
            return part(0, (Span("◌ connecting", Tone.WARN),))
    return part(0, (Span("○ not registered yet", Tone.DIM),))


def _online(worker: WorkerView, now: float) -> Part:
    good = worker.state is RegistrationState.REGISTERED
    state = Span("● registered", Tone.GOOD) if good else Span("◐ server not responding", Tone.WARN)
    again = f" ↻{worker.reconnects}" if worker.reconnects else ""
    minutes = max(int(now - worker.since), 0) // 60
    up = Span(f" · {duration(60 * minutes) if minutes else '<1 min'}{again}")
    id = Span(f" {clip(one_line(worker.worker_id), 10)}", Tone.DIM)
    return Part(((7, (state, id, up)), (3, (state, up)), (0, (state,))))


def retrying(worker: WorkerView, now: float) -> str:
    """Return when the next attempt to register starts: `retrying in 3 s`."""
    left = worker.since + (worker.retry_in_s or 0.0) - now
    return f"retrying in {duration(math.ceil(left))}" if left > 0 else "retrying now"


def _backing_off(worker: WorkerView, now: float) -> Part:
    then = Span(f" · {retrying(worker, now)}", Tone.WARN)
    state = Span("○ not registered", Tone.BAD)
    reasons = (Span(f" ({clip(one_line(worker.reason), width)})", Tone.DIM) for width in (100, 60))
    return Part((*((9, (state, reason, then)) for reason in reasons), (0, (state, then))))


def _server_part(server: ServerChosen) -> Part:
    url, host = one_line(shown_url(server.url)), one_line(server.host)
    if server.remote:
        names = ((8, f"{clip(url, 60)} "), (2, f"{clip(host, 40)} "), (0, ""))
        return Part(
            tuple((drop_priority, (Span(f" REMOTE {name}", Tone.LOUD),)) for drop_priority, name in names)
        )
    kind, silent = Span(server.kind.value), () if server.media else (Span(" · no audio", Tone.WARN),)
    return Part(
        ((8, (Span(f"{clip(url, 60)} ", Tone.DIM), kind, *silent)), (5, (kind, *silent)), (1, (kind,)))
    )


def figures(
    state: AppState, now: float, options: ServerOptions, samples: tuple[float, ...]
) -> tuple[Part, ...]:
    """Return the left parts of the second line: jobs, idle processes, load, memory, latency, warm hits."""
    if state.stopping and not state.stopped:
        return (_stopping_part(state, now),)
    running = sum(job.phase is JobPhase.RUNNING for job in state.jobs.values())
    return (
        part(1, _figure("jobs", str(running), 3)),
        _idle_part(state, options.num_idle_processes),
        _load_part(state, options, samples),
        _memory_part(state.live_processes),
        _latency_part(state),
        _warm_part(state),
    )


def notices(state: AppState, options: ServerOptions) -> tuple[Part, ...]:
    """Return the right parts of the second line: the notices that come and go."""
    starting = sum(
        p.kind is ProcessKind.JOB and p.state is ProcessState.STARTING for p in state.live_processes
    )
    warned, over = (
        sum(_is_over(process, mb) for process in state.live_processes)
        for mb in (options.job_memory_warn_mb, options.job_memory_limit_mb)
    )
    bad = ((state.totals.failed, "failed"), (state.totals.lost, "lost"))
    full = state.worker.is_registered and is_full(state.worker.measured_load, options.load_threshold)
    found = (
        (3, starting, f"◌ {starting} starting", Tone.WARN),
        (1, full, "▲ full", Tone.WARN),
        (2, over, f"⚠ {over} over limit", Tone.WARN),
        (2, max(warned - over, 0), f"⚠ {warned - over} over warn", Tone.WARN),
        *((1, count, f"✗ {count} {word}", Tone.BAD) for count, word in bad),
    )
    return tuple(part(priority, (Span(text, tone),)) for priority, count, text, tone in found if count)


def _is_over(process: ProcessView, level_mb: float) -> bool:
    """Return whether a job process uses more memory than a level; 0 is no level."""
    points = process.memory.points
    return process.kind is ProcessKind.JOB and level_mb > 0 and bool(points) and points[-1][1] > level_mb


def _figure(name: str, value: str, width: int) -> Line:
    """Return a named value, padded to the width of the largest usual one."""
    return (Span(f"{name} ", Tone.DIM), Span(pad(value, max(width, len(value)))))


def _stopping_part(state: AppState, now: float) -> Part:
    jobs = len(state.live_jobs)
    what = f"waiting for {counted(jobs, 'job')}" if jobs else "waiting for processes to exit"
    has_limit = 0 < state.stop_by < math.inf
    limit = f" · forced stop in {duration(math.ceil(state.stop_by - now))}" if has_limit else ""
    reason = clip(one_line(state.stopping), 30)
    return part(
        0,
        (Span(f"■ {reason}: {what}{limit} · q kill now", Tone.WARN),),
        (Span(f"■ {what}{limit} · q kill now", Tone.WARN),),
        (Span(f"■ {what} · q kill now", Tone.WARN),),
    )


def is_cpu_load(state: AppState) -> bool:
    """Return whether the load is the machine's CPU load, not what a load function of the agent returns."""
    return state.settings.resolution.sources["loadFunc"][0] == DEFAULT


def _load_part(state: AppState, options: ServerOptions, samples: tuple[float, ...]) -> Part:
    """Return the CPU load, or what the agent's load function returns, with the threshold if there is one."""
    measured, threshold = state.worker.measured_load, options.load_threshold
    if is_cpu_load(state):
        limit = "" if math.isinf(threshold) else f"/{percent(threshold)}"
        figure = f"{percent(measured).removesuffix('%' if limit else '')}{limit}"
        load = _figure("cpu", figure, len(f"100{limit or '%'}"))
    else:
        limit = "" if math.isinf(threshold) else f"/{threshold:g}"
        load = _figure("load", f"{measured:.2f}{limit}", len(f"0.00{limit}"))
    drawn = bars(samples, threshold).rjust(SAMPLES, BARS[0])
    is_flat = set(drawn) <= {BARS[0]}  # it would look like an input line
    curve = Span(f" {' ' * SAMPLES if is_flat else drawn}", Tone.DIM)
    return Part(((6, (*load, curve)), (2, load)))


def _idle_part(state: AppState, target: int) -> Part:
    jobs = [p for p in state.live_processes if p.kind is ProcessKind.JOB]
    idle = sum(p.state is ProcessState.IDLE for p in jobs)
    return part(1, _figure("idle", f"{idle}/{target}", 5))


def _warm_part(state: AppState) -> Part:
    started, warm = state.totals.started, state.totals.warm
    share = percent(warm / started) if started else NONE
    return part(7, _figure("warm hits", share, 5))


def latencies(state: AppState) -> tuple[str, list[float]]:
    """Return the latency's name and its values for the recent jobs, in ms: since the dispatch if known."""
    recent = list(state.jobs.values())[-RECENT_JOBS:]
    times = [j.dispatch_to_entry_ms for j in recent if j.dispatch_to_entry_ms is not None]
    if times:
        return "dispatch→entry", times
    return "offer→entry", [j.offer_to_entry_ms for j in recent if j.offer_to_entry_ms is not None]


def _latency_part(state: AppState) -> Part:
    name, times = latencies(state)
    p95 = milliseconds(percentile(times, 0.95)) if times else NONE
    room = 6 + len("dispatch→entry") - len(name)
    return Part(((8, _figure(f"{name} p95", p95, room)), (4, _figure("p95", p95, 6))))


def _memory_part(live: tuple[ProcessView, ...]) -> Part:
    """Return the total PSS, or the total RSS if no process has a PSS.

    Processes without a PSS so far are left out: their RSS would count shared pages twice.
    """
    shares = [p.pss_mb for p in live if p.pss_mb is not None]
    resident = [p.rss_mb for p in live if p.rss_mb is not None]
    size = f"{in_mb(sum(shares or resident))} MB" if resident else NONE
    memory, measure = _figure("mem", size, 8), (" pss" if shares else " rss") if resident else ""
    measured = (Span("mem ", Tone.DIM), Span(size), Span(pad(measure, 12 - len(size)), Tone.DIM))
    return Part(((5, measured), (3, memory)))


_DOT = " · "
_GAP = "  "
NOTICES = 20
"""Cells that the figures leave free for notices, so that a notice never moves a figure."""

TICK_S = 0.25
"""The header's clock: without a new state, only its times change, in whole seconds."""


class Header(Widget):
    """The two header lines; on narrow screens they drop their least important parts."""

    DEFAULT_CSS = """
    Header {
        height: 2;
        padding: 0 1;
        background: $panel;
        color: $foreground;
    }
    """

    def on_click(self) -> None:
        self.post_message(ActionRequested("worker"))

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._history = LoadHistory()
        self._state: AppState | None = None
        self._moment: tuple[int, ServerOptions] | None = None
        self._left: tuple[Part, ...] = ()
        self._right: tuple[Part, ...] = ()
        self._figures: tuple[Part, ...] = ()
        self._notices: tuple[Part, ...] = ()

    def show(self, state: AppState, now: float, options: ServerOptions) -> None:
        """Show the state; `now` is in Unix seconds. Repaints only what has changed."""
        tick = int(now / TICK_S)
        if state is self._state and (tick, options) == self._moment:
            return
        self._state, self._moment = state, (tick, options)
        self._history.sample(state.worker, now)
        parts = (
            (*left_parts(state), *tuning_parts(state.tuning.summary)),
            (*self.alerts(state, now, options), *right_parts(state, now)),
            figures(state, now, options, self._history.samples),
            notices(state, options),
        )
        if parts != (self._left, self._right, self._figures, self._notices):
            self._left, self._right, self._figures, self._notices = parts
            self.refresh()

    def alerts(self, state: AppState, now: float, options: ServerOptions) -> tuple[Part, ...]:
        """Return more parts for the first line; none on the dashboard, which shows problems itself."""
        return ()

    def render(self) -> Content:
        width = self.content_size.width
        return to_contents((self._first_line(width), second_line(self._figures, self._notices, width)))

    def _first_line(self, width: int) -> Line:
        lines = fit((*self._left, *self._right), width, _DOT)
        return _apart(lines[: len(self._left)], lines[len(self._left) :], width, _DOT)


class PageHeader(Header):
    """The header's first line and the number of problems, above a page that covers the dashboard.

    Only terminals with enough rows show it (app.tcss).
    """

    DEFAULT_CSS = """
    PageHeader { dock: top; height: 1; display: none; }
    """

    class Opened(Message):
        """The page has opened; the header waits for the state."""

        def __init__(self, header: "PageHeader") -> None:
            super().__init__()
            self.header = header

    def on_mount(self) -> None:
        self.post_message(self.Opened(self))

    def alerts(self, state: AppState, now: float, options: ServerOptions) -> tuple[Part, ...]:
        found = problems(state, now, options)
        tone = Tone.BAD if any(each.is_error for each in found) else Tone.WARN
        return (part(0, (Span(problems_title(found), tone),)),) if found else ()

    def render(self) -> Content:
        return to_content(self._first_line(self.content_size.width))


def second_line(figures: tuple[Part, ...], notices: tuple[Part, ...], width: int) -> Line:
    """Return the second line: which figures fit depends on the width alone."""
    left = fit(figures, width - NOTICES, _GAP)
    free = width - width_of(joined(left, _GAP)) - len(_GAP)
    return _apart(left, fit(notices, free, _GAP), width, _GAP)


def _apart(left: Sequence[Line], right: Sequence[Line], width: int, gap: str) -> Line:
    """Return a line with the left parts at its start and the right ones at its end."""
    start, end = joined(left, gap), joined(right, gap)
    return (*start, Span(" " * max(width - width_of(start) - width_of(end), 1)), *end)
