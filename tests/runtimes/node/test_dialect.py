"""The messages of Node children: the SDK's and agent-tui's."""

import json
from typing import Any

import pytest

from agent_tui.model import child as ch
from agent_tui.model.clock import SystemClock
from agent_tui.model.logs import LogLevel
from agent_tui.runtimes.node.dialect import NodeDialect
from agent_tui.runtimes.node.pino import parse

from ..support import Sink, start_job


def dialect(kind: ch.ProcessKind = ch.ProcessKind.JOB, **environ: str) -> NodeDialect:
    return NodeDialect(kind, "p1", Sink(), SystemClock(), environ)


def said(case: str, value: Any = None) -> bytes:
    return json.dumps({"case": case, **({"value": value} if value is not None else {})}).encode()


def test_a_job_is_the_sdks_running_job() -> None:
    line = dialect(LIVEKIT_API_KEY="key", LIVEKIT_API_SECRET="secret").encode(start_job("salon"))
    message = json.loads(line)
    assert message["case"] == "startJobRequest"
    running = message["value"]["runningJob"]
    # Enums by name, int64 as text, every default present (agents-js.md §8.3).
    assert (running["job"]["type"], running["job"]["room"]["name"]) == ("JT_ROOM", "salon")
    assert running["job"]["room"]["creationTime"] == "0"
    assert (running["fakeJob"], running["apiKey"], running["apiSecret"]) == (True, "key", "secret")
    assert running["acceptArguments"] == {
        "identity": "ann",
        "name": "",
        "metadata": "",
        "attributes": {"a": "b"},
    }


def test_a_job_under_a_debugger_is_announced_first() -> None:
    lines = dialect().encode(start_job(debug_port=9229)).splitlines()
    assert [json.loads(each)["case"] for each in lines] == ["debug_job", "startJobRequest"]


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        (said("initializeResponse"), [ch.Ready()]),
        (said("pongResponse", {"lastTimestamp": 7, "timestamp": 9}), [ch.Pong(7)]),
        (said("shutdownRequestAck"), [ch.ShutdownAck()]),
        (said("exiting", {"reason": "room disconnected"}), [ch.Exiting("room disconnected")]),
        (said("blank_ready", {}), []),
        (said("loading", {}), [ch.Loading()]),
        (b'{"cmd":"NODE_HANDLE_ACK"}', []),
        (b"not json", []),
        (b"[]", []),
        (said("unheard_of"), []),
    ],
)
def test_messages_of_a_child(line: bytes, messages: list[ch.FromChild]) -> None:
    assert dialect().decode(line) == messages


def test_older_sdks_end_without_saying_why() -> None:
    speaks = dialect()
    speaks.encode(ch.Shutdown("enough"))
    assert speaks.decode(said("exiting", {})) == [ch.Exiting("enough")]
    assert speaks.decode(said("done")) == [ch.ShuttingDown()]
    crashed = dialect()
    crashed.decode(said("job_crashed", {"error": "TypeError: no", "traceback": ""}))
    assert crashed.decode(said("exiting", {"reason": "no"})) == [ch.Exiting("job crashed")]


def test_shutting_down_is_reported_once() -> None:
    speaks = dialect()
    assert speaks.decode(said("shuttingDown")) == [ch.ShuttingDown()]
    assert speaks.decode(said("done")) == []


@pytest.mark.parametrize(
    ("line", "level", "text", "fields"),
    [
        ('{"level":30,"time":1000,"pid":1,"pid":1,"hostname":"h","msg":"hi"}', LogLevel.INFO, "hi", {}),
        ('{"level":10,"time":1000,"msg":"hi","jobID":"AJ"}', LogLevel.TRACE, "hi", {"jobID": "AJ"}),
        (
            '{"level":50,"time":1000,"error":{"type":"Error","message":"m","stack":"Error: m\\n  at x"},"msg":"f"}',
            LogLevel.ERROR,
            "f\nError: m\n  at x",
            {},
        ),
        ('{"level":60,"time":1000}', LogLevel.FATAL, "", {}),
    ],
)
def test_pino_lines(line: str, level: LogLevel, text: str, fields: dict[str, object]) -> None:
    record = parse(line)
    assert record is not None
    assert (record.level, record.text, record.fields, record.ts) == (level, text, fields, 1.0)


@pytest.mark.parametrize(
    "line", ["hello", '{"level": 30}', '{"level":35,"time":1}', '{"level":30,', '{"level":30}']
)
def test_other_lines_are_the_agents_own(line: str) -> None:
    assert parse(line) is None
