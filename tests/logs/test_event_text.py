"""Which events are log lines."""

import pytest

from agent_tui.engine.bus import Bus
from agent_tui.logs.event_text import log_line_of
from agent_tui.model import events as ev
from agent_tui.model.child import MemoryMeasure
from agent_tui.model.logs import LogLevel
from tests.fakes.clock import FakeClock

INFO, WARN, ERROR = LogLevel.INFO, LogLevel.WARN, LogLevel.ERROR


def memory(*, over_limit: bool) -> ev.MemoryWarned:
    return ev.MemoryWarned(
        "p1",
        8123,
        "AJ_1",
        1012.0,
        MemoryMeasure.RSS,
        1012.0,
        None,
        500.0,
        1000.0,
        131.0,
        over_limit=over_limit,
    )


@pytest.mark.parametrize(
    ("event", "level", "start"),
    [
        (ev.WorkerRegistered("AW_1", "ws://h", ev.ServerKind.EMBEDDED, "1.13", ""), INFO, "● registered"),
        (ev.WorkerDisconnected("cut", 4.0, 1), WARN, "○ not registered: cut; retrying in 4 s"),
        (ev.GenerationFailed(2, "NameError: x", None, None, "Traceback"), ERROR, "✗ generation 2 failed"),
        (
            ev.JobStarted("AJ_1", "demo", "p1", 1, 1, True, 3.0, 12.0),
            INFO,
            "▶ demo started · 12 ms after its dispatch · warm",
        ),
        (
            ev.JobEnded("AJ_1", "demo", 1, 1, ev.JobStatus.SUCCESS, "done", 1.0),
            INFO,
            "✓ demo succeeded after 1",
        ),
        (ev.JobEnded("AJ_1", "demo", 1, 1, ev.JobStatus.FAILED, "boom", 1.0), ERROR, "✗ demo failed after 1"),
        (ev.JobLost("demo", "another worker took the job"), ERROR, "✗ no job for demo: another worker"),
        (memory(over_limit=False), WARN, "⚠ memory: pid 8123, job AJ_1 uses 1012 MB"),
        (memory(over_limit=True), ERROR, "✗ memory: pid 8123"),
        (ev.Notice(WARN, "the token is on the command line"), WARN, "⚠ the token"),
    ],
)
def test_what_users_look_for_in_logs_is_there(event: ev.Event, level: LogLevel, start: str) -> None:
    found = log_line_of(event)
    assert found is not None
    assert found[0] is level
    assert found[1].startswith(start)


@pytest.mark.parametrize(
    "event", [ev.ProcessPinged("p1", 1.0), ev.Dispatched("demo", "", None, 1), ev.LogsAdded(0, 1, 0)]
)
def test_other_events_are_not_logged(event: ev.Event) -> None:
    assert log_line_of(event) is None


def test_the_bus_logs_clean_events_before_their_readers_get_them() -> None:
    seen: list[ev.Event] = []
    bus = Bus(FakeClock(), lambda event: ev.Notice(INFO, "clean"), seen.append)
    bus.publish(ev.Notice(INFO, "s3cret"))
    assert seen == [ev.Notice(INFO, "clean")]
