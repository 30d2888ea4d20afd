"""The protocol machine, from bytes to events and from calls to bytes."""

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import agent

from agent_tui.model.child import AcceptArguments
from agent_tui.model.errors import UserError
from agent_tui.options.permissions import Permissions
from agent_tui.worker.messages import (
    Assigned,
    Dead,
    JobProgress,
    JobType,
    Offer,
    Recovered,
    Registered,
    Registration,
    Reject,
    SimulatedParticipant,
    Suspect,
    Terminated,
    Undecodable,
    WorkerEvent,
    WorkerStatus,
)
from agent_tui.worker.protocol import Timings, WorkerProtocol

from .support import offer, registered

if TYPE_CHECKING:
    from collections.abc import Callable

ME = AcceptArguments(identity="agent-1")


def fresh(registration: Registration | None = None) -> WorkerProtocol:
    return WorkerProtocol(registration or Registration(), Timings())


def ready(registration: Registration | None = None) -> WorkerProtocol:
    """Return a machine registered at second 0, with no pending output."""
    machine = fresh(registration)
    machine.register(0.0)
    feed(machine, registered())
    sent(machine)
    return machine


def feed(
    machine: WorkerProtocol, message: agent.ServerMessage | bytes | str, now: float = 0.0
) -> list[WorkerEvent]:
    frame = message.SerializeToString() if isinstance(message, agent.ServerMessage) else message
    machine.receive(frame, now, wall=1000.0 + now)
    return machine.events_received()


def sent(machine: WorkerProtocol) -> list[agent.WorkerMessage]:
    return [agent.WorkerMessage.FromString(frame) for frame in machine.data_to_send()]


def pong(stamp: int) -> agent.ServerMessage:
    return agent.ServerMessage(pong=agent.WorkerPong(last_timestamp=stamp, timestamp=1))


def test_registration_identifies_the_worker() -> None:
    machine = fresh(Registration("bot", JobType.PUBLISHER, deployment="blue", version="9"))
    machine.register(0.0)
    (message,) = sent(machine)
    assert message.register.agent_name == "bot"
    assert message.register.type == agent.JT_PUBLISHER
    assert message.register.deployment == "blue"
    assert message.register.version == "9"
    assert not message.register.HasField("namespace")
    assert feed(machine, registered("AW_7")) == [Registered("AW_7", "1.13.5", 17, "", "ND_1")]


@pytest.mark.parametrize("deployment", ["a_b", "a b", "x" * 65, "é" * 33, "a\x7f", "tab\t"])
def test_an_invalid_deployment_is_named(deployment: str) -> None:
    with pytest.raises(UserError, match="deployment"):
        Registration(deployment=deployment)


def test_trap_01_nothing_but_register_and_ping_before_registration() -> None:
    machine = fresh()
    with pytest.raises(ValueError, match="live connection"):
        machine.ping(0.0)
    machine.register(0.0)
    machine.ping(0.0)
    calls: list[Callable[[], None]] = [
        lambda: machine.update_status(WorkerStatus.AVAILABLE, 0.0, 0),
        lambda: machine.update_job("AJ_1", JobProgress.RUNNING),
        lambda: machine.answer("AJ_1", ME),
        lambda: machine.simulate_job("room"),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="registered connection"):
            call()
    assert [m.WhichOneof("message") for m in sent(machine)] == ["register", "ping"]


def test_trap_01_one_registration_per_connection() -> None:
    machine = ready()
    with pytest.raises(ValueError, match="one registration"):
        machine.register(1.0)
    assert sent(machine) == []


def test_trap_05_an_offer_that_reads_running_still_waits_for_its_answer() -> None:
    machine = ready()
    (event,) = feed(machine, offer("AJ_1"), now=2.0)
    assert isinstance(event, Offer)
    assert (event.job_id, event.received_at, event.resuming) == ("AJ_1", 1002.0, False)
    assert event.job.state.status == agent.JS_RUNNING
    assert machine.open_offers == {"AJ_1"}


@pytest.mark.parametrize(("given_url", "url"), [(None, None), ("", None), ("wss://x", "wss://x")])
def test_trap_06_the_assignments_url_is_optional(given_url: str | None, url: str | None) -> None:
    machine = ready()
    message = agent.ServerMessage()
    message.assignment.job.id = "AJ_1"
    message.assignment.token = "jwt"
    if given_url is not None:
        message.assignment.url = given_url
    (event,) = feed(machine, message)
    assert isinstance(event, Assigned)
    assert (event.job_id, event.url, event.token) == ("AJ_1", url, "jwt")
    assert "jwt" not in repr(event)


def test_trap_07_an_empty_identity_is_refused_and_the_offer_stays_open() -> None:
    machine = ready()
    feed(machine, offer("AJ_1"))
    with pytest.raises(ValueError, match="identity"):
        machine.answer("AJ_1", AcceptArguments(identity=""))
    assert sent(machine) == []
    machine.answer("AJ_1", ME)
    assert sent(machine)[0].availability.participant_identity == "agent-1"


def test_trap_08_status_and_load_go_together() -> None:
    machine = ready()
    machine.update_status(WorkerStatus.FULL, 0.5, 3)
    (message,) = sent(machine)
    assert message.update_worker.HasField("status")
    assert message.update_worker.status == agent.WS_FULL
    assert message.update_worker.load == 0.5
    assert message.update_worker.job_count == 3


@pytest.mark.parametrize("load", [math.nan, math.inf, -math.inf])
def test_a_load_that_is_not_a_number_is_not_sent(load: float) -> None:
    with pytest.raises(ValueError, match="load"):
        ready().update_status(WorkerStatus.AVAILABLE, load, 0)


def test_trap_11_a_termination_may_come_for_any_job_and_twice() -> None:
    machine = ready()
    message = agent.ServerMessage(termination=agent.JobTermination(job_id="AJ_unknown"))
    assert feed(machine, message) == [Terminated("AJ_unknown")]
    assert feed(machine, message) == [Terminated("AJ_unknown")]


@pytest.mark.parametrize("terminate", [False, True])
def test_trap_13_rejecting_is_not_terminating(terminate: bool) -> None:
    machine = ready()
    feed(machine, offer("AJ_1"))
    machine.answer("AJ_1", Reject(terminate=terminate))
    (message,) = sent(machine)
    assert message.availability.job_id == "AJ_1"
    assert not message.availability.available
    assert message.availability.terminate is terminate


def test_trap_17_no_simulated_job_without_a_room() -> None:
    machine = ready()
    with pytest.raises(ValueError, match="room"):
        machine.simulate_job("")
    assert sent(machine) == []
    machine.simulate_job("demo")
    machine.simulate_job("demo", SimulatedParticipant("caller", "of theirs", {"tier": "gold"}))
    alone, joined = sent(machine)
    assert alone.simulate_job.room.name == "demo"
    assert not alone.simulate_job.HasField("participant")
    participant = joined.simulate_job.participant
    assert (participant.identity, participant.metadata) == ("caller", "of theirs")
    assert dict(participant.attributes) == {"tier": "gold"}


def test_trap_18_default_permissions_let_the_agent_work() -> None:
    machine = fresh()
    machine.register(0.0)
    may = sent(machine)[0].register.allowed_permissions
    assert (may.can_publish, may.can_subscribe, may.can_publish_data, may.can_update_metadata) == (True,) * 4
    assert may.agent
    assert not may.hidden
    assert list(may.can_publish_sources) == []


def test_trap_18_permissions_go_out_as_set() -> None:
    machine = fresh(
        Registration(permissions=Permissions(False, False, False, False, ("microphone",), hidden=True))
    )
    machine.register(0.0)
    may = sent(machine)[0].register.allowed_permissions
    assert (may.can_publish, may.can_subscribe, may.can_publish_data, may.can_update_metadata) == (False,) * 4
    assert may.hidden
    assert list(may.can_publish_sources) == [2]


def test_trap_20_only_binary_is_sent_and_a_text_message_is_ignored() -> None:
    machine = ready()
    (event,) = feed(machine, '{"register": {}}')
    assert isinstance(event, Undecodable)
    assert "text" in event.reason
    machine.update_status(WorkerStatus.AVAILABLE, 0.0, 0)
    assert all(type(frame) is bytes for frame in machine.data_to_send())
    assert machine.registered


def test_an_acceptance_carries_its_arguments_and_the_agents_name() -> None:
    machine = ready(Registration(agent_name="bot"))
    feed(machine, offer("AJ_1"))
    machine.answer("AJ_1", AcceptArguments("id", "name", "meta", {"k": "v", "lk.agent.name": "mine"}))
    answer = sent(machine)[0].availability
    assert answer.available
    assert (answer.participant_identity, answer.participant_name, answer.participant_metadata) == (
        "id",
        "name",
        "meta",
    )
    assert dict(answer.participant_attributes) == {"k": "v", "lk.agent.name": "bot"}


@pytest.mark.parametrize("second", [ME, Reject(), Reject(terminate=True)])
def test_an_offer_gets_one_answer(second: AcceptArguments | Reject) -> None:
    machine = ready()
    feed(machine, offer("AJ_1"))
    machine.answer("AJ_1", ME)
    with pytest.raises(ValueError, match="AJ_1 has no open offer"):
        machine.answer("AJ_1", second)
    assert len(sent(machine)) == 1
    feed(machine, offer("AJ_1"))
    machine.answer("AJ_1", Reject())
    assert len(sent(machine)) == 1


def test_a_second_offer_of_an_open_one_is_reported() -> None:
    machine = ready()
    feed(machine, offer("AJ_1"))
    (event,) = feed(machine, offer("AJ_1"))
    assert isinstance(event, Undecodable)


def test_an_answer_longer_than_the_server_reads_is_refused_and_can_be_rejected_instead() -> None:
    machine = ready()
    feed(machine, offer("AJ_1"))
    with pytest.raises(ValueError, match=r"availability of \d+ bytes"):
        machine.answer("AJ_1", AcceptArguments("id", metadata="x" * (2 * 1024 * 1024)))
    machine.answer("AJ_1", Reject())
    assert len(sent(machine)) == 1


def test_a_job_update_carries_status_and_error() -> None:
    machine = ready()
    machine.update_job("AJ_1", JobProgress.FAILED, "boom")
    (message,) = sent(machine)
    assert (message.update_job.job_id, message.update_job.status, message.update_job.error) == (
        "AJ_1",
        agent.JS_FAILED,
        "boom",
    )


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (b"\xff\xff\xff", "not a LiveKit message"),
        (b"", "empty message"),
        (b"\x7a\x02hi", "field 15"),
        (agent.ServerMessage(go_away={}).SerializeToString(), "go_away"),
        (agent.ServerMessage(availability={}).SerializeToString(), "job id"),
        (agent.ServerMessage(assignment={}).SerializeToString(), "job id"),
        (registered("AW_9").SerializeToString(), "without an open registration"),
    ],
)
def test_an_unusable_frame_is_reported_and_ignored(frame: bytes, said: str) -> None:
    machine = ready()
    (event,) = feed(machine, frame)
    assert isinstance(event, Undecodable)
    assert said in event.reason
    assert len(feed(machine, offer("AJ_1"))) == 1


def test_an_offer_before_the_registration_is_reported_and_cannot_be_answered() -> None:
    machine = fresh()
    machine.register(0.0)
    (event,) = feed(machine, offer("AJ_1"))
    assert isinstance(event, Undecodable)
    assert machine.open_offers == frozenset()


@given(st.lists(st.one_of(st.binary(max_size=200), st.text(max_size=50)), max_size=20), st.booleans())
def test_garbage_never_raises(frames: list[bytes | str], is_registered: bool) -> None:
    machine = ready() if is_registered else fresh()
    for frame in frames:
        feed(machine, frame)
    assert "" not in machine.open_offers


SERVER_AHEAD_S = 500.0
"""Relative to the machine's `now`; Unix seconds on a real server."""


def stamped_pong(machine: WorkerProtocol, now: float, read_at: float | None = None) -> None:
    """Send a ping at `now`, whose answer is read then or later."""
    machine.ping(now)
    (ping,) = sent(machine)
    stamp = round((now + SERVER_AHEAD_S) * 1000)
    answer = agent.WorkerPong(last_timestamp=ping.ping.timestamp, timestamp=stamp)
    feed(machine, agent.ServerMessage(pong=answer), now=now if read_at is None else read_at)


def answer_by(machine: WorkerProtocol, *, made: float | None, now: float, job_id: str = "AJ_1") -> float:
    message = offer(job_id)
    if made is not None:
        message.availability.job.state.started_at = round((made + SERVER_AHEAD_S) * 1e9)
    (event,) = feed(machine, message, now=now)
    assert isinstance(event, Offer)
    return round(event.answer_by, 3)


def test_offers_left_unread_while_this_side_stalled_are_known() -> None:
    machine = ready()
    stamped_pong(machine, 1.0)
    stamped_pong(machine, 2.0)
    assert answer_by(machine, made=4.0, now=27.0) == 6.5  # the server stopped waiting long ago
    assert answer_by(machine, made=26.0, now=27.0, job_id="AJ_2") == 28.5
    assert answer_by(machine, made=None, now=27.0, job_id="AJ_3") == 4.5  # no stamp: it may be that old
    stamped_pong(machine, 27.0)
    assert answer_by(machine, made=None, now=27.1, job_id="AJ_4") == 29.6  # what came since cannot be old
    machine.ignore("AJ_1")
    assert machine.open_offers == {"AJ_2", "AJ_3", "AJ_4"}


def test_an_unread_pong_does_not_make_offers_look_new() -> None:
    machine = ready()
    stamped_pong(machine, 1.0)
    stamped_pong(machine, 2.0, read_at=27.0)
    assert answer_by(machine, made=4.0, now=27.0) == 6.5


def test_without_a_stall_clocks_are_not_used() -> None:
    machine = ready()
    stamped_pong(machine, 1.0)
    assert answer_by(machine, made=-300.0, now=2.0) == 4.5
    assert answer_by(machine, made=300.0, now=2.0, job_id="AJ_2") == 4.5


def test_silence_during_a_local_stall_does_not_count_but_offers_stay_old() -> None:
    machine = ready()
    stamped_pong(machine, 1.0)
    machine.ping(2.0)
    machine.note_stall(30.0)
    machine.tick(30.0)
    assert machine.events_received() == []
    assert answer_by(machine, made=4.0, now=30.0) == 6.5
    machine.tick(34.0)
    assert [type(event) for event in machine.events_received()] == [Suspect]


@given(st.data())
def test_broken_offers_never_raise(data: st.DataObject) -> None:
    frame = bytearray(offer("AJ_1", metadata="m" * 20).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    assert len(feed(ready(), bytes(frame))) <= 1


# -- time -----------------------------------------------------------------------------------------------


def play(
    machine: WorkerProtocol, until: float, answer_before: float = -1.0
) -> list[tuple[float, WorkerEvent]]:
    """Follow the machine's own deadlines, as the shell does, answering pings sent before a given time."""
    happened: list[tuple[float, WorkerEvent]] = []
    while (now := machine.next_deadline()) is not None and now <= until:
        machine.tick(now)
        for message in sent(machine):
            if message.WhichOneof("message") == "ping" and now < answer_before:
                machine.receive(pong(message.ping.timestamp).SerializeToString(), now, wall=now)
        happened += [(now, event) for event in machine.events_received()]
    return happened


def test_a_server_that_answers_pings_is_never_suspect() -> None:
    assert play(ready(), until=120.0, answer_before=120.0) == []


def test_a_server_that_falls_silent_is_suspect_within_5_and_dead_within_15_seconds() -> None:
    # The server falls silent just after its answer to the ping of 28.5 s.
    happened = play(ready(), until=120.0, answer_before=29.0)
    assert [(at, type(event)) for at, event in happened] == [(33.25, Suspect), (43.0, Dead)]
    assert happened[0][1] == Suspect(3.25)


@given(st.floats(0, 1e6))
def test_every_deadline_has_an_effect(start: float) -> None:
    machine = fresh()
    machine.register(start)
    machine.receive(registered().SerializeToString(), start, wall=start)
    machine.events_received()
    for _ in range(20):  # 9 pings, a suspicion, and the end, each at its own deadline
        now = machine.next_deadline()
        if now is None:
            break
        machine.tick(now)
        assert machine.data_to_send() or machine.events_received()
    assert machine.next_deadline() is None


def test_a_late_answer_recovers_the_link() -> None:
    machine = ready()
    play(machine, until=9.0)
    assert feed(machine, pong(6000), now=9.0) == [Recovered()]
    assert feed(machine, pong(7500), now=9.0) == []
    assert play(machine, until=60.0, answer_before=60.0) == []


def test_answers_that_stay_late_do_not_recover_the_link() -> None:
    machine = ready()
    play(machine, until=10.0)  # pings every 1.5 s, the last at 9.0
    assert feed(machine, pong(1500), now=10.5) == []
    assert feed(machine, pong(9000), now=10.6) == [Recovered()]


@pytest.mark.parametrize("stamp", [0, -1, 1])
def test_an_answer_to_an_unknown_ping_proves_nothing(stamp: int) -> None:
    machine = ready()
    play(machine, until=9.0)
    assert feed(machine, pong(stamp), now=9.0) == []


def test_a_registration_without_an_answer_ends_the_connection() -> None:
    machine = fresh()
    machine.register(100.0)
    assert machine.next_deadline() == 110.0
    machine.tick(109.9)
    assert machine.events_received() == []
    machine.tick(110.0)
    (event,) = machine.events_received()
    assert isinstance(event, Dead)
    assert "registration" in event.reason


def test_a_dead_connection_sends_and_handles_nothing() -> None:
    machine = ready()
    play(machine, until=120.0)
    assert machine.next_deadline() is None
    assert feed(machine, offer("AJ_1")) == []
    with pytest.raises(ValueError):
        machine.update_status(WorkerStatus.AVAILABLE, 0.0, 0)
    machine.tick(1000.0)
    assert (machine.events_received(), machine.data_to_send()) == ([], [])
