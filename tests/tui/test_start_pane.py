"""The start pane: steps of the start, and errors with what to do."""

import pytest
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from agent_tui.model import events as ev
from agent_tui.model.state import AppState
from agent_tui.tui.widgets.start_pane import StartPane, Status, StepTimes, steps
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.hostile import HOSTILE


def statuses(state: AppState, target: int = 1) -> list[Status]:
    return [step.status for step in steps(state, target)]


def test_the_steps_of_the_start_in_order() -> None:
    waiting, doing, done = Status.WAITING, Status.DOING, Status.DONE
    engine = FakeEngine()
    assert statuses(engine.bus.state) == [doing, waiting, waiting, waiting, waiting]
    engine.publish(*histories.STARTING)
    assert statuses(engine.bus.state) == [done, doing, waiting, waiting, waiting]
    engine.publish(histories.EMBEDDED, ev.GenerationLoading(1, "start"))
    assert statuses(engine.bus.state) == [done, done, doing, waiting, waiting]
    engine.publish(histories.READY, histories.process("p1", 1, ev.ProcessState.STARTING))
    assert statuses(engine.bus.state) == [done, done, done, doing, doing]
    histories.idle(engine)
    assert statuses(engine.bus.state) == [done] * 5
    assert statuses(engine.bus.state, 2)[-1] is doing


def test_each_step_has_its_seconds() -> None:
    engine, times = FakeEngine(), StepTimes()

    def seconds() -> list[float | None]:
        state = engine.bus.state
        return [step.seconds for step in times.timed(steps(state, 1), state, engine.clock.time())]

    engine.publish(*histories.STARTING)
    assert seconds() == [None, 0.0, None, None, None]
    engine.clock.advance(0.5)
    engine.publish(histories.EMBEDDED, ev.GenerationLoading(1, "start"))
    assert seconds() == [None, 0.5, 0.0, None, None]
    engine.clock.advance(1.25)
    assert seconds() == [None, 0.5, 1.25, None, None]
    engine.publish(histories.READY)
    engine.clock.advance(60)
    assert seconds()[:3] == [None, 0.5, pytest.approx(61.25)]
    engine.clock.advance(60)
    assert seconds()[2] == pytest.approx(61.25)


class Host(App[None]):
    CSS = "StartPane { max-height: 75%; }"

    def compose(self) -> ComposeResult:
        yield StartPane()


def show(app: Host, engine: FakeEngine) -> StartPane:
    pane = app.query_one(StartPane)
    pane.show(engine.bus.state, engine.clock.time(), engine.resolution.options)
    return pane


def text(pane: StartPane) -> str:
    return "\n".join(str(static.content) for static in pane.query(Static) if static.display)


async def test_the_first_step_is_the_interpreter() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)):
        pane = app.query_one(StartPane)
        assert pane.needed
        assert text(pane).startswith("◌ running   interpreter")


async def test_the_pane_is_needed_until_started_and_again_on_errors() -> None:
    engine, app = FakeEngine(), Host()
    histories.starting(engine)
    async with app.run_test(size=(80, 24)):
        assert show(app, engine).needed
        histories.idle(engine)
        assert not show(app, engine).needed
        engine.publish(ev.WorkerDisconnected("gone", 2.0, 1))
        pane = show(app, engine)
        assert pane.needed
        assert pane.has_class("-trouble")
        assert "✗ gone" in text(pane)


async def test_a_long_traceback_scrolls_and_its_end_can_be_seen() -> None:
    engine, app = FakeEngine(), Host()
    histories.starting(engine)
    trace = "Traceback\n" + "\n".join(f"  line {n}" for n in range(60)) + "\nValueError: no"
    engine.publish(ev.GenerationFailed(1, "ValueError: no", "/a/agent.py", 3, trace))
    async with app.run_test(size=(80, 24)) as pilot:
        pane = show(app, engine)
        await pilot.pause()
        await pilot.pause()
        scroll = pane.query_one("#start-trace", VerticalScroll)
        assert pane.outer_size.height == 18
        assert scroll.region.bottom <= pane.content_region.bottom
        assert scroll.max_scroll_y > 0
        assert scroll.scroll_y == scroll.max_scroll_y
        scroll.focus()
        await pilot.press("home")
        await until(lambda: scroll.scroll_target_y == 0)


async def test_the_end_of_a_huge_traceback_is_kept() -> None:
    engine, app = FakeEngine(), Host()
    histories.starting(engine)
    engine.publish(ev.GenerationFailed(1, "x", "/a/agent.py", 3, "  line\n" * 100_000 + "ValueError: last"))
    async with app.run_test(size=(80, 24)):
        shown = text(show(app, engine))
        assert shown.endswith("ValueError: last")
        assert len(shown) < 14_000


async def test_the_pane_is_as_tall_as_its_text() -> None:
    engine, app = FakeEngine(), Host()
    histories.broken(engine)
    async with app.run_test(size=(120, 40)) as pilot:
        pane = show(app, engine)
        await pilot.pause()
        assert pane.query_one("#start-trace").size.height == 3
        engine.publish(histories.READY)
        show(app, engine)
        await pilot.pause()
        assert pane.outer_size.height == 5 + 2


async def test_outside_text_stays_text() -> None:
    engine, app = FakeEngine(), Host()
    histories.starting(engine)
    engine.publish(ev.GenerationFailed(1, HOSTILE, HOSTILE, 3, HOSTILE * 50))
    async with app.run_test(size=(80, 24)) as pilot:
        pane = show(app, engine)
        await pilot.pause()
        assert "[/x][bold]red 漢字" in text(pane)
        assert "\x1b" not in app.export_screenshot()
        engine.publish(ev.WorkerRefused(HOSTILE), histories.READY)
        await pilot.pause()
        assert "[/x][bold]red 漢字" in text(show(app, engine))
