"""The inference process: runs models that jobs share, and the way of a request to it and back."""

import asyncio
import itertools
from collections.abc import Callable

from agent_tui.model import child as ch
from agent_tui.model.clock import Clock
from agent_tui.processes.process import Emit, SupervisedProcess
from agent_tui.processes.timings import BackOff, ProcessTimings

TIMINGS = ProcessTimings(initialize_s=300.0, shutdown_s=5.0, session_end_s=0.0, ping_interval_s=5.0)
"""Models take long to load; the SDK allows as much (livekit-agents.md §2.4)."""


class Inference:
    """Keeps one inference process alive and forwards messages 7 and 8 by request id."""

    def __init__(self, generation: int, *, launch: ch.Launch, clock: Clock, emit: Emit) -> None:
        self._generation = generation
        self._launch = launch
        self._clock = clock
        self._emit = emit
        self._back_off = BackOff()
        self._process: SupervisedProcess | None = None
        self._asking: dict[str, Callable[[ch.InferenceResponse], None]] = {}
        self._early: list[ch.InferenceRequest] = []
        self._closing = False

    def ask(self, request: ch.InferenceRequest, answer: Callable[[ch.InferenceResponse], None]) -> None:
        """Forwards a job's request; `answer` gets the response, or an error when the process dies."""
        self._asking[request.request_id] = answer
        if self._process is not None and self._process.ready.done() and not self._process.ended.done():
            self._process.send(request)
        else:
            self._early.append(request)

    async def run(self) -> None:
        """Keeps the process alive until `close()`."""
        failures = 0
        for number in itertools.count(1):
            process = self._process = SupervisedProcess(
                f"i{self._generation}" if number == 1 else f"i{self._generation}.{number}",
                ch.ProcessKind.INFERENCE,
                self._generation,
                launch=self._launch,
                timings=lambda: TIMINGS,
                clock=self._clock,
                emit=self._emit,
                relay=self._hear,
            )
            process.ready.add_done_callback(self._send_early)
            if self._closing:
                return
            await process.run()
            if self._closing:
                return
            self._fail_all("the inference process ended")
            failures = failures + 1 if process.ready.exception() else 0
            await asyncio.sleep(self._back_off.after(failures))

    def close(self, reason: str) -> None:
        """Ends the process; `run()` returns when it is gone."""
        self._closing = True
        if self._process is not None:
            self._process.shutdown(reason)

    def _send_early(self, ready: asyncio.Future[None]) -> None:
        if ready.exception() is None and self._process is not None:
            early, self._early = self._early, []
            for request in early:
                self._process.send(request)

    def _hear(self, process: SupervisedProcess, message: ch.FromChild) -> None:
        if isinstance(message, ch.InferenceResponse):
            answer = self._asking.pop(message.request_id, None)
            if answer is not None:
                answer(message)

    def _fail_all(self, error: str) -> None:
        asking, self._asking = self._asking, {}
        self._early.clear()
        for request_id, answer in asking.items():
            answer(ch.InferenceResponse(request_id, None, error))
