"""Formats events and log lines as lines for users: a time, and one sentence."""

import time

from agent_tui.logs.event_text import event_text
from agent_tui.model import events as ev
from agent_tui.model.logs import LogLine


def to_line(stamped: ev.Stamped) -> str | None:
    """Return an event as a line of text; None if the event is not printed.

    Further lines of its text are indented, so that none of them looks like another event.
    """
    text = event_text(stamped.event)
    return None if text is None else f"{_clock(stamped.ts)} {text}".replace("\n", "\n    ")


def log_to_line(log: LogLine) -> str:
    """Return a log line. Further lines of a record, such as a traceback, are indented."""
    owner = log.job_id or log.source.process_id
    first, newline, rest = log.text.partition("\n")
    logger = f"{log.logger}: " if log.logger else ""
    extra = "".join(f"  {name}={value}" for name, value in log.fields.items() if name not in _KNOWN)
    head = f"{_clock(log.ts)} {log.level.label.upper():<5} {owner:<15} {logger}{first}{extra}"
    return f"{head}{newline}{rest}".replace("\n", "\n    ")


_KNOWN = frozenset({"job_id", "jobID", "room", "room_id", "pid", "process_id"})
"""Fields that the SDKs add to every record, and that the line already shows."""


def _clock(ts: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(ts)) + f".{int(ts * 1000) % 1000:03d}"


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
"""The events that `tune` prints beside its results. Events of single processes and jobs are left out."""
