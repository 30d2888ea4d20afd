"""Each dispatch finds its job or its loss, whichever is told first."""

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


def test_the_offer_may_come_before_or_after_the_dispatch_is_told() -> None:
    made, offer = ev.Dispatched("demo", "", None), ev.OfferReceived("AJ_1", "demo", "", 1)
    assert jobs(run(made, offer)) == ["AJ_1"]
    assert jobs(run(offer, made)) == ["AJ_1"]


def test_ids_decide_between_two_dispatches_into_one_room() -> None:
    first, second = ev.Dispatched("demo", "ann", "AD_1"), ev.Dispatched("demo", "ann", "AD_2")
    state = run(first, second, ev.OfferReceived("AJ_2", "demo", "AD_2", 1))
    assert jobs(state) == [None, "AJ_2"]
    assert jobs(run(ev.OfferReceived("AJ_1", "demo", "AD_1", 1), state=state)) == ["AJ_1", "AJ_2"]
    assert jobs(run(ev.OfferReceived("AJ_2", "demo", "AD_2", 1), first, second)) == [None, "AJ_2"]


def test_an_old_job_in_the_room_is_not_taken_for_the_new_dispatch() -> None:
    old = run(ev.OfferReceived("AJ_0", "demo", "", 1), at=50.0)
    assert jobs(run(ev.Dispatched("demo", "", None), state=old, at=100.0)) == [None]
    again = run(ev.Dispatched("demo", "", None), ev.OfferReceived("AJ_1", "demo", "", 1))
    assert jobs(run(ev.Dispatched("demo", "", None), state=again)) == ["AJ_1", None]


def test_a_loss_may_come_before_or_after_the_dispatch_is_told() -> None:
    made, lost = ev.Dispatched("demo", "", None), ev.JobLost("demo", "no worker has room", "AJ_9")
    for state in (run(made, lost), run(lost, made)):
        (dispatch,) = state.dispatches
        assert (dispatch.lost, dispatch.ours) == ("no worker has room", True)


def test_a_job_that_somebody_else_misses_is_kept_but_is_not_ours() -> None:
    (dispatch,) = run(ev.JobLost("theirs", "no worker has room", "AJ_9")).dispatches
    assert (dispatch.room, dispatch.ours) == ("theirs", False)
    known = run(ev.OfferReceived("AJ_1", "demo", "", 1), ev.JobLost("demo", "not assigned", "AJ_1"))
    assert known.dispatches == ()


def test_a_lost_dispatch_waits_no_more_unless_its_own_id_is_offered() -> None:
    lost = run(ev.Dispatched("demo", "ann", "AD_1"), ev.JobLost("demo", "no offer within 10 s"))
    other = run(ev.OfferReceived("AJ_1", "demo", "", 1), state=lost)
    assert (other.dispatches[0].job_id, other.dispatches[0].lost) == (None, "no offer within 10 s")
    late = run(ev.OfferReceived("AJ_1", "demo", "AD_1", 1), state=lost)
    assert (late.dispatches[0].job_id, late.dispatches[0].lost) == ("AJ_1", "")


def test_a_loss_belongs_to_the_dispatch_that_has_the_job_not_to_the_first_that_waits() -> None:
    waiting, having = ev.Dispatched("demo", "ann", "AD_1"), ev.Dispatched("demo", "ann", "AD_2")
    offer, lost = ev.OfferReceived("AJ_2", "demo", "AD_2", 1), ev.JobLost("demo", "not assigned", "AJ_2")
    assert [each.lost for each in run(waiting, having, offer, lost).dispatches] == ["", "not assigned"]


def test_a_job_without_an_id_is_not_that_of_a_dispatch_with_one() -> None:
    named, simulated = ev.Dispatched("demo", "ann", "AD_1"), ev.Dispatched("demo", "ann", None)
    assert jobs(run(named, simulated, ev.OfferReceived("AJ_2", "demo", "", 1))) == [None, "AJ_2"]


def test_the_first_job_of_a_new_room_tells_its_dispatch_s_id() -> None:
    first, second = (ev.OfferReceived(f"AJ_{number}", "demo", "AD_1", 1) for number in (1, 2))
    (dispatch,) = run(ev.Dispatched("demo", "", None), first, second).dispatches
    assert (dispatch.dispatch_id, dispatch.job_id) == ("AD_1", "AJ_2")


def test_a_declined_dispatch_is_lost_where_it_stands() -> None:
    made, offer = ev.Dispatched("demo", "", None), ev.OfferReceived("AJ_1", "demo", "", 1)
    declined = ev.OfferAnswered("AJ_1", accepted=False, error="stopping")
    lost = ev.JobLost("demo", "the offer was declined: stopping", "AJ_1")
    (dispatch,) = run(made, offer, declined, lost).dispatches
    assert (dispatch.job_id, dispatch.lost, dispatch.ours) == ("AJ_1", lost.why, True)


def test_only_the_last_ones_are_kept() -> None:
    state = run(*(ev.Dispatched(f"demo-{number}", "", None) for number in range(KEPT + 3)))
    assert len(state.dispatches) == KEPT
    assert state.dispatches[0].room == "demo-3"
