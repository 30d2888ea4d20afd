"""The worker page: registration, load and offers, and addresses, refreshed while it is open."""

import math
from typing import ClassVar

from textual.binding import Binding, BindingType

from agent_tui.model.capacity import TARGET_LOAD, is_full
from agent_tui.model.events import InterpreterChosen
from agent_tui.model.state import AppState, RegistrationState, WorkerView
from agent_tui.options.declare import ServerOptions
from agent_tui.options.urls import shown_url
from agent_tui.tui.screens.page import PageContext, TextPage
from agent_tui.tui.widgets.header import exposed, is_cpu_load, retrying
from agent_tui.tui.widgets.log_text import clock
from agent_tui.tui.widgets.text import (
    Line,
    Span,
    Tone,
    duration,
    fact,
    one_line,
    percent,
    project_path,
    wrapped,
)

INDENT = 14
"""Cells before a fact's value."""

_WORDS = {
    RegistrationState.REGISTERED: ("● registered", Tone.GOOD),
    RegistrationState.SUSPECT: ("◐ registered · server not responding", Tone.WARN),
    RegistrationState.CONNECTING: ("◌ connecting", Tone.WARN),
    RegistrationState.BACKING_OFF: ("○ not registered", Tone.BAD),
    RegistrationState.REFUSED: ("✗ refused by the server · E edit url, key, or secret · r retry", Tone.BAD),
    RegistrationState.OFFLINE: ("✗ offline · r retry", Tone.BAD),
}

Fact = tuple[str, str]
"""A label and its value."""


def worker_lines(state: AppState, options: ServerOptions, now: float, width: int = 0) -> tuple[Line, ...]:
    """Return three blocks: registration, load and offers, and addresses. Width 0 does not wrap."""
    refused = no_offers(state, options)
    facts = (_registration(state), _load(state, options, refused), _addresses(state))
    registration, load, addresses = (
        [line for name, value in block for line in fact(name, value, INDENT, width)] for block in facts
    )
    return (
        _standing(state.worker, now),
        *(
            (Span("▲ " if at == 0 else "  ", Tone.WARN), Span(row, Tone.WARN))
            for at, row in enumerate(_no_offers_lines(refused, width))
        ),
        *registration,
        (),
        *load,
        (),
        *addresses,
    )


def _standing(worker: WorkerView, now: float) -> Line:
    words, tone = _WORDS[worker.state]
    if worker.state is RegistrationState.BACKING_OFF:
        words = f"{words} · {retrying(worker, now)}"
    return Span(words, tone), Span(f"  for {duration(now - worker.since)}", Tone.DIM)


def _registration(state: AppState) -> list[Fact]:
    worker, server = state.worker, state.server
    facts = [("reason", worker.reason), ("what to do", worker.todo), ("worker id", worker.worker_id)]
    if server is not None:
        remote = " · REMOTE, it may serve other people" if server.remote else ""
        media = "" if server.media else " · no audio"
        facts.append(("server", f"{shown_url(server.url)}, {server.kind.value}{remote}{media}"))
    facts.append(("version", worker.server))
    facts.append(("deployment", _deployment(state)))
    if worker.region or worker.node_id:
        node = f"node {worker.node_id}" if worker.node_id else ""
        facts.append(("region", ", ".join(filter(None, (worker.region, node)))))
    facts.append(("reconnects", _reconnects(worker)))
    return [(name, value) for name, value in facts if value]


def _deployment(state: AppState) -> str:
    worker, (layer, where) = state.worker, state.settings.resolution.sources["deployment"]
    if why := exposed(state):
        return f"▲ {why}"
    if not worker.deployment:
        return ""
    if not worker.knows_deployments:
        return f"{worker.deployment}, which this server ignores"
    source = where or layer
    return (
        f"{worker.deployment} ({source}) · test jobs and join links name it; calls from your own front end, "
        "SIP, or a playground arrive only if they name it too"
    )


def _reconnects(worker: WorkerView) -> str:
    if not worker.last_loss:
        return str(worker.reconnects)
    return f"{worker.reconnects}, last lost at {clock(worker.lost_at, millis=False)}: {worker.last_loss}"


def _load(state: AppState, options: ServerOptions, refused: str) -> list[Fact]:
    worker = state.worker
    is_cpu = is_cpu_load(state)
    shown = percent if is_cpu else "{:.2f}".format
    limit = (
        "no load limit (loadThreshold inf)"
        if math.isinf(options.load_threshold)
        else f"full at {shown(options.load_threshold)} (loadThreshold)"
    )
    name = (
        f"for agent name {options.agent_name}" if options.agent_name else "in every new room (no agentName)"
    )
    only = f" that names deployment {worker.deployment}" if worker.deployment else ""
    only = only if worker.knows_deployments else ""
    measured, reported = shown(worker.measured_load), shown(worker.reported_load)
    return [
        ("accepts", f"{options.server_type} jobs {name}{only}{' · none now' if refused else ''}"),
        ("cpu" if is_cpu else "load", f"{measured} measured, {reported} reported, {limit}"),
    ]


def no_offers(state: AppState, options: ServerOptions) -> str:
    """Return why the worker gets no offers now, as far as this side can tell; empty if it gets them.

    The first cause is enough: a worker that is full for any of them also reports a high load.
    """
    worker = state.worker
    if state.stopping:
        return one_line(f"agent-tui is stopping: {state.stopping}")
    if not state.starts.accepting:
        return one_line(f"job processes fail to start: {state.starts.error}")
    if is_full(worker.measured_load, options.load_threshold):
        return "the load is above loadThreshold"
    if worker.reported_load >= TARGET_LOAD:
        return f"the server skips workers that report a load of {TARGET_LOAD:g} or more"
    return ""


def _no_offers_lines(refused: str, width: int) -> list[str]:
    text = f"no offers now: {refused}"
    return (wrapped(text, width - 2) if width else [text]) if refused else []


def _addresses(state: AppState) -> list[Fact]:
    facts = (
        ("agent", project_path(state.agent)),
        *_interpreter(state.interpreter, state.agent),
        ("health", state.http_url and f"{state.http_url} (also /worker and /metrics)"),
        ("agent-tui", state.version),
    )
    return [(name, value) for name, value in facts if value]


def _interpreter(chosen: InterpreterChosen | None, agent: str) -> tuple[Fact, ...]:
    if chosen is None:
        return ()
    return (
        (chosen.language, f"{project_path(chosen.path, agent)} ({chosen.version}, {chosen.found_as})"),
        *(("skipped", miss) for miss in chosen.misses),
        ("package", chosen.package),
        ("TypeScript", chosen.typescript),
    )


class WorkerPage(TextPage):
    """Shows the state of the worker. Esc, i, or q closes the page."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("i", "close", show=False)]

    def __init__(self, context: PageContext) -> None:
        super().__init__(
            "Worker",
            context,
            lambda state, now, width: worker_lines(state, state.settings.options, now, width),
        )
