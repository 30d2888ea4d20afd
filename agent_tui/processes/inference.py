"""Inference processes, which run models for all jobs, and the forwarding of requests to them."""

import asyncio
from collections.abc import Callable, Container
from dataclasses import dataclass, replace

from agent_tui.model import child as ch
from agent_tui.processes.pool import Plan
from agent_tui.processes.process import ProcessEnd, RespawningProcess, SupervisedProcess, Supervisor
from agent_tui.processes.timings import ProcessTimings

TIMINGS = ProcessTimings(initialize_s=300.0, shutdown_s=5.0, session_end_s=0.0, ping_interval_s=5.0)
"""Timeouts of the inference process, which loads models: the SDK's own values (livekit-agents.md §2.4)."""


class Inference:
    """Keeps one inference process alive and forwards requests and answers by request id."""

    def __init__(self, plan: Plan, supervisor: Supervisor, *, lazy: bool = False) -> None:
        """With `lazy`, the process starts at the first request."""
        self.plan = plan
        """The generation from which the next process starts: the newest one that uses these runners."""
        self._supervisor = replace(supervisor, timings=lambda: TIMINGS)
        self._kept = RespawningProcess(self._make, ended=self._process_ended)
        self._asking: dict[str, Callable[[ch.InferenceResponse], None]] = {}
        self._early: list[ch.InferenceRequest] = []
        self._wanted = asyncio.Event()
        if not lazy:
            self._wanted.set()

    @property
    def process(self) -> SupervisedProcess | None:
        return self._kept.process

    def ask(self, request: ch.InferenceRequest, answer: Callable[[ch.InferenceResponse], None]) -> None:
        """Forward a job's request; `answer` gets the response, or an error if the process dies."""
        self._wanted.set()
        self._asking[request.request_id] = answer
        process = self._kept.process
        if process is not None and process.ready.done() and not process.ended.done():
            process.send(request)
        else:
            self._early.append(request)

    async def run(self) -> None:
        """Keep the process alive until `close()` or `kill()`."""
        await self._wanted.wait()
        await self._kept.run()

    def close(self, reason: str) -> None:
        """End the process; `run()` returns once it has ended."""
        self._kept.close(reason)
        self._wanted.set()

    def kill(self, reason: str) -> None:
        """Kill the process now."""
        self._kept.kill(reason)
        self._wanted.set()

    def _make(self, number: int) -> SupervisedProcess:
        generation = self.plan.generation
        process = SupervisedProcess(
            self._supervisor,
            f"i{generation}" if number == 1 else f"i{generation}.{number}",
            ch.ProcessKind.INFERENCE,
            generation,
            launch=self.plan.launch,
            relay=self._on_message,
        )
        process.ready.add_done_callback(lambda ready: self._send_early(process, ready))
        return process

    def _send_early(self, process: SupervisedProcess, ready: asyncio.Future[None]) -> None:
        if ready.exception() is None:
            early, self._early = self._early, []
            for request in early:
                process.send(request)

    def _on_message(self, process: SupervisedProcess, message: ch.FromChild) -> None:
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


@dataclass(frozen=True, slots=True)
class _Use:
    """One generation's runners, the process that runs them, and the plan to start it again."""

    runners: object
    inference: Inference
    plan: Plan


class SharedInference:
    """The inference processes of a run. Generations with the same runners share one (design §5.6).

    The process of an old generation is kept until its last job has ended.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._uses: dict[int, _Use] = {}
        """How each generation uses inference, by its number."""
        self._released: dict[int, asyncio.Event] = {}
        """For each generation, an event that is set once the generation is no longer used."""
        self._tasks: dict[Inference, asyncio.Task[None]] = {}

    @property
    def processes(self) -> tuple[SupervisedProcess, ...]:
        """The running processes."""
        return tuple(each.process for each in self._tasks if each.process is not None)

    def use(self, plan: Plan, manifest: ch.Manifest) -> None:
        """Provide the runners of a generation to its jobs, in the existing shared process or in a new one."""
        if not manifest.inference_runners:
            return
        runners = manifest.inference_runners, plan.generation if manifest.own_runners else None
        inference = next((each.inference for each in self._uses.values() if each.runners == runners), None)
        if inference is None:
            inference = Inference(plan, self._supervisor, lazy=manifest.lazy_runners)
            life = asyncio.create_task(inference.run(), name=f"inference {plan.generation}")
            self._tasks[inference] = life
            life.add_done_callback(lambda _: self._tasks.pop(inference))
        inference.plan = plan
        self._uses[plan.generation] = _Use(runners, inference, plan)
        self._released.setdefault(plan.generation, asyncio.Event())

    def keep(self, needed: Callable[[int], bool]) -> None:
        """Keep the processes that the needed generations use, and end the others.

        If a kept process has to restart, it starts from the newest of these generations.
        """
        self._uses = {number: each for number, each in self._uses.items() if needed(number)}
        self.release(self._uses)
        used = set()
        for _, use in sorted(self._uses.items()):
            use.inference.plan = use.plan
            used.add(use.inference)
        for inference in self._tasks.keys() - used:
            inference.close("no job needs it")

    def release(self, used: Container[int] = ()) -> None:
        """Mark all generations except `used` as no longer used. At the end of the run, all are marked."""
        for number in [each for each in self._released if each not in used]:
            self._released.pop(number).set()

    async def released(self, generation: int) -> None:
        """Wait until no more processes will be started from that generation's plan."""
        if (in_use := self._released.get(generation)) is not None:
            await in_use.wait()

    def ask(self, process: SupervisedProcess, request: ch.InferenceRequest) -> None:
        """Forward a job process's request; the answer or the error goes to that process."""
        if process.generation in self._uses:
            self._uses[process.generation].inference.ask(request, process.send)
        else:
            error = f"generation {process.generation} has no inference process"
            process.send(ch.InferenceResponse(request.request_id, None, error))

    def kill(self, reason: str) -> None:
        """Kill all inference processes now; `close()` waits for them."""
        for inference in self._tasks:
            inference.kill(reason)

    async def close(self, reason: str) -> None:
        """End all inference processes gracefully, and wait until they have ended."""
        for inference in self._tasks:
            inference.close(reason)
        await asyncio.gather(*self._tasks.values())
