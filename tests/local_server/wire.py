"""Shared by the tests of this folder: a bare worker on the wire, and a fake clock."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from livekit.protocol.agent import (
    AvailabilityResponse,
    RegisterWorkerRequest,
    ServerMessage,
    WorkerMessage,
    WorkerPing,
)

from agent_tui.local_server.server import LocalServer
from agent_tui.model.signing import sign

SOON: Final = 5.0


class FakeClock:
    """Both clocks, set by the test."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def boottime(self) -> float:
        return self.monotonic()


def worker_token(server: LocalServer, now: float) -> str:
    claims = {"iss": server.api_key, "exp": now + 60, "video": {"agent": True}}
    return sign(claims, server.api_secret)


class Wire:
    """A worker's end of the websocket."""

    def __init__(self, socket: "aiohttp.ClientWebSocketResponse[Any]") -> None:
        self.socket = socket

    async def send(self, **member: Any) -> None:
        await self.socket.send_bytes(WorkerMessage(**member).SerializeToString())

    async def receive(self, kind: str) -> Any:
        message = ServerMessage()
        message.ParseFromString(await self.socket.receive_bytes(timeout=SOON))
        assert message.WhichOneof("message") == kind, message
        return getattr(message, kind)

    async def synced(self) -> None:
        """Check that everything sent was read, and that only pongs came."""
        await self.send(ping=WorkerPing())
        await self.receive("pong")

    async def offered(self) -> Any:
        offer = await self.receive("availability")
        return offer.job

    async def take(self) -> Any:
        job = await self.offered()
        answer = AvailabilityResponse(job_id=job.id, available=True, participant_identity=f"agent-{job.id}")
        await self.send(availability=answer)
        return await self.receive("assignment")


@asynccontextmanager
async def registered(server: LocalServer, *, now: float, **request: Any) -> AsyncIterator[Wire]:
    headers = {"Authorization": f"Bearer {worker_token(server, now)}"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http{server.url.removeprefix('ws')}/agent", headers=headers) as socket,
    ):
        wire = Wire(socket)
        await wire.send(register=RegisterWorkerRequest(**request))
        await wire.receive("register")
        await wire.synced()
        yield wire


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that the other side does; fail if it does not come."""
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110 - the other side has no event to wait for
            await asyncio.sleep(0.005)
