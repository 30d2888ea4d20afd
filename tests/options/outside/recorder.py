"""A server that records what workers send, and offers them jobs on request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from livekit.protocol import agent, models
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.limits import PATIENCE_S


@dataclass
class Seen:
    """One connection of a worker: its request and its messages."""

    query: dict[str, list[str]]
    bearer: str
    connection: ServerConnection
    messages: list[agent.WorkerMessage] = field(default_factory=list)

    @property
    def register(self) -> Any:
        return next(m.register for m in self.messages if m.HasField("register"))

    @property
    def key(self) -> str:
        return str(jwt.decode(self.bearer, options={"verify_signature": False})["iss"])

    def is_signed_with(self, secret: str) -> bool:
        try:
            jwt.decode(self.bearer, secret, algorithms=["HS256"])
        except jwt.InvalidSignatureError:
            return False
        return True

    async def send(self, **message: Any) -> None:
        await self.connection.send(agent.ServerMessage(**message).SerializeToString())


class Recorder:
    """A server that registers every worker."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[Seen] = []
        self.refusing = False
        self._news = asyncio.Event()

    async def offer(self, worker: Seen, job_id: str) -> bool:
        """Offer a job, and assign it if it is accepted. Return whether it was."""
        job = agent.Job(id=job_id, room=models.Room(name="room", sid="RM_1"), type=worker.register.type)
        await worker.send(availability=agent.AvailabilityRequest(job=job))
        answer = await self.until(
            lambda: next((m.availability for m in worker.messages if m.availability.job_id == job_id), None)
        )
        if answer.available:
            token = jwt.encode({"sub": "agent", "video": {"room": "room"}}, "s" * 32)
            await worker.send(assignment=agent.JobAssignment(job=job, token=token))
        return bool(answer.available)

    async def registered(self, number: int = 1) -> Seen:
        """Return the connection of the `number`-th registered worker."""

        def found() -> Seen | None:
            those = [each for each in self.seen if any(m.HasField("register") for m in each.messages)]
            return those[number - 1] if len(those) >= number else None

        seen: Seen = await self.until(found)
        return seen

    async def until(self, condition: Any) -> Any:
        """Wait until the condition returns a true value, and return it."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := condition()):
                self._news.clear()
                await self._news.wait()
        return found

    async def serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        if self.refusing:
            return
        parts = urlsplit(connection.request.path)
        bearer = connection.request.headers.get("Authorization", "").removeprefix("Bearer ")
        seen = Seen(parse_qs(parts.query), bearer, connection)
        self.seen.append(seen)
        try:
            async for frame in connection:
                assert isinstance(frame, bytes)
                await self._heard(seen, agent.WorkerMessage.FromString(frame))
        except ConnectionClosed:
            pass

    async def _heard(self, seen: Seen, message: agent.WorkerMessage) -> None:
        seen.messages.append(message)
        if message.HasField("register"):
            info = agent.ServerInfo if hasattr(agent, "ServerInfo") else models.ServerInfo
            answer = agent.RegisterWorkerResponse(worker_id=f"AW_{len(self.seen)}", server_info=info())
            await seen.send(register=answer)
        if message.HasField("ping"):
            await seen.send(pong=agent.WorkerPong(last_timestamp=message.ping.timestamp))
        self._news.set()


@asynccontextmanager
async def recording() -> AsyncIterator[Recorder]:
    """Run a recorder that listens."""
    recorder = Recorder()
    async with serve(
        recorder.serve, "127.0.0.1", 0, compression=None, ping_interval=None, close_timeout=0.2
    ) as server:
        host, port = next(iter(server.sockets)).getsockname()
        recorder.url = f"ws://{host}:{port}"
        yield recorder
