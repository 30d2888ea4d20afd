"""Events as text for users: a sign and one sentence. Some of them are log lines too."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent_tui.files import shown_path
from agent_tui.model import events as ev
from agent_tui.model import session_events as se
from agent_tui.model.child import ProcessKind
from agent_tui.model.logs import LogLevel
from agent_tui.model.wording import counted, duration_text


def event_text(event: ev.Event) -> str | None:
    """Return an event as text, which may have several lines; None if the event is not shown as text."""
    form = _FORMS.get(type(event))
    return None if form is None else form(event)


def log_line_of(event: ev.Event) -> tuple[LogLevel, str] | None:
    """Return the level and text of the log line of an event; None for events that are not logged."""
    level = _LEVELS.get(type(event))
    text = event_text(event) if level is not None else None
    return None if level is None or text is None else (level(event), text.strip())


def path_text(path: str) -> str:
    """Return a path relative to the working directory, or with `~`."""
    try:
        folder = Path.cwd()
    except OSError:  # it was deleted
        folder = None
    return shown_path(Path(path), os.environ, folder)


def _interpreter(e: ev.InterpreterChosen) -> str:
    others = (
        *(f"skipped {miss}" for miss in e.misses),
        e.package,
        e.typescript and f"TypeScript: {e.typescript}",
    )
    lines = (f"  {e.language} {e.version}: {path_text(e.path)} ({e.found_as})", *filter(None, others))
    return "\n".join(lines)


def _registered(e: ev.WorkerRegistered) -> str:
    name = f"as {e.agent_name!r}" if e.agent_name else "for every new room (no agent name)"
    where = f", deployment {e.deployment}" if e.deployment else ""
    server = f"{e.url} ({e.server}, LiveKit {e.server_version})"
    return f"● registered {name}{where} at {server}, worker {e.worker_id}"


def _advised(reason: str, todo: str) -> str:
    return f"{reason}; {todo}" if todo else reason


def _disconnected(e: ev.WorkerDisconnected) -> str:
    then = "no retry" if e.retry_in_s is None else f"retrying in {duration_text(e.retry_in_s)}"
    return f"○ not registered: {_advised(e.reason, e.todo)}; {then}"


def _generation_ready(e: ev.GenerationReady) -> str:
    sdk = f" {e.sdk_version}" if e.sdk_version else ""
    took = f" {duration_text(e.seconds)} after the save" if e.seconds is not None else ""
    why = f" ({e.start_reason})" if e.start_reason else ""
    back = f"; rolled back to {e.rolled_back_to}, until the next save" if e.rolled_back_to else ""
    return f"✓ generation {e.generation} ready{took}: {e.runtime}{sdk}, {e.start_method.value}{why}{back}"


def _generation_failed(e: ev.GenerationFailed) -> str:
    place = f" ({path_text(e.file)}" + (f":{e.line})" if e.line else ")") if e.file else ""
    trace = f"\n{e.traceback.rstrip()}" if e.traceback else ""
    return f"✗ generation {e.generation} failed to load: {_advised(f'{e.error}{place}', e.todo)}{trace}"


def _starts_failing(e: ev.StartsFailing) -> str:
    jobs = "accepted jobs wait" if e.accepting else "offers are refused"
    return (
        f"⚠ processes of generation {e.generation} fail to start: {_advised(e.error, e.todo)}; {jobs}; "
        f"retrying in {duration_text(e.retry_in_s)} (attempt {e.failures + 1})"
    )


def _watching(e: ev.WatchingChanged) -> str:
    files = (
        f"; ignored, because loading rewrites them: {', '.join(map(path_text, e.ignored))}"
        if e.ignored
        else ""
    )
    return f"  reload {'paused' if e.paused else 'on'}{files}"


def _process(e: ev.ProcessChanged) -> str | None:
    """Return a line for a process that is warm or did not end gracefully.

    None for a blank that ended on request: blanks start and end as needed.
    """
    if e.kind is ProcessKind.BLANK and e.ended_by in (None, ev.EndedBy.ORDER):
        return None
    if e.state is ev.ProcessState.IDLE:
        return f"  process {e.id} (pid {e.pid}) is warm"
    if e.state is not ev.ProcessState.ENDED or e.exit_code == 0:
        return None
    what = "process" if e.kind is ProcessKind.JOB else f"{e.kind} process"
    reason, status = e.reason or "", _status(e)
    shown = reason if status in reason else f"{reason} ({status})"
    return f"  {what} {e.id} (pid {e.pid}) ended: {shown}"


def _status(e: ev.ProcessChanged) -> str:
    if e.signal is None:
        return f"exited with code {e.exit_code}"
    try:
        return f"killed by {signal.Signals(e.signal).name}"
    except ValueError:
        return f"killed by signal {e.signal}"


def _offer_answered(e: ev.OfferAnswered) -> str | None:
    return None if e.accepted else f"  offer {e.job_id} declined" + (f": {e.error}" if e.error else "")


def _job_started(e: ev.JobStarted) -> str:
    since = (
        f"{e.offer_to_entry_ms:.0f} ms after its offer"
        if e.dispatch_to_entry_ms is None
        else f"{e.dispatch_to_entry_ms:.0f} ms after its dispatch"
    )
    if e.restarts:
        since = f"{e.offer_to_entry_ms:.0f} ms after its old process ended"
    verb = "restarted" if e.restarts else "started"
    temperature = "warm" if e.warm else "cold"
    return (
        f"▶ {e.room} {verb} · {since} · {temperature} · generation {e.generation} · {e.job_id}, pid {e.pid}"
    )


def _blocked(e: ev.ProcessBlocked) -> str:
    job = f", job {e.job_id}" if e.job_id else ""
    where = f" at {e.where}" if e.where else ""
    return f"⚠ event loop blocked for {duration_text(e.seconds)}{where}: pid {e.pid}{job}"


def _memory(e: ev.MemoryWarned) -> str:
    job = f", job {e.job_id}" if e.job_id else ""
    over = f"jobMemoryLimitMB = {e.limit_mb:g}" if e.over_limit else f"jobMemoryWarnMB = {e.warn_mb:g}"
    children = f", {e.children_mb:.0f} MB of it in child processes" if e.children_mb >= 1 else ""
    what = "; ending it" if e.over_limit else "" if e.limit_mb else "; no jobMemoryLimitMB is set"
    used = f"{e.used_mb:.0f} MB ({e.measure.upper()})"
    return (
        f"{'✗' if e.over_limit else '⚠'} memory: pid {e.pid}{job} uses {used}{children}, "
        f"more than {over}; {e.used_mb - e.baseline_mb:+.0f} MB since its start{what}"
    )


def _stopping(e: ev.Stopping) -> str:
    if not e.jobs:
        return f"  stopping: {e.reason}"
    if e.drain_s is None:
        time = f"may take up to {duration_text(e.deadline_s)} to end"
    elif e.drain_s:
        time = f"may continue for {duration_text(e.drain_s)} (drainTimeout)"
    else:
        time = "may continue with no time limit"
    return f"  stopping: {e.reason}; {counted(e.jobs, 'job')} {time}; Ctrl+C again kills everything"


def _message(e: se.MessageAdded) -> str:
    cut = " (interrupted)" if e.interrupted else ""
    return f"{'you  ' if e.role is se.Role.USER else 'agent'}  {e.text.strip()}{cut}"


def _tool_called(e: se.ToolCalled) -> str:
    took = "" if e.duration_ms is None else f" ({duration_text(e.duration_ms / 1000)})"
    return f"  ⚙ {e.name}({e.arguments}) {'✗' if e.is_error else '✓'}{took} {e.error or e.output}"


def _swap_waiting(e: se.SwapWaiting) -> str:
    what = f"session {e.session} of job {e.job_id}"
    if not e.to_generation:
        return f"  the swap of {what} was cancelled"
    return f"  the swap of {what} to generation {e.to_generation} waits for {e.tool or 'a tool'}"


def _pinned(e: ev.JobPinned) -> str:
    if e.pinned:
        return f"  job {e.job_id} is pinned to generation {e.generation}: reloads do not change it"
    return f"  job {e.job_id} is no longer pinned: the next reload applies to it"


def _swapped(e: se.Swapped) -> str:
    notes = "; ".join(e.notes)
    if e.reached is se.SwapReach.NONE:
        return f"⚠ session {e.session} of job {e.job_id} keeps generation {e.from_generation}: {notes}"
    what = "" if e.reached is se.SwapReach.ALL else " in part"
    took = duration_text(e.duration_ms / 1000)
    missed = f"; not swapped: {notes}" if notes else ""
    return f"● session {e.session} of job {e.job_id} runs generation {e.to_generation}{what} ({took}){missed}"


def _session_failed(e: se.SessionFailed) -> str | None:
    """Return a line for the first of identical failures."""
    if e.count > 1:
        return None
    what = f"{e.component.upper()}: " if e.component else ""
    retrying = ", retrying" if e.retrying else ""
    return f"✗ {what}{_advised(f'{e.error}{retrying}', e.todo)} · session {e.session} of job {e.job_id}"


def _session_ended(e: se.SessionEnded) -> str:
    return f"  session {e.session} of job {e.job_id} ended: {e.error or e.reason.replace('_', ' ')}"


def _session_started(e: se.SessionStarted) -> str:
    mode = (", realtime model" if e.realtime else "") + (", text only" if e.text_only else "")
    return f"  session {e.session} of job {e.job_id} started: agent {e.agent}{mode}"


_MARKS = {ev.JobStatus.SUCCESS: "✓", ev.JobStatus.FAILED: "✗", ev.JobStatus.TERMINATED: "■"}
_ENDS = {
    ev.JobStatus.SUCCESS: "succeeded",
    ev.JobStatus.FAILED: "failed",
    ev.JobStatus.TERMINATED: "was terminated",
}

_FORMS: dict[type[object], Callable[[Any], str | None]] = {
    se.SessionStarted: _session_started,
    se.MessageAdded: _message,
    se.ToolCalled: _tool_called,
    se.HandedOff: lambda e: f"  {e.from_agent} hands over to {e.to_agent}",
    se.TurnEnded: lambda e: f"✗ turn {e.turn} failed: {e.error}" if e.error else None,
    se.SessionFailed: _session_failed,
    se.SwapWaiting: _swap_waiting,
    se.Swapped: _swapped,
    se.SessionEnded: _session_ended,
    ev.Starting: lambda e: f"agent-tui {e.version} hosts {path_text(e.agent)}",
    ev.InterpreterChosen: _interpreter,
    ev.ServerChosen: lambda e: f"  server {e.url} ({'REMOTE, ' if e.remote else ''}{e.kind})",
    ev.HttpListening: lambda e: f"  health, /worker, and /metrics at {e.url}",
    ev.WorkerRegistered: _registered,
    ev.WorkerDisconnected: _disconnected,
    ev.WorkerRefused: lambda e: f"✗ {_advised(e.reason, e.todo)}",
    ev.ConnectionSuspect: lambda e: (
        "○ the server does not respond to pings" if e.suspect else "● the server responds to pings again"
    ),
    ev.GenerationReady: _generation_ready,
    ev.GenerationFailed: _generation_failed,
    ev.StartsFailing: _starts_failing,
    ev.StartsRecovered: lambda e: "✓ processes start again",
    ev.WatchingChanged: _watching,
    ev.JobRestarting: lambda e: f"↻ job {e.job_id} restarts, leaving generation {e.generation}: {e.reason}",
    ev.JobPinned: _pinned,
    ev.ProcessChanged: _process,
    ev.ProcessBlocked: _blocked,
    ev.MemoryWarned: _memory,
    ev.OfferAnswered: _offer_answered,
    ev.JobStarted: _job_started,
    ev.JobConnected: lambda e: (
        f"  job {e.job_id} joined {e.room} {e.entry_to_connected_ms:.0f} ms after its entry function started"
    ),
    ev.JobEnded: lambda e: (
        f"{_MARKS[e.status]} {e.room} {_ENDS[e.status]} after {duration_text(e.seconds)}: "
        f"{_advised(e.reason, e.todo)} · {e.job_id}"
    ),
    ev.JobLost: lambda e: f"✗ no job for {e.room}: {e.why}",
    ev.Dispatched: lambda e: f"  dispatched into {e.room}",
    ev.OptionsChanged: lambda e: (
        "  " + ", ".join(f"{name}: {old} → {new}" for name, (old, new) in e.changes.items())
    ),
    ev.Notice: lambda e: f"{'  ' if e.level < LogLevel.WARN else '⚠ '}{_advised(e.text, e.todo)}",
    ev.Stopping: _stopping,
    ev.Stopped: lambda e: "  stopped",
}

_ALWAYS_INFO: tuple[type[object], ...] = (
    ev.WorkerRegistered,
    ev.GenerationReady,
    ev.StartsRecovered,
    ev.JobStarted,
    ev.JobRestarting,
    ev.JobPinned,
    ev.Stopping,
)
_LEVELS: dict[type[object], Callable[[Any], LogLevel]] = {
    **{each: lambda _: LogLevel.INFO for each in _ALWAYS_INFO},
    ev.WorkerDisconnected: lambda _: LogLevel.WARN,
    ev.WorkerRefused: lambda _: LogLevel.ERROR,
    ev.GenerationFailed: lambda _: LogLevel.ERROR,
    ev.StartsFailing: lambda _: LogLevel.ERROR,
    ev.ProcessBlocked: lambda _: LogLevel.WARN,
    ev.MemoryWarned: lambda e: LogLevel.ERROR if e.over_limit else LogLevel.WARN,
    ev.JobEnded: lambda e: LogLevel.ERROR if e.status is ev.JobStatus.FAILED else LogLevel.INFO,
    ev.JobLost: lambda _: LogLevel.ERROR,
    se.SessionFailed: lambda e: LogLevel.WARN if e.retrying else LogLevel.ERROR,
    ev.Notice: lambda e: e.level,
}
"""The events that are log lines, and their levels."""
