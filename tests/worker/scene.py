"""A worker with a server in memory, on virtual time."""

import asyncio
import errno

from agent_tui.model.child import AcceptArguments
from agent_tui.worker.connection import ConnectFailedError, UpgradeRefusedError
from agent_tui.worker.worker import WorkerState

from .support import (
    MemoryServer,
    Recorder,
    make_worker,
)

ME = AcceptArguments(identity="agent-1")


DOWN = ConnectFailedError(ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"))


WRONG_KEY = UpgradeRefusedError(401, "invalid API key")


def now() -> float:
    return asyncio.get_running_loop().time()


async def settle() -> None:
    """Let everything that can run now run; no time passes."""
    for _ in range(20):
        await asyncio.sleep(0)


class Scene:
    """A running worker, its server, and its events; leaves nothing behind."""

    def __init__(self, server: MemoryServer, **changes: object) -> None:
        self.server = server
        self.told = Recorder()
        self.worker = make_worker(server, self.told, **changes)
        self.running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Scene":
        self.running = asyncio.create_task(self.worker.run())
        await settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.running is not None
        await self.worker.close()
        await self.running
        assert self.worker.state is WorkerState.CLOSED
        assert all(link.closed for link in self.server.links)
