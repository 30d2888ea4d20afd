"""The messages between the host and a Node child, on the channel that Node itself uses (agents-js.md §8).

The SDK's job main has its own messages, in camel case. The code in `child/node/` uses those of Python
children.
"""

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from livekit.protocol.agent import Job

from agent_tui.model import child as ch
from agent_tui.model.clock import Clock
from agent_tui.model.codec import CodecError
from agent_tui.model.logs import LogLevel, LogSink, LogSource, LogStream
from agent_tui.runtimes.channel import ForkMessage, decode, encode, encode_line

ASKED = (None, "", "shutdownRequest", "shutdown request")
"""The reasons that SDKs before 1.8 give for a job that was asked to end."""


def job_json(job: bytes) -> dict[str, Any]:
    """Return a serialized `livekit.Job` as protobuf's JSON, all fields present (agents-js.md §8.3)."""
    return MessageToDict(Job.FromString(job), always_print_fields_with_no_presence=True)


class NodeDialect:
    """Encodes and decodes the messages of one child."""

    def __init__(
        self,
        kind: ch.ProcessKind,
        process_id: str,
        sink: LogSink,
        clock: Clock,
        environ: Mapping[str, str],
    ) -> None:
        self._environ = environ
        self._is_control = kind is ch.ProcessKind.CONTROL
        self._process_id = process_id
        self._sink = sink
        self._clock = clock
        self._shutdown_reason = ""
        self._crashed = self._is_shutting_down = False

    def encode(self, message: ch.ToChild) -> bytes:
        if self._is_control:
            return encode(message, job_json)
        match message:
            case ch.Ping(sent_ms=sent_ms):
                return encode_line("pingRequest", {"timestamp": sent_ms})
            case ch.StartJob(sessions=sessions, text_only=text_only, debug_port=port):
                job = encode_line("startJobRequest", {"runningJob": running_job(message, self._environ)})
                if port:
                    job = encode_line("debug_job", {"port": port}) + job
                if sessions:
                    job = encode_line("follow_sessions", {"text_only": text_only}) + job
                return job
            case ch.SessionRequest() | ch.InterruptSession() | ch.SwapCode():
                return encode(message)
            case ch.Shutdown(reason=reason):
                self._shutdown_reason = reason
                return encode_line("shutdownRequest", {"reason": reason})
            case ch.InferenceRequest(request_id=request_id, method=method, data=data):
                value = {"requestId": request_id, "method": method, "data": json.loads(data)}
                return encode_line("inferenceRequest", value)
            case ch.InferenceResponse(request_id=request_id, data=data, error=error):
                # The child reads `error.message` (agents-js.md §8.2).
                outcome = {"error": {"message": error}} if data is None else {"data": json.loads(data)}
                return encode_line("inferenceResponse", {"requestId": request_id, **outcome})
        return b""

    def decode(self, line: bytes) -> list[ch.FromChild | ForkMessage]:
        try:
            return self._sdk_message(line)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            self.warn(f"ignored an invalid message: {line[:200]!r} ({error})")
            return []

    def warn(self, text: str) -> None:
        source = LogSource(self._process_id, LogStream.HOST)
        self._sink.write(source, LogLevel.WARN, text, ts=self._clock.time())

    def _sdk_message(self, line: bytes) -> list[ch.FromChild | ForkMessage]:
        raw = json.loads(line)
        value: Mapping[str, Any] = raw.get("value") or {}
        match raw["case"]:
            case "initializeResponse":
                return [ch.Ready()]
            case "pongResponse":
                return [ch.Pong(int(value["lastTimestamp"]))]
            case "shutdownRequestAck":
                return [ch.ShutdownAck()]
            case "exiting":
                return [ch.Exiting(self._exit_reason(value.get("reason")))]
            case "shuttingDown" | "done":  # SDKs before 1.8 only send `done`
                was_reported, self._is_shutting_down = self._is_shutting_down, True
                return [] if was_reported else [ch.ShuttingDown()]
            case "inferenceRequest":
                data = json.dumps(value.get("data")).encode()
                return [ch.InferenceRequest(str(value["requestId"]), str(value["method"]), data)]
            case "inferenceResponse":
                return [_inference_response(value)]
            case "blank_ready":
                return []
            case str(name) if name.startswith("NODE_") or raw.get("cmd", "").startswith("NODE_"):
                return []
        try:
            message = decode(line)
        except CodecError as error:
            self.warn(str(error))
            return []
        self._crashed = self._crashed or isinstance(message, ch.JobCrashed)
        return [message]  # type: ignore[list-item]  # a Node child sends no log records on its channel

    def _exit_reason(self, reason: object) -> str:
        if self._crashed:
            return "job crashed"  # before 1.8 it was the error's text
        if reason in ASKED:
            return self._shutdown_reason or str(reason or "")
        return str(reason)


def running_job(message: ch.StartJob, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the SDK's `RunningJobInfo`."""
    accept = message.accept
    credentials = {"apiKey": "LIVEKIT_API_KEY", "apiSecret": "LIVEKIT_API_SECRET"}
    return {
        **{name: environ[variable] for name, variable in credentials.items() if variable in environ},
        "acceptArguments": {
            "name": accept.name,
            "identity": accept.identity,
            "metadata": accept.metadata,
            "attributes": dict(accept.attributes),
        },
        "job": job_json(message.job),
        "url": message.url,
        "token": message.token,
        "workerId": message.worker_id,
        "fakeJob": message.fake_job,
    }


def _inference_response(value: Mapping[str, Any]) -> ch.InferenceResponse:
    request_id = str(value["requestId"])
    if "error" in value:
        error = value["error"]
        text = error.get("message", "") if isinstance(error, dict) else str(error)
        return ch.InferenceResponse(request_id, None, text or "the inference runner failed")
    return ch.InferenceResponse(request_id, json.dumps(value.get("data")).encode(), "")
