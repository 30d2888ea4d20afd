"""Which job each test dispatch became: pure functions over `AppState.dispatches`, oldest first.

A dispatch and its offer come by different ways (the API's answer, the worker's connection), so either may be
told first, and so may its loss.
"""

from collections.abc import Mapping
from dataclasses import replace

from agent_tui.model.events import Dispatched, JobLost, OfferReceived
from agent_tui.model.state import DispatchView, JobView

Dispatches = tuple[DispatchView, ...]

KEPT = 200
"""Dispatches that are remembered; the oldest go first."""

EARLY_S = 10.0
"""An offer or a loss this many seconds before the dispatch was told can still be its own."""


def made(dispatches: Dispatches, jobs: Mapping[str, JobView], event: Dispatched, ts: float) -> Dispatches:
    """After a dispatch was made here: its job or its loss may be known already."""
    for index in reversed(range(len(dispatches))):
        early = dispatches[index]
        if not early.ours and early.room == event.room and ts - early.made <= EARLY_S:
            ours = replace(early, ours=True, agent_name=event.agent_name, dispatch_id=event.dispatch_id)
            return _with(dispatches, index, ours)
    claimed = {dispatch.job_id for dispatch in dispatches}
    job_id = None
    for job in jobs.values():
        same = job.room == event.room and job.id not in claimed and ts - job.offered <= EARLY_S
        if same and _may_be(event.dispatch_id, job.dispatch_id):
            job_id = job.id
    return (*dispatches, DispatchView(event.room, ts, event.agent_name, event.dispatch_id, job_id))[-KEPT:]


def offered(dispatches: Dispatches, event: OfferReceived) -> Dispatches:
    """After an offer: it belongs to the dispatch of its id, else to the first that waits in its room."""
    for index, dispatch in enumerate(dispatches):
        exact = bool(event.dispatch_id) and dispatch.dispatch_id == event.dispatch_id
        waits = dispatch.ours and dispatch.job_id is None and not dispatch.lost
        if exact or (
            waits and dispatch.room == event.room and _may_be(dispatch.dispatch_id, event.dispatch_id)
        ):
            return _with(dispatches, index, replace(dispatch, job_id=event.job_id, lost=""))
    return dispatches


def lost(dispatches: Dispatches, jobs: Mapping[str, JobView], event: JobLost, ts: float) -> Dispatches:
    """After a loss. One that belongs to nothing known is kept too: somebody misses that job."""
    for index, dispatch in enumerate(dispatches):
        its_job = event.job_id is not None and dispatch.job_id == event.job_id
        waits = dispatch.ours and dispatch.job_id is None and not dispatch.lost
        if its_job or (waits and dispatch.room == event.room):
            return _with(dispatches, index, replace(dispatch, lost=event.why))
    if event.job_id in jobs:
        return dispatches
    return (*dispatches, DispatchView(event.room, ts, lost=event.why, ours=False))[-KEPT:]


def _may_be(dispatch_id: str | None, other: str | None) -> bool:
    """Ids decide where both sides have one; a dispatch by a new room has none."""
    return not dispatch_id or not other or dispatch_id == other


def _with(dispatches: Dispatches, index: int, dispatch: DispatchView) -> Dispatches:
    return (*dispatches[:index], dispatch, *dispatches[index + 1 :])
