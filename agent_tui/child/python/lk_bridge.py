"""Translates between the host's JSON lines and the SDK's job channel, with the SDK's message classes.

The SDK's `proc_main` gets one end of a local socket pair; this is the other (livekit-agents.md §2.3, §2.4).
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import logging
import queue
import socket
import time
from typing import TYPE_CHECKING, Any, Callable

from .channel import own_thread

if TYPE_CHECKING:
    from .process import HostLink

Receive = Callable[[str, "dict[str, Any]"], None]

PING_TIMEOUT_S = 60.0
FINISH_S = 2.0
LEAVING_S = 5.0
"""Seconds, after the agent's code left or deleted its room, in which a `Shutdown` counts as the result of
that. Later it does not, because the deletion may have failed.
"""


def only_known(cls: Any, **values: Any) -> Any:
    """Return an instance of the SDK's dataclass with the values that this version has fields for."""
    known = {field.name for field in dataclasses.fields(cls) if field.init}
    return cls(**{name: value for name, value in values.items() if name in known})


def running_job(value: dict[str, Any]) -> Any:
    """Return the SDK's `RunningJobInfo` from the fields of `StartJob` or `ActiveJob`."""
    from livekit.agents.job import JobAcceptArguments, RunningJobInfo
    from livekit.protocol.agent import Job

    job = Job()
    job.ParseFromString(base64.b64decode(value["job"]))
    accept = only_known(JobAcceptArguments, **value["accept"])
    times = {
        key: value[key]
        for key in ("received_at", "accepted_at", "assigned_at", "launched_at")
        if key in value
    }
    return only_known(
        RunningJobInfo,
        accept_arguments=accept,
        job=job,
        url=value["url"],
        token=value["token"],
        worker_id=value["worker_id"],
        fake_job=value.get("fake_job", False),
        **times,
    )


class Bridge:
    """Carries messages both ways in two threads until either side ends."""

    def __init__(self, link: HostLink, http_proxy: str | None, *, acknowledges: bool = True) -> None:
        from livekit.agents.ipc import channel, proto
        from livekit.agents.utils.aio import duplex_unix

        self._acknowledges = acknowledges
        self.failure: dict[str, Any] | None = None
        """What prewarm raised, in the form of `Failed`."""
        self.ready = False
        self.receivers: dict[str, Receive] = {}
        """What receives further messages of the host, by case, in the thread that reads the channel."""
        self._link = link
        self._leaving = ("", 0.0)
        self._channel, self._proto, self._closed = channel, proto, duplex_unix.DuplexClosed
        ours, self.theirs = socket.socketpair()
        self._duplex = duplex_unix._Duplex.open(ours)
        self._outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # An interval of 0 turns the SDK's watchdog off: it would end a job that is being debugged.
        self._outgoing.put(
            proto.InitializeRequest(
                asyncio_debug=False,
                ping_interval=0.0,
                ping_timeout=PING_TIMEOUT_S,
                high_ping_threshold=0.5,
                http_proxy=http_proxy or "",
            )
        )
        self._to_sdk: dict[str, Callable[[dict[str, Any]], Any]] = {
            "ping": lambda value: proto.PingRequest(timestamp=value["sent_ms"]),
            "start_job": self._start_job,
            "shutdown": lambda value: proto.ShutdownRequest(reason=self._own_reason() or value["reason"]),
            "inference_request": lambda value: proto.InferenceRequest(
                method=value["method"], request_id=value["request_id"], data=base64.b64decode(value["data"])
            ),
            "inference_response": lambda value: proto.InferenceResponse(
                request_id=value["request_id"],
                data=None if value["data"] is None else base64.b64decode(value["data"]),
                error=value["error"],
            ),
        }
        self._from_sdk: dict[Any, Callable[[Any], None]] = {
            proto.InitializeResponse: self._initialized,
            proto.PongResponse: lambda each: link.send("pong", sent_ms=each.last_timestamp),
            proto.Exiting: lambda each: link.send("exiting", reason=each.reason),
            proto.InferenceRequest: lambda each: link.send(
                "inference_request", request_id=each.request_id, method=each.method, data=_text(each.data)
            ),
            proto.InferenceResponse: lambda each: link.send(
                "inference_response", request_id=each.request_id, data=_text(each.data), error=each.error
            ),
        }
        for name, case in (("ShutdownRequestAck", "shutdown_ack"), ("ShuttingDown", "shutting_down")):
            if hasattr(proto, name):  # since 1.5.2
                self._from_sdk[getattr(proto, name)] = functools.partial(_send_bare, link, case)

    def start(self) -> None:
        """Start the threads and listen to the host."""
        self._reader = own_thread(self._read)
        own_thread(self._write)
        self._link.listen(self._receive)

    def leave(self, reason: str) -> None:
        """Record that the job is ending by itself, in case a `Shutdown` arrives before the SDK notices."""
        self._leaving = (reason, time.monotonic() + LEAVING_S)

    def _own_reason(self) -> str:
        reason, until = self._leaving
        return reason if time.monotonic() < until else ""

    def finish(self) -> None:
        """Pass on the SDK's last messages, after its main has returned."""
        self.theirs.close()
        self._reader.join(FINISH_S)

    def _receive(self, case: str, value: dict[str, Any]) -> None:
        if case == "shutdown" and not self._acknowledges:
            # The SDK's inference main only says that it exits; for the host, all kinds end alike.
            self._link.send("shutdown_ack")
            self._link.send("shutting_down")
        if case in self.receivers:
            self.receivers[case](case, value)
        elif case in self._to_sdk:
            self._outgoing.put(self._to_sdk[case](value))

    def _write(self) -> None:
        while True:
            try:
                self._channel.send_message(self._duplex, self._outgoing.get())
            except (self._closed, OSError):
                return

    def _read(self) -> None:
        while True:
            try:
                message = self._channel.recv_message(self._duplex, self._proto.IPC_MESSAGES)
            except (self._closed, OSError):
                return
            handler = self._from_sdk.get(type(message))
            if handler is not None:
                handler(message)

    def _start_job(self, value: dict[str, Any]) -> Any:
        message = self._proto.StartJobRequest()
        message.running_job = running_job(value)
        job = message.running_job.job
        self._link.records.context[:] = [{"job_id": job.id, "room": job.room.name}]
        return message

    def _initialized(self, response: Any) -> None:
        failure = self.failure
        if failure is None and response.error:
            failure = {"error": response.error, "traceback": "", "file": None, "line": None}
        if failure is None:
            self.ready = True
            self._link.send("ready")
        else:
            self.failure = failure
            self._link.send("failed", **failure)


class QuietHandler(logging.Handler):
    """Takes the place of the SDK's handler, which pickles records into a socket, and sends nothing."""

    thread = None

    def __init__(self, duplex: Any) -> None:
        super().__init__(logging.CRITICAL + 1)
        duplex.close()

    def emit(self, record: logging.LogRecord) -> None:
        """Do nothing: the record already went to the host."""


def _send_bare(link: HostLink, case: str, message: object) -> None:
    link.send(case)


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")
