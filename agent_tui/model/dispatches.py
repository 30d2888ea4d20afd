"""Test dispatches: whether one may be made, and what became of each, as `AppState.dispatches`, oldest first.

The engine decides at the offer which dispatch a job comes from; events carry its number. A dispatch and its
offer come by different ways (the API's answer, the worker's connection), so either may be reported first, and
so may its loss.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from agent_tui.model.events import Dispatched, JobLost, OfferReceived, ServerChosen
from agent_tui.model.state import DispatchView, JobView

DispatchViews = tuple[DispatchView, ...]

KEPT = 200
"""Dispatches that are remembered; the oldest go first."""


def remote_refusal(server: ServerChosen, confirmed_host: str, what: str) -> str | None:
    """Return why this may not be done on that server, or None when it may.

    A server that is not on this machine may serve other people: nothing is dispatched there unless its host
    was named.
    """
    if not server.remote or confirmed_host.strip().lower() == server.host.lower():
        return None
    if confirmed_host:
        return f"{what} on {server.host} was not done: {confirmed_host!r} was confirmed, not {server.host!r}"
    return f"{what} on the remote server {server.host} needs its name: --allow-remote {server.host}"


def made(
    dispatches: DispatchViews, jobs: Mapping[str, JobView], event: Dispatched, ts: float
) -> DispatchViews:
    """After a dispatch was made here: its job or its loss may be known already."""
    early = _numbered(dispatches, event.test_dispatch)
    if early is not None:
        known = replace(
            early, agent_name=event.agent_name, dispatch_id=event.dispatch_id or early.dispatch_id
        )
        return _with(dispatches, early, known)
    dispatch = DispatchView(event.room, ts, event.agent_name, event.dispatch_id, number=event.test_dispatch)
    own = [job for job in jobs.values() if job.test_dispatch == event.test_dispatch]
    if own and event.test_dispatch:
        dispatch = _having(dispatch, own[-1].id, own[-1].dispatch_id)
    return (*dispatches, dispatch)[-KEPT:]


def offered(dispatches: DispatchViews, event: OfferReceived) -> DispatchViews:
    """After an offer: its dispatch has this job, and is no longer lost if it was."""
    dispatch = _numbered(dispatches, event.test_dispatch)
    if dispatch is None:
        return dispatches
    return _with(dispatches, dispatch, _having(dispatch, event.job_id, event.dispatch_id))


def lost(dispatches: DispatchViews, jobs: Mapping[str, JobView], event: JobLost, ts: float) -> DispatchViews:
    """After a loss. One that belongs to nothing known is kept too: somebody misses that job."""
    dispatch = _numbered(dispatches, event.test_dispatch)
    if dispatch is not None:
        return _with(dispatches, dispatch, replace(dispatch, lost=event.why))
    if event.job_id in jobs and not event.test_dispatch:
        return dispatches
    row = DispatchView(event.room, ts, job_id=event.job_id, lost=event.why, number=event.test_dispatch)
    return (*dispatches, row)[-KEPT:]


def _numbered(dispatches: DispatchViews, number: int) -> DispatchView | None:
    return next((each for each in reversed(dispatches) if number and each.number == number), None)


def _having(dispatch: DispatchView, job_id: str, dispatch_id: str) -> DispatchView:
    """With a job; what the server called the dispatch of a new room is known from it."""
    return replace(dispatch, job_id=job_id, dispatch_id=dispatch.dispatch_id or dispatch_id or None, lost="")


def _with(dispatches: DispatchViews, before: DispatchView, after: DispatchView) -> DispatchViews:
    return tuple(after if each is before else each for each in dispatches)
