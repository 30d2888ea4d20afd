"""The control process after loading: runs the agent's request and load functions when the host asks.

The host enforces time limits. Each question gets exactly one answer, whatever the agent's code does.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from typing import TYPE_CHECKING, Any, Callable, Protocol

from . import loading

if TYPE_CHECKING:
    from .process import HostLink

_log = logging.getLogger("agent-tui")

OUTCOME_LIMIT_S = 60.0
"""How long `await req.accept()` waits for the outcome, in s, in case the host never reports it."""


NO_OUTCOME = "agent-tui did not report whether the job was assigned"


class AlreadyAnswered(RuntimeError):
    """The request function answered a second time."""


class Offer:
    """One offer. It can be answered once, and `accept` then waits for the outcome."""

    def __init__(self, job_id: str, send: Callable[..., None]) -> None:
        self.job_id = job_id
        self.answered = False
        self.outcome: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._send = send

    async def accept(
        self, identity: str, name: str, metadata: str, attributes: dict[str, str] | None
    ) -> str | None:
        """Accept the offer, and wait for the outcome: None once the job is launched, else why it was not."""
        self.answer(
            accept={
                "identity": str(identity) or f"agent-{self.job_id}",
                "name": str(name),
                "metadata": str(metadata),
                "attributes": {str(key): str(value) for key, value in (attributes or {}).items()},
            }
        )
        try:
            return await asyncio.wait_for(asyncio.shield(self.outcome), OUTCOME_LIMIT_S)
        except asyncio.TimeoutError:
            return NO_OUTCOME

    def answer(
        self, *, accept: dict[str, Any] | None = None, terminate: bool = False, error: str | None = None
    ) -> None:
        """Send the answer. Raise AlreadyAnswered if the offer was answered before."""
        if self.answered:
            raise AlreadyAnswered(f"the offer of job {self.job_id} was already answered")
        self.answered = True
        self._send("request_answer", job_id=self.job_id, accept=accept, terminate=terminate, error=error)


class LoadedAgent(Protocol):
    """What each kind of agent file provides to the control process."""

    load: Callable[[], Any] | None
    """Calls the agent's load function; None if it has none."""

    async def request(self, job: Any, offer: Offer) -> None:
        """Run the request function. Without one, accept the offer as the SDK would."""
        ...

    def live(self, value: dict[str, Any]) -> None:
        """Update the worker's live data (`WorkerLive`)."""
        ...


class ControlLoop:
    """Answers the host on an event loop in the main thread until it is asked to end."""

    def __init__(self, link: HostLink, agent: LoadedAgent) -> None:
        self._link = link
        self._agent = agent
        self._offers: dict[str, Offer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "ping": lambda value: link.send("pong", sent_ms=value["sent_ms"]),
            "shutdown": self._shutdown,
            "ask_request": self._ask_request,
            "accept_outcome": self._accept_outcome,
            "ask_load": self._ask_load,
            "worker_live": agent.live,
        }

    def run(self) -> None:
        """Serve until `Shutdown` or the end of the host."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._ended = asyncio.Event()
        self._loop = self._link.loop = asyncio.get_running_loop()
        self._link.listen(lambda case, value: self._call_soon(self._receive, case, value))
        await self._ended.wait()

    def _call_soon(self, function: Callable[..., object], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            return  # the loop has ended: there is nothing to ask

    def _receive(self, case: str, value: dict[str, Any]) -> None:
        handler = self._handlers.get(case)
        if handler is not None:
            handler(value)

    def _shutdown(self, value: dict[str, Any]) -> None:
        self._link.send("shutdown_ack")
        self._ending.add(asyncio.create_task(self._end(), name="end"))

    async def _end(self) -> None:
        """End the loop once request functions have returned. The host limits how long that may take."""
        for offer in self._offers.values():
            if not offer.outcome.done():
                offer.outcome.set_result(NO_OUTCOME)  # the host will report no more outcomes
        while self._tasks and not self._link.host_lost:
            await asyncio.wait(self._tasks)
        self._link.send("shutting_down")
        self._ended.set()

    def _ask_request(self, value: dict[str, Any]) -> None:
        offer = self._offers[value["job_id"]] = Offer(value["job_id"], self._link.send)
        task = asyncio.create_task(self._request(value["job"], offer), name=f"request {offer.job_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _request(self, job: Any, offer: Offer) -> None:
        try:
            await self._agent.request(job, offer)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            _log.exception("the request function failed on job %s", offer.job_id)
            if not offer.answered:
                offer.answer(error=loading.describe(error)["error"])
        finally:
            self._offers.pop(offer.job_id, None)
        if not offer.answered:
            _log.warning("the request function returned without an answer to job %s", offer.job_id)
            offer.answer(error="the request function returned without accepting or rejecting")

    def _accept_outcome(self, value: dict[str, Any]) -> None:
        offer = self._offers.get(value["job_id"])
        if offer is not None and not offer.outcome.done():
            offer.outcome.set_result(value["error"])

    def _ask_load(self, value: dict[str, Any]) -> None:
        # A daemon thread each: one that blocks forever delays neither the others nor the exit.
        threading.Thread(target=self._load, args=(value["request_id"],), name="load", daemon=True).start()

    def _load(self, request_id: int) -> None:
        answer: dict[str, Any] = {"request_id": request_id, "load": None, "error": None}
        try:
            if self._agent.load is None:
                raise LookupError("the agent has no load function")
            result = self._agent.load()
            if inspect.iscoroutine(result):
                result = asyncio.run_coroutine_threadsafe(result, self._loop).result()
            load = float(result)
            if load != load or load in (float("inf"), float("-inf")):
                raise ValueError(f"the load function returned {load}")
            answer["load"] = load
        except BaseException as error:
            answer["error"] = loading.describe(error)["error"]
        self._link.send("load_answer", **answer)
