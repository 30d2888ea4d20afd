"""The worker against a server in memory, on virtual time."""

import asyncio
import math

import pytest
from livekit.protocol import agent

from agent_tui.model.errors import UserError
from agent_tui.worker.messages import (
    Assigned,
    Disconnected,
    JobProgress,
    LoadReported,
    Offer,
    Recovered,
    Refused,
    Registered,
    Reject,
    Suspect,
    Terminated,
    WorkerEvent,
)
from agent_tui.worker.urls import ServerAddress
from agent_tui.worker.worker import Worker, WorkerOptions, WorkerState
from tests.worker.scene import DOWN, ME, WRONG_KEY, Scene, now, settle

from .support import (
    MemoryServer,
    Recorder,
    VirtualLoop,
    make_worker,
    offer,
    run_virtual,
)


def test_it_registers_reports_and_closes() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer()) as scene:
            assert scene.worker.state is WorkerState.REGISTERED
            assert scene.worker.worker_id == "AW_1"
            assert scene.worker.problem is None
            assert scene.server.link.kinds()[:2] == ["register", "update_worker"]
            assert scene.server.link.statuses()[0].job_count == 0
            others = [event for event in scene.told.events if not isinstance(event, LoadReported)]
            assert [type(event) for event in others] == [Registered]
        assert scene.worker.worker_id is None
        assert scene.worker.problem is not None

    run_virtual(scenario)


def test_trap_02_a_lost_connection_names_the_last_message() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer()) as scene:
            scene.worker.update_job("AJ_1", JobProgress.SUCCESS)
            await settle()
            scene.server.link.hang_up()
            reason = (await scene.told.until(Disconnected)).reason
            assert reason == "the server dropped the connection, last sent: update_job"

    run_virtual(scenario)


def test_trap_03_an_offer_is_answered_without_delay() -> None:
    async def hangs() -> float:
        await asyncio.sleep(3600)
        return 0.0

    async def scenario() -> None:
        async with Scene(MemoryServer(), measure_load=hangs) as scene:
            at = now()
            scene.server.link.push(offer("AJ_1"))
            await settle()
            assert scene.worker.answer("AJ_1", ME)
            await settle()
            assert "availability" in scene.server.link.kinds()
            assert now() == at

    run_virtual(scenario)


def test_trap_04_an_assignment_that_never_comes_delays_nothing() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer()) as scene:
            scene.server.link.push(offer("AJ_1"))
            await scene.told.until(Offer)
            scene.worker.answer("AJ_1", ME)
            await asyncio.sleep(60)
            scene.server.link.push(offer("AJ_2"))
            await scene.told.until(Offer, 2)
            assert scene.worker.answer("AJ_2", ME)
            assert scene.worker.state is WorkerState.REGISTERED
            assert scene.told.all(Assigned) == []

    run_virtual(scenario)


def test_trap_08_status_and_load_go_together_and_right_after_each_acceptance() -> None:
    async def busy() -> float:
        return 0.5

    async def scenario() -> None:
        async with Scene(MemoryServer(), production=True, load_threshold=0.7, measure_load=busy) as scene:
            link = scene.server.link
            for job_id in ("AJ_1", "AJ_2"):
                link.push(offer(job_id))
                await settle()
                scene.worker.answer(job_id, ME)
            link.push(offer("AJ_3"))
            await settle()
            scene.worker.answer("AJ_3", Reject())
            await settle()
            tail = link.kinds()[link.kinds().index("availability") :]
            assert tail == ["availability", "update_worker"] * 2 + ["availability"]
            assert all(status.HasField("status") for status in link.statuses())
            assert [status.job_count for status in link.statuses()][-2:] == [1, 2]
            assert link.statuses()[-1].load == 0.5
            before = len(link.statuses())
            await asyncio.sleep(10.1)
            assert len(link.statuses()) == before + 4

    run_virtual(scenario)


def test_trap_09_in_development_the_reported_load_is_0_below_the_threshold() -> None:
    async def busy() -> float:
        return 0.95

    async def scenario() -> None:
        async with Scene(MemoryServer(), measure_load=busy) as scene:
            await asyncio.sleep(6)
            assert {status.load for status in scene.server.link.statuses()} == {0.0}
            assert scene.told.all(LoadReported)[-1] == LoadReported(0.95, 0.0)
            scene.worker.reconfigure(WorkerOptions(load_threshold=0.9, max_retry=10))
            await settle()
            last = scene.server.link.statuses()[-1]
            assert last.status == agent.WS_FULL
            assert last.load == pytest.approx(0.95)

    run_virtual(scenario)


def test_trap_10_a_lost_connection_terminates_no_job() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer()) as scene:
            scene.server.link.push(offer("AJ_1"))
            await scene.told.until(Offer)
            scene.worker.answer("AJ_1", ME)
            scene.server.link.hang_up()
            await scene.told.until(Registered, 2)
            assert scene.told.all(Terminated) == []
            assert scene.worker.update_job("AJ_1", JobProgress.SUCCESS)

    run_virtual(scenario)


def test_trap_16_a_reconnect_is_a_new_worker_without_the_old_offers() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer()) as scene:
            scene.server.link.push(offer("AJ_1"))
            await scene.told.until(Offer)
            scene.server.link.hang_up()
            await scene.told.until(Disconnected)
            assert scene.worker.worker_id is None
            assert not scene.worker.update_job("AJ_1", JobProgress.RUNNING)
            assert not scene.worker.simulate_job("demo")
            await scene.told.until(Registered, 2)
            assert scene.worker.worker_id == "AW_2"
            assert not scene.worker.answer("AJ_1", ME)
            with pytest.raises(ValueError, match="no open offer"):
                scene.worker.answer("AJ_1", ME)
            await settle()
            assert "availability" not in scene.server.link.kinds()

    run_virtual(scenario)


def test_an_offer_repeated_after_a_reconnect_can_be_answered() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer()) as scene:
            scene.server.link.push(offer("AJ_1"))
            await scene.told.until(Offer)
            scene.server.link.hang_up()
            await scene.told.until(Registered, 2)
            scene.server.link.push(offer("AJ_1"))
            await scene.told.until(Offer, 2)
            assert scene.worker.answer("AJ_1", ME)
            await settle()
            assert "availability" in scene.server.link.kinds()

    run_virtual(scenario)


def test_a_second_answer_raises() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer()) as scene:
            scene.server.link.push(offer("AJ_1"))
            await scene.told.until(Offer)
            scene.worker.answer("AJ_1", Reject())
            with pytest.raises(ValueError, match="AJ_1"):
                scene.worker.answer("AJ_1", ME)

    run_virtual(scenario)


def test_a_half_open_link_becomes_suspect_then_is_replaced() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer({"pongs": False}, {})) as scene:
            suspect = await scene.told.until(Suspect)
            assert (now(), suspect.since_s) == (4.75, 3.25)
            assert scene.worker.state is WorkerState.SUSPECT
            assert scene.worker.problem is None
            reason = (await scene.told.until(Disconnected)).reason
            assert now() == 14.5
            assert "not answered for 13 s" in reason
            await scene.told.until(Registered, 2)
            await asyncio.sleep(60)
            assert len(scene.told.all(Suspect)) == 1

    run_virtual(scenario)


def test_a_suspect_link_recovers() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer({"pongs": False})) as scene:
            await scene.told.until(Suspect)
            scene.server.link.pongs = True
            await scene.told.until(Recovered)
            assert scene.worker.state is WorkerState.REGISTERED
            await asyncio.sleep(60)
            assert scene.told.all(Disconnected) == []

    run_virtual(scenario)


def test_a_local_stall_is_not_blamed_on_the_server() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer()) as scene:
            scene.server.link.pongs = False
            await asyncio.sleep(1.6)  # one ping is unanswered
            (stamp,) = (m.ping.timestamp for m in scene.server.link.got if m.HasField("ping"))
            scene.server.link.pongs = True
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop.stall(100.0)
            await asyncio.sleep(0.05)
            scene.server.link.push(agent.ServerMessage(pong=agent.WorkerPong(last_timestamp=stamp)))
            await asyncio.sleep(60)
            assert scene.told.all(Disconnected) == []
            assert scene.told.all(Suspect) == []

    run_virtual(scenario)


@pytest.mark.parametrize("when", ["before it runs", "connecting", "backing off", "refused", "registered"])
def test_closing_takes_no_time(when: str) -> None:
    async def hangs(_url: str, _headers: object) -> object:
        await asyncio.sleep(3600)
        raise AssertionError

    async def scenario() -> None:
        servers = {"backing off": MemoryServer(DOWN), "refused": MemoryServer({}, WRONG_KEY)}
        server = servers.get(when, MemoryServer())
        told = Recorder()
        worker = make_worker(hangs if when == "connecting" else server, told)
        if when == "before it runs":
            await worker.close()
            await worker.run()
            assert server.attempts == []
            return
        running = asyncio.create_task(worker.run())
        await settle()
        if when == "refused":
            server.link.hang_up()
            await told.until(Refused)
        assert worker.state == when
        at = now()
        await asyncio.gather(worker.close(), worker.close(), running)
        assert now() == at

    run_virtual(scenario)


def test_closing_sends_pending_messages() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer({"send_takes_s": 0.01})) as scene:
            for number in range(5):
                scene.worker.update_job(f"AJ_{number}", JobProgress.SUCCESS)
                scene.worker.simulate_job("demo")
            await scene.told.until(Registered)
            for number in range(5):
                scene.worker.update_job(f"AJ_{number}", JobProgress.SUCCESS)
        assert scene.server.link.kinds()[-5:] == ["update_job"] * 5

    run_virtual(scenario)


def test_closing_does_not_wait_for_a_blocked_connection() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer({"send_takes_s": 3600.0})) as scene:
            scene.worker.set_draining(True)
            await scene.told.until(Registered)
            at = now()
        assert now() - at <= 0.5

    run_virtual(scenario)


def test_cancelling_run_closes_the_connection() -> None:
    async def scenario() -> None:
        server = MemoryServer()
        running = asyncio.create_task(make_worker(server, Recorder()).run())
        await settle()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert server.link.closed

    run_virtual(scenario)


def test_a_worker_runs_once() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer()) as scene:
            with pytest.raises(RuntimeError, match="once"):
                await scene.worker.run()

    run_virtual(scenario)


def test_an_error_in_on_event_is_not_swallowed_and_the_worker_can_run_again() -> None:
    class Broken(Recorder):
        def __call__(self, worker: Worker, event: WorkerEvent) -> None:
            if isinstance(event, Offer):
                raise KeyError("a bug")

    async def scenario() -> None:
        server = MemoryServer()
        worker = make_worker(server, Broken())
        running = asyncio.create_task(worker.run())
        await settle()
        server.link.push(offer("AJ_1"))
        with pytest.raises(KeyError, match="a bug"):
            await running
        assert server.link.closed
        running = asyncio.create_task(worker.run())
        await settle()
        assert (worker.state, worker.worker_id) == (WorkerState.REGISTERED, "AW_2")
        await worker.close()
        await running

    run_virtual(scenario)


def test_draining_reports_full_and_keeps_the_connection() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer()) as scene:
            scene.worker.set_draining(True)
            await asyncio.sleep(20)
            assert scene.server.link.statuses()[-1].status == agent.WS_FULL
            scene.server.link.push(agent.ServerMessage(termination=agent.JobTermination(job_id="AJ_1")))
            assert (await scene.told.until(Terminated)).job_id == "AJ_1"
            scene.server.link.hang_up()
            await scene.told.until(Registered, 2)
            assert {status.status for status in scene.server.link.statuses()} == {agent.WS_FULL}
            scene.worker.set_draining(False)
            await settle()
            assert scene.server.link.statuses()[-1].status == agent.WS_AVAILABLE

    run_virtual(scenario)


def test_production_reports_full_at_the_threshold() -> None:
    loads = iter([0.69, 0.7, 0.71, 0.2])

    async def measure() -> float:
        return next(loads, 0.2)

    async def scenario() -> None:
        async with Scene(MemoryServer(), production=True, load_threshold=0.7, measure_load=measure) as scene:
            await asyncio.sleep(8)
            seen = [(round(s.load, 2), s.status) for s in scene.server.link.statuses()]
            full, free = agent.WS_FULL, agent.WS_AVAILABLE
            assert seen[-4:] == [(0.69, free), (0.7, full), (0.71, full), (0.2, free)]

    run_virtual(scenario)


def test_a_failing_load_function_keeps_the_last_load_and_is_reported_once() -> None:
    steps = iter(["0.4", "raise", "raise", "hang", "0.5", "nan", "stop", "0.6"])

    async def measure() -> float:
        match next(steps, "0.6"):
            case "raise":
                raise OSError("broken")
            case "hang":
                await asyncio.sleep(3600)
            case "stop":
                raise asyncio.CancelledError
            case number:
                return float(number)
        return 0.0

    async def scenario() -> None:
        async with Scene(
            MemoryServer(), production=True, load_threshold=math.inf, measure_load=measure
        ) as scene:
            await asyncio.sleep(25)
            loads = [each.measured for each in scene.told.all(LoadReported)]
            assert loads[:8] == [0.4, 0.4, 0.4, 0.4, 0.5, 0.5, 0.5, 0.6]
            problems = [each.problem for each in scene.told.all(LoadReported)]
            assert any("broken" in each for each in problems)
            assert any("NaN" in each for each in problems)
            assert problems[0] == ""

    run_virtual(scenario)


def test_a_load_function_that_ignores_its_cancellation_is_not_called_again() -> None:
    calls = 0

    async def stubborn() -> float:
        nonlocal calls
        calls += 1
        for _ in range(10 if calls == 1 else 0):
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                continue
        return 0.3

    async def scenario() -> None:
        async with Scene(MemoryServer(), measure_load=stubborn) as scene:
            await asyncio.sleep(10)
            assert calls == 1
            assert "no answer within" in scene.told.all(LoadReported)[-1].problem
            assert len(scene.server.link.statuses()) >= 2
            await asyncio.sleep(60)
            assert calls > 1
            assert scene.told.all(LoadReported)[-1] == LoadReported(0.3, 0.0)

    run_virtual(scenario)


def test_each_attempt_has_a_new_token() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer(DOWN, {})) as scene:
            await scene.told.until(Registered)
            first, second = (headers["Authorization"] for _, headers in scene.server.requests)
            assert first.startswith("Bearer ")
            assert first != second

    run_virtual(scenario)


@pytest.mark.parametrize(
    "server",
    [
        ServerAddress("localhost:7880", "k", "s"),
        ServerAddress("ws://h", "", "s"),
        ServerAddress("ws://h", "k", ""),
    ],
)
def test_an_unusable_server_is_named_at_once(server: ServerAddress) -> None:
    with pytest.raises(UserError):
        make_worker(MemoryServer(), Recorder(), server=server, clock=None)


def test_a_retiring_worker_takes_no_offers_and_ends_with_its_last_job() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer()) as scene:
            link = scene.server.link
            link.push(offer("AJ_1"))
            link.push(offer("AJ_2"))
            await scene.told.until(Offer, 2)
            assert scene.worker.answer("AJ_1", ME)
            scene.worker.retire()
            link.push(offer("AJ_3"))
            await settle()
            assert scene.told.all(Offer)[-1].job_id == "AJ_2"
            answers = [m.availability for m in link.got if m.HasField("availability")]
            assert [(each.job_id, each.available) for each in answers] == [("AJ_1", True), ("AJ_3", False)]
            assert link.statuses()[-1].status == agent.WS_FULL
            assert scene.worker.answer("AJ_2", ME)  # it was offered before
            scene.worker.job_ended("AJ_1")
            await settle()
            assert not link.closed
            assert scene.worker.update_job("AJ_2", JobProgress.SUCCESS)
            scene.worker.job_ended("AJ_2")
            await settle()
            assert scene.worker.state is WorkerState.CLOSED
            assert link.kinds()[-1] == "update_job"

    run_virtual(scenario)


@pytest.mark.parametrize("how", ["idle", "rejects", "ignores", "is lost"])
def test_a_retiring_worker_without_jobs_ends_once_no_offer_is_open(how: str) -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer()) as scene:
            if how != "idle":
                scene.server.link.push(offer("AJ_1"))
                await scene.told.until(Offer)
            scene.worker.retire()
            await settle()
            assert (scene.worker.state is WorkerState.CLOSED) is (how == "idle")
            if how == "rejects":
                scene.worker.answer("AJ_1", Reject())
            elif how == "ignores":
                scene.worker.ignore("AJ_1")
            elif how == "is lost":
                scene.server.link.hang_up()
            await settle()
            assert scene.worker.state is WorkerState.CLOSED
            assert len(scene.server.links) == 1

    run_virtual(scenario)


def test_jobs_of_a_lost_connection_keep_a_retiring_worker() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer()) as scene:
            scene.server.link.push(offer("AJ_1"))
            await scene.told.until(Offer)
            scene.worker.answer("AJ_1", ME)
            scene.worker.retire()
            scene.server.link.hang_up()
            await scene.told.until(Registered, 2)
            assert scene.server.link.statuses()[-1].job_count == 1
            scene.worker.job_ended("AJ_1")
            await settle()
            assert scene.worker.state is WorkerState.CLOSED

    run_virtual(scenario)
