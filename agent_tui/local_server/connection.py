"""A worker's websocket: frames in both encodings, offers and their answers, and how it is closed."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from aiohttp import WSMsgType, web
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from livekit.protocol.agent import WorkerMessage

from agent_tui.local_server.pool import Pool, PoolKey, ViolationError
from agent_tui.local_server.session import Answered, EnterPool, Send, Simulate, WorkerSession

MAX_MESSAGE_BYTES: Final = 2 * 1024 * 1024
"""Largest message from a worker; a larger one is answered with close code 1009 (worker-protocol §1)."""

SignToken = Callable[[WorkerSession, Any, Any], str]
"""Returns the token for a session's job and its AvailabilityResponse."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Time limits in seconds, as on the real server (worker-protocol §4, §5, §6.3, §11.1)."""

    register_s: float = 10.0
    """Limit from the upgrade to the register message. Pings do not extend it."""
    answer_budget_s: float = 3.0
    """Limit for all answers to one job's offers. A slow refusal leaves less time for the next worker."""
    simulate_answer_s: float = 10.0
    """Limit for the answer of a worker that asked to be offered a simulated job."""
    websocket_ping_s: float = 10.0
    """Interval between the server's websocket PINGs. A missing PONG has no consequence."""
    close_handshake_s: float = 1.0
    """Limit for a worker's answer to the close frame, after which the connection is cut."""
    empty_room_s: float = 300.0
    """A room that no one ever joined is closed after this, unless the room asked for another time."""
    departed_room_s: float = 20.0
    """A room that everyone left is closed after this, unless the room asked for another time."""
    room_check_s: float = 1.0
    """Interval between checks for rooms to close."""


class NoAnswer(StrEnum):
    """Why an offer got no answer."""

    TIMED_OUT = "timed out"
    LOST = "connection lost"


class WorkerConnection:
    """One worker's connection from the upgrade to its end; a `Candidate` once registered."""

    def __init__(
        self,
        session: WorkerSession,
        *,
        pool: Pool["WorkerConnection"],
        sign: SignToken,
        simulate: Callable[["WorkerConnection", Any], None],
        timings: Timings,
    ) -> None:
        self.session = session
        self._pool = pool
        self._sign = sign
        self._simulate = simulate
        self._timings = timings
        self._answers: dict[str, asyncio.Future[Any]] = {}
        """For each offered job: the worker's AvailabilityResponse, or a `NoAnswer`."""
        self._text = False
        self._request: web.Request | None = None
        # One byte more than allowed: aiohttp refuses what reaches its limit, the real server what exceeds it.
        self._socket = web.WebSocketResponse(
            autoclose=False,
            compress=False,
            max_msg_size=MAX_MESSAGE_BYTES + 1,
            timeout=timings.close_handshake_s,
        )

    # -- for selection ------------------------------------------------------------------------------

    @property
    def worker_id(self) -> str:
        return self.session.worker_id

    @property
    def key(self) -> PoolKey:
        """The key of a registered worker; raises before it is registered."""
        assert self.session.key is not None
        return self.session.key

    @property
    def available(self) -> bool:
        return self.session.available

    @property
    def load(self) -> float:
        return self.session.load

    # -- for the dispatcher -------------------------------------------------------------------------

    async def ask(self, job: Any, timeout_s: float) -> Any:
        """Offer the job; return the AvailabilityResponse, or a `NoAnswer`. Stamps the job's state.

        A late answer is ignored (§6.3).
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[job.id] = answer
        try:
            async with asyncio.timeout(timeout_s):
                if not await self._send(self.session.offer(job)):
                    return NoAnswer.LOST
                return await answer
        except TimeoutError:
            return NoAnswer.TIMED_OUT
        finally:
            self.session.withdraw(job.id)
            del self._answers[job.id]

    async def assign(self, job: Any, response: Any) -> None:
        """Send the assignment with its token; stamps the job's state."""
        token = self._sign(self.session, job, response)
        await self._send(self.session.assign(job, response.participant_identity, token))

    async def terminate(self, job_id: str, status: int, error: str) -> Any | None:
        """End a running job; return its last JobState, or None if the worker does not run it."""
        ended = self.session.terminate(job_id, status, error)
        if ended is None:
            return None
        message, state = ended
        await self._send(message)
        return state

    # -- for the network ----------------------------------------------------------------------------

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Run the connection to its end. Whatever goes wrong, the worker sees 1006 (§1.2)."""
        self._request = request
        await self._socket.prepare(request)
        pinger = asyncio.create_task(self._ping())
        try:
            await self._read()
        except (ViolationError, TimeoutError):
            pass
        finally:
            pinger.cancel()
            self._pool.discard(self.worker_id)
            self.drop()
            with contextlib.suppress(asyncio.CancelledError):
                await pinger
        return self._socket

    def drop(self) -> None:
        """End the connection without a close frame, after messages that were sent before."""
        for answer in self._answers.values():
            if not answer.done():
                answer.set_result(NoAnswer.LOST)
        if self._request is not None and self._request.transport is not None:
            self._request.transport.close()

    async def _read(self) -> None:
        async with asyncio.timeout(self._timings.register_s) as handshake:
            while True:
                frame = await self._socket.receive()
                if frame.type is WSMsgType.CLOSE:
                    await self._socket.close(code=frame.data or 1000, drain=False)
                if frame.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    return
                self._text = frame.type is WSMsgType.TEXT
                await self._handle(_decode(frame.data))
                if self.session.key is not None:
                    handshake.reschedule(None)

    async def _handle(self, message: Any) -> None:
        for effect in self.session.receive(message):
            match effect:
                case Send(reply):
                    await self._send(reply)
                case EnterPool():
                    self._pool.add(self)
                case Answered(response):
                    answer = self._answers.get(response.job_id)
                    if answer is not None and not answer.done():
                        answer.set_result(response)
                case Simulate(job):
                    self._simulate(self, job)

    async def _send(self, message: Any) -> bool:
        """Send in the encoding of the last frame received (§1.1); return False if the connection is gone."""
        payload = _encode(message, text=self._text)
        if isinstance(payload, str):
            return await _delivered(self._socket.send_str(payload))
        return await _delivered(self._socket.send_bytes(payload))

    async def _ping(self) -> None:
        """Send websocket PINGs, whose PONGs are not checked; stop when one cannot be sent (§5)."""
        while True:
            await asyncio.sleep(self._timings.websocket_ping_s)
            if not await _delivered(self._socket.ping()):
                return


async def _delivered(sending: Awaitable[None]) -> bool:
    try:
        await sending
    except (ConnectionError, RuntimeError):  # aiohttp raises RuntimeError for a closing socket
        return False
    return True


def _decode(frame: bytes | str) -> Any:
    """Return the WorkerMessage in a frame, whose type decides the encoding (worker-protocol §1.1).

    Raise `ViolationError` if the frame has no message, or an empty or unknown one. The server then drops the
    connection (§4.1).
    """
    message = WorkerMessage()
    try:
        if isinstance(frame, bytes):
            message.ParseFromString(frame)
        else:
            json_format.Parse(frame, message, ignore_unknown_fields=True)
    except (DecodeError, json_format.ParseError) as error:
        raise ViolationError(f"undecodable message: {error}") from None
    if message.WhichOneof("message") is None:
        raise ViolationError("a message without a member known here")
    return message


def _encode(message: Any, *, text: bool) -> bytes | str:
    """Return a ServerMessage as the payload of a text or a binary frame."""
    if text:
        return json_format.MessageToJson(message, indent=None)
    payload: bytes = message.SerializeToString()
    return payload
