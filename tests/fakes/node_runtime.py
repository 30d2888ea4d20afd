"""The host's side of a child that behaves like agents-js. It shows that `Child` does not depend on Python."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from livekit.protocol.agent import Job

from agent_tui.model.child import (
    ChildTraits,
    Exiting,
    FromChild,
    InferenceRequest,
    JobCrashed,
    Ping,
    Pong,
    Ready,
    Shutdown,
    ShutdownAck,
    ShuttingDown,
    StartJob,
    ToChild,
)
from agent_tui.model.logs import LogSink
from agent_tui.runtimes.line_child import LineChild
from agent_tui.runtimes.spawn import Command, adopt, start, system_pidfd_open

SCRIPT = Path(__file__).with_name("node_child.py")
TRAITS = ChildTraits(stacks=False, reports_loading=False, reports_entry=False)


def _line(case: str, value: Mapping[str, Any]) -> bytes:
    return json.dumps({"case": case, "value": value}).encode() + b"\n"


def _running_job(message: StartJob) -> dict[str, Any]:
    job = MessageToDict(Job.FromString(message.job), always_print_fields_with_no_presence=True)
    accept = message.accept
    return {
        "runningJob": {
            "acceptArguments": {
                "name": accept.name,
                "identity": accept.identity,
                "metadata": accept.metadata,
                "attributes": dict(accept.attributes),
            },
            "job": job,
            "url": message.url,
            "token": message.token,
            "workerId": message.worker_id,
            "fakeJob": message.fake_job,
        }
    }


def _exiting(value: Mapping[str, Any]) -> list[FromChild]:
    crashed: list[FromChild] = [JobCrashed("job crashed", "")] if value["reason"] == "job crashed" else []
    return [*crashed, Exiting(value["reason"])]


_DECODE: dict[str, Callable[[Mapping[str, Any]], list[FromChild]]] = {
    "initializeResponse": lambda value: [Ready()],
    "pongResponse": lambda value: [Pong(value["lastTimestamp"])],
    "shutdownRequestAck": lambda value: [ShutdownAck()],
    "exiting": _exiting,
    "shuttingDown": lambda value: [ShuttingDown()],
    "done": lambda value: [],
    "inferenceRequest": lambda value: [
        InferenceRequest(value["requestId"], value["method"], json.dumps(value["data"]).encode())
    ],
}


class NodeDialect:
    """The messages of agents-js (agents-js.md §8.2, §8.3)."""

    def encode(self, message: ToChild) -> bytes:
        match message:
            case Ping(sent_ms):
                return _line("pingRequest", {"timestamp": sent_ms})
            case StartJob():
                return _line("startJobRequest", _running_job(message))
            case Shutdown(reason):
                return _line("shutdownRequest", {"reason": reason})
        return b""

    def decode(self, line: bytes) -> list[FromChild]:
        message = json.loads(line)
        return _DECODE[message["case"]](message.get("value") or {})

    def warn(self, text: str) -> None:
        raise AssertionError(text)


async def launch_node(behaviour: str, sink: LogSink, orphan_s: float = 15.0) -> LineChild:
    """Start the fake child. `behaviour` is "waits", "raises", or "prewarm fails"."""
    command = Command(
        [sys.executable, str(SCRIPT), behaviour, str(orphan_s)],
        SCRIPT.parent,
        {"PATH": "/usr/bin:/bin"},
        fd_variable="NODE_CHANNEL_FD",
    )
    child = LineChild(adopt(start(command), "p1", sink, system_pidfd_open()), TRAITS, NodeDialect())
    child.send_line(_line("initializeRequest", {"loggerOptions": {}, "sessionEndTimeout": 300_000}))
    return child
