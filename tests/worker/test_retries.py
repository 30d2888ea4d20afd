"""When the worker retries, when it stops, and what a requested retry does."""

import asyncio
import errno
import random
from collections.abc import Mapping

import pytest

from agent_tui.model.errors import ExitCode, ServerError, UserError
from agent_tui.worker.connection import ConnectFailedError, Transport, UpgradeRefusedError
from agent_tui.worker.messages import Disconnected, Refused, Registered
from agent_tui.worker.protocol import Timings
from agent_tui.worker.urls import ServerAddress
from agent_tui.worker.worker import WorkerState
from tests.worker.scene import DOWN, WRONG_KEY, Scene, now, settle

from .support import (
    MemoryServer,
    Recorder,
    make_worker,
    run_virtual,
)


def test_pauses_between_attempts_grow_and_the_last_failure_raises() -> None:
    async def scenario() -> None:
        server, told = MemoryServer(DOWN), Recorder()
        worker = make_worker(server, told, max_retry=6, timings=Timings(backoff_jitter=0.0))
        with pytest.raises(
            ServerError, match="no connection after 7 attempts: nothing is listening"
        ) as raised:
            await worker.run()
        assert raised.value.exit_code is ExitCode.SERVER
        assert server.attempts == [0.0, 2.0, 6.0, 12.0, 20.0, 30.0, 40.0]
        assert [each.attempt for each in told.all(Disconnected)] == [1, 2, 3, 4, 5, 6, 7]
        assert told.all(Disconnected)[-1].retry_in_s is None
        assert worker.state is WorkerState.CLOSED

    run_virtual(scenario)


def test_without_retries_the_first_failure_raises() -> None:
    async def scenario() -> None:
        with pytest.raises(ServerError, match="after 1 attempt: nothing is listening"):
            await make_worker(MemoryServer(DOWN), Recorder(), max_retry=0).run()

    run_virtual(scenario)


def test_running_out_of_descriptors_does_not_count_as_an_attempt() -> None:
    none_left = ConnectFailedError(OSError(errno.EMFILE, "Too many open files"))

    async def scenario() -> None:
        server = MemoryServer(*[none_left] * 20, DOWN, {})
        async with Scene(server, max_retry=1) as scene:
            await scene.told.until(Registered)
        assert [each.attempt for each in scene.told.all(Disconnected)] == [0] * 20 + [1]

    run_virtual(scenario)


def test_pauses_differ_from_worker_to_worker() -> None:
    async def scenario() -> None:
        pauses = []
        for seed in range(5):
            told = Recorder()
            with pytest.raises(ServerError):
                await make_worker(MemoryServer(DOWN), told, max_retry=1, rng=random.Random(seed)).run()
            pauses.append(told.all(Disconnected)[0].retry_in_s)
        assert len(set(pauses)) == 5
        assert all(1.6 <= (pause or 0.0) <= 2.4 for pause in pauses)

    run_virtual(scenario)


def test_a_server_that_registers_and_disconnects_does_not_loop_forever() -> None:
    async def scenario() -> None:
        server, told = MemoryServer(), Recorder()
        worker = make_worker(server, told, max_retry=3)
        running = asyncio.create_task(worker.run())
        for round_ in range(1, 5):
            await told.until(Registered, round_)
            server.link.hang_up()
        with pytest.raises(ServerError, match="no connection after 4 attempts"):
            await running

    run_virtual(scenario)


def test_a_lasting_registration_resets_the_failures() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer(DOWN, DOWN, {}), max_retry=3) as scene:
            await scene.told.until(Registered)
            await asyncio.sleep(11)
            scene.server.link.hang_up()
            third = await scene.told.until(Disconnected, 3)
            assert third.attempt == 1
            assert third.retry_in_s is not None
            assert third.retry_in_s < 3

    run_virtual(scenario)


def test_a_registration_that_is_never_answered_times_out() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer({"registers": False}, {})) as scene:
            reason = (await scene.told.until(Disconnected)).reason
            assert now() == 10.0
            assert "registration" in reason
            assert scene.server.links[0].closed
            assert scene.worker.state is WorkerState.BACKING_OFF
            await scene.told.until(Registered)

    run_virtual(scenario)


def test_a_connection_that_never_opens_times_out() -> None:
    async def black_hole(_url: str, _headers: object) -> object:
        await asyncio.sleep(3600)
        raise AssertionError

    async def scenario() -> None:
        with pytest.raises(ServerError, match="did not answer in time"):
            await make_worker(black_hole, Recorder(), max_retry=0).run()
        assert now() == 10.0

    run_virtual(scenario)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_end_a_new_worker_at_once(status: int) -> None:
    async def scenario() -> None:
        server, told = MemoryServer(UpgradeRefusedError(status, "invalid API key")), Recorder()
        with pytest.raises(ServerError, match="'devkey'") as raised:
            await make_worker(server, told).run()
        assert told.all(Refused) == [Refused(raised.value.cause, raised.value.todo)]
        assert len(server.attempts) == 1

    run_virtual(scenario)


def test_other_refusals_are_retried() -> None:
    async def scenario() -> None:
        async with Scene(
            MemoryServer(UpgradeRefusedError(404, ""), UpgradeRefusedError(503, ""), {})
        ) as scene:
            await scene.told.until(Registered)
            first, second = (each.reason for each in scene.told.all(Disconnected))
            assert "HTTP 404" in first
            assert "HTTP 503" in second

    run_virtual(scenario)


def test_credentials_refused_later_wait_for_a_retry() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer({}, WRONG_KEY, WRONG_KEY, {})) as scene:
            scene.server.link.hang_up()
            line = (await scene.told.until(Refused)).reason
            assert "API key" in line
            assert scene.worker.state is WorkerState.REFUSED
            await asyncio.sleep(3600)
            assert len(scene.server.attempts) == 2
            scene.worker.retry()
            await scene.told.until(Refused, 2)
            scene.worker.retry(ServerAddress("ws://other:1", "newkey", "newsecret"))
            await scene.told.until(Registered, 2)
            assert scene.server.requests[-1][0] == "ws://other:1/agent"

    run_virtual(scenario)


def test_a_retry_with_a_bad_server_changes_nothing() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer({}, WRONG_KEY)) as scene:
            scene.server.link.hang_up()
            await scene.told.until(Refused)
            for server in (ServerAddress("ftp://x", "k", "s"), ServerAddress("ws://x", "k", "")):
                with pytest.raises(UserError):
                    scene.worker.retry(server)
            await asyncio.sleep(60)
            assert len(scene.server.attempts) == 2

    run_virtual(scenario)


def test_a_retry_cuts_a_pause_short() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer(DOWN, {})) as scene:
            assert scene.worker.problem == "not connected to LiveKit: backing off"
            scene.worker.retry()
            await settle()
            assert scene.worker.state is WorkerState.REGISTERED
            assert now() == 0.0

    run_virtual(scenario)


def test_a_retry_during_an_attempt_is_not_lost() -> None:
    async def refuses_slowly(url: str, headers: Mapping[str, str]) -> Transport:
        await asyncio.sleep(1)
        return await server(url, headers)

    server = MemoryServer({}, WRONG_KEY, {})

    async def scenario() -> None:
        told = Recorder()
        worker = make_worker(refuses_slowly, told, timings=Timings(backoff_jitter=0.0))
        running = asyncio.create_task(worker.run())
        await told.until(Registered)
        server.link.hang_up()
        await told.until(Disconnected)
        await asyncio.sleep(2.5)
        assert worker.state is WorkerState.CONNECTING
        worker.retry(ServerAddress("ws://h", "right", "secret"))
        await told.until(Registered, 2)
        await worker.close()
        await running

    run_virtual(scenario)


def test_a_retry_while_registered_changes_nothing() -> None:
    async def scenario() -> None:
        async with Scene(MemoryServer()) as scene:
            scene.worker.retry()
            scene.server.link.hang_up()
            await scene.told.until(Disconnected)
            await settle()
            assert scene.worker.state is WorkerState.BACKING_OFF

    run_virtual(scenario)
