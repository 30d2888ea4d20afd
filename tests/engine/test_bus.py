"""The event stream: nothing is lost between snapshot and events, and no reader can block it."""

import asyncio

import pytest

from agent_tui.engine.bus import Bus, LaggedError
from agent_tui.logs.redactor import Redactor
from agent_tui.model.events import Notice, Stamped, Stopped, WorkerRefused
from agent_tui.model.logs import LogLevel
from tests.fakes.clock import FakeClock


def notice(number: int) -> Notice:
    return Notice(LogLevel.INFO, str(number))


async def test_snapshot_and_stream_join_without_a_gap_in_a_burst() -> None:
    bus = Bus(FakeClock())
    seen: list[Stamped] = []

    async def publish() -> None:
        for number in range(500):
            bus.publish(notice(number))
            if number % 7 == 0:
                await asyncio.sleep(0)
        bus.close()

    publishing = asyncio.create_task(publish())
    await asyncio.sleep(0)
    subscription = bus.subscribe()
    start = bus.state
    assert subscription.state is start
    async for batch in subscription.batches():
        seen += batch
    await publishing
    numbers = [stamped.seq for stamped in seen]
    assert numbers == list(range(numbers[0], 501))
    assert [int(stamped.event.text) + 1 for stamped in seen if isinstance(stamped.event, Notice)] == numbers


async def test_a_slow_reader_gets_an_error_and_others_are_not_affected() -> None:
    bus = Bus(FakeClock())
    slow, quick = bus.subscribe(limit=10), bus.subscribe()
    for number in range(50):
        bus.publish(notice(number))
    bus.publish(WorkerRefused("no"))
    bus.close()
    with pytest.raises(LaggedError):
        async for _ in slow.batches():
            pass
    assert [len(batch) async for batch in quick.batches()] == [51]
    assert bus.subscribe().state.worker.reason == "no"


async def test_a_reader_that_falls_behind_while_it_handles_a_batch_gets_the_error_too() -> None:
    bus = Bus(FakeClock())
    batches = bus.subscribe(limit=10).batches()
    bus.publish(notice(0))
    await anext(batches)
    for number in range(50):
        bus.publish(notice(number))
    with pytest.raises(LaggedError):
        await anext(batches)


async def test_a_reader_that_leaves_is_forgotten() -> None:
    bus = Bus(FakeClock())
    subscription = bus.subscribe()
    bus.publish(Stopped("x"))
    async for _ in subscription.batches():
        break
    await asyncio.sleep(0)
    subscription.close()
    bus.publish(notice(1))
    assert bus._subscriptions == set()


async def test_texts_in_events_are_cleaned() -> None:
    redactor = Redactor()
    redactor.mask(["a-long-api-secret"])
    bus = Bus(FakeClock(), redactor.clean_value)
    reader = bus.subscribe()
    bus.publish(WorkerRefused("bad a-long-api-secret \x1b[31mred eyJhbGciOiJI.eyJzdWIiOiJh.c2lnbmF0dXJl"))
    bus.close()
    ((stamped,),) = [batch async for batch in reader.batches()]
    assert stamped.event == WorkerRefused("bad ••• red •••")
    assert bus.state.worker.reason == "bad ••• red •••"
