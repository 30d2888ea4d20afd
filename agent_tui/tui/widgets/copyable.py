"""What `y` copies about a row of a list: texts by name. Pure functions."""

from agent_tui.model.events import MemoryWarned
from agent_tui.model.state import AppState, DispatchView, JobView, LoadRecord, ProcessView

JOIN_LINK = "join link"
LINK_ABOUT = "a link into the room; its token is valid for one hour"

Facts = dict[str, str]
"""The text of `JOIN_LINK` only describes the link, which is made when it is copied."""


def of_entry(entry: ProcessView | DispatchView | None, state: AppState) -> Facts:
    """Return the facts about a row of the process table."""
    if isinstance(entry, DispatchView):
        return _facts(state, entry.room, entry.job_id or "", why=entry.lost or "")
    if entry is None:
        return {}
    job = state.jobs.get(entry.job_id) if entry.job_id else None
    why = (job.reason if job else "") or entry.reason or ""
    return _facts(state, job.room if job else "", entry.job_id or "", str(entry.pid or ""), why)


def of_job(job: JobView | None, state: AppState) -> Facts:
    """Return the facts about a job."""
    if job is None:
        return {}
    process = state.processes.get(job.process_id) if job.process_id else None
    pid = str(process.pid or "") if process is not None else ""
    return _facts(state, job.room, job.id, pid, job.reason or "")


def of_breach(warned: MemoryWarned | None, state: AppState) -> Facts:
    """Return the facts about a memory warning or limit event."""
    if warned is None:
        return {}
    job = state.jobs.get(warned.job_id) if warned.job_id else None
    return _facts(state, job.room if job else "", warned.job_id or "", str(warned.pid))


def of_load(record: LoadRecord | None) -> Facts:
    """Return the facts about a load of the agent's code."""
    if record is None:
        return {}
    place = f"{record.file}:{record.line}" if record.file and record.line else record.file or ""
    facts = {
        "number": str(record.number),
        "files": " ".join(record.changed),
        "place": place,
        "error": record.error or "",
    }
    return {name: text for name, text in facts.items() if text}


def _facts(state: AppState, room: str, job: str, pid: str = "", why: str = "") -> Facts:
    has_media = state.server is not None and state.server.media
    link = LINK_ABOUT if room and has_media else ""
    facts = {"room": room, "job": job, "pid": pid, "reason": why, JOIN_LINK: link}
    return {name: text for name, text in facts.items() if text}
