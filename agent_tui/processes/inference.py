"""The inference process: runs models that jobs share, and the way of a request to it and back."""

import asyncio
from collections.abc import Callable

from agent_tui.model import child as ch
from agent_tui.model.clock import Clock
from agent_tui.processes.kept import KeptProcess
from agent_tui.processes.process import Emit, ProcessEnd, SupervisedProcess
from agent_tui.processes.timings import ProcessTimings

TIMINGS = ProcessTimings(initialize_s=300.0, shutdown_s=5.0, session_end_s=0.0, ping_interval_s=5.0)
"""Models take long to load; the SDK allows as much (livekit-agents.md §2.4)."""


class Inference:
    """Keeps one inference process alive and forwards messages 7 and 8 by request id."""

    def __init__(self, generation: int, *, launch: ch.Launch, clock: Clock, emit: Emit) -> None:
        self._generation = generation
        self._launch = launch
        self._clock = clock
        self._emit = emit
        self._kept = KeptProcess(self._make, ended=self._process_ended)
        self._asking: dict[str, Callable[[ch.InferenceResponse], None]] = {}
        self._early: list[ch.InferenceRequest] = []

    @property
    def process(self) -> SupervisedProcess | None:
        return self._kept.process

    def ask(self, request: ch.InferenceRequest, answer: Callable[[ch.InferenceResponse], None]) -> None:
        """Forwards a job's request; `answer` gets the response, or an error when the process dies."""
        self._asking[request.request_id] = answer
        process = self._kept.process
        if process is not None and process.ready.done() and not process.ended.done():
            process.send(request)
        else:
            self._early.append(request)

    async def run(self) -> None:
        """Keeps the process alive until `close()` or `kill()`."""
        await self._kept.run()

    def close(self, reason: str) -> None:
        """Ends the process; `run()` returns when it is gone."""
        self._kept.close(reason)

    def kill(self, reason: str) -> None:
        """Ends the process now."""
        self._kept.kill(reason)

    def _make(self, number: int) -> SupervisedProcess:
        process = SupervisedProcess(
            f"i{self._generation}" if number == 1 else f"i{self._generation}.{number}",
            ch.ProcessKind.INFERENCE,
            self._generation,
            launch=self._launch,
            timings=lambda: TIMINGS,
            clock=self._clock,
            emit=self._emit,
            relay=self._hear,
        )
        process.ready.add_done_callback(lambda ready: self._send_early(process, ready))
        return process

    def _send_early(self, process: SupervisedProcess, ready: asyncio.Future[None]) -> None:
        if ready.exception() is None:
            early, self._early = self._early, []
            for request in early:
                process.send(request)

    def _hear(self, process: SupervisedProcess, message: ch.FromChild) -> None:
        if isinstance(message, ch.InferenceResponse):
            answer = self._asking.pop(message.request_id, None)
            if answer is not None:
                answer(message)

    def _process_ended(self, process: SupervisedProcess, end: ProcessEnd) -> bool:
        asking, self._asking = self._asking, {}
        self._early.clear()
        for request_id, answer in asking.items():
            answer(ch.InferenceResponse(request_id, None, f"the inference process ended: {end.reason}"))
        return True
