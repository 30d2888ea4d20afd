"""Test dispatches: whether one is allowed, and the job or loss of each (`AppState.dispatches`).

The engine decides at the offer which dispatch a job belongs to, and events carry the number of that dispatch.
The server's API reports the dispatch, and the worker's connection reports the offer, so the offer, or even
the loss of the job, may be known before the dispatch.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec.structs import replace

from agent_tui.model.events import Dispatched, JobLost, OfferReceived, ServerChosen
from agent_tui.model.state import DispatchView, JobView
from agent_tui.options.urls import is_loopback

DispatchViews = tuple[DispatchView, ...]

KEPT = 200
"""Maximum number of dispatches that are remembered; the oldest are dropped first."""


def remote_refusal(server: ServerChosen, confirmed_host: str, what: str) -> str | None:
    """Return why `what`, such as a test dispatch, is not allowed on that server; None if it is allowed.

    A remote server may serve other people, so nothing is dispatched there unless the user names its host, or
    the config file does (`allowRemote`).
    """
    if not server.remote or server.allowed or confirmed_host.strip().lower() == server.host.lower():
        return None
    if confirmed_host:
        return f"{what} on {server.host} was not done: {confirmed_host!r} was confirmed, not {server.host!r}"
    return f"{what} on the remote server {server.host} must be allowed: --allow-remote {server.host}"


def exposure(url: str, deployment: str, *, knows_deployments: bool, production: bool) -> str:
    """Return why production calls can reach a worker in development; empty if they cannot.

    A worker without a deployment gets the same calls as production workers (worker-protocol §4, §11.2).
    """
    if production or is_loopback(url):
        return ""
    host = urlsplit(url).hostname
    if not knows_deployments:
        return f"{host} does not support deployments: production calls can arrive here"
    return "" if deployment else f"no deployment at {host}: production calls can arrive here"


def made(
    dispatches: DispatchViews, jobs: Mapping[str, JobView], event: Dispatched, ts: float
) -> DispatchViews:
    """Return `dispatches` with a new dispatch, whose job or loss may already have been reported."""
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
    """Return `dispatches` after an offer: its dispatch gets the job, and is no longer lost."""
    dispatch = _numbered(dispatches, event.test_dispatch)
    if dispatch is None:
        return dispatches
    return _with(dispatches, dispatch, _having(dispatch, event.job_id, event.dispatch_id))


def lost(dispatches: DispatchViews, jobs: Mapping[str, JobView], event: JobLost, ts: float) -> DispatchViews:
    """Return `dispatches` after a loss. If the dispatch is unknown, add a row for the loss."""
    dispatch = _numbered(dispatches, event.test_dispatch)
    if dispatch is not None:
        return _with(dispatches, dispatch, replace(dispatch, lost=event.why))
    if event.job_id in jobs and not event.test_dispatch:
        return dispatches
    row = DispatchView(event.room, ts, job_id=event.job_id, lost=event.why, number=event.test_dispatch)
    return (*dispatches, row)[-KEPT:]


def last_room(dispatches: DispatchViews) -> str:
    """Return the room of the last test dispatch of this run; empty before the first."""
    return next((each.room for each in reversed(dispatches) if each.ours), "")


def _numbered(dispatches: DispatchViews, number: int) -> DispatchView | None:
    return next((each for each in reversed(dispatches) if number and each.number == number), None)


def _having(dispatch: DispatchView, job_id: str, dispatch_id: str) -> DispatchView:
    """Return the dispatch with its job.

    If the dispatch's id on the server was unknown, the job provides it.
    """
    return replace(dispatch, job_id=job_id, dispatch_id=dispatch.dispatch_id or dispatch_id or None, lost="")


def _with(dispatches: DispatchViews, before: DispatchView, after: DispatchView) -> DispatchViews:
    return tuple(after if each is before else each for each in dispatches)
