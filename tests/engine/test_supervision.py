"""Parts that fail: restarted with a message, and the end of the run if they keep failing."""

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest

from agent_tui.engine.supervision import InternalErrors, Patience, Supervision
from agent_tui.model import events as ev
from agent_tui.worker.worker import pause_s
from tests.fakes.clock import FakeClock
from tests.fakes.scripted_child import until

if TYPE_CHECKING:
    from agent_tui.model.errors import InternalError


class Scene:
    """A supervision whose time only passes in its own pauses."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.events: list[Any] = []
        self.ended: list[InternalError] = []
        self.pauses: list[float] = []
        self.errors = InternalErrors(self.events.append)
        self.supervision = Supervision(
            self.errors,
            give_up=self.ended.append,
            clock=self.clock,
            emit=self.events.append,
            patience=Patience(failures=3, window_s=60.0, first_pause_s=1.0, longest_pause_s=8.0),
            sleep=self.sleep,
        )

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.advance(seconds)

    @property
    def said(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, ev.Notice)]


class Owner:
    """Fails that many times, and counts its starts in its own state."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.started = 0

    async def run(self) -> None:
        self.started += 1
        if self.started <= self.failures:
            raise KeyError("a bug")
        await asyncio.Event().wait()


async def test_an_owner_that_fails_is_restarted_with_its_state_and_a_message() -> None:
    scene, owner = Scene(), Owner(failures=2)
    scene.supervision.start("memory", owner.run)
    await until(lambda: owner.started == 3)
    assert scene.pauses == [1.0, 2.0]
    assert scene.said == [
        "internal error (memory): KeyError: 'a bug'; restarting it in 1 s (failure 1 of 3 within 60 s)",
        "internal error (memory): KeyError: 'a bug'; restarting it in 2 s (failure 2 of 3 within 60 s)",
    ]
    assert scene.errors.first is None
    assert scene.ended == []
    await scene.supervision.close()


async def test_an_owner_that_keeps_failing_ends_the_run_with_its_error() -> None:
    scene, owner = Scene(), Owner(failures=99)
    scene.supervision.start("pool", owner.run)
    await until(lambda: bool(scene.ended))
    assert owner.started == 3
    assert str(scene.ended[0]) == "internal error (pool): KeyError: 'a bug'"
    assert scene.errors.first is scene.ended[0]
    await scene.supervision.close()


def test_failures_count_for_each_part_and_within_the_window_only() -> None:
    scene = Scene()
    for part in ("pool", "memory", "pool", "memory"):
        assert scene.supervision.failed(part, KeyError()) is not None
    scene.clock.advance(61)
    assert scene.supervision.failed("pool", KeyError()) == 1.0
    assert scene.ended == []


def test_a_message_names_the_line_of_agent_tui_that_failed() -> None:
    scene = Scene()
    with pytest.raises(AttributeError) as caught:
        pause_s(1, None, None)  # type: ignore[arg-type]
    scene.supervision.failed("pool", caught.value)
    assert re.search(r"\(worker/worker\.py:\d+\); restarting it", scene.said[0])


async def test_an_error_of_a_callback_is_reported_in_one_line_once() -> None:
    scene, loop = Scene(), asyncio.get_running_loop()
    loop.set_exception_handler(scene.supervision.report_loop_error)

    def breaks() -> None:
        raise KeyError("a bug")

    for _ in range(100):
        loop.call_soon(breaks)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(scene.said) == 1
    assert "\n" not in scene.said[0]
    assert "KeyError: 'a bug'" in scene.said[0]
    scene.clock.advance(61)
    loop.call_soon(breaks)
    await asyncio.sleep(0)
    assert len(scene.said) == 2
