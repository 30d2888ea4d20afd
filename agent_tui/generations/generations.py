"""Which generation is current, and how the next one comes to be."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from agent_tui.generations.control import Control, ControlTimings
from agent_tui.model import child as ch
from agent_tui.model.clock import Clock
from agent_tui.model.errors import UserError
from agent_tui.model.events import GenerationFailed, GenerationLoading, GenerationReady
from agent_tui.processes.pool import Plan
from agent_tui.processes.process import Emit, ProcessFailed
from agent_tui.processes.timings import ProcessTimings


class Runtime(Protocol):
    """What starts children of one kind of agent file, on one interpreter, with one environment."""

    def launch(self, kind: ch.ProcessKind, process_id: str, functions: str) -> Awaitable[ch.Child]: ...


@dataclass(frozen=True, slots=True)
class Generation:
    """One loaded version of the agent's code."""

    number: int
    manifest: ch.Manifest
    control: Control
    plan: Plan


class Generations:
    """Owns the current generation. `load()` makes the next one beside it; a failed load changes nothing."""

    def __init__(
        self,
        *,
        make_runtime: Callable[[], Runtime],
        apply: Callable[[ch.Manifest], Awaitable[None]],
        timings: Callable[[], ProcessTimings],
        limits: ControlTimings,
        clock: Clock,
        emit: Emit,
        start_method: str = "spawn",
    ) -> None:
        self._make_runtime = make_runtime
        self._apply = apply
        self._timings = timings
        self._limits = limits
        self._clock = clock
        self._emit = emit
        self._start_method = start_method
        self._number = 0
        self._controls: set[Control] = set()
        self._one_at_a_time = asyncio.Lock()
        self._closing = False
        self.current: Generation | None = None

    async def load(self, cause: str, saved_at: float | None = None) -> Generation | None:
        """Loads the agent's file as the next generation and makes it current; None when it does not load.

        `saved_at` is the monotonic time of the save that caused it. What the file sets is applied before
        job processes are made from it, so that they see the options that are then in force.
        """
        async with self._one_at_a_time:
            return None if self._closing else await self._load(cause, saved_at)

    async def _load(self, cause: str, saved_at: float | None) -> Generation | None:
        self._number += 1
        number = self._number
        self._emit(GenerationLoading(number, cause))
        control_runtime = self._make_runtime()
        control = Control(
            number,
            launch=lambda kind, process_id: control_runtime.launch(kind, process_id, ""),
            timings=self._timings,
            limits=self._limits,
            clock=self._clock,
            emit=self._emit,
        )
        self._controls.add(control)
        try:
            manifest = await control.start()
            await self._apply(manifest)
        except (ProcessFailed, UserError) as error:
            await self._close(control, "its generation did not load")
            self._emit(_failed(number, error))
            return None
        runtime = self._make_runtime()
        plan = Plan(number, lambda kind, process_id: runtime.launch(kind, process_id, manifest.functions))
        before, self.current = self.current, Generation(number, manifest, control, plan)
        self._emit(
            GenerationReady(
                number,
                None if saved_at is None else self._clock.monotonic() - saved_at,
                cause,
                manifest.runtime,
                manifest.sdk_version,
                self._start_method,
            )
        )
        if before is not None:
            await self._close(before.control, f"generation {number} took over")
        return self.current

    def kill(self, reason: str) -> None:
        """Ends the control processes now."""
        self._closing = True
        for control in self._controls:
            control.kill(reason)

    async def close(self, reason: str) -> None:
        """Ends the control processes, also of a generation that is still loading; no other is loaded."""
        self._closing = True
        await asyncio.gather(*(self._close(control, reason) for control in tuple(self._controls)))

    async def _close(self, control: Control, reason: str) -> None:
        await control.close(reason)
        self._controls.discard(control)


def _failed(number: int, error: ProcessFailed | UserError) -> GenerationFailed:
    failure = error.failure if isinstance(error, ProcessFailed) else None
    if failure is None:
        return GenerationFailed(number, str(error), None, None, "")
    return GenerationFailed(number, failure.error, failure.file, failure.line, failure.traceback)
