"""Events as lines for people: a time, what it is about, and one sentence."""

import signal
import time
from collections.abc import Callable
from typing import Any

from agent_tui.model import events as ev
from agent_tui.model.child import ProcessKind
from agent_tui.model.logs import LogLevel, LogLine


def to_line(stamped: ev.Stamped) -> str | None:
    """Return the line of one event; None for events that would only be noise here.

    What follows on further lines is indented, so that no text of an event looks like the next event.
    """
    form = _FORMS.get(type(stamped.event))
    text = None if form is None else form(stamped.event)
    return None if text is None else f"{_clock(stamped.ts)} {text}".replace("\n", "\n    ")


def log_to_line(log: LogLine) -> str:
    """A log line; further lines of a record (a traceback) are indented."""
    owner = log.job_id or log.source.process_id
    first, newline, rest = log.text.partition("\n")
    logger = f"{log.logger}: " if log.logger else ""
    extra = "".join(f"  {name}={value}" for name, value in log.fields.items() if name not in _KNOWN)
    head = f"{_clock(log.ts)} {log.level.label.upper():<5} {owner:<15} {logger}{first}{extra}"
    return f"{head}{newline}{rest}".replace("\n", "\n    ")


_KNOWN = frozenset({"job_id", "jobID", "room", "room_id", "pid", "process_id"})
"""Fields that the SDKs add to every record and that the line has already."""


def _clock(ts: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(ts)) + f".{int(ts * 1000) % 1000:03d}"


def _interpreter(e: ev.InterpreterChosen) -> str:
    others = (
        *(f"skipped {miss}" for miss in e.misses),
        e.package,
        e.typescript and f"TypeScript: {e.typescript}",
    )
    lines = (f"  {e.language} {e.version}: {e.path} ({e.found_as})", *filter(None, others))
    return "\n".join(lines)


def _registered(e: ev.WorkerRegistered) -> str:
    name = f"as {e.agent_name!r}" if e.agent_name else "for every new room (no agent name)"
    return f"● registered {name} as worker {e.worker_id} at {e.url} ({e.server}, LiveKit {e.server_version})"


def _disconnected(e: ev.WorkerDisconnected) -> str:
    then = "not tried again" if e.retry_in_s is None else f"next try in {e.retry_in_s:.1f} s"
    return f"○ not registered: {e.reason}; {then}"


def _generation_ready(e: ev.GenerationReady) -> str:
    sdk = f" {e.sdk_version}" if e.sdk_version else ""
    took = f", {e.seconds * 1000:.0f} ms after the save" if e.seconds is not None else ""
    why = f" ({e.start_reason})" if e.start_reason else ""
    back = f"; rolled back to {e.rolled_back_to}, until the next save" if e.rolled_back_to else ""
    return f"✓ generation {e.generation} is ready{took}: {e.runtime}{sdk}, {e.start_method.value}{why}{back}"


def _generation_failed(e: ev.GenerationFailed) -> str:
    place = f" at {e.file}" + (f":{e.line}" if e.line else "") if e.file else ""
    trace = f"\n{e.traceback.rstrip()}" if e.traceback else ""
    return f"✗ generation {e.generation} does not load{place}: {e.error}{trace}"


def _starts_failing(e: ev.StartsFailing) -> str:
    jobs = "accepted jobs wait" if e.accepting else "no offers are accepted"
    return (
        f"⚠ no process of generation {e.generation} becomes ready: {e.error}; "
        f"{jobs}; attempt {e.failures + 1} in {e.retry_in_s:.1f} s"
    )


def _watching(e: ev.WatchingChanged) -> str:
    over = f"; passed over: {', '.join(e.passed_over)}" if e.passed_over else ""
    return f"  saves are {'passed over' if e.paused else 'loaded'}{over}"


def _process(e: ev.ProcessChanged) -> str | None:
    """Only what one would want to know: warm processes, and ends that were not graceful.

    Blanks come and go as the stock needs them.
    """
    if e.kind is ProcessKind.BLANK and e.ended_by in (None, ev.EndedBy.ORDER):
        return None
    if e.state is ev.ProcessState.IDLE:
        return f"  process {e.id} (pid {e.pid}) is warm"
    if e.state is not ev.ProcessState.ENDED or e.exit_code == 0:
        return None
    what = "process" if e.kind is ProcessKind.JOB else f"{e.kind} process"
    return f"  {what} {e.id} (pid {e.pid}) ended with {_how(e)}: {e.reason}"


def _how(e: ev.ProcessChanged) -> str:
    if e.signal is None:
        return f"exit code {e.exit_code}"
    try:
        return signal.Signals(e.signal).name
    except ValueError:
        return f"signal {e.signal}"


def _offer_answered(e: ev.OfferAnswered) -> str | None:
    return None if e.accepted else f"  offer {e.job_id} declined" + (f": {e.error}" if e.error else "")


def _job_started(e: ev.JobStarted) -> str:
    since = (
        f"{e.offer_to_entry_ms:.0f} ms after its offer"
        if e.dispatch_to_entry_ms is None
        else f"{e.dispatch_to_entry_ms:.0f} ms after its dispatch"
    )
    if e.restarts:
        since = f"{e.offer_to_entry_ms:.0f} ms after its old process"
    began = "started anew" if e.restarts else "started"
    temperature = "warm" if e.warm else "cold"
    where = f"in {e.room}, generation {e.generation}, pid {e.pid}"
    return f"▶ job {e.job_id} {began} {where}, {temperature}, {since}"


def _blocked(e: ev.ProcessBlocked) -> str:
    job = f", job {e.job_id}" if e.job_id else ""
    where = f"; it is at {e.where}" if e.where else ""
    return f"⚠ pid {e.pid}{job}: its event loop has not answered for {e.seconds:.1f} s{where}"


def _memory(e: ev.MemoryWarned) -> str:
    job = f", job {e.job_id}" if e.job_id else ""
    over = f"jobMemoryLimitMB = {e.limit_mb:g}" if e.over_limit else f"jobMemoryWarnMB = {e.warn_mb:g}"
    started = f", {e.children_mb:.0f} MB of it in what it has started" if e.children_mb >= 1 else ""
    what = "; it is ended" if e.over_limit else "" if e.limit_mb else "; without jobMemoryLimitMB it goes on"
    used = f"{e.used_mb:.0f} MB ({e.measure.upper()})"
    return (
        f"{'✗' if e.over_limit else '⚠'} memory: pid {e.pid}{job} uses {used}{started}, "
        f"more than {over}; {e.used_mb - e.baseline_mb:+.0f} MB since its start{what}"
    )


def _stopping(e: ev.Stopping) -> str:
    if not e.jobs:
        return f"  stopping: {e.reason}"
    jobs = f"{e.jobs} {'job' if e.jobs == 1 else 'jobs'}"
    if e.drain_s is None:
        time = f"may take up to {e.deadline_s:.0f} s"
    else:
        time = f"may go on for {e.drain_s:.0f} s (drainTimeout)" if e.drain_s else "may go on without limit"
    return f"  stopping: {e.reason}; {jobs} {time}, Ctrl+C again ends everything at once"


_MARKS = {ev.JobStatus.SUCCESS: "✓", ev.JobStatus.FAILED: "✗", ev.JobStatus.TERMINATED: "■"}

BRIEF = (
    ev.Starting,
    ev.ServerChosen,
    ev.WorkerRegistered,
    ev.WorkerDisconnected,
    ev.WorkerRefused,
    ev.GenerationReady,
    ev.GenerationFailed,
    ev.StartsFailing,
    ev.StartsRecovered,
    ev.JobLost,
    ev.MemoryWarned,
    ev.Notice,
    ev.Stopping,
)
"""What is told where the run's own lines count: not each process and job."""


_FORMS: dict[type[object], Callable[[Any], str | None]] = {
    ev.Starting: lambda e: f"agent-tui {e.version} hosts {e.agent}",
    ev.InterpreterChosen: _interpreter,
    ev.ServerChosen: lambda e: f"  server {e.url} ({'REMOTE, ' if e.remote else ''}{e.kind})",
    ev.HttpListening: lambda e: f"  health and /worker at {e.url}",
    ev.WorkerRegistered: _registered,
    ev.WorkerDisconnected: _disconnected,
    ev.WorkerRefused: lambda e: f"✗ {e.reason}",
    ev.ConnectionSuspect: lambda e: (
        "○ the server does not answer" if e.suspect else "● the server answers again"
    ),
    ev.GenerationReady: _generation_ready,
    ev.GenerationFailed: _generation_failed,
    ev.StartsFailing: _starts_failing,
    ev.StartsRecovered: lambda e: "✓ processes become ready again",
    ev.WatchingChanged: _watching,
    ev.JobRestarting: lambda e: (
        f"↻ job {e.job_id} leaves generation {e.generation} to start anew: {e.reason}"
    ),
    ev.ProcessChanged: _process,
    ev.ProcessBlocked: _blocked,
    ev.MemoryWarned: _memory,
    ev.OfferAnswered: _offer_answered,
    ev.JobStarted: _job_started,
    ev.JobConnected: lambda e: (
        f"  job {e.job_id} joined {e.room} {e.entry_to_connected_ms:.0f} ms after its entry"
    ),
    ev.JobEnded: lambda e: (
        f"{_MARKS[e.status]} job {e.job_id} {e.status} after {e.seconds:.1f} s: {e.reason}"
    ),
    ev.JobLost: lambda e: f"✗ no job for {e.room}: {e.why}",
    ev.Dispatched: lambda e: f"  dispatched into {e.room}",
    ev.OptionsChanged: lambda e: (
        "  " + ", ".join(f"{name}: {old} → {new}" for name, (old, new) in e.changes.items())
    ),
    ev.Notice: lambda e: f"{'  ' if e.level < LogLevel.WARN else '⚠ '}{e.text}",
    ev.Stopping: _stopping,
    ev.Stopped: lambda e: "  stopped",
}
