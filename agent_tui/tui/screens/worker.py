"""Where the worker stands: all that the header has no room for, in lines that stay true while open."""

import math
from typing import ClassVar

from textual.binding import Binding, BindingType

from agent_tui.model.capacity import TARGET_LOAD, is_full
from agent_tui.model.events import InterpreterChosen
from agent_tui.model.state import AppState, Registration, WorkerView
from agent_tui.options.declare import ServerOptions
from agent_tui.options.urls import shown_url
from agent_tui.tui.screens.page import LiveTextPage, PageContext
from agent_tui.tui.widgets.log_text import clock
from agent_tui.tui.widgets.text import Line, Span, Tone, duration, one_line

_WORDS = {
    Registration.REGISTERED: ("● registered", Tone.GOOD),
    Registration.SUSPECT: ("◐ registered, but the server does not answer", Tone.WARN),
    Registration.CONNECTING: ("◌ connecting", Tone.WARN),
    Registration.BACKING_OFF: ("○ not registered, tried again soon", Tone.BAD),
    Registration.REFUSED: ("✗ refused: mend url, key or secret (E), or press r", Tone.BAD),
    Registration.OFFLINE: ("✗ offline, not tried again: press r", Tone.BAD),
}


def worker_lines(state: AppState, options: ServerOptions, now: float) -> tuple[Line, ...]:
    """A block each for the registration, the load that decides about offers, and where things are."""
    return (*_registration(state, now), (), *_offers(state, options), (), *_places(state))


def _registration(state: AppState, now: float) -> list[Line]:
    worker, (words, tone) = state.worker, _WORDS[state.worker.state]
    lines: list[Line] = [(Span(words, tone), Span(f"  for {duration(now - worker.since)}", Tone.DIM))]
    if worker.reason:
        lines.append(_fact("because", worker.reason))
    if worker.worker_id:
        lines.append(_fact("worker id", worker.worker_id))
    if state.server is not None:
        remote = ", REMOTE: other people may be served there" if state.server.remote else ""
        media = "" if state.server.media else " (no media: nobody can be in its rooms)"
        lines.append(
            _fact("server", f"{shown_url(state.server.url)}, {state.server.kind.value}{remote}{media}")
        )
    lines.append(_fact("version", worker.server or "–"))
    if worker.region or worker.node_id:
        lines.append(_fact("region", f"{worker.region or '–'}, node {worker.node_id or '–'}"))
    lines.append(_fact("reconnects", _reconnects(worker)))
    return lines


def _reconnects(worker: WorkerView) -> str:
    if not worker.last_loss:
        return str(worker.reconnects)
    return f"{worker.reconnects}, last lost at {clock(worker.lost_at, millis=False)}: {worker.last_loss}"


def _offers(state: AppState, options: ServerOptions) -> list[Line]:
    worker = state.worker
    full = is_full(worker.measured_load, options.load_threshold)
    threshold = "∞" if math.isinf(options.load_threshold) else f"{options.load_threshold:g}"
    name = (
        f"as {options.agent_name!r}" if options.agent_name else "without a name: every new room asks for it"
    )
    told = f"{worker.reported_load:.2f} told to the server"
    lines = [
        _fact("offered", f"{options.server_type} jobs, {name}"),
        _fact(
            "load", f"{worker.measured_load:.2f} measured, {told}; full from {threshold} on (loadThreshold)"
        ),
    ]
    held = {
        "the load is over the threshold": full,
        f"the server passes over workers at {TARGET_LOAD:g} or more": not full
        and worker.reported_load >= TARGET_LOAD,
        one_line(f"agent-tui is stopping: {state.stopping}"): state.stopping,
        one_line(f"no process becomes ready: {state.starts.error}"): not state.starts.accepting,
    }
    return lines + [
        (Span("  ▲ no offers now: ", Tone.WARN), Span(why)) for why, holds in held.items() if holds
    ]


def _places(state: AppState) -> list[Line]:
    found = (
        ("agent", state.agent),
        *_runs_on(state.interpreter),
        ("health", state.http_url and f"{state.http_url} (also /worker and /metrics)"),
        ("agent-tui", state.version),
    )
    return [_fact(name, value) for name, value in found if value]


def _runs_on(chosen: InterpreterChosen | None) -> tuple[tuple[str, str], ...]:
    if chosen is None:
        return ()
    return (
        (chosen.language, f"{chosen.path} ({chosen.version}, {chosen.found_as})"),
        *(("skipped", miss) for miss in chosen.misses),
        ("package", chosen.package),
        ("TypeScript", chosen.typescript),
    )


def _fact(name: str, value: str) -> Line:
    return (Span(f"  {name:<12}", Tone.DIM), Span(one_line(value)))


class WorkerPage(LiveTextPage):
    """Esc, i or q closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("i", "close", show=False)]

    def __init__(self, context: PageContext) -> None:
        super().__init__(
            "Worker",
            lambda: worker_lines(context.state(), context.state().settings.options, context.now()),
        )
