"""Formats events as JSON lines, a public format. One table has the fields of each event."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from agent_tui.model import events as ev
from agent_tui.model import session_events as se
from agent_tui.model.logs import LogLine


def event(event: ev.Event) -> dict[str, Any] | None:
    """Return the fields of an event; None for events that are not public."""
    form = _FORMS.get(type(event))
    return None if form is None else form(event)


def log_line(log: LogLine) -> dict[str, Any]:
    """Return the fields of a log line, as an event. Its `ts` is the time of the line."""
    body: dict[str, Any] = {
        "event": "log",
        "level": log.level.label,
        "source": f"{log.source.process_id}:{log.source.stream}",
        "job_id": log.job_id,
        "text": log.text,
    }
    if log.logger:
        body["logger"] = log.logger
    if log.fields:
        body["fields"] = log.fields
    return body


def line(body: dict[str, Any], ts: float, seq: int) -> str:
    """Return an event as one line of JSON. Numbers that JSON does not have (NaN, infinity) become null."""
    fields = {"event": body["event"], "ts": round(ts, 6), "seq": seq} | body
    return json.dumps({name: _writable(value) for name, value in fields.items()}, ensure_ascii=False)


def _writable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _writable(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_writable(inner) for inner in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _mb(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _steps(steps: ev.LoadSteps) -> dict[str, float]:
    """Return ms by step, in order, without steps that did not happen."""
    return {name: round(ms, 2) for name, ms in steps.measured}


def _process(e: ev.ProcessChanged) -> dict[str, Any]:
    body: dict[str, Any] = {
        "event": "process",
        "id": e.id,
        "pid": e.pid,
        "kind": e.kind.value,
        "state": e.state.value,
        "generation": e.generation,
    }
    if e.job_id is not None:
        body["job_id"] = e.job_id
    if e.state is ev.ProcessState.ENDED:
        body |= {"reason": e.reason, "exit_code": e.exit_code, "signal": e.signal, "ended_by": e.ended_by}
    return body


def _session(name: str, e: Any) -> dict[str, Any]:
    return {"event": name, "job_id": e.job_id, "session": e.session}


def _turn(name: str, e: Any) -> dict[str, Any]:
    return _session(name, e) | {"turn": e.turn}


def _metrics(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _ms(value) for name, value in metrics.items()}


_FORMS: dict[type[object], Callable[[Any], dict[str, Any]]] = {
    ev.Starting: lambda e: {
        "event": "starting",
        "version": e.version,
        "agent": e.agent,
        "agent_name": e.agent_name,
        "sessions": e.sessions,
    },
    ev.InterpreterChosen: lambda e: {
        "event": "interpreter",
        "path": e.path,
        "version": e.version,
        "found_as": e.found_as,
        "misses": e.misses,
        "language": e.language,
        "package": e.package,
        "typescript": e.typescript,
    },
    ev.ServerChosen: lambda e: {
        "event": "server",
        "kind": e.kind.value,
        "url": e.url,
        "remote": e.remote,
        "media": e.media,
    },
    ev.HttpListening: lambda e: {"event": "http", "url": e.url},
    ev.WorkerRegistered: lambda e: {
        "event": "registered",
        "worker_id": e.worker_id,
        "url": e.url,
        "server": e.server.value,
        "server_version": e.server_version,
        "agent_name": e.agent_name,
        "region": e.region,
        "node_id": e.node_id,
        "deployment": e.deployment,
    },
    ev.WorkerDisconnected: lambda e: {
        "event": "disconnected",
        "reason": e.reason,
        "todo": e.todo,
        "retry_in_s": None if e.retry_in_s is None else round(e.retry_in_s, 2),
    },
    ev.WorkerRefused: lambda e: {
        "event": "disconnected",
        "reason": e.reason,
        "todo": e.todo,
        "retry_in_s": None,
        "refused": True,
    },
    ev.ConnectionSuspect: lambda e: {"event": "link", "suspect": e.suspect},
    ev.GenerationReady: lambda e: {
        "event": "generation_ready",
        "generation": e.generation,
        "seconds": None if e.seconds is None else round(e.seconds, 4),
        "cause": e.cause,
        "runtime": e.runtime,
        "sdk_version": e.sdk_version,
        "start_method": e.start_method.value,
        "start_reason": e.start_reason,
        "load_ms": _ms(e.load_ms),
        "changed": e.changed,
        "steps": _steps(e.steps),
        "rolled_back_to": e.rolled_back_to or None,
    },
    ev.GenerationFailed: lambda e: {
        "event": "generation_failed",
        "generation": e.generation,
        "error": e.error,
        "file": e.file,
        "line": e.line,
        "traceback": e.traceback,
        "cause": e.cause,
        "seconds": None if e.seconds is None else round(e.seconds, 4),
        "steps": _steps(e.steps),
        "todo": e.todo,
    },
    ev.StartsFailing: lambda e: {
        "event": "starts_failing",
        "generation": e.generation,
        "failures": e.failures,
        "error": e.error,
        "retry_in_s": round(e.retry_in_s, 2),
        "accepting": e.accepting,
        "file": e.file,
        "line": e.line,
        "traceback": e.traceback,
        "ended_by": e.ended_by,
        "todo": e.todo,
    },
    ev.StartsRecovered: lambda e: {"event": "starts_recovered"},
    ev.WatchingChanged: lambda e: {"event": "watching", "paused": e.paused, "passed_over": e.ignored},
    ev.ProcessChanged: _process,
    ev.ProcessBlocked: lambda e: {
        "event": "blocked",
        "process": e.process_id,
        "pid": e.pid,
        "job_id": e.job_id,
        "seconds": round(e.seconds, 2),
        "where": e.where,
        "stacks": e.stacks,
    },
    ev.MemoryWarned: lambda e: {
        "event": "memory_limit" if e.over_limit else "memory_warning",
        "process": e.process_id,
        "pid": e.pid,
        "job_id": e.job_id,
        "used_mb": _mb(e.used_mb),
        "measure": e.measure,
        "rss_mb": _mb(e.rss_mb),
        "uss_mb": _mb(e.uss_mb),
        "warn_mb": e.warn_mb,
        "limit_mb": e.limit_mb or None,
        "baseline_mb": _mb(e.baseline_mb),
        "children_mb": _mb(e.children_mb),
        "uptime_s": round(e.uptime_s, 1),
    },
    ev.OfferReceived: lambda e: {
        "event": "offer",
        "job_id": e.job_id,
        "room": e.room,
        "test_dispatch": e.test_dispatch or None,
        "test_load": e.test_load or None,
    },
    ev.OfferAnswered: lambda e: {
        "event": "offer_answered",
        "job_id": e.job_id,
        "accepted": e.accepted,
        "terminate": e.terminate,
        "error": e.error,
    },
    ev.JobStarted: lambda e: {
        "event": "job_started",
        "job_id": e.job_id,
        "room": e.room,
        "pid": e.pid,
        "generation": e.generation,
        "dispatch_to_entry_ms": _ms(e.dispatch_to_entry_ms),
        "offer_to_entry_ms": _ms(e.offer_to_entry_ms),
        "warm": e.warm,
        "process": e.process_id,
        "restarts": e.restarts,
        "test_dispatch": e.test_dispatch or None,
    },
    ev.JobConnected: lambda e: {
        "event": "job_connected",
        "job_id": e.job_id,
        "room": e.room,
        "entry_to_connected_ms": _ms(e.entry_to_connected_ms),
    },
    ev.JobRestarting: lambda e: {
        "event": "job_restarting",
        "job_id": e.job_id,
        "room": e.room,
        "generation": e.generation,
        "reason": e.reason,
    },
    ev.JobPinned: lambda e: {
        "event": "job_pinned",
        "job_id": e.job_id,
        "room": e.room,
        "generation": e.generation,
        "pinned": e.pinned,
    },
    ev.JobEnded: lambda e: {
        "event": "job_ended",
        "job_id": e.job_id,
        "room": e.room,
        "pid": e.pid,
        "generation": e.generation,
        "status": e.status.value,
        "reason": e.reason,
        "seconds": round(e.seconds, 3),
        "ended_by": e.ended_by,
        "exit_code": e.exit_code,
        "signal": e.signal,
        "traceback": e.traceback,
        "test_dispatch": e.test_dispatch or None,
        "todo": e.todo,
    },
    ev.JobLost: lambda e: {
        "event": "job_lost",
        "room": e.room,
        "why": e.why,
        "job_id": e.job_id,
        "test_dispatch": e.test_dispatch or None,
    },
    ev.Dispatched: lambda e: {
        "event": "dispatched",
        "room": e.room,
        "agent_name": e.agent_name,
        "dispatch_id": e.dispatch_id,
        "test_dispatch": e.test_dispatch,
    },
    ev.OptionsChanged: lambda e: {
        "event": "options_changed",
        **{name: list(change) for name, change in e.changes.items()},
    },
    ev.Notice: lambda e: {
        "event": "log",
        "level": e.level.label,
        "source": "agent-tui",
        "job_id": None,
        "text": f"{e.text}; {e.todo}" if e.todo else e.text,
        **({"about": e.about} if e.about else {}),
        **({"file": e.file, "line": e.line} if e.file else {}),
    },
    ev.Stopping: lambda e: {
        "event": "stopping",
        "reason": e.reason,
        "jobs": e.jobs,
        "deadline_s": e.deadline_s,
        "drain_s": e.drain_s,
    },
    ev.Stopped: lambda e: {"event": "stopped", "reason": e.reason},
    se.SessionStarted: lambda e: (
        _session("session_started", e)
        | {
            "agent": e.agent,
            "text_only": e.text_only,
            "generation": e.generation,
            "realtime": e.realtime,
        }
    ),
    se.AgentStateChanged: lambda e: _session("agent_state", e) | {"state": e.state},
    se.UserStateChanged: lambda e: _session("user_state", e) | {"state": e.state},
    se.TurnStarted: lambda e: (
        _turn("turn_started", e) | {"typed": e.typed, "generation": e.generation, "text": e.text}
    ),
    se.MessageDelta: lambda e: _turn("message_delta", e) | {"text": e.text},
    se.MessageAdded: lambda e: (
        _turn("message", e)
        | {
            "role": e.role.value,
            "text": e.text,
            "interrupted": e.interrupted,
            "generation": e.generation,
            "metrics": _metrics(e.metrics),
            "started_speaking_at": e.started_speaking_at,
            "stopped_speaking_at": e.stopped_speaking_at,
        }
    ),
    se.ToolStarted: lambda e: _turn("tool_started", e) | {"name": e.name, "arguments": e.arguments},
    se.ToolCalled: lambda e: (
        _turn("tool_call", e)
        | {
            "name": e.name,
            "arguments": e.arguments,
            "output": e.output,
            "is_error": e.is_error,
            "error": e.error or None,
            "duration_ms": _ms(e.duration_ms),
        }
    ),
    se.HandedOff: lambda e: _turn("handoff", e) | {"from_agent": e.from_agent, "to_agent": e.to_agent},
    se.EndOfTurnPredicted: lambda e: (
        _turn("end_of_turn", e) | {"probability": round(e.probability, 4), "threshold": round(e.threshold, 4)}
    ),
    se.TurnEnded: lambda e: (
        _turn("turn_ended", e)
        | {
            "typed": e.typed,
            "duration_ms": _ms(e.duration_ms),
            "first_delta_ms": _ms(e.first_delta_ms),
            "metrics": _metrics(e.metrics),
            "error": e.error or None,
        }
    ),
    se.UsageChanged: lambda e: (
        _session("usage", e) | {"model": e.model, "provider": e.provider, **e.units, "cost": e.cost}
    ),
    se.SessionFailed: lambda e: (
        _session("session_error", e)
        | {
            "component": e.component,
            "error": e.error,
            "provider": e.provider,
            "kind": e.kind.value,
            "names": e.names,
            "host": e.host,
            "status": e.status or None,
            "retrying": e.retrying,
            "count": e.count,
            "todo": e.todo,
        }
    ),
    se.SwapWaiting: lambda e: (
        _turn("swap_waiting", e) | {"to_generation": e.to_generation or None, "tool": e.tool or None}
    ),
    se.Swapped: lambda e: (
        _turn("swapped", e)
        | {
            "from_generation": e.from_generation,
            "to_generation": e.to_generation,
            "reached": e.reached.value,
            "notes": e.notes,
            "duration_ms": _ms(e.duration_ms),
            "changed": e.changed,
        }
    ),
    se.SessionEnded: lambda e: _session("session_ended", e) | {"reason": e.reason, "error": e.error or None},
}
