"""Each dispatch finds its job or its loss, in any order of events."""

from agent_tui.model import events as ev
from agent_tui.model.dispatches import KEPT
from agent_tui.model.reduce import reduce
from agent_tui.model.state import AppState


def run(*stream: ev.Event, state: AppState | None = None, at: float = 100.0) -> AppState:
    state = state or AppState()
    for number, event in enumerate(stream, 1):
        state = reduce(state, ev.Stamped(number, at, event))
    return state


def jobs(state: AppState) -> list[str | None]:
    return [dispatch.job_id for dispatch in state.dispatches]


def made(number: int, dispatch_id: str | None = None, room: str = "demo") -> ev.Dispatched:
    return ev.Dispatched(room, "ann", dispatch_id, number)


def offer(number: int, job_id: str = "AJ_1", dispatch_id: str = "") -> ev.OfferReceived:
    return ev.OfferReceived(job_id, "demo", dispatch_id, 1, number)


def lost(number: int, why: str = "no worker has room", job_id: str | None = None) -> ev.JobLost:
    return ev.JobLost("demo", why, job_id, number)


def test_the_offer_may_come_before_or_after_the_dispatch_event() -> None:
    assert jobs(run(made(1), offer(1))) == ["AJ_1"]
    assert jobs(run(offer(1), made(1))) == ["AJ_1"]


def test_the_number_decides_between_two_dispatches_into_one_room() -> None:
    state = run(made(1), made(2), offer(2, "AJ_2"))
    assert jobs(state) == [None, "AJ_2"]
    assert jobs(run(offer(1), state=state)) == ["AJ_1", "AJ_2"]
    assert jobs(run(offer(2, "AJ_2"), made(1), made(2))) == [None, "AJ_2"]


def test_a_job_dispatched_elsewhere_belongs_to_no_test_dispatch() -> None:
    assert jobs(run(made(1), offer(0))) == [None]
    assert jobs(run(offer(0), made(1))) == [None]


def test_a_loss_may_come_before_or_after_the_dispatch_event() -> None:
    for state in (run(made(1), lost(1)), run(lost(1), made(1))):
        (dispatch,) = state.dispatches
        assert (dispatch.lost, dispatch.ours, dispatch.agent_name) == ("no worker has room", True, "ann")


def test_a_lost_job_dispatched_elsewhere_is_kept_but_is_no_test_dispatch() -> None:
    (dispatch,) = run(lost(0, job_id="AJ_9")).dispatches
    assert (dispatch.room, dispatch.ours) == ("demo", False)
    known = run(offer(0), lost(0, "not assigned", "AJ_1"))
    assert known.dispatches == ()


def test_a_lost_dispatch_does_not_wait_unless_its_job_is_offered_late() -> None:
    gone = run(made(1), lost(1, "no offer within 10 s"))
    assert not gone.dispatches[0].waits
    late = run(offer(1), state=gone)
    assert (late.dispatches[0].job_id, late.dispatches[0].lost) == ("AJ_1", "")


def test_a_loss_belongs_to_the_dispatch_of_its_number_not_to_the_first_that_waits() -> None:
    state = run(made(1), made(2), offer(2, "AJ_2"), lost(2, "not assigned", "AJ_2"))
    assert [each.lost for each in state.dispatches] == ["", "not assigned"]


def test_the_job_of_a_new_room_has_the_id_of_its_dispatch() -> None:
    (dispatch,) = run(made(1), offer(1, "AJ_1", "AD_1"), offer(1, "AJ_2", "AD_1")).dispatches
    assert (dispatch.dispatch_id, dispatch.job_id) == ("AD_1", "AJ_2")
    (dispatch,) = run(offer(1, "AJ_1", "AD_1"), made(1)).dispatches
    assert dispatch.dispatch_id == "AD_1"


def test_a_declined_dispatch_is_lost_where_it_stands() -> None:
    declined = ev.OfferAnswered("AJ_1", accepted=False, error="stopping")
    why = "the offer was declined: stopping"
    (dispatch,) = run(made(1), offer(1), declined, lost(1, why, "AJ_1")).dispatches
    assert (dispatch.job_id, dispatch.lost, dispatch.ours) == ("AJ_1", why, True)


def test_only_the_last_ones_are_kept() -> None:
    state = run(*(made(number, room=f"demo-{number}") for number in range(1, KEPT + 4)))
    assert len(state.dispatches) == KEPT
    assert state.dispatches[0].room == "demo-4"
