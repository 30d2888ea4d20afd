"""Signs differ without color, and each comes with a word."""

import pytest

from agent_tui.model import events as ev
from agent_tui.model.child import ProcessKind
from agent_tui.tui.app import SIGNAL_COLORS, AgentTuiApp
from agent_tui.tui.widgets.breaches import breach_rows
from agent_tui.tui.widgets.header import right_parts
from agent_tui.tui.widgets.problems import Problem
from agent_tui.tui.widgets.start_pane import StartPane, Status
from tests.fakes.engine import FakeEngine
from tests.tui import histories
from tests.tui.page_host import app_over, painted
from tests.tui.test_processes import cells


def differ(*texts: str) -> None:
    """Check that the signs of these texts differ, and that a word follows each."""
    pairs = [text.strip().split(maxsplit=1) for text in texts]
    assert all(len(pair) == 2 and len(pair[0]) == 1 for pair in pairs), pairs
    signs = [sign for sign, _ in pairs]
    assert len(set(signs)) == len(signs), pairs


def test_the_states_of_processes() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    for number, state in enumerate(
        (ev.ProcessState.STARTING, ev.ProcessState.JOB, ev.ProcessState.ENDING, ev.ProcessState.JOB), 2
    ):
        engine.publish(histories.process(f"p{number}", 9000 + number, state))
    engine.publish(ev.ProcessBlocked("p5", 9005, None, 1.0, "", ""))
    engine.publish(ev.ProcessChanged("c1", 8100, ProcessKind.CONTROL, ev.ProcessState.STARTING, 1))
    engine.publish(ev.ProcessPinged("c1", 1.0))
    differ(*(cells(engine, id)["state"] for id in ("p1", "p2", "p3", "p4", "p5", "c1")))


def test_the_states_of_the_registration() -> None:
    texts = []
    for event in (
        histories.REGISTERED,
        ev.ConnectionSuspect(suspect=True),
        ev.WorkerDisconnected("gone", 2.0, 1),
        ev.WorkerRefused("no"),
        ev.Stopping("quit", 0, 1.0),
    ):
        engine = FakeEngine()
        histories.idle(engine)
        engine.publish(event)
        texts.append(right_parts(engine.bus.state, engine.clock.time())[0].variants[0][1][0].text)
    differ(*texts)


def test_steps_breaches_and_problems() -> None:
    differ(*(f"{status.value[0]} {status.value[1]}" for status in Status))
    problem = Problem("", "x", "", "")
    assert problem.sign.text != Problem("", "x", "", "", is_error=False).sign.text
    engine = FakeEngine()
    histories.busy(engine)
    warned = engine.bus.state.breaches[0][1]
    engine.publish(
        *(ev.MemoryWarned("p2", 8124, None, 1.0, warned.measure, 1.0, None, 1.0, 1.0, 0.0, over_limit=True),)
    )
    differ(*(line[1].text for _, line in breach_rows(engine.bus.state)))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_without_color_errors_are_as_bright_as_text(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    engine = FakeEngine()
    histories.disconnected(engine)
    app = app_over(engine, AgentTuiApp)
    async with app.run_test(size=size) as pilot:
        await painted(app, engine, pilot)
        assert {app.theme_variables[name] for name in SIGNAL_COLORS} == {app.theme_variables["foreground"]}
        assert app.query_one(StartPane).display
