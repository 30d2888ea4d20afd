"""One registration with a server: its worker, the jobs that came through it, and who hears of it."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from agent_tui.model.errors import ServerError
from agent_tui.worker.listener import WorkerListener
from agent_tui.worker.messages import Assigned, Offer, Registered, Registration, Suspect
from agent_tui.worker.urls import ServerAddress
from agent_tui.worker.worker import Worker


class Owner(Protocol):
    """Hears what a registration hears, and from which one."""

    def registered(self, held: "Held", event: Registered) -> None: ...
    def disconnected(self, held: "Held", reason: str, retry_in_s: float | None, attempt: int) -> None: ...
    def refused(self, held: "Held", line: str) -> None: ...
    def broke(self, held: "Held", error: Exception) -> float | None: ...
    def remade(self, held: "Held") -> None: ...
    def suspect(self, held: "Held", *, suspect: bool) -> None: ...
    def offer(self, held: "Held", offer: Offer) -> None: ...
    def assigned(self, event: Assigned) -> None: ...
    def terminated(self, job_id: str) -> None: ...
    def load(self, held: "Held", measured: float, reported: float) -> None: ...
    def notice(self, text: str) -> None: ...


MakeWorker = Callable[[WorkerListener], Worker]


class Held:
    """A registration as it stands, stood or is to stand; the worker's listener."""

    def __init__(
        self, registration: Registration, address: ServerAddress, owner: Owner, make: MakeWorker
    ) -> None:
        """Connects, and stays so. Raises UserError for a server that cannot work, with nothing left."""
        self.registration = registration
        self.address = address
        self.owner = owner
        self.jobs: set[str] = set()
        """Offers and jobs that came through it and are not over."""
        self.told_why = False
        """Whether it was said why it ended."""
        self._make = make
        self.worker = make(self)
        self.settled: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done when the server has accepted it (empty), or it was given up (why)."""
        self._closing = asyncio.Event()
        self.task = asyncio.create_task(self._run(), name="worker")

    @property
    def is_registered(self) -> bool:
        return self.worker.worker_id is not None

    def matches(self, registration: Registration, address: ServerAddress) -> bool:
        """Whether it is under way or up as that."""
        return (self.registration, self.address) == (registration, address) and not self.task.done()

    def settle(self, why: str) -> None:
        """Whoever waits for the server's answer has it; the first one counts."""
        if not self.settled.done():
            self.settled.set_result(why)

    async def close(self) -> None:
        """Ends the connection for good."""
        self.settle("it was given up")
        self._closing.set()
        await self.worker.close()
        await self.task

    async def _run(self) -> None:
        """Another worker takes the place of one that an internal error ended."""
        while True:
            try:
                await self._stay()
                return
            except Exception as error:
                pause_s = self.owner.broke(self, error)
            if pause_s is None or await self._closed_within(pause_s):
                return
            self.worker = self._make(self)
            self.owner.remade(self)

    async def _closed_within(self, limit_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._closing.wait()
        return self._closing.is_set()

    async def _stay(self) -> None:
        try:
            await self.worker.run()
        except ServerError as error:
            if not self.told_why:
                self.owner.refused(self, str(error))

    # -- WorkerListener -------------------------------------------------------------------------------

    def registered(self, event: Registered) -> None:
        self.owner.registered(self, event)

    def disconnected(self, reason: str, retry_in_s: float | None, attempt: int) -> None:
        self.told_why = retry_in_s is None
        self.owner.disconnected(self, reason, retry_in_s, attempt)

    def refused(self, line: str) -> None:
        self.owner.refused(self, line)

    def suspect(self, event: Suspect) -> None:
        self.owner.suspect(self, suspect=True)

    def recovered(self) -> None:
        self.owner.suspect(self, suspect=False)

    def offer(self, offer: Offer) -> None:
        self.owner.offer(self, offer)

    def assigned(self, event: Assigned) -> None:
        self.owner.assigned(event)

    def terminated(self, job_id: str) -> None:
        self.owner.terminated(job_id)

    def load(self, measured: float, reported: float) -> None:
        self.owner.load(self, measured, reported)

    def load_failed(self, problem: str) -> None:
        self.owner.notice(problem)

    def undecodable(self, reason: str) -> None:
        self.owner.notice(f"a message of the server was passed over: {reason}")
