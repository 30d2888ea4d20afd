"""`reduce(state, stamped event) -> state`: pure, never raises, and the only source of the state."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

from msgspec.structs import replace

from agent_tui.model import conversations, dispatches, failure_views
from agent_tui.model import events as ev
from agent_tui.model.child import ProcessKind
from agent_tui.model.logs import LogLevel
from agent_tui.model.session_events import (
    SessionEvent,
    SessionFailed,
    SessionStarted,
    TurnEnded,
    TurnStarted,
)
from agent_tui.model.state import (
    LIVE_PHASES,
    AppState,
    GenerationView,
    JobPhase,
    JobTimes,
    JobView,
    LoadRecord,
    ProcessView,
    RegistrationState,
    StartsView,
    Totals,
    WatchingView,
    WorkerView,
)
from agent_tui.model.time_series import TimeSeries, append

K = TypeVar("K")
V = TypeVar("V")

HISTORY = 200
"""Maximum number of ended processes, and of ended jobs, that are kept; the oldest are dropped first."""

LOADS = 50
"""Maximum number of loads that are kept."""

BREACHES = 1000
"""Maximum number of breaches that are kept."""

STALL_MS = 100.0
"""From which round trip of a ping on the event loop of a job counts as blocked, in ms."""

_LOST = frozenset({RegistrationState.BACKING_OFF, RegistrationState.OFFLINE, RegistrationState.REFUSED})
"""States after which a registration counts as a reconnect."""


def reduce(state: AppState, stamped: ev.Stamped) -> AppState:
    """Return the state after an event. Unknown ids are ignored, because a projection must never raise."""
    handler = _HANDLERS.get(type(stamped.event))
    return state if handler is None else handler(state, stamped.event, stamped.ts)


def _starting(state: AppState, event: ev.Starting, ts: float) -> AppState:
    worker = WorkerView(since=ts)
    return replace(
        state, version=event.version, agent=event.agent, follows_sessions=event.sessions, worker=worker
    )


def _interpreter(state: AppState, event: ev.InterpreterChosen, ts: float) -> AppState:
    return replace(state, interpreter=event)


def _server(state: AppState, event: ev.ServerChosen, ts: float) -> AppState:
    return replace(state, server=event)


def _settings(state: AppState, event: ev.SettingsChanged, ts: float) -> AppState:
    return replace(state, settings=event.settings)


def _http(state: AppState, event: ev.HttpListening, ts: float) -> AppState:
    return replace(state, http_url=event.url)


def _registered(state: AppState, event: ev.WorkerRegistered, ts: float) -> AppState:
    before = state.worker
    state = _works(ev.CHANGED_REGISTRATION, state)
    worker = replace(
        before,
        state=RegistrationState.REGISTERED,
        worker_id=event.worker_id,
        agent_name=event.agent_name,
        server=f"{event.server} {event.server_version}",
        region=event.region,
        node_id=event.node_id,
        deployment=event.deployment,
        knows_deployments=event.knows_deployments,
        since=ts,
        reconnects=before.reconnects + (1 if before.worker_id and before.state in _LOST else 0),
        reason="",
        todo="",
        retry_in_s=None,
    )
    return replace(state, worker=worker)


def _disconnected(state: AppState, event: ev.WorkerDisconnected, ts: float) -> AppState:
    phase = RegistrationState.OFFLINE if event.retry_in_s is None else RegistrationState.BACKING_OFF
    before = state.worker
    # Later attempts can fail for other reasons; `last_loss` keeps why the connection was lost.
    first = before.state not in (RegistrationState.BACKING_OFF, RegistrationState.OFFLINE)
    worker = replace(
        before,
        state=phase,
        since=ts,
        reason=event.reason,
        todo=event.todo,
        retry_in_s=event.retry_in_s,
        last_loss=event.reason if first else before.last_loss,
        lost_at=ts if first else before.lost_at,
    )
    return replace(state, worker=worker)


def _refused(state: AppState, event: ev.WorkerRefused, ts: float) -> AppState:
    worker = replace(
        state.worker,
        state=RegistrationState.REFUSED,
        since=ts,
        reason=event.reason,
        todo=event.todo,
        retry_in_s=None,
    )
    return replace(state, worker=worker)


def _suspect(state: AppState, event: ev.ConnectionSuspect, ts: float) -> AppState:
    phase = RegistrationState.SUSPECT if event.suspect else RegistrationState.REGISTERED
    return replace(state, worker=replace(state.worker, state=phase))


def _load(state: AppState, event: ev.WorkerLoadMeasured, ts: float) -> AppState:
    worker = replace(state.worker, measured_load=event.measured, reported_load=event.reported)
    return replace(state, worker=worker)


def _notice(state: AppState, event: ev.Notice, ts: float) -> AppState:
    if event.level >= LogLevel.WARN and event.about:
        since = state.impaired[event.about][0] if event.about in state.impaired else ts
        return replace(state, impaired={**state.impaired, event.about: (since, event)})
    return _works(event.about, state)


def _works(part: str, state: AppState) -> AppState:
    """Return the state in which that part of agent-tui works again."""
    if part not in state.impaired:
        return state
    return replace(state, impaired={name: each for name, each in state.impaired.items() if name != part})


def _generation_loading(state: AppState, event: ev.GenerationLoading, ts: float) -> AppState:
    view = replace(state.generation, loading=event.generation, loading_cause=event.cause)
    return replace(state, generation=view)


def _generation_overtaken(state: AppState, event: ev.GenerationOvertaken, ts: float) -> AppState:
    view = replace(state.generation, loading=_still_loading(state.generation, event.generation))
    return replace(state, generation=view)


def _generation_ready(state: AppState, event: ev.GenerationReady, ts: float) -> AppState:
    """Make the generation current, unless a later load was already reported.

    This can happen to the first generation, which serves jobs before this event reports that its load is
    complete.
    """
    before, later = state.generation, [load for load in state.loads if load.number > event.generation]
    loading = _still_loading(before, event.generation)
    view = replace(
        before if later else GenerationView(),
        loading=loading,
        loading_cause=before.loading_cause if loading else "",
        current=event.generation,
        runtime=event.runtime,
        sdk_version=event.sdk_version,
        start_method=event.start_method.value,
        start_reason=event.start_reason,
        seconds=event.seconds,
        rolled_back_to=event.rolled_back_to,
    )
    record = LoadRecord(
        event.generation,
        ts,
        good=True,
        cause=event.cause,
        seconds=event.seconds,
        start_method=event.start_method.value,
        start_reason=event.start_reason,
        load_ms=event.load_ms,
        changed=event.changed,
        steps=event.steps,
        rolled_back_to=event.rolled_back_to,
    )
    earlier = state.loads[: len(state.loads) - len(later)]
    loads = (*earlier, record, *later)[-LOADS:]
    # The new code, or its environment, may not have the failures of the old.
    return replace(state, generation=view, loads=loads, failures={})


def _still_loading(view: GenerationView, reported: int) -> int:
    """Return the generation that is still loading after `reported` has finished; 0 if there is none."""
    return view.loading if view.loading > reported else 0


def _generation_failed(state: AppState, event: ev.GenerationFailed, ts: float) -> AppState:
    view = replace(
        state.generation,
        loading=_still_loading(state.generation, event.generation),
        failed=event.generation,
        error=event.error,
        file=event.file,
        line=event.line,
        traceback=event.traceback,
        todo=event.todo,
    )
    record = LoadRecord(
        event.generation,
        ts,
        good=False,
        cause=event.cause,
        seconds=event.seconds,
        error=event.error,
        file=event.file,
        line=event.line,
        traceback=event.traceback,
        steps=event.steps,
    )
    sessions = state.sessions
    if sessions and event.generation > state.generation.current:
        text = f"generation {event.generation} failed to load: {event.error}"
        jobs = {job.id for job in state.live_jobs if not job.pinned}
        sessions = conversations.noted(sessions, conversations.NoteView(ts, text, is_error=True), jobs)
    return replace(state, generation=view, loads=(*state.loads, record)[-LOADS:], sessions=sessions)


def _starts_failing(state: AppState, event: ev.StartsFailing, ts: float) -> AppState:
    starts = StartsView(
        event.failures,
        event.error,
        ts + event.retry_in_s,
        event.accepting,
        event.generation,
        event.file,
        event.line,
        event.traceback,
        event.ended_by,
        event.todo,
    )
    return replace(state, starts=starts)


def _starts_recovered(state: AppState, event: ev.StartsRecovered, ts: float) -> AppState:
    view = state.generation
    if view.failed == view.current:  # until now, its processes did not become ready
        view = replace(view, failed=0, error="", file=None, line=None, traceback="", todo="")
    return replace(state, starts=StartsView(), generation=view)


def _watching(state: AppState, event: ev.WatchingChanged, ts: float) -> AppState:
    return replace(state, watching=WatchingView(event.paused, event.ignored))


def _process_changed(state: AppState, event: ev.ProcessChanged, ts: float) -> AppState:
    before = state.processes.get(event.id)
    view = ProcessView(
        id=event.id,
        pid=event.pid,
        kind=event.kind,
        state=event.state,
        generation=event.generation,
        started=before.started if before else ts,
        since=ts,
        job_id=event.job_id or (before.job_id if before else None),
        rss_mb=before.rss_mb if before else None,
        children_mb=before.children_mb if before else 0.0,
        uss_mb=before.uss_mb if before else None,
        pss_mb=before.pss_mb if before else None,
        cpu_pct=before.cpu_pct if before else None,
        ping_ms=before.ping_ms if before else None,
        reason=event.reason,
        exit_code=event.exit_code,
        signal=event.signal,
        ended_by=event.ended_by,
        memory=before.memory if before else TimeSeries(),
    )
    processes: Mapping[str, ProcessView] = {**state.processes, event.id: view}
    if event.kind is ProcessKind.BLANK and event.state is ev.ProcessState.ENDED:
        # It became a job process, or was never used.
        processes = {each: known for each, known in processes.items() if each != event.id}
    elif event.state is ev.ProcessState.ENDED:
        processes = _trimmed(processes, lambda p: p.state is ev.ProcessState.ENDED)
    after = replace(state, processes=processes)
    if event.state is ev.ProcessState.JOB and event.job_id is not None:
        return _launched(after, event.job_id, event, ts)
    return after


def _launched(state: AppState, job_id: str, event: ev.ProcessChanged, ts: float) -> AppState:
    job = state.jobs.get(job_id)
    if job is None:
        return state
    restarted = job.times.entered is not None  # then keep the times of its first process
    return _job(state, job_id, {} if restarted else {"launched": ts}, process_id=event.id, pid=event.pid)


def _process_measured(state: AppState, event: ev.ProcessMeasured, ts: float) -> AppState:
    before = state.processes.get(event.id)
    if before is None:
        return state
    view = replace(
        before,
        rss_mb=event.rss_mb,
        children_mb=event.children_mb,
        cpu_pct=event.cpu_pct if event.cpu_pct is not None else before.cpu_pct,
        uss_mb=event.uss_mb if event.uss_mb is not None else before.uss_mb,
        pss_mb=event.pss_mb if event.pss_mb is not None else before.pss_mb,
        memory=before.memory if event.used_mb is None else append(before.memory, ts, event.used_mb),
    )
    return replace(state, processes={**state.processes, event.id: view})


def _process_pinged(state: AppState, event: ev.ProcessPinged, ts: float) -> AppState:
    before = state.processes.get(event.id)
    if before is None:
        return state
    sessions = state.sessions
    if event.ms >= STALL_MS and before.job_id is not None:
        where = before.blocked_at if before.blocked_since else ""
        stall = conversations.Stall(ts - event.ms / 1000, event.ms, where)
        sessions = conversations.stalled(sessions, before.job_id, stall)
    return replace(
        state,
        processes={**state.processes, event.id: replace(before, ping_ms=event.ms, blocked_since=0.0)},
        sessions=sessions,
    )


def _process_blocked(state: AppState, event: ev.ProcessBlocked, ts: float) -> AppState:
    """Show the time without an answer as the round trip, until the process answers a ping."""
    before = state.processes.get(event.process_id)
    if before is None:
        return state
    seen = replace(
        before, ping_ms=event.seconds * 1000, blocked_since=ts - event.seconds, blocked_at=event.where
    )
    return replace(state, processes={**state.processes, event.process_id: seen})


def _memory_warned(state: AppState, event: ev.MemoryWarned, ts: float) -> AppState:
    return replace(state, breaches=(*state.breaches, (ts, event))[-BREACHES:])


def _offer(state: AppState, event: ev.OfferReceived, ts: float) -> AppState:
    job = JobView(
        event.job_id,
        event.room,
        JobPhase.OFFERED,
        ts,
        generation=event.generation,
        dispatch_id=event.dispatch_id,
        test_dispatch=event.test_dispatch,
        test_load=event.test_load,
        times=JobTimes(offered=ts),
    )
    jobs = {**state.jobs, event.job_id: job}
    return replace(
        state,
        jobs=_trimmed(jobs, lambda j: j.phase not in LIVE_PHASES),
        dispatches=dispatches.offered(state.dispatches, event),
    )


def _offer_answered(state: AppState, event: ev.OfferAnswered, ts: float) -> AppState:
    phase = JobPhase.ACCEPTED if event.accepted else JobPhase.DECLINED
    reason = event.error or ""
    return _job(state, event.job_id, {"answered": ts}, phase=phase, accepted=event.accepted, reason=reason)


def _assigned(state: AppState, event: ev.JobAssigned, ts: float) -> AppState:
    return _job(state, event.job_id, {"assigned": ts}, phase=JobPhase.ASSIGNED)


def _job_started(state: AppState, event: ev.JobStarted, ts: float) -> AppState:
    now: dict[str, Any] = {
        "phase": JobPhase.RUNNING,
        "generation": event.generation,
        "process_id": event.process_id,
        "pid": event.pid,
        "restarts": event.restarts,
    }
    if event.restarts:
        return _job(state, event.job_id, **now)  # totals and times are those of its first process
    totals = replace(
        state.totals, started=state.totals.started + 1, warm=state.totals.warm + (1 if event.warm else 0)
    )
    entered = _entered(state, event, ts)
    dispatched = entered - event.dispatch_to_entry_ms / 1000 if event.dispatch_to_entry_ms else None
    return _job(
        replace(state, totals=totals),
        event.job_id,
        {"entered": entered, "dispatched": dispatched},
        **now,
        warm=event.warm,
        offer_to_entry_ms=event.offer_to_entry_ms,
        dispatch_to_entry_ms=event.dispatch_to_entry_ms,
    )


def _entered(state: AppState, event: ev.JobStarted, ts: float) -> float:
    """Return when the entry function was called, by the child's clock. The event arrives a moment later."""
    job = state.jobs.get(event.job_id)
    return job.offered + event.offer_to_entry_ms / 1000 if job is not None else ts


def _job_connected(state: AppState, event: ev.JobConnected, ts: float) -> AppState:
    job = state.jobs.get(event.job_id)
    if job is None or job.times.connected is not None:
        return state
    exact = job.times.entered is not None and not job.restarts
    at = (job.times.entered or 0.0) + event.entry_to_connected_ms / 1000 if exact else ts
    return _job(state, event.job_id, {"connected": at})


def _job_restarting(state: AppState, event: ev.JobRestarting, ts: float) -> AppState:
    return _job(state, event.job_id, phase=JobPhase.RESTARTING, reason=event.reason)


def _job_pinned(state: AppState, event: ev.JobPinned, ts: float) -> AppState:
    if event.pinned:
        text = f"pinned to generation {event.generation}: reloads do not change it"
    else:
        text = "no longer pinned: the next reload applies"
    note = conversations.NoteView(ts, text)
    state = replace(state, sessions=conversations.noted(state.sessions, note, {event.job_id}))
    return _job(state, event.job_id, pinned=event.pinned)


def _job_ended(state: AppState, event: ev.JobEnded, ts: float) -> AppState:
    totals = replace(state.totals, **{event.status.value: getattr(state.totals, event.status.value) + 1})
    job = state.jobs.get(event.job_id)
    return _job(
        replace(state, totals=totals, failures=failure_views.added(state.failures, event, ts)),
        event.job_id,
        {"ended": ts},
        phase=JobPhase.ENDED,
        pid=event.pid,
        status=event.status,
        reason=event.reason,
        seconds=event.seconds,
        ended_by=event.ended_by,
        exit_code=event.exit_code,
        signal=event.signal,
        traceback=event.traceback,
        todo=event.todo,
        memory=state.memory_of(job) if job is not None else TimeSeries(),
    )


def _job_lost(state: AppState, event: ev.JobLost, ts: float) -> AppState:
    totals: Totals = replace(state.totals, lost=state.totals.lost + 1)
    followed = dispatches.lost(state.dispatches, state.jobs, event, ts)
    lost = replace(state, totals=totals, dispatches=followed)
    if event.job_id is None:
        return lost
    return _job(lost, event.job_id, {"ended": ts}, phase=JobPhase.LOST, reason=event.why)


def _dispatched(state: AppState, event: ev.Dispatched, ts: float) -> AppState:
    totals = replace(state.totals, dispatched=state.totals.dispatched + 1)
    followed = dispatches.made(state.dispatches, state.jobs, event, ts)
    return replace(state, totals=totals, dispatches=followed)


def _logs(state: AppState, event: ev.LogsAdded, ts: float) -> AppState:
    return replace(state, log_end=event.end, logs_dropped=event.dropped)


def _stopping(state: AppState, event: ev.Stopping, ts: float) -> AppState:
    return replace(state, stopping=event.reason, stop_by=ts + max(0.0, event.deadline_s))


def _stopped(state: AppState, event: ev.Stopped, ts: float) -> AppState:
    return replace(state, stopped=True)


def _job(
    state: AppState, job_id: str, times: Mapping[str, float | None] | None = None, **changes: Any
) -> AppState:
    """Return the state with these changes and times of a job; unchanged if the job is unknown."""
    before = state.jobs.get(job_id)
    if before is None:
        return state
    if times:
        changes["times"] = replace(before.times, **times)
    return replace(state, jobs={**state.jobs, job_id: replace(before, **changes)})


def _test_load(state: AppState, event: ev.TestLoadChanged, ts: float) -> AppState:
    return replace(state, tuning=replace(state.tuning, test_load=event.load))


def _sweep_started(state: AppState, event: ev.SweepStarted, ts: float) -> AppState:
    return replace(state, tuning=replace(state.tuning, sweep=event.sweep))


def _sweep_progressed(state: AppState, event: ev.SweepProgressed, ts: float) -> AppState:
    sweep, finished = state.tuning.sweep, event.progress.finished
    if sweep is None:
        return state
    result = sweep.result
    if finished is not None:
        result = replace(result, runs=(*result.runs, finished))
    sweep = replace(sweep, progress=replace(event.progress, finished=None), result=result)
    return replace(state, tuning=replace(state.tuning, sweep=sweep))


def _sweep_ended(state: AppState, event: ev.SweepEnded, ts: float) -> AppState:
    sweep = state.tuning.sweep
    if sweep is None:
        return state
    result = replace(sweep.result, ended=event.outcome.ended)
    return replace(
        state, tuning=replace(state.tuning, sweep=replace(sweep, result=result, outcome=event.outcome))
    )


def _trimmed(items: Mapping[K, V], ended: Callable[[V], bool]) -> Mapping[K, V]:
    surplus = sum(1 for item in items.values() if ended(item)) - HISTORY
    if surplus <= 0:
        return items
    kept: dict[K, V] = {}
    for key, item in items.items():
        if surplus > 0 and ended(item):
            surplus -= 1
        else:
            kept[key] = item
    return kept


def _session(state: AppState, event: SessionEvent, ts: float) -> AppState:
    sessions = conversations.changed(state.sessions, event, ts)
    if isinstance(event, TurnStarted | TurnEnded) and (job := state.jobs.get(event.job_id)) is not None:
        sessions = conversations.measured(sessions, event, state.memory_of(job).last)
    failures = state.failures
    if isinstance(event, SessionFailed):
        failures = failure_views.added(failures, event, ts)
    elif failures and isinstance(event, TurnEnded | SessionStarted):
        failures = failure_views.after(failures, event)
    return replace(state, sessions=sessions, failures=failures)


_HANDLERS: dict[type[object], Callable[[AppState, Any, float], AppState]] = {
    ev.Starting: _starting,
    ev.InterpreterChosen: _interpreter,
    ev.ServerChosen: _server,
    ev.HttpListening: _http,
    ev.SettingsChanged: _settings,
    ev.WorkerRegistered: _registered,
    ev.WorkerDisconnected: _disconnected,
    ev.WorkerRefused: _refused,
    ev.ConnectionSuspect: _suspect,
    ev.WorkerLoadMeasured: _load,
    ev.GenerationLoading: _generation_loading,
    ev.GenerationOvertaken: _generation_overtaken,
    ev.GenerationReady: _generation_ready,
    ev.GenerationFailed: _generation_failed,
    ev.Notice: _notice,
    ev.StartsFailing: _starts_failing,
    ev.StartsRecovered: _starts_recovered,
    ev.WatchingChanged: _watching,
    ev.ProcessChanged: _process_changed,
    ev.ProcessMeasured: _process_measured,
    ev.ProcessPinged: _process_pinged,
    ev.ProcessBlocked: _process_blocked,
    ev.MemoryWarned: _memory_warned,
    ev.OfferReceived: _offer,
    ev.OfferAnswered: _offer_answered,
    ev.JobAssigned: _assigned,
    ev.JobStarted: _job_started,
    ev.JobConnected: _job_connected,
    ev.JobRestarting: _job_restarting,
    ev.JobPinned: _job_pinned,
    ev.JobEnded: _job_ended,
    ev.JobLost: _job_lost,
    ev.Dispatched: _dispatched,
    ev.TestLoadChanged: _test_load,
    ev.SweepStarted: _sweep_started,
    ev.SweepProgressed: _sweep_progressed,
    ev.SweepEnded: _sweep_ended,
    ev.LogsAdded: _logs,
    ev.Stopping: _stopping,
    ev.Stopped: _stopped,
    **dict.fromkeys(get_args(SessionEvent), _session),
}
