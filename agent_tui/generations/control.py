"""The control process of a generation, which runs the agent's request and load functions within limits.

If the agent's code blocks or crashes the process, it is replaced.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from agent_tui.model import child as ch
from agent_tui.processes.process import (
    ProcessEnd,
    ProcessFailed,
    RespawningProcess,
    SupervisedProcess,
    Supervisor,
)

T = TypeVar("T")

BLOCKED = "the agent's code blocked its event loop"

MOST_PROCESSES_ASKED = 2
"""How many processes are asked about one offer, one after the other: the offer itself may crash them."""

MOST_RESTARTS = 3
"""How often a process is restarted while the file loads, if it did not end because of the code."""


@dataclass(frozen=True, slots=True)
class ControlTimings:
    """Limits for the agent's functions, in seconds. The server's own limit is 2.5 s (worker-protocol
    §6.3).
    """

    request_s: float = 2.0
    load_s: float = 1.0
    outcome_s: float = 60.0
    """Limit of `await req.accept()`, which waits for the job's launch (`child/python/control.py`)."""
    blocked_s: float = 0.3
    """How long to wait for an answer to a ping after a limit has passed. Without one, the loop is blocked."""


@dataclass(slots=True)
class _Question:
    """An offer that the request function decides on."""

    ask: ch.AskRequest
    answer: "asyncio.Future[ch.RequestAnswer]"
    asked: int = 0


class Control:
    """Keeps one control process alive. `start()` returns the manifest; `close()` ends it for good.

    A generation answers the offers it received, even after a newer one becomes current; if its control
    process dies, the respawned process is asked again.
    """

    def __init__(
        self,
        generation: int,
        supervisor: Supervisor,
        launch: ch.Launch,
        *,
        limits: ControlTimings | None = None,
        on_message: Callable[[ch.FromChild], None] = lambda message: None,
    ) -> None:
        """`on_message` gets messages that are neither answers nor part of the supervision."""
        self.generation = generation
        self._on_other_message = on_message
        self._launch = launch
        self._supervisor = supervisor
        self._clock = supervisor.clock
        self._limits = limits or ControlTimings()
        self._numbers = itertools.count(1)
        self._respawning = RespawningProcess(self._make, ended=self._process_ended)
        self._respawning_task: asyncio.Task[None] | None = None
        self._manifest: asyncio.Future[ch.Manifest] = asyncio.get_running_loop().create_future()
        self._up = asyncio.Event()
        self._restarts = 0
        self._questions: dict[str, _Question] = {}
        self._loads: dict[int, asyncio.Future[ch.LoadAnswer]] = {}
        self._open: set[str | int] = set()
        """Questions without an answer, and acceptances whose outcome was not reported yet."""
        self._late: set[str] = set()
        """Offers that the request function did not answer in time, but may still answer."""
        self._none_open = asyncio.Event()
        self._none_open.set()
        self._busy_until = 0.0
        """The monotonic time until which a request function may still be running."""
        self._closing = False
        self._live: ch.WorkerLive | None = None
        self._sent_live: ch.WorkerLive | None = None
        """The data that was last sent to the process."""

    async def start(self) -> ch.Manifest:
        """Load the agent's file. Raise ProcessFailed if it does not load."""
        self._respawning_task = asyncio.create_task(self._respawning.run(), name=f"control {self.generation}")
        return await asyncio.shield(self._manifest)

    @property
    def process(self) -> SupervisedProcess | None:
        return self._respawning.process

    async def ask_request(self, job: bytes, job_id: str) -> ch.RequestAnswer:
        """Return the request function's decision; a rejection with the reason if it did not answer in time.

        An agent without a request function accepts, with the SDKs' default identity.
        """
        if self._manifest.done() and not self._manifest.result().has_request_func:
            return ch.RequestAnswer(job_id, ch.AcceptArguments(f"agent-{job_id}"))
        question = _Question(ch.AskRequest(job, job_id), asyncio.get_running_loop().create_future())
        self._questions[job_id] = question
        self._open_question(job_id)
        answer = None
        try:
            async with asyncio.timeout(self._limits.request_s):
                await self._up.wait()
                self._ask(question)
                answer = await question.answer
                return answer
        except TimeoutError:
            self._late.add(job_id)
            asyncio.create_task(self._restart_if_blocked())  # noqa: RUF006  ends by itself within blocked_s
            why = f"the request function did not answer within {self._limits.request_s:g} s"
            return ch.RequestAnswer(job_id, None, error=why)
        finally:
            del self._questions[job_id]
            if answer is None or answer.accept is None:
                self._close_question(job_id)

    async def ask_load(self) -> float:
        """Return the value of the agent's load function.

        Raise TimeoutError if it does not answer in time or the process is starting, and ValueError if it
        raises.
        """
        if not self._up.is_set():
            raise TimeoutError("the control process is starting")
        request_id = next(self._numbers)
        future: asyncio.Future[ch.LoadAnswer] = asyncio.get_running_loop().create_future()
        self._loads[request_id] = future
        self._open_question(request_id)
        try:
            async with asyncio.timeout(self._limits.load_s):
                self._send_live()
                self._send(ch.AskLoad(request_id))
                answer = await future
        except TimeoutError:
            await self._restart_if_blocked()
            raise TimeoutError(f"the load function did not answer within {self._limits.load_s:g} s") from None
        finally:
            del self._loads[request_id]
            self._close_question(request_id)
        if answer.load is None:
            raise ValueError(answer.error)
        return answer.load

    def report_outcome(self, job_id: str, error: str | None) -> None:
        """Report to the request function, once, whether the job that it accepted was launched.

        `error` says why it was not. The report may come after the time limit for the answer.
        """
        if job_id in self._open:
            self._send(ch.AcceptOutcome(job_id, error))
            self._busy_until = self._clock.monotonic() + self._limits.request_s
            self._close_question(job_id)
        elif job_id in self._late:
            self._late.remove(job_id)
            self._send(ch.AcceptOutcome(job_id, error))

    def update_live(self, live: ch.WorkerLive) -> None:
        """Store the worker's data for the agent's functions. It is sent only when one of them runs.

        The data lists every running job. If each change were sent, the total would grow with the square of
        the number of jobs, and pile up for a control process that reads more slowly than jobs start.
        """
        self._live = live
        if self._open:
            self._send_live()

    async def close(self, reason: str) -> None:
        """Wait for outstanding answers, then end the process and wait until it has ended."""
        self._closing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.outcome_s):
                await self._none_open.wait()
        self._respawning.close(reason)
        process = self._respawning.process
        if process is not None:
            # A request function may continue after its answer, so it gets some time. It is in no room, so it
            # can be killed if it is blocked or never returns.
            at_work = self._busy_until - self._clock.monotonic()
            await asyncio.wait({process.ended}, timeout=max(at_work, self._limits.blocked_s))
            self.kill(reason)
        if self._respawning_task is not None:
            await asyncio.gather(self._respawning_task, return_exceptions=True)

    def release(self, reason: str) -> None:
        """End the process gracefully, because the agent's file has no functions for it to run."""
        self._respawning.close(reason)

    def kill(self, reason: str) -> None:
        """Kill the process now, with its open questions."""
        self._respawning.kill(reason)
        self._open.clear()
        self._none_open.set()

    def _open_question(self, question: str | int) -> None:
        self._open.add(question)
        self._none_open.clear()
        if isinstance(question, str):
            self._busy_until = self._clock.monotonic() + self._limits.request_s

    def _close_question(self, question: str | int) -> None:
        self._open.discard(question)
        if not self._open:
            self._none_open.set()

    def _send_live(self) -> None:
        """Send the worker's data, unless the process already has it."""
        if self._live is not None and self._live != self._sent_live and self._up.is_set():
            self._send(self._live)
            self._sent_live = self._live

    def _ask(self, question: _Question) -> None:
        self._send_live()
        question.asked += 1
        self._send(question.ask)

    def _send(self, message: ch.ToChild) -> None:
        if self._respawning.process is not None:
            self._respawning.process.send(message)

    def _make(self, number: int) -> SupervisedProcess:
        process_id = f"c{self.generation}" if number == 1 else f"c{self.generation}.{number}"
        return SupervisedProcess(
            self._supervisor,
            process_id,
            ch.ProcessKind.CONTROL,
            self.generation,
            launch=self._launch,
            relay=self._on_message,
        )

    def _process_ended(self, process: SupervisedProcess, end: ProcessEnd) -> bool:
        self._up.clear()
        self._late.clear()
        # A generation that is replaced while it decides on an offer still gets a process to answer it.
        closing = self._respawning.closing or (self._closing and not self._questions)
        loaded = self._manifest.done()
        self._fail_pending(f"the control process ended: {end.reason}", successor=loaded and not closing)
        if loaded:
            return not closing
        error = process.ready.exception() or ProcessFailed("no manifest")
        codes_fault = isinstance(error, ProcessFailed) and error.is_codes_fault
        if not codes_fault and not closing and self._restarts < MOST_RESTARTS:
            self._restarts += 1
            return True
        self._manifest.set_exception(error)
        self._manifest.exception()
        return False

    def _on_message(self, process: SupervisedProcess, message: ch.FromChild) -> None:
        match message:
            case ch.Manifest():
                if not self._manifest.done():
                    self._manifest.set_result(message)
                self._up.set()
                self._sent_live = None
                self._send_live()
                for question in self._questions.values():
                    if question.asked:  # the old process had it; the callers of other questions send them
                        self._ask(question)
            case ch.RequestAnswer(job_id=job_id):
                asked = self._questions.get(job_id)
                _resolve(asked.answer if asked else None, message)
            case ch.LoadAnswer(request_id=request_id):
                _resolve(self._loads.get(request_id), message)
            case _:
                self._on_other_message(message)

    async def _restart_if_blocked(self) -> None:
        process = self._respawning.process
        if process is None or process.ended.done():
            return
        if not await process.answers_ping(self._limits.blocked_s) and not process.held:
            process.kill(BLOCKED)

    def _fail_pending(self, why: str, *, successor: bool) -> None:
        """Fail the questions that the next process will not be asked. The others keep their time limit."""
        for job_id, question in self._questions.items():
            if not successor or question.asked >= MOST_PROCESSES_ASKED:
                _resolve(question.answer, ch.RequestAnswer(job_id, None, error=why))
        for request_id, load in self._loads.items():
            _resolve(load, ch.LoadAnswer(request_id, None, why))
        for accepted in self._open - self._questions.keys() - self._loads.keys():
            self._close_question(accepted)  # the function that waited for the outcome is gone


def _resolve(future: asyncio.Future[T] | None, value: T) -> None:
    if future is not None:
        with contextlib.suppress(asyncio.InvalidStateError):
            future.set_result(value)
