"""A worker's session, message by message, with a fake clock."""

from typing import Any

import pytest
from livekit.protocol.agent import Job, JobStatus, RegisterWorkerRequest, WorkerMessage
from livekit.protocol.models import Room, ServerInfo

from agent_tui.local_server.pool import ViolationError
from agent_tui.local_server.session import Answered, EnterPool, Send, Simulate, WorkerSession

from .wire import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def session(clock: FakeClock) -> WorkerSession:
    session = WorkerSession("AW_1", "key", ServerInfo(version="v"), clock, new_job_id=lambda: "AJ_sim")
    session.receive(WorkerMessage(register=RegisterWorkerRequest(agent_name="x")))
    return session


def _running(session: WorkerSession) -> Any:
    job = Job(id="AJ_1", room=Room(name="r"))
    session.offer(job)
    session.assign(job, "me", "token")
    return session.running["AJ_1"]


def _update(session: WorkerSession, status: int, error: str = "", job_id: str = "AJ_1") -> None:
    session.receive(WorkerMessage(update_job={"job_id": job_id, "status": status, "error": error}))


def test_the_reply_comes_before_the_pool(clock: FakeClock) -> None:
    session = WorkerSession("AW_1", "key", ServerInfo(version="v"), clock, new_job_id=str)
    reply, enter = session.receive(WorkerMessage(register=RegisterWorkerRequest()))
    assert isinstance(reply, Send)
    assert reply.message.register.worker_id == "AW_1"
    assert isinstance(enter, EnterPool)


def test_an_answer_counts_once_and_only_for_a_pending_offer(session: WorkerSession) -> None:
    answer = WorkerMessage(availability={"job_id": "AJ_1", "available": True})
    assert session.receive(answer) == []
    session.offer(Job(id="AJ_1"))
    (effect,) = session.receive(answer)
    assert isinstance(effect, Answered)
    assert session.receive(answer) == []
    session.offer(Job(id="AJ_1"))
    session.withdraw("AJ_1")
    assert session.receive(answer) == []


def test_job_updates(session: WorkerSession, clock: FakeClock) -> None:
    """An update without an error clears it; a change from PENDING restarts the job."""
    job = _running(session)
    started = job.state.started_at
    assert started == int(clock.now * 1e9)
    clock.now += 1
    _update(session, JobStatus.JS_RUNNING, "trouble")
    assert (job.state.error, job.state.started_at) == ("trouble", started)
    assert job.state.updated_at == started + 10**9
    _update(session, JobStatus.JS_PENDING)
    assert (job.state.error, job.state.started_at) == ("", started)
    clock.now += 1
    _update(session, JobStatus.JS_RUNNING)
    assert job.state.started_at == started + 2 * 10**9
    _update(session, JobStatus.JS_FAILED, "it broke")
    assert (job.state.status, job.state.error) == (JobStatus.JS_FAILED, "it broke")
    assert job.state.ended_at == job.state.updated_at == int(clock.now * 1e9)
    assert not session.running


def test_an_update_for_another_workers_job_is_ignored(session: WorkerSession) -> None:
    _running(session)
    _update(session, JobStatus.JS_SUCCESS, job_id="AJ_2")
    assert list(session.running) == ["AJ_1"]


def test_termination_is_sent_once(session: WorkerSession, clock: FakeClock) -> None:
    _running(session)
    clock.now += 1
    ended = session.terminate("AJ_1", JobStatus.JS_FAILED, "why")
    assert ended is not None
    message, state = ended
    assert message.termination.job_id == "AJ_1"
    assert (state.status, state.error, state.ended_at) == (JobStatus.JS_FAILED, "why", int(clock.now * 1e9))
    assert session.terminate("AJ_1", JobStatus.JS_FAILED, "why") is None
    _update(session, JobStatus.JS_SUCCESS)
    assert state.status == JobStatus.JS_FAILED


def test_the_pong_is_in_milliseconds(session: WorkerSession, clock: FakeClock) -> None:
    (pong,) = session.receive(WorkerMessage(ping={"timestamp": 5}))
    assert isinstance(pong, Send)
    assert pong.message.pong.last_timestamp == 5
    assert pong.message.pong.timestamp == int(clock.now * 1000)


def test_simulation_needs_a_named_room(session: WorkerSession) -> None:
    assert session.receive(WorkerMessage(simulate_job={})) == []
    assert session.receive(WorkerMessage(simulate_job={"room": {"sid": "RM_1"}})) == []
    (effect,) = session.receive(WorkerMessage(simulate_job={"room": {"name": "r"}}))
    assert isinstance(effect, Simulate)
    assert (effect.job.id, effect.job.agent_name, effect.job.room.name) == ("AJ_sim", "x", "r")


def test_registering_twice(session: WorkerSession) -> None:
    with pytest.raises(ViolationError, match="twice"):
        session.receive(WorkerMessage(register=RegisterWorkerRequest()))
