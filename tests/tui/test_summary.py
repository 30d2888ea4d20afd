"""The summary after the screen has closed."""

from agent_tui.model import events as ev
from agent_tui.tui.summary import summary
from tests.fakes.engine import FakeEngine
from tests.tui import histories
from tests.tui.hostile import HOSTILE


def test_five_lines_say_how_the_run_went() -> None:
    engine = FakeEngine()
    histories.memory(engine)
    engine.publish(ev.JobLost("demo-9", "another worker took the job", "AJ_9", 9), ev.LogsAdded(0, 5, 0))
    assert summary(engine.bus.state, 724.0).split("\n") == [
        "ran     12 min 4 s, 1 load of the code",
        "jobs    3 started: 1 failed; 1 dispatch lost",
        "p95     33 ms dispatch→entry, 33% warm",
        "memory  2 warnings",
        "log     not saved (X saves it while agent-tui runs)",
    ]


def test_what_did_not_happen_is_left_out() -> None:
    engine = FakeEngine()
    histories.broken(engine)
    assert summary(engine.bus.state, 3.0).split("\n") == [
        "ran     3 s, 0 loads of the code, 1 failed",
        "jobs    none",
    ]


def test_hostile_text_adds_no_lines() -> None:
    engine = FakeEngine()
    histories.hostile(engine, HOSTILE)
    assert len(summary(engine.bus.state, 3.0).split("\n")) <= 5
