"""How jobs and processes ended, in words: every way to end has its own. Pure functions."""

import signal
from dataclasses import dataclass

from agent_tui.model.events import EndedBy, JobStatus
from agent_tui.model.state import LIVE_PHASES, JobPhase, JobView, ProcessView
from agent_tui.tui.widgets.text import Span, Tone


@dataclass(frozen=True, slots=True)
class Ending:
    """`short` fits the narrowest column; `words` follow the status."""

    short: str
    words: str
    tone: Tone = Tone.BAD


ENDINGS: dict[EndedBy, Ending] = {
    EndedBy.ORDER: Ending("", "ended in good order", Tone.DIM),
    EndedBy.CRASH: Ending("✗ crashed", "its entry function raised"),
    EndedBy.LOADING: Ending("✗ not ready", "the file or prewarm failed in its process"),
    EndedBy.INIT_TIMEOUT: Ending("✗ time-out", "its process took too long to become ready"),
    EndedBy.EXIT: Ending("", "its process ended by itself"),
    EndedBy.SIGNAL: Ending("", "its process was ended by a signal"),
    EndedBy.OUT_OF_MEMORY: Ending("✗ OOM kill", "the kernel killed its process: out of memory"),
    EndedBy.MEMORY_LIMIT: Ending("✗ limit", "it was over jobMemoryLimitMB"),
    EndedBy.UNRESPONSIVE: Ending("✗ hung", "its process did not respond and was killed"),
    EndedBy.KILLED: Ending("■ killed", "everything was ended at once", Tone.DIM),
    EndedBy.NO_PROCESS: Ending("✗ no start", "there was no process for it"),
    EndedBy.SERVER: Ending("■ by server", "the server ended it", Tone.DIM),
    EndedBy.INTERNAL_ERROR: Ending("✗ internal", "an internal error of agent-tui ended it"),
}
"""Those with nothing short are told by their exit code or signal, or by how the job went."""

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
    """How a process ended, by what killed it, else by its exit code, else by how its job went."""
    for by in (process.ended_by, job.ended_by if job is not None and _is_its_last(job, process) else None):
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


def job_standing(job: JobView) -> Span:
    """How a job stands or how it ended, short."""
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
    """What ended a job, its exit code and signal with it; empty while it is not over."""
    if job.phase in LIVE_PHASES or job.ended_by is None:
        return ""
    facts = [ENDINGS[job.ended_by].words]
    if job.signal:
        facts.append(signal_name(job.signal))
    elif job.exit_code is not None:
        facts.append(f"exit code {job.exit_code}")
    return ", ".join(facts)


def signal_name(number: int) -> str:
    """`SIGKILL`, or the number for a signal without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _is_its_last(job: JobView, process: ProcessView) -> bool:
    """A restarted job's end says nothing of the processes that it left."""
    return job.process_id == process.id
