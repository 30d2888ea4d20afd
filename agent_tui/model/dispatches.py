"""Which job each test dispatch became: pure functions over `AppState.dispatches`, oldest first.

A dispatch and its offer come by different ways (the API's answer, the worker's connection), so either may be
told first, and so may its loss.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from typing import Protocol, TypeVar

from agent_tui.model.events import Dispatched, JobLost, OfferReceived
from agent_tui.model.state import DispatchView, JobView

DispatchViews = tuple[DispatchView, ...]

KEPT = 200
"""Dispatches that are remembered; the oldest go first."""

EARLY_S = 10.0
"""An offer or a loss this many seconds before the dispatch was told can still be its own."""


class Destined(Protocol):
    """A dispatch as far as it says which job is its own."""

    @property
    def room(self) -> str: ...
    @property
    def dispatch_id(self) -> str | None:
        """None (or empty) while the server has not said it, and where it says none."""
        ...

    @property
    def job_id(self) -> str | None: ...
    @property
    def waits(self) -> bool:
        """It was made here and has neither a job nor a loss."""
        ...


D = TypeVar("D", bound=Destined)


def origin(dispatches: Iterable[D], room: str, job_id: str | None, dispatch_id: str | None) -> D | None:
    """The dispatch that a job came from: the one of its id, else the one that has the job already, else the
    first that waits in its room. `dispatch_id` is the job's: empty if it carries none, None if not told."""
    known = tuple(dispatches)
    by_id = (each for each in known if dispatch_id and each.dispatch_id == dispatch_id)
    by_job = (each for each in known if job_id and each.job_id == job_id)
    waiting = (
        each
        for each in known
        # The job of a dispatch with an id carries it; one by a new room or a simulation has none to tell.
        if each.waits and each.room == room and (not each.dispatch_id or dispatch_id is None)
    )
    return next(chain(by_id, by_job, waiting), None)


def made(
    dispatches: DispatchViews, jobs: Mapping[str, JobView], event: Dispatched, ts: float
) -> DispatchViews:
    """After a dispatch was made here: its job or its loss may be known already."""
    for early in reversed(dispatches):
        if not early.ours and early.room == event.room and ts - early.made <= EARLY_S:
            ours = replace(early, ours=True, agent_name=event.agent_name, dispatch_id=event.dispatch_id)
            return _with(dispatches, early, ours)
    claimed = {dispatch.job_id for dispatch in dispatches}
    dispatch = DispatchView(event.room, ts, event.agent_name, event.dispatch_id)
    early_jobs = [job for job in jobs.values() if job.id not in claimed and ts - job.offered <= EARLY_S]
    own = [job for job in early_jobs if origin((dispatch,), job.room, job.id, job.dispatch_id)]
    if own:
        dispatch = _having(dispatch, own[-1].id, own[-1].dispatch_id)
    return (*dispatches, dispatch)[-KEPT:]


def offered(dispatches: DispatchViews, event: OfferReceived) -> DispatchViews:
    """After an offer: its dispatch has this job, and is no longer lost if it was."""
    dispatch = origin(dispatches, event.room, event.job_id, event.dispatch_id)
    if dispatch is None:
        return dispatches
    return _with(dispatches, dispatch, _having(dispatch, event.job_id, event.dispatch_id))


def lost(dispatches: DispatchViews, jobs: Mapping[str, JobView], event: JobLost, ts: float) -> DispatchViews:
    """After a loss. One that belongs to nothing known is kept too: somebody misses that job."""
    job = jobs.get(event.job_id) if event.job_id else None
    dispatch = origin(dispatches, event.room, event.job_id, job.dispatch_id if job else None)
    if dispatch is not None:
        return _with(dispatches, dispatch, replace(dispatch, lost=event.why))
    if job is not None:
        return dispatches
    return (*dispatches, DispatchView(event.room, ts, lost=event.why, ours=False))[-KEPT:]


def _having(dispatch: DispatchView, job_id: str, dispatch_id: str) -> DispatchView:
    """With a job; what the server called the dispatch of a new room is known from it."""
    return replace(dispatch, job_id=job_id, dispatch_id=dispatch.dispatch_id or dispatch_id or None, lost="")


def _with(dispatches: DispatchViews, before: DispatchView, after: DispatchView) -> DispatchViews:
    return tuple(after if each is before else each for each in dispatches)
