"""The reducer: the state depends only on the events, and no event makes it raise."""

import typing

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from agent_tui.model import events as ev
from agent_tui.model.child import ProcessKind
from agent_tui.model.logs import LogLevel
from agent_tui.model.reduce import HISTORY, reduce
from agent_tui.model.state import AppState, JobPhase, JobTimes, RegistrationState
from tests.headless.test_forms import NOISE

TUNED = (ev.TestLoadChanged, ev.SweepStarted, ev.SweepProgressed, ev.SweepEnded)
"""Their data is deep, and not every load is one: a few are made by hand."""

WORDS = st.sampled_from(["p1", "p2", "AJ_1", "AJ_2", ""])


def events() -> st.SearchStrategy[ev.Event]:
    """Any event, with ids from a small set, so that they coincide."""
    st.register_type_strategy(str, WORDS)
    tuned = [each for each in NOISE if isinstance(each, TUNED)]
    others = (st.from_type(kind) for kind in typing.get_args(ev.Event) if kind not in TUNED)
    return st.one_of(*others, st.sampled_from(tuned))


def run(*stream: ev.Event, state: AppState | None = None) -> AppState:
    state = state or AppState()
    for number, event in enumerate(stream, 1):
        state = reduce(state, ev.Stamped(number, 100.0 + number, event))
    return state


def process(id: str, state: ev.ProcessState, **more: typing.Any) -> ev.ProcessChanged:
    return ev.ProcessChanged(id, 42, ProcessKind.JOB, state, 1, **more)


@given(st.lists(events(), max_size=30))
def test_any_stream_reduces_and_equal_streams_give_equal_states(stream: list[ev.Event]) -> None:
    first = run(*stream)
    assert repr(first) == repr(run(*stream))  # a NaN does not equal itself
    assert all(name in dir(first) for name in AppState.__struct_fields__)


def test_every_event_is_a_separate_class() -> None:
    kinds = typing.get_args(ev.Event)
    assert len(set(kinds)) == len(kinds)
    assert all(issubclass(kind, msgspec.Struct) for kind in kinds)


def test_registration_and_its_failures() -> None:
    registered = ev.WorkerRegistered("AW_1", "ws://x", ev.ServerKind.EMBEDDED, "1.13.5", "bob")
    state = run(registered)
    assert (state.worker.state, state.worker.worker_id, state.worker.reconnects) == ("registered", "AW_1", 0)
    state = run(ev.ConnectionSuspect(suspect=True), state=state)
    assert state.worker.state is RegistrationState.SUSPECT
    state = run(ev.WorkerDisconnected("gone", 2.0, 1), state=state)
    assert (state.worker.state, state.worker.reason) == (RegistrationState.BACKING_OFF, "gone")
    state = run(ev.WorkerDisconnected("no route", 4.0, 2), state=state)
    assert (state.worker.reason, state.worker.last_loss) == ("no route", "gone")
    given_up = run(ev.WorkerDisconnected("still none", None, 3), state=state)
    assert (given_up.worker.reason, given_up.worker.last_loss) == ("still none", "gone")
    state = run(registered, state=state)
    assert (state.worker.reconnects, state.worker.reason) == (1, "")
    assert state.worker.last_loss == "gone"
    assert run(ev.WorkerRefused("no"), state=state).worker.state is RegistrationState.REFUSED
    assert run(ev.WorkerDisconnected("no", None), state=state).worker.state is RegistrationState.OFFLINE


def test_a_part_is_impaired_from_a_warning_about_it_until_it_works_again() -> None:
    state = run(ev.Notice(LogLevel.WARN, "a note"))
    assert state.impaired == {}
    warned = ev.Notice(LogLevel.WARN, "saves are not noticed", "file watching")
    worse = ev.Notice(LogLevel.ERROR, "saves are still not noticed", "file watching")
    state = run(warned, worse, ev.Notice(LogLevel.INFO, "works", "other"))
    assert [notice for _, notice in state.impaired.values()] == [worse]
    assert run(warned, ev.Notice(LogLevel.INFO, "works again", "file watching")).impaired == {}
    kept = ev.Notice(LogLevel.WARN, "not accepted", ev.CHANGED_REGISTRATION)
    registered = ev.WorkerRegistered("AW_1", "ws://h", ev.ServerKind.FOUND, "1", "")
    assert run(kept, registered).impaired == {}


def test_a_registration_that_replaces_another_is_no_reconnect() -> None:
    first = ev.WorkerRegistered("AW_1", "ws://x", ev.ServerKind.EMBEDDED, "1.13.5", "bob")
    renamed = msgspec.structs.replace(first, worker_id="AW_2", agent_name="alice")
    for between in ((), (ev.ConnectionSuspect(suspect=True),)):
        worker = run(first, *between, renamed).worker
        assert (worker.state, worker.agent_name, worker.reconnects) == ("registered", "alice", 0)
    lost = ev.WorkerDisconnected("gone", 2.0, 1)
    for losses in ((lost,), (lost, ev.WorkerRefused("no")), (ev.WorkerDisconnected("gone", None),)):
        assert run(first, *losses, renamed).worker.reconnects == 1
    assert run(lost, first).worker.reconnects == 0  # it took two attempts to connect at all


def test_a_failed_load_keeps_the_current_generation_and_a_good_one_clears_the_error() -> None:
    ready = ev.GenerationReady(1, None, "start", "native", None, ev.StartMethod.SPAWN)
    failed = ev.GenerationFailed(2, "SyntaxError", "agent.py", 3, "Traceback…")
    state = run(ready, failed)
    assert (state.generation.current, state.generation.failed, state.generation.line) == (1, 2, 3)
    assert run(ready, failed, msgspec.structs.replace(ready, generation=3)).generation.failed == 0


def test_the_first_generation_may_be_ready_after_a_save_started_loading() -> None:
    ready = ev.GenerationReady(1, None, "start", "native", None, ev.StartMethod.SPAWN)
    failed = ev.GenerationFailed(2, "SyntaxError", "agent.py", 3, "Traceback…")
    state = run(ev.GenerationLoading(2, "agent.py"), ready)
    assert (state.generation.current, state.generation.loading, state.generation.loading_cause) == (
        1,
        2,
        "agent.py",
    )
    state = run(failed, ready, state=run(ev.GenerationLoading(2, "agent.py")))
    assert (state.generation.current, state.generation.failed, state.generation.line) == (1, 2, 3)
    assert state.generation.loading == 0
    assert [each.number for each in state.loads] == [1, 2]
    state = run(
        ev.GenerationLoading(3, "agent.py"), ev.GenerationFailed(1, "KeyError", None, None, ""), state=state
    )
    assert (state.generation.failed, state.generation.loading) == (1, 3)  # its processes fail to start


def test_a_roll_back_lasts_until_the_next_good_load() -> None:
    ready = ev.GenerationReady(1, None, "start", "native", None, ev.StartMethod.SPAWN)
    back = msgspec.structs.replace(ready, generation=3, cause="roll back to 1", rolled_back_to=1)
    state = run(ready, back, ev.GenerationFailed(4, "SyntaxError", None, None, ""))
    assert state.generation.rolled_back_to == 1
    assert [each.rolled_back_to for each in state.loads] == [0, 1, 0]
    state = run(msgspec.structs.replace(ready, generation=5), state=state)
    assert state.generation.rolled_back_to == 0


def test_the_running_load_and_the_times_of_its_steps() -> None:
    steps = ev.LoadSteps(read=1.0, control=2.0)
    ready = ev.GenerationReady(1, None, "start", "native", None, ev.StartMethod.SPAWN, steps=steps)
    state = run(ready, ev.GenerationLoading(2, "agent.py"))
    assert (state.generation.loading, state.generation.loading_cause) == (2, "agent.py")
    assert run(ev.GenerationOvertaken(2), state=state).generation.loading == 0
    later = run(ev.GenerationLoading(3, "agent.py"), ev.GenerationOvertaken(2), state=state)
    assert later.generation.loading == 3
    failed = ev.GenerationFailed(2, "SyntaxError", None, None, "", steps=ev.LoadSteps(read=3.0))
    assert [each.steps.measured for each in run(failed, state=state).loads] == [
        (("read", 1.0), ("control", 2.0)),
        (("read", 3.0),),
    ]


def test_a_job_from_offer_to_end_with_totals() -> None:
    state = run(
        ev.OfferReceived("AJ_1", "demo", "", 1),
        ev.OfferAnswered("AJ_1", accepted=True),
        ev.JobAssigned("AJ_1", "demo"),
        ev.JobStarted("AJ_1", "demo", "p1", 42, 1, True, 3.0, 210.0),
        ev.JobEnded("AJ_1", "demo", 42, 1, ev.JobStatus.FAILED, "ValueError", 2.0),
    )
    job = state.jobs["AJ_1"]
    assert (job.phase, job.status, job.reason, job.dispatch_to_entry_ms) == (
        JobPhase.ENDED,
        "failed",
        "ValueError",
        210.0,
    )
    assert (state.totals.started, state.totals.warm, state.totals.failed) == (1, 1, 1)
    assert state.live_jobs == ()


def test_a_job_keeps_the_times_of_its_phases() -> None:
    state = run(
        ev.OfferReceived("AJ_1", "demo", "", 1),
        ev.OfferAnswered("AJ_1", accepted=True),
        ev.JobAssigned("AJ_1", "demo"),
        process("p1", ev.ProcessState.JOB, job_id="AJ_1"),
        ev.JobStarted("AJ_1", "demo", "p1", 42, 1, True, 3_500.0, 5_000.0),
        ev.JobConnected("AJ_1", "demo", 250.0),
        ev.JobConnected("AJ_1", "demo", 9_000.0),
        ev.JobEnded("AJ_1", "demo", 42, 1, ev.JobStatus.SUCCESS, "done", 2.0),
    )
    assert state.jobs["AJ_1"].times == JobTimes(
        dispatched=99.5,
        offered=101.0,
        answered=102.0,
        assigned=103.0,
        launched=104.0,
        entered=104.5,
        connected=104.75,
        ended=108.0,
    )


def test_a_restart_keeps_the_first_times_and_connects_once() -> None:
    begun = run(
        ev.OfferReceived("AJ_1", "demo", "", 1),
        process("p1", ev.ProcessState.JOB, job_id="AJ_1"),
        ev.JobStarted("AJ_1", "demo", "p1", 42, 1, True, 3_000.0, None),
    )
    state = run(
        ev.JobRestarting("AJ_1", "demo", 1, "new code"),
        process("p2", ev.ProcessState.JOB, job_id="AJ_1"),
        ev.JobStarted("AJ_1", "demo", "p2", 43, 2, True, 1.0, None, 1),
        ev.JobConnected("AJ_1", "demo", 1.0),
        state=begun,
    )
    job = state.jobs["AJ_1"]
    assert job.process_id == "p2"
    assert job.times == msgspec.structs.replace(begun.jobs["AJ_1"].times, connected=104.0)


def test_a_job_whose_process_died_before_its_entry_is_launched_again() -> None:
    state = run(
        ev.OfferReceived("AJ_1", "demo", "", 1),
        process("p1", ev.ProcessState.JOB, job_id="AJ_1"),
        process("p2", ev.ProcessState.JOB, job_id="AJ_1"),
    )
    job = state.jobs["AJ_1"]
    assert (job.process_id, job.times.launched, job.times.entered) == ("p2", 103.0, None)


def test_an_ended_job_keeps_its_end_and_memory_after_its_process_is_forgotten() -> None:
    state = run(
        ev.OfferReceived("AJ_1", "demo", "", 1),
        process("p1", ev.ProcessState.JOB, job_id="AJ_1"),
        ev.ProcessMeasured("p1", 90.0),
        ev.ProcessMeasured("p1", 90.0, used_mb=95.0),
        ev.ProcessMeasured("p1", 91.0, used_mb=96.0),
        process("p1", ev.ProcessState.ENDED, ended_by=ev.EndedBy.SIGNAL, signal=11),
        ev.JobEnded(
            "AJ_1",
            "demo",
            42,
            1,
            ev.JobStatus.FAILED,
            "killed by SIGSEGV",
            1.0,
            ev.EndedBy.SIGNAL,
            None,
            11,
            "Traceback…",
        ),
    )
    assert state.processes["p1"].ended_by is ev.EndedBy.SIGNAL
    forgotten = msgspec.structs.replace(state, processes={})
    for each in (state, forgotten):
        job = each.jobs["AJ_1"]
        assert each.memory_of(job).points == ((104.0, 95.0), (105.0, 96.0))
        assert (job.ended_by, job.signal, job.traceback) == ("signal", 11, "Traceback…")


def test_a_process_keeps_its_figures_and_its_first_time() -> None:
    state = run(
        process("p1", ev.ProcessState.STARTING),
        ev.ProcessMeasured("p1", 100.0),
        ev.ProcessPinged("p1", 1.5),
        process("p1", ev.ProcessState.JOB, job_id="AJ_1"),
        process("p1", ev.ProcessState.ENDED, reason="done", exit_code=0),
    )
    view = state.processes["p1"]
    assert (view.started, view.since) == (101.0, 105.0)
    assert (view.rss_mb, view.ping_ms, view.job_id, view.exit_code) == (100.0, 1.5, "AJ_1", 0)
    assert state.live_processes == ()


def test_history_is_bounded_and_drops_only_ended_items() -> None:
    alive = process("alive", ev.ProcessState.IDLE)
    ended = [process(f"p{number}", ev.ProcessState.ENDED) for number in range(HISTORY + 5)]
    state = run(alive, *ended)
    assert len(state.processes) == HISTORY + 1
    assert "alive" in state.processes
    assert "p0" not in state.processes


REGISTERED = ev.WorkerRegistered("AW_1", "ws://x", ev.ServerKind.EMBEDDED, "1.13.5", "")
LOADED = ev.GenerationReady(1, None, "start", "native", None, ev.StartMethod.SPAWN)


def test_test_jobs_wait_for_registration_code_and_warm_processes() -> None:
    cold = run(REGISTERED, LOADED, process("p1", ev.ProcessState.STARTING))
    assert not cold.is_ready_for_tests(1)
    assert cold.is_ready_for_tests(0)  # with a target of 0
    for state in (ev.ProcessState.IDLE, ev.ProcessState.ENDED):
        assert run(process("p1", state), state=cold).is_ready_for_tests(1)
    for there in (run(LOADED, process("p1", ev.ProcessState.IDLE)), run(REGISTERED)):
        assert not there.is_ready_for_tests(1)
        assert not there.is_ready_for_tests(0)
    lost = run(ev.WorkerDisconnected("gone", 2.0, 1), state=cold)
    assert not lost.is_ready_for_tests(0)


def test_only_a_job_process_counts_as_warm() -> None:
    control = ev.ProcessChanged("c1", 43, ProcessKind.CONTROL, ev.ProcessState.ENDED, 1)
    assert not run(REGISTERED, LOADED, control).is_ready_for_tests(1)


def test_a_blank_that_got_a_file_is_no_ended_process() -> None:
    state = AppState()
    for process_state in (ev.ProcessState.STARTING, ev.ProcessState.IDLE, ev.ProcessState.ENDED):
        event = ev.ProcessChanged("k1", 7, ProcessKind.BLANK, process_state, 0)
        state = reduce(state, ev.Stamped(1, 1.0, event))
        assert ("k1" in state.processes) is (process_state is not ev.ProcessState.ENDED)
