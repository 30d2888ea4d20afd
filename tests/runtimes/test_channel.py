"""Messages as lines, without any process."""

import base64
import json
import math
import pickle
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol.agent import Job, JobType

from agent_tui.model import child as seam
from agent_tui.model.codec import CodecError
from agent_tui.runtimes.channel import LineBuffer, LogRecord, decode, encode, encode_line
from agent_tui.runtimes.python import job_data

from .support import make_job, start_job

TO_CHILD: dict[type, Any] = {
    seam.Ping: seam.Ping(7),
    seam.StartJob: start_job(),
    seam.Shutdown: seam.Shutdown("why not"),
    seam.DumpStacks: seam.DumpStacks(),
    seam.AskRequest: seam.AskRequest(make_job(), "AJ_1"),
    seam.AcceptOutcome: seam.AcceptOutcome("AJ_1", "too late"),
    seam.AskLoad: seam.AskLoad(3),
    seam.WorkerLive: seam.WorkerLive(
        "AW_1", (seam.ActiveJob(b"\x0a", seam.AcceptArguments("ann"), "ws://h", "t", "AW_1"),), True
    ),
    seam.InferenceRequest: seam.InferenceRequest("r1", "turn", b"\x00\xff"),
    seam.InferenceResponse: seam.InferenceResponse("r1", None, "no model"),
    seam.ImportModules: seam.ImportModules(("json", "livekit.agents")),
    seam.KeepCode: seam.KeepCode(({"path": "/a.py", "digest": "00", "code": "4w=="},)),
    seam.FreeMemory: seam.FreeMemory(),
    seam.SessionRequest: seam.SessionRequest(
        1, {"request": {"request_id": "1", "run_input": {"text": "hi"}}}
    ),
    seam.InterruptSession: seam.InterruptSession(1),
    seam.SwapCode: seam.SwapCode(2, {"/a.py": b"x = 1\n\xff"}),
}


def test_every_message_to_a_child_is_one_line_of_ascii() -> None:
    assert set(TO_CHILD) == set(get_args(seam.ToChild))
    for message in TO_CHILD.values():
        line = encode(message)
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert line.isascii()
        assert set(json.loads(line)["value"]) == set(type(message).__struct_fields__)


@pytest.mark.parametrize(
    "message",
    [
        seam.Failed("boom", "Traceback…\nboom", "/a.py", 3),
        seam.Failed("boom", "", None, None),
        seam.Manifest(
            "native",
            None,
            {"agentName": seam.SetInCode("x", "a.py:1")},
            True,
            False,
            True,
            False,
            ("m",),
            "f",
            (),
            1.5,
        ),
        seam.EntryStarted(1.25),
        seam.RequestAnswer("AJ_1", seam.AcceptArguments("ann", attributes={"a": "b"})),
        seam.RequestAnswer("AJ_1", None, True, "why"),
        seam.LoadAnswer(3, 0.5),
        seam.InferenceResponse("r1", b"\x00", ""),
        seam.Debugging(True),
    ],
    ids=lambda message: type(message).__name__,
)
def test_messages_of_a_child_survive_the_round_trip(message: Any) -> None:
    assert decode(encode(message)) == message


def test_infinity_in_a_manifest_survives() -> None:
    value = {"loadThreshold": {"value": {"$float": "inf"}, "where": "a.py:1"}}
    manifest = decode(
        encode_line(
            "manifest",
            {
                "runtime": "native",
                "sdk_version": "1",
                "options": value,
                "has_entry": True,
                "has_prewarm": False,
                "has_request_func": False,
                "has_load_func": False,
                "inference_runners": [],
                "functions": "",
                "files": ["/a.py"],
                "load_ms": 3,
            },
        )
    )
    assert isinstance(manifest, seam.Manifest)
    assert manifest.options["loadThreshold"] == seam.SetInCode(math.inf, "a.py:1")
    assert manifest.files == ("/a.py",)


def test_a_log_record_is_decoded_too() -> None:
    line = encode_line("log", {"level": 20, "logger": "a", "ts": 1, "text": "t", "fields": {"k": [1]}})
    assert decode(line) == LogRecord(20, "a", 1.0, "t", {"k": [1]})


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{",
        b'{"case":"nonsense"}',
        b'{"case":"pong","value":{}}',
        b'{"case":"pong","value":{"sent_ms":"1"}}',
        b'{"case":"failed","value":{"error":null}}',
        b"\xff\xfe",
    ],
)
def test_an_invalid_message_is_a_clear_error(line: bytes) -> None:
    with pytest.raises(CodecError, match="not a message of a child"):
        decode(line)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_decoder(line: bytes) -> None:
    with pytest.raises(CodecError):
        decode(line)


@given(st.lists(st.binary(max_size=20).filter(lambda each: b"\n" not in each)), st.integers(1, 7))
def test_lines_are_found_however_the_stream_is_cut(lines: list[bytes], step: int) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    oversize: list[int] = []
    buffer = LineBuffer(oversize.append, max_line=10)
    found = [line for at in range(0, len(stream), step) for line in buffer.feed(stream[at : at + step])]
    assert found == [line for line in lines if len(line) <= 10]
    assert oversize == [len(line) for line in lines if len(line) > 10]


def test_a_job_becomes_plain_data_with_all_defaults() -> None:
    job = Job(id="AJ_1", type=JobType.JT_PUBLISHER, agent_name="a")
    job.room.name = "r"
    job.room.creation_time = 2**40
    job.room.enabled_codecs.add(mime="audio/opus")
    job.attributes["k"] = "v"
    data = job_data(job.SerializeToString())
    assert data["type"] == "JT_PUBLISHER"
    assert data["room"]["creation_time"] == 2**40
    assert data["room"]["enabled_codecs"] == [{"mime": "audio/opus", "fmtp_line": ""}]
    assert data["attributes"] == {"$map": {"k": "v"}}
    assert data["participant"] is None
    assert data["metadata"] == ""
    json.dumps(data)


def test_a_poisoned_manifest_is_only_text(tmp_path: Path) -> None:
    """The opaque part of a manifest stays opaque: the host runs nothing of it."""
    victim = tmp_path / "victim"

    class Poison:
        def __reduce__(self) -> tuple[Any, ...]:
            return (victim.write_text, ("owned",))

    functions = "pickle:" + base64.b64encode(pickle.dumps(Poison())).decode()
    value = dict.fromkeys(("has_entry", "has_prewarm", "has_request_func", "has_load_func"), True) | {
        "runtime": "livekit-agents",
        "sdk_version": "1.0",
        "options": {},
        "inference_runners": [],
        "functions": functions,
        "files": [],
        "load_ms": 1.0,
    }
    manifest = decode(encode_line("manifest", value))
    assert isinstance(manifest, seam.Manifest)
    assert manifest.functions == functions
    assert not victim.exists()
    pickle.loads(base64.b64decode(functions.removeprefix("pickle:")))
    assert victim.read_text() == "owned"


def test_a_log_record_with_an_invalid_number_is_decoded() -> None:
    """Python's JSON writes NaN and Infinity, which other readers reject."""
    line = encode_line("log", {"level": 20, "logger": "a", "ts": 1, "text": "t", "fields": {"k": math.inf}})
    assert b"Infinity" in line
    assert decode(line) == LogRecord(20, "a", 1.0, "t", {"k": math.inf})
