"""The JSON object and the line of each event, and its row in docs/headless.md."""

import json
import re
import typing
from pathlib import Path

import msgspec
import pytest

from agent_tui.headless import jsonl, lines
from agent_tui.logs import event_text
from agent_tui.model import events as ev
from agent_tui.model import session_events as se
from agent_tui.model.child import MemoryMeasure, ProcessKind
from agent_tui.model.logs import LogLevel, LogLine, LogSource, LogStream
from agent_tui.model.reduce import _HANDLERS
from agent_tui.model.settings import DEFAULTS
from agent_tui.model.tuning import (
    Phase,
    Progress,
    RunMeasure,
    SweepOutcome,
    SweepPlan,
    SweepResult,
    SweepView,
    Target,
    TestLoad,
    TestLoadView,
)

DOCS = Path(__file__).parents[2] / "docs/headless.md"
READY = ev.GenerationReady(1, None, "start", "native", None, ev.StartMethod.SPAWN)


LOAD = TestLoad(4)
SWEEP = SweepView(
    SweepPlan(LOAD, (0, 1)),
    Target(0.95, 50.0),
    Progress(Phase.FIRST_JOB, 2, 4),
    SweepResult("agent.py", "", 0.0, LOAD, (0, 1), 1),
)

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

NOISE: tuple[ev.Event, ...] = (
    ev.GenerationLoading(1, "start"),
    ev.GenerationOvertaken(1),
    ev.JobAssigned("AJ_a", "a"),
    ev.WorkerLoadMeasured(0.5, 0.5),
    ev.LogsAdded(0, 1, 0),
    ev.ProcessMeasured("p1", 30.0),
    ev.ProcessPinged("p1", 0.5),
    ev.SettingsChanged(DEFAULTS),
    ev.TestLoadChanged(TestLoadView(RunMeasure(1, 0, LOAD), ((0.0, 1),), 0.0, running=True)),
    ev.SweepStarted(SWEEP),
    ev.SweepProgressed(SWEEP.progress),
    ev.SweepProgressed(msgspec.structs.replace(SWEEP.progress, finished=RunMeasure(1, 0, LOAD))),
    ev.SweepEnded(SweepOutcome()),
    se.TurnQueued("AJ_1", 1, "any room?"),
)
"""These events have no line and no JSON object."""

EVERY: list[ev.Event] = [
    ev.Starting("0.1", "agent.py", ""),
    ev.WorkerRegistered("AW_1", "ws://x", ev.ServerKind.EMBEDDED, "1.13.5", ""),
    ev.WorkerDisconnected("gone", 2.0, 1),
    READY,
    ev.GenerationFailed(1, "SyntaxError", "agent.py", 3, "Traceback…"),
    ev.StartsFailing(1, 2, "OSError: no model", 0.5, accepting=True),
    ev.StartsRecovered(),
    ev.ProcessChanged("p1", 1, ProcessKind.JOB, ev.ProcessState.IDLE, 1),
    ev.OfferReceived("AJ_a", "a", "", 1),
    ev.WatchingChanged(True, ("/a.py",)),
    ev.JobStarted("AJ_1", "a", "p1", 1, 1, True, 3.0, float("inf")),
    ev.JobConnected("AJ_1", "a", 12.0),
    ev.JobRestarting("AJ_1", "a", 1, "new code"),
    ev.JobPinned("AJ_1", "a", 1, pinned=True),
    ev.JobPinned("AJ_1", "a", 1, pinned=False),
    ev.JobStarted("AJ_1", "a", "p1", 1, 1, True, 3.0, None, 1),
    ev.JobEnded("AJ_a", "a", 1, 1, ev.JobStatus.SUCCESS, "", 1.0),
    ev.JobLost("a", "why"),
    ev.MemoryWarned("p1", 1, None, 1200.0, MemoryMeasure.RSS, 1200.0, None, 1000.0, 0.0, 100.0),
    ev.MemoryWarned(
        "p1", 1, None, 1200.0, MemoryMeasure.RSS, 1200.0, None, 1000.0, 1100.0, 100.0, over_limit=True
    ),
    ev.OptionsChanged({"numIdleProcesses": (1, 2)}),
    ev.Stopping("quit", 0, 10.0),
    ev.Stopped("quit"),
    ev.InterpreterChosen("/usr/bin/python3", "3.11.2", "PATH", ()),
    ev.ServerChosen(ev.ServerKind.EMBEDDED, "ws://127.0.0.1:1", "127.0.0.1", remote=False, media=False),
    ev.HttpListening("http://127.0.0.1:1"),
    ev.WorkerRefused("401"),
    ev.ConnectionSuspect(suspect=True),
    ev.OfferAnswered("AJ_a", accepted=False),
    ev.Dispatched("a", "", None, 1),
    ev.ProcessBlocked("p1", 1, None, 1.5, "agent.py:3", "Thread…"),
    ev.Notice(LogLevel.WARN, "a note"),
    ev.Notice(LogLevel.WARN, "the load function failed", "load function", "fix it"),
    ev.Notice(LogLevel.WARN, ".env:3 is not NAME=value", "x", file="/project/.env", line=3),
    se.SessionStarted("AJ_1", 1, "receptionist", text_only=True, generation=1),
    se.AgentStateChanged("AJ_1", 1, "thinking"),
    se.UserStateChanged("AJ_1", 1, "speaking"),
    se.TurnStarted("AJ_1", 1, 1, typed=True, generation=1, text="any room?"),
    se.MessageDelta("AJ_1", 1, 1, "Yes, "),
    se.MessageAdded("AJ_1", 1, 1, se.Role.ASSISTANT, "Yes, two.", True, 1, {"llm_ttft": 312.5}),
    se.ToolStarted("AJ_1", 1, 1, "find_rooms", "{}", "c1"),
    se.ToolCalled("AJ_1", 1, 1, "find_rooms", "{}", "two", False, 120.0, "c1"),
    se.HandedOff("AJ_1", 1, 1, "receptionist", "billing"),
    se.EndOfTurnPredicted("AJ_1", 1, 1, 0.91, 0.5),
    se.TurnEnded("AJ_1", 1, 1, True, 640.0, 330.0, {"llm_ttft": 312.5}, "no answer within 60 s"),
    se.UsageChanged("AJ_1", 1, "gpt-5", "openai", {"input_tokens": 412.0, "output_tokens": 12.0}),
    se.SessionFailed("AJ_1", 1, "llm", "429"),
    se.SwapWaiting("AJ_1", 1, 1, 2, "find_rooms"),
    se.SwapWaiting("AJ_1", 1, 1, 0, ""),
    se.Swapped("AJ_1", 1, 1, 1, 2, se.SwapReach.ALL, ("agent.py:12 body of entry()",), 0.8, ("a.py:3",)),
    se.Swapped("AJ_1", 1, 1, 2, 3, se.SwapReach.NONE, ("class Desk is no longer in agent.py",), 0.8),
    se.SessionEnded("AJ_1", 1, "user_initiated"),
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
    held_nowhere = {ev.OptionsChanged}  # what the options themselves say
    assert {type(event) for event in EVERY} - set(_HANDLERS) == held_nowhere


def documented() -> dict[str, set[str]]:
    """Return the events of docs/headless.md, with the words set as code in their rows."""
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    words = {name: set(re.findall(r"`(\w+)`", text)) for name, text in rows}
    return words | {
        name: words[name] | words[same[1]] for name, text in rows if (same := re.match(r"as `(\w+)`:", text))
    }


def test_every_event_is_documented_with_all_its_fields() -> None:
    rows = documented()
    for event in EVERY:
        body = jsonl.event(event)
        if body is not None and not isinstance(event, ev.OptionsChanged):  # its fields are names of options
            assert set(body) - {"event"} - rows[body["event"]] == set(), event


def test_every_documented_event_exists() -> None:
    told = {body["event"] for event in EVERY if (body := jsonl.event(event)) is not None} | {"tune_result"}
    assert {name for name in documented() if not name.isdigit()} - told == set()


def test_the_steps_of_a_load_and_a_roll_back() -> None:
    steps = ev.LoadSteps(seen=12.3456, read=0.0, load=9.0)
    ready = msgspec.structs.replace(READY, steps=steps, rolled_back_to=4)
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


def test_an_ended_process_has_reason_and_status() -> None:
    body = jsonl.event(
        ev.ProcessChanged("p1", 1, ProcessKind.JOB, ev.ProcessState.ENDED, 1, None, "killed", None, 9)
    )
    assert body is not None
    assert (body["reason"], body["exit_code"], body["signal"]) == ("killed", None, 9)


def test_only_a_blank_that_ended_by_itself_has_a_line() -> None:
    became = ev.ProcessChanged(
        "k1", 7, ProcessKind.BLANK, ev.ProcessState.ENDED, 0, None, "became p1", ended_by=ev.EndedBy.ORDER
    )
    died = msgspec.structs.replace(became, reason="exited with code 1", exit_code=1, ended_by=ev.EndedBy.EXIT)
    ready = msgspec.structs.replace(became, state=ev.ProcessState.IDLE, reason=None, ended_by=None)
    shown = [lines.to_line(ev.Stamped(1, 0.0, each)) for each in (became, ready, died)]
    assert shown[:2] == [None, None]
    assert str(shown[2]).endswith("blank process k1 (pid 7) ended: exited with code 1")


def test_an_agents_js_file_names_its_node_sdk_and_typescript() -> None:
    line = lines.to_line(
        ev.Stamped(
            1,
            0.0,
            ev.InterpreterChosen(
                "/usr/bin/node",
                "22.9.0",
                "node on PATH",
                ("/a/node (volta): is Node 18.0.0",),
                "Node",
                "@livekit/agents 1.9.0 in /p (ESM)",
                "Node's type stripping",
            ),
        )
    )
    assert line is not None
    assert line.split("\n")[0].endswith("Node 22.9.0: /usr/bin/node (node on PATH)")
    assert [each.strip() for each in line.split("\n")][1:] == [
        "skipped /a/node (volta): is Node 18.0.0",
        "@livekit/agents 1.9.0 in /p (ESM)",
        "TypeScript: Node's type stripping",
    ]


def test_every_event_has_a_line_or_is_known_to_be_noise() -> None:
    quiet = {type(event) for event in NOISE} | {ev.OfferReceived, se.AgentStateChanged, se.UserStateChanged}
    quiet |= {se.TurnStarted, se.MessageDelta, se.ToolStarted, se.EndOfTurnPredicted, se.UsageChanged}
    assert set(event_text._FORMS) == {type(event) for event in EVERY} - quiet
    for event in EVERY:
        assert lines.to_line(ev.Stamped(1, 0.0, event)) or type(event) in quiet


@pytest.mark.parametrize("field", ["job_id", "jobID"])
def test_a_log_line_names_its_job_once(field: str) -> None:
    source = LogSource("p1", LogStream.RECORD)
    log = LogLine(0, 1.5, LogLevel.INFO, source, "AJ_1", "hello", fields={field: "AJ_1", "seat": 4})
    assert lines.log_to_line(log).endswith("INFO  AJ_1            hello  seat=4")


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
