"""How jobs and processes ended, as text. Pure functions."""

import re
import signal
from dataclasses import dataclass

from agent_tui.model.events import EndedBy, JobStatus
from agent_tui.model.state import LIVE_PHASES, JobPhase, JobView, ProcessView
from agent_tui.tui.widgets.text import Span, Tone


@dataclass(frozen=True, slots=True)
class Ending:
    """The texts for one cause. `short` fits the narrowest column; `words` are for the job page."""

    short: str
    words: str
    tone: Tone = Tone.BAD


ENDINGS: dict[EndedBy, Ending] = {
    EndedBy.ORDER: Ending("", "normally or on request", Tone.DIM),
    EndedBy.CRASH: Ending("✗ crashed", "entry function raised"),
    EndedBy.LOADING: Ending("✗ not ready", "the agent file or prewarm failed in the process"),
    EndedBy.INIT_TIMEOUT: Ending("✗ timeout", "process not ready within initializeProcessTimeout"),
    EndedBy.EXIT: Ending("", "process exited"),
    EndedBy.SIGNAL: Ending("", "process killed"),
    EndedBy.OUT_OF_MEMORY: Ending("✗ OOM kill", "out of memory: the kernel killed the process"),
    EndedBy.MEMORY_LIMIT: Ending("✗ limit", "process exceeded jobMemoryLimitMB"),
    EndedBy.UNRESPONSIVE: Ending("✗ hung", "process not responding, killed"),
    EndedBy.KILLED: Ending("■ killed", "forced stop of agent-tui", Tone.DIM),
    EndedBy.NO_PROCESS: Ending("✗ no start", "no process for the job"),
    EndedBy.SERVER: Ending("■ by server", "by the server", Tone.DIM),
    EndedBy.INTERNAL_ERROR: Ending("✗ internal", "internal error in agent-tui"),
}
"""Without a `short` text, the exit code, the signal, or the job's status is shown."""

_EXCEPTION = re.compile(r"(?:Uncaught )?([A-Za-z_][\w.]{0,80})(?::|$)")

_PHASES = {
    JobPhase.OFFERED: Span("◌ offered", Tone.WARN),
    JobPhase.ACCEPTED: Span("◌ accepted", Tone.WARN),
    JobPhase.ASSIGNED: Span("◌ assigned", Tone.WARN),
    JobPhase.RUNNING: Span("● running", Tone.GOOD),
    JobPhase.RESTARTING: Span("↻ restarting", Tone.WARN),
    JobPhase.LOST: Span("✗ lost", Tone.BAD),
    JobPhase.DECLINED: Span("– declined", Tone.DIM),
}

_STATUSES = {
    JobStatus.SUCCESS: Span("✓ success", Tone.GOOD),
    JobStatus.FAILED: Span("✗ failed", Tone.BAD),
    JobStatus.TERMINATED: Span("■ terminated", Tone.DIM),
}


def process_ended(process: ProcessView, job: JobView | None) -> Span:
    """Return how a process ended: by its cause, or else its exit code or signal, or else its job's status."""
    # A restarted job's end is not that of the processes it ran in before.
    for by in (process.ended_by, job.ended_by if job is not None and job.process_id == process.id else None):
        if by is not None and ENDINGS[by].short:
            return Span(ENDINGS[by].short, ENDINGS[by].tone)
    if process.signal:
        return Span(f"✗ {signal_name(process.signal)}", Tone.BAD)
    if process.exit_code:
        return Span(f"✗ exit {process.exit_code}", Tone.BAD)
    if job is not None and job.status is JobStatus.FAILED:
        return Span("✗ failed", Tone.BAD)
    if job is not None and job.status is JobStatus.SUCCESS:
        return Span("✓ done", Tone.DIM)
    if process.pid is None:
        return Span("✗ no start", Tone.BAD)
    return Span("■ ended", Tone.DIM)


def job_status(job: JobView) -> Span:
    """Return a job's phase or how it ended, short."""
    if job.status is None:
        return _PHASES.get(job.phase, Span("✗ failed", Tone.BAD))
    by = job.ended_by
    if job.status is JobStatus.FAILED and by is EndedBy.SIGNAL and job.signal:
        return Span(f"✗ {signal_name(job.signal)}", Tone.BAD)
    if job.status is JobStatus.FAILED and by is EndedBy.EXIT:
        return Span(f"✗ exit {job.exit_code}", Tone.BAD)
    if job.status is JobStatus.SUCCESS or by is None or not ENDINGS[by].short:
        return _STATUSES[job.status]
    return Span(ENDINGS[by].short, ENDINGS[by].tone)


def job_ended(job: JobView) -> str:
    """Return what ended a job, with the exception, signal, or exit code; empty while it is live."""
    if job.phase in LIVE_PHASES or job.ended_by is None:
        return ""
    facts = [ENDINGS[job.ended_by].words]
    if job.ended_by is EndedBy.CRASH and (name := exception_name(job.traceback)):
        facts = [f"{facts[0]} {name}"]
    if job.ended_by is EndedBy.SIGNAL and job.signal:
        facts = [f"{facts[0]} by {signal_name(job.signal)}"]
    elif job.signal:
        facts.append(signal_name(job.signal))
    elif job.exit_code or (job.ended_by is EndedBy.EXIT and job.exit_code is not None):
        facts.append(f"exit code {job.exit_code}")
    return ", ".join(facts)


def signal_name(number: int) -> str:
    """Return a signal's name, `SIGKILL`, or `signal 99` if it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def exception_name(traceback: str) -> str:
    """Return the exception's name from a Python (last line) or Node (first line) traceback, or ''."""
    lines = traceback.strip().split("\n")
    line = lines[-1] if traceback.lstrip().startswith("Traceback") else lines[0]
    found = _EXCEPTION.match(line)
    return found[1].rpartition(".")[2] if found else ""
