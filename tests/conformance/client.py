"""A minimal worker: a websocket, a token, and the messages of the protocol. Independent of any server's
classes.
"""

import asyncio
import datetime
import itertools
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import jwt
from google.protobuf import json_format
from livekit import api
from livekit.protocol.agent import (
    AvailabilityResponse,
    RegisterWorkerRequest,
    ServerMessage,
    SimulateJobRequest,
    UpdateJobStatus,
    UpdateWorkerStatus,
    WorkerMessage,
    WorkerPing,
)
from websockets.asyncio.client import ClientConnection, connect

SOON: Final = 8.0
"""Seconds in which something that must come comes; the real server's bookkeeping can take 5 (worker-protocol
§11.3).
"""
QUIET: Final = 0.7
"""Seconds in which something that must not come would have come; an offer takes at most 0.3."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test: its address, its credentials, and its time limits (seconds)."""

    kind: str
    url: str
    api_key: str
    api_secret: str
    register_s: float
    answer_s: float
    ping_s: float
    older: bool = False
    """A real server older than the version that worker-protocol.md describes: it words refusals differently,
    and accepts tokens without an expiry and messages of any size.
    """

    @property
    def http_url(self) -> str:
        return "http" + self.url.removeprefix("ws")

    def token(self, *, secret: str | None = None, **claims: Any) -> str:
        """Return a worker's token; `claims` replace the ordinary ones, None removes one."""
        now = datetime.datetime.now(datetime.UTC).timestamp()
        all_claims = {"iss": self.api_key, "exp": now + 60, "video": {"agent": True}, **claims}
        return jwt.encode(
            {name: value for name, value in all_claims.items() if value is not None},
            secret or self.api_secret,
            algorithm="HS256",
        )

    @asynccontextmanager
    async def api(self) -> AsyncIterator[api.LiveKitAPI]:
        async with api.LiveKitAPI(self.http_url, self.api_key, self.api_secret) as client:
            yield client


_numbers = itertools.count()


def unique(prefix: str) -> str:
    """Return a name that no other test uses, so that tests can share one server."""
    return f"{prefix}-{next(_numbers)}-{uuid.uuid4().hex[:8]}"


class Worker:
    """One connection. `text` sends JSON text frames instead of binary protobuf."""

    def __init__(self, connection: ClientConnection, *, text: bool = False) -> None:
        self.connection = connection
        self.text = text
        self.worker_id = ""
        self.last_frame: str | bytes = b""

    async def send(self, **member: Any) -> None:
        message = WorkerMessage(**member)
        as_json = json_format.MessageToJson(message) if self.text else None
        await self.connection.send(as_json or message.SerializeToString())

    async def receive(self, kind: str, timeout: float = SOON) -> Any:
        """Return the next message, which must be of this kind."""
        message = await self.receive_any(timeout)
        assert message.WhichOneof("message") == kind, message
        return getattr(message, kind)

    async def receive_any(self, timeout: float = SOON) -> Any:
        """Return the next ServerMessage."""
        async with asyncio.timeout(timeout):
            frame = self.last_frame = await self.connection.recv()
        message = ServerMessage()
        if isinstance(frame, str):
            json_format.Parse(frame, message)
        else:
            message.ParseFromString(frame)
        return message

    async def silent(self, seconds: float = QUIET) -> bool:
        """Return whether nothing comes, and the connection stays, for that long."""
        try:
            async with asyncio.timeout(seconds):
                self.last_frame = await self.connection.recv()
        except TimeoutError:
            return True
        return False

    async def closed(self, timeout: float = SOON) -> int:
        """Wait for the end of the connection; return the close code, 1006 without one."""
        async with asyncio.timeout(timeout):
            await self.connection.wait_closed()
        assert self.connection.close_code is not None
        return self.connection.close_code

    async def ping(self, timestamp: int = 1) -> Any:
        """Send a ping and wait for the pong: the server has then read what was sent before."""
        await self.send(ping=WorkerPing(timestamp=timestamp))
        return await self.receive("pong")

    async def register(self, **request: Any) -> Any:
        """Register; a ping afterwards makes sure that the worker is in the pool."""
        await self.send(register=RegisterWorkerRequest(version="conformance", **request))
        reply = await self.receive("register")
        self.worker_id = reply.worker_id
        await self.ping()
        return reply

    async def status(self, *, load: float = 0.0, **status: Any) -> None:
        await self.send(update_worker=UpdateWorkerStatus(load=load, **status))
        await self.ping()

    async def offered(self, timeout: float = SOON) -> Any:
        """Return the job of the next message, which must be an offer."""
        offer = await self.receive("availability", timeout)
        return offer.job

    async def answer(self, job: Any, *, available: bool = True, **answer: Any) -> None:
        if available:
            answer.setdefault("participant_identity", f"agent-{job.id}")
        await self.send(availability=AvailabilityResponse(job_id=job.id, available=available, **answer))

    async def take(self, **answer: Any) -> Any:
        """Accept the next offer; return the assignment."""
        job = await self.offered()
        await self.answer(job, **answer)
        return await self.receive("assignment")

    async def update_job(self, job_id: str, status: Any, error: str = "") -> None:
        await self.send(update_job=UpdateJobStatus(job_id=job_id, status=status, error=error))
        await self.ping()

    async def simulate(self, **request: Any) -> None:
        await self.send(simulate_job=SimulateJobRequest(**request))


@asynccontextmanager
async def connected(
    server: Server, *, text: bool = False, token: str | None = None, **options: Any
) -> AsyncIterator[Worker]:
    """Yield a connected worker that has not registered."""
    headers = {"Authorization": f"Bearer {token or server.token()}"}
    options.setdefault("ping_interval", None)
    async with connect(
        f"{server.url}/agent", additional_headers=headers, max_size=None, close_timeout=1, **options
    ) as connection:
        yield Worker(connection, text=text)


@asynccontextmanager
async def worker(server: Server, name: str, *, text: bool = False, **request: Any) -> AsyncIterator[Worker]:
    """Yield a worker registered under a name ("" for implicit dispatches)."""
    async with connected(server, text=text) as client:
        await client.register(agent_name=name, **request)
        yield client
