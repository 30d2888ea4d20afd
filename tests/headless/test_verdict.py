"""When the front end without a screen leaves, and with which exit code."""

import dataclasses
import json
import typing

import pytest

from agent_tui.headless import jsonl, lines
from agent_tui.headless.run import HeadlessOptions, Verdict
from agent_tui.model import events as ev
from agent_tui.model.child import MemoryMeasure, ProcessKind
from agent_tui.model.errors import ExitCode
from agent_tui.model.logs import LogLevel, LogLine, LogSource, LogStream
from agent_tui.model.reduce import _HANDLERS, reduce
from agent_tui.model.state import AppState

REGISTERED = ev.WorkerRegistered("AW_1", "ws://x", ev.ServerKind.EMBEDDED, "1.13.5", "")
READY = ev.GenerationReady(1, None, "start", "native", None, ev.StartMethod.SPAWN)
IDLE = ev.ProcessChanged("p1", 1, ProcessKind.JOB, ev.ProcessState.IDLE, 1)


def dispatched(room: str) -> ev.Dispatched:
    return ev.Dispatched(room, "", None)


def ended(room: str, status: ev.JobStatus = ev.JobStatus.SUCCESS) -> ev.JobEnded:
    return ev.JobEnded(f"AJ_{room}", room, 1, 1, status, "", 1.0)


def offered(room: str) -> ev.OfferReceived:
    return ev.OfferReceived(f"AJ_{room}", room, "", 1)


def decide(options: HeadlessOptions, *events: ev.Event) -> ExitCode | None:
    verdict = Verdict(options)
    for event in events:
        code = verdict.hear(event)
        if code is not None:
            return code
    return None


TWO = HeadlessOptions(dispatch=2, exit_when_idle=True, watch=False)


def test_it_leaves_when_all_test_jobs_have_ended() -> None:
    stream = (dispatched("a"), offered("a"), dispatched("b"), offered("b"), ended("a"))
    assert decide(TWO, *stream) is None
    assert decide(TWO, *stream, ended("b")) is ExitCode.OK


def test_a_job_that_ends_before_the_other_is_dispatched_is_not_the_end() -> None:
    assert decide(TWO, dispatched("a"), offered("a"), ended("a")) is None


def test_a_loss_told_before_its_dispatch_returned_counts() -> None:
    lost = ev.JobLost("a", "no worker", "AJ_a")
    assert (
        decide(TWO, lost, dispatched("a"), dispatched("b"), offered("b"), ended("b")) is ExitCode.JOB_FAILED
    )


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (ev.JobStatus.SUCCESS, ExitCode.OK),
        (ev.JobStatus.TERMINATED, ExitCode.OK),
        (ev.JobStatus.FAILED, ExitCode.JOB_FAILED),
    ],
)
def test_a_failed_job_makes_the_exit_code(status: ev.JobStatus, code: ExitCode) -> None:
    options = HeadlessOptions(dispatch=1, exit_when_idle=True)
    assert decide(options, dispatched("a"), offered("a"), ended("a", status)) is code


def test_without_exit_when_idle_it_stays() -> None:
    assert decide(HeadlessOptions(dispatch=1), dispatched("a"), offered("a"), ended("a")) is None


def test_without_test_jobs_it_leaves_after_the_jobs_of_others() -> None:
    options = HeadlessOptions(exit_when_idle=True)
    assert decide(options, REGISTERED, offered("a"), offered("b"), ended("a")) is None
    assert decide(options, REGISTERED, offered("a"), offered("b"), ended("a"), ended("b")) is ExitCode.OK


@pytest.mark.parametrize("options", [HeadlessOptions(watch=False), HeadlessOptions(exit_when_idle=True)])
def test_a_file_that_does_not_load_is_the_end_where_no_save_will_come(options: HeadlessOptions) -> None:
    failed = ev.GenerationFailed(1, "SyntaxError", None, None, "")
    assert decide(options, failed) is ExitCode.JOB_FAILED
    assert decide(HeadlessOptions(), failed) is None


def test_a_server_that_is_lost_for_good_is_the_end_unless_jobs_run() -> None:
    gone = ev.WorkerDisconnected("gone", None, 16)
    assert decide(HeadlessOptions(), REGISTERED, gone) is ExitCode.SERVER
    assert decide(HeadlessOptions(), REGISTERED, ev.WorkerRefused("no")) is ExitCode.SERVER
    assert decide(HeadlessOptions(), REGISTERED, ev.WorkerDisconnected("gone", 2.0, 1)) is None
    assert decide(HeadlessOptions(), REGISTERED, offered("a"), gone) is None
    assert decide(HeadlessOptions(), REGISTERED, offered("a"), gone, ended("a")) is ExitCode.SERVER


def test_test_jobs_wait_for_registration_and_warmth() -> None:
    verdict = Verdict(HeadlessOptions(dispatch=1))
    for event in (REGISTERED, READY):
        verdict.hear(event)
    assert not verdict.ready
    verdict.hear(IDLE)
    assert verdict.ready
    cold = Verdict(HeadlessOptions(dispatch=1), target_is_zero=True)
    cold.hear(READY)
    assert not cold.ready
    cold.hear(REGISTERED)
    assert cold.ready


PUBLIC = {
    "starting": set(),
    "registered": {"worker_id", "url", "server", "agent_name"},
    "disconnected": {"reason", "retry_in_s"},
    "generation_ready": {"generation", "seconds", "cause", "runtime", "start_method", "steps"},
    "generation_failed": {"generation", "error", "file", "line"},
    "process": {"id", "pid", "kind", "state", "generation"},
    "offer": {"job_id", "room"},
    "job_started": {"job_id", "room", "pid", "generation", "dispatch_to_entry_ms"},
    "job_connected": {"job_id", "room", "entry_to_connected_ms"},
    "job_ended": {"job_id", "room", "pid", "generation", "status", "reason", "seconds"}
    | {"ended_by", "exit_code", "signal", "traceback"},
    "job_lost": {"room", "why"},
    "memory_warning": {"pid", "job_id", "rss_mb", "uss_mb", "limit_mb"},
    "options_changed": set(),
    "stopping": set(),
    "stopped": set(),
}
"""The contract: events and what their lines hold at least."""

NOISE: tuple[ev.Event, ...] = (
    ev.GenerationLoading(1, "start"),
    ev.JobAssigned("AJ_a", "a"),
    ev.LoadMeasured(0.5, 0.5),
    ev.LogsAdded(0, 1, 0),
    ev.ProcessMeasured("p1", 30.0),
    ev.ProcessPinged("p1", 0.5),
)
"""No line is told of these, in neither form."""

EVERY: list[ev.Event] = [
    ev.Starting("0.1", "agent.py", ""),
    REGISTERED,
    ev.WorkerDisconnected("gone", 2.0, 1),
    READY,
    ev.GenerationFailed(1, "SyntaxError", "agent.py", 3, "Traceback…"),
    IDLE,
    offered("a"),
    ev.WatchingChanged(True, ("/a.py",)),
    ev.JobStarted("AJ_1", "a", "p1", 1, 1, True, 3.0, float("inf")),
    ev.JobConnected("AJ_1", "a", 12.0),
    ev.JobRestarting("AJ_1", "a", 1, "new code"),
    ev.JobStarted("AJ_1", "a", "p1", 1, 1, True, 3.0, None, 1),
    ended("a"),
    ev.JobLost("a", "why"),
    ev.MemoryWarned("p1", 1, None, 1200.0, MemoryMeasure.RSS, 1200.0, None, 1000.0, 0.0, 100.0),
    ev.OptionsChanged({"numIdleProcesses": (1, 2)}),
    ev.Stopping("quit", 0, 10.0),
    ev.Stopped("quit"),
    ev.InterpreterChosen("/usr/bin/python3", "3.11.2", "PATH", ()),
    ev.ServerChosen(ev.ServerKind.EMBEDDED, "ws://127.0.0.1:1", "127.0.0.1", remote=False, media=False),
    ev.HttpListening("http://127.0.0.1:1"),
    ev.WorkerRefused("401"),
    ev.LinkSuspect(suspect=True),
    ev.OfferAnswered("AJ_a", accepted=False),
    ev.Dispatched("a", "", None),
    ev.ProcessBlocked("p1", 1, None, 1.5, "agent.py:3", "Thread…"),
    ev.Notice(LogLevel.WARN, "a note"),
    *NOISE,
]
"""One of each, some twice."""


def test_json_lines_keep_the_contract() -> None:
    seen = {}
    for event in EVERY:
        body = jsonl.event(event)
        assert (body is None) == (event in NOISE), event
        if body is not None:
            parsed = json.loads(jsonl.line(body, 1.5, 7))
            assert list(parsed)[:3] == ["event", "ts", "seq"]
            seen[parsed["event"]] = set(parsed)
    assert {name for name, fields in PUBLIC.items() if not fields <= seen[name]} == set()


def test_no_event_is_forgotten() -> None:
    assert {type(event) for event in EVERY} == set(typing.get_args(ev.Event))
    held_nowhere = {ev.Notice, ev.OptionsChanged}  # a log line, and what the options themselves say
    assert {type(event) for event in EVERY} - set(_HANDLERS) == held_nowhere


def test_the_steps_of_a_load_and_a_roll_back() -> None:
    steps = ev.LoadSteps(seen=12.3456, read=0.0, load=9.0)
    ready = dataclasses.replace(READY, steps=steps, rolled_back_to=4)
    body = jsonl.event(ready)
    assert body is not None
    assert list(body["steps"].items()) == [("seen", 12.35), ("read", 0.0), ("load", 9.0)]
    assert body["rolled_back_to"] == 4
    line = lines.to_line(ev.Stamped(1, 0.0, ready))
    assert line is not None
    assert line.endswith("; rolled back to 4, until the next save")
    body = jsonl.event(READY)
    assert body is not None
    assert (body["steps"], body["rolled_back_to"]) == ({}, None)
    body = jsonl.event(ev.GenerationFailed(1, "SyntaxError", None, None, "", steps=steps))
    assert body is not None
    assert body["steps"]["load"] == 9.0


def test_an_ended_process_says_how() -> None:
    body = jsonl.event(
        ev.ProcessChanged("p1", 1, ProcessKind.JOB, ev.ProcessState.ENDED, 1, None, "killed", None, 9)
    )
    assert body is not None
    assert (body["reason"], body["exit_code"], body["signal"]) == ("killed", None, 9)


def test_every_event_has_a_form_for_people_or_is_known_to_be_noise() -> None:
    quiet = {type(event) for event in NOISE} | {ev.OfferReceived}
    assert set(lines._FORMS) == {type(event) for event in EVERY} - quiet
    for event in EVERY:
        assert lines.to_line(ev.Stamped(1, 0.0, event)) or type(event) in quiet


def test_log_lines_in_both_forms() -> None:
    source = LogSource("p1", LogStream.RECORD)
    log = LogLine(0, 1.5, LogLevel.ERROR, source, "AJ_1", "boom\nTraceback", logger="app")
    assert jsonl.log_line(log) == {
        "event": "log",
        "level": "error",
        "source": "p1:record",
        "job_id": "AJ_1",
        "text": "boom\nTraceback",
        "logger": "app",
    }
    assert lines.log_to_line(log).endswith("ERROR AJ_1            app: boom\n    Traceback")


def test_what_was_missed_is_taken_from_a_snapshot() -> None:
    state = AppState()
    stream: list[ev.Event] = [offered("a"), ended("a", ev.JobStatus.FAILED), offered("b")]
    for number, event in enumerate(stream, 1):
        state = reduce(state, ev.Stamped(number, 1.0, event))
    verdict = Verdict(HeadlessOptions(exit_when_idle=True))
    assert verdict.catch_up(state) is None
    assert (verdict.running, verdict.settled, verdict.bad) == ({"AJ_b"}, {"a"}, True)
    assert verdict.hear(ended("b")) is ExitCode.JOB_FAILED
