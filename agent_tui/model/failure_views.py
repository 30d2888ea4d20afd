"""The failures about which users can do something, as front ends show them: pure functions."""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from agent_tui.model import events as ev
from agent_tui.model import session_events as se

MOST = 20
"""Maximum number of failures that are kept; the oldest are dropped first."""


class FailureView(Struct, frozen=True):
    """A failure that is not known to be over. Times are in Unix seconds."""

    cause: str
    todo: str
    component: str
    """The component of a session that failed, such as llm; empty if the job failed."""
    job_id: str
    """The last job in which it happened."""
    since: float
    count: int = 1
    jobs: int = 1
    """In how many jobs it happened."""


Failures = Mapping[str, FailureView]
"""Failures by component and cause, in the order in which they last happened."""


def added(failures: Failures, event: ev.JobEnded | se.SessionFailed, ts: float) -> Failures:
    """Return the failures with one more, unless there is nothing to do about it."""
    if not event.todo:
        return failures
    component, cause = "", ""
    if isinstance(event, ev.JobEnded):
        cause = event.reason
    else:
        component, cause = event.component, event.error
    key = f"{component} {cause}"
    view = FailureView(cause, event.todo, component, event.job_id, ts)
    if (before := failures.get(key)) is not None:
        jobs = before.jobs + (before.job_id != event.job_id)
        view = replace(view, since=before.since, count=before.count + 1, jobs=jobs)
    others = [(name, each) for name, each in failures.items() if name != key]
    return {**dict(others[-MOST + 1 :]), key: view}


def after(failures: Failures, event: se.TurnEnded | se.SessionStarted) -> Failures:
    """Return the failures without those that the event shows to be over.

    A typed turn with an answer shows that the LLM works; a spoken one, that all components do. A session that
    started shows that its job has what it needs.
    """
    if isinstance(event, se.SessionStarted):
        works = {""}
    elif event.error or event.first_delta_ms is None:
        return failures
    else:
        works = {"llm"} if event.typed else {"llm", "stt", "tts"}
    return {name: each for name, each in failures.items() if each.component not in works}
