"""Which generation is current, how the next one comes to be beside it, and the switch."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from agent_tui.generations.attempt import Attempt, Complete, Runtime, Tools
from agent_tui.generations.control import Control
from agent_tui.generations.methods import Choice, worth_a_template
from agent_tui.generations.steps import StepTimes
from agent_tui.model import child as ch
from agent_tui.model.clock import Clock
from agent_tui.model.errors import OwnError, UserError
from agent_tui.model.events import (
    NO_STEPS,
    EndedBy,
    GenerationFailed,
    GenerationLoading,
    GenerationOvertaken,
    GenerationReady,
    LoadSteps,
)
from agent_tui.processes.pool import Plan
from agent_tui.processes.process import ProcessFailed, SupervisedProcess
from agent_tui.runtimes.snapshots import Modules

OVERTAKEN = "a later save overtook it"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something is loaded: the file that was saved (or "start", "reload"), when, and all that differs.

    `saved_at` is monotonic, and so is `seen_at`, when that was seen.
    """

    text: str
    saved_at: float | None = None
    changed: tuple[str, ...] = ()
    seen_at: float | None = None
    back_to: int = 0
    """The generation whose code it is, if that is not what is on disk."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One loaded version of the agent's code."""

    number: int
    manifest: ch.Manifest
    attempt: Attempt

    @property
    def control(self) -> Control:
        return self.attempt.control

    @property
    def plan(self) -> Plan:
        return self.attempt.plan


class Host(Protocol):
    """What a generation needs of the run around it."""

    def make_runtime(self, environ: Mapping[str, str], modules: Modules) -> Runtime:
        """What starts that generation's children."""
        ...

    async def check(self, manifest: ch.Manifest) -> int:
        """How many idle processes it is to have. Raises UserError for an option that it sets wrongly."""
        ...

    async def explain(self, error: ProcessFailed | UserError) -> ProcessFailed | UserError:
        """What to tell of what is on disk and did not load: the error, or what is behind it."""
        ...

    async def apply(self, manifest: ch.Manifest) -> None:
        """Takes its options, and registers under them. Raises UserError, with everything as it was."""
        ...

    async def warm(self, plan: Plan, manifest: ch.Manifest, count: int) -> None:
        """Prepares idle processes beside the current ones. Raises ProcessFailed."""
        ...

    def abandon(self, plan: Plan) -> None:
        """Ends them again."""
        ...

    async def released(self, plan: Plan) -> None:
        """Returns when nothing is launched from that plan any more, which no longer is the current one."""
        ...

    def switched(self, generation: Generation) -> None:
        """New jobs run on it from here on."""
        ...

    def settled(self, manifest: ch.Manifest, *, template: bool) -> None:
        """It is known how its job processes are started best."""
        ...


class Loading:
    """A generation that is being loaded; `ready` is done when all is there for the switch, or failed.

    The first one serves as soon as it is ready, before it has warm processes.
    """

    def __init__(self, attempt: Attempt, cause: Cause, ready: "asyncio.Task[Choice | None]") -> None:
        self.attempt = attempt
        self.cause = cause
        self.ready = ready
        self.could_not_start = False
        """It failed because no process could be started, which says nothing about the code."""


class Generations:
    """Owns the current generation. One is loaded at a time; one that fails changes nothing."""

    def __init__(self, host: Host, tools: Tools, *, expect_template: bool = False) -> None:
        """`expect_template`: an earlier run found one to be worth it."""
        self.current: Generation | None = None
        self._host = host
        self._tools = tools
        self._expect_template = expect_template
        self._number = 0
        self._attempts: dict[int, Attempt] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._completing: asyncio.Task[None] | None = None
        """The first generation, which serves, finds out how its job processes are started best."""

    @property
    def processes(self) -> tuple[SupervisedProcess, ...]:
        """Control processes, templates and bases that are there."""
        own = (process for attempt in self._attempts.values() for process in attempt.processes)
        return (*self._tools.bases.processes, *own)

    def begin(
        self, environ: Mapping[str, str], modules: Modules, cause: Cause, complete: Complete
    ) -> Loading:
        """Start to load the next generation from these modules. End it with `commit` or `discard`."""
        self._number += 1
        self._tools.emit(GenerationLoading(self._number, cause.text))
        attempt = Attempt(
            self._number,
            self._host.make_runtime(environ, modules),
            environ,
            self._tools,
            expect_template=self._expect_template,
            steps=_steps_until_now(cause, self._tools.clock),
        )
        self._attempts[attempt.number] = attempt
        ready = asyncio.create_task(self._prepare(attempt, complete), name=f"load {attempt.number}")
        return Loading(attempt, cause, ready)

    def serves(self, loading: Loading) -> bool:
        """Whether it is current already: then it is so until the next one is, whatever is saved."""
        return self.current is not None and self.current.attempt is loading.attempt

    async def discard(self, loading: Loading, reason: str = OVERTAKEN) -> None:
        """Gives it up, unless it serves; returns at once, what was started ends by itself."""
        if self.serves(loading):
            return
        loading.ready.cancel()
        await asyncio.gather(loading.ready, return_exceptions=True)
        self._give_up(loading.attempt, reason)
        self._tools.emit(GenerationOvertaken(loading.attempt.number))

    async def commit(self, loading: Loading) -> bool:
        """Switches to it, or tells why it failed. True when it is current."""
        attempt, cause = loading.attempt, loading.cause
        try:
            choice = await asyncio.shield(loading.ready)
            if not self.serves(loading):
                attempt.steps.end("quiet")
                if self._completing is not None:
                    await self._completing  # told of first
                await self._switch(attempt)
        except Exception as error:
            self._give_up(attempt, "its generation did not load")
            loading.could_not_start = isinstance(error, ProcessFailed) and error.by is EndedBy.NO_PROCESS
            if not isinstance(error, (ProcessFailed, UserError)):
                why: ProcessFailed | UserError = OwnError("loading", error)
            else:
                why = error if cause.back_to else await self._host.explain(error)
            self._tools.emit(
                failed(attempt.number, cause.text, self._seconds(cause), why, attempt.steps.taken)
            )
            return False
        except asyncio.CancelledError:
            if loading.ready.cancelled():
                return False  # everything ends
            raise
        assert attempt.manifest is not None
        self._expect_template = worth_a_template(self._tools.wanted, attempt.manifest.load_ms)
        if choice is None:
            self._completing = asyncio.create_task(self._complete(loading), name=f"choose {attempt.number}")
        else:
            self._tell_ready(loading, choice)
        return True

    def stop(self) -> None:
        """Nothing is loaded any more: no process waits any longer to hear how it is to be started."""
        if self._completing is not None:
            self._completing.cancel()
        if self.current is not None:
            self.current.attempt.leave_unchosen()

    def kill(self, reason: str) -> None:
        """Ends all that is not a job process now."""
        self.stop()
        for attempt in self._attempts.values():
            attempt.kill(reason)
        self._tools.bases.kill(reason)

    async def close(self, reason: str) -> None:
        """Ends all that is not a job process, also of a generation that is still loading."""
        self.stop()
        for attempt in tuple(self._attempts.values()):
            self._retire(attempt, reason)
        while self._retiring:
            await asyncio.gather(*self._retiring, return_exceptions=True)
        await self._tools.bases.close(reason)

    async def _complete(self, loading: Loading) -> None:
        self._tell_ready(loading, await loading.attempt.choose())

    def _tell_ready(self, loading: Loading, choice: Choice) -> None:
        attempt, cause, manifest = loading.attempt, loading.cause, loading.attempt.manifest
        assert manifest is not None
        self._tools.emit(
            GenerationReady(
                attempt.number,
                self._seconds(cause),
                cause.text,
                manifest.runtime,
                manifest.sdk_version,
                choice.method,
                choice.reason,
                manifest.load_ms,
                cause.changed,
                attempt.steps.taken,
                cause.back_to,
            )
        )
        self._tools.bases.learn(manifest.imports)
        self._host.settled(manifest, template=worth_a_template(self._tools.wanted, manifest.load_ms))

    async def _prepare(self, attempt: Attempt, complete: Complete) -> Choice | None:
        """How its job processes are started; None for the first one, which serves before that is known."""
        manifest = await attempt.load(complete)
        idle = await self._host.check(manifest)
        if self.current is None:
            # Nothing serves yet: offers are better taken now than once processes are warm.
            await self._switch(attempt)
            return None
        choice = await attempt.choose()
        try:
            await self._host.warm(attempt.plan, manifest, idle)
        finally:
            attempt.steps.end("warm")
        return choice

    async def _switch(self, attempt: Attempt) -> None:
        assert attempt.manifest is not None
        await self._host.apply(attempt.manifest)
        before, self.current = self.current, Generation(attempt.number, attempt.manifest, attempt)
        self._host.switched(self.current)
        attempt.steps.end("switch")
        if before is not None:
            self._retire(before.attempt, f"generation {attempt.number} took over")

    def _give_up(self, attempt: Attempt, reason: str) -> None:
        self._host.abandon(attempt.plan)
        self._retire(attempt, reason)

    def _retire(self, attempt: Attempt, reason: str) -> None:
        task = attempt.retire(reason, self._host.released(attempt.plan))
        self._retiring.add(task)

        def gone(task: "asyncio.Task[None]") -> None:
            self._retiring.discard(task)
            self._attempts.pop(attempt.number, None)

        task.add_done_callback(gone)

    def _seconds(self, cause: Cause) -> float | None:
        return None if cause.saved_at is None else self._tools.clock.monotonic() - cause.saved_at


def _steps_until_now(cause: Cause, clock: Clock) -> StepTimes:
    """What came before a load begins: the save was seen, and the files were read."""
    if cause.seen_at is None:
        return StepTimes(clock)
    steps = StepTimes(clock, cause.seen_at if cause.saved_at is None else cause.saved_at)
    if cause.saved_at is not None:
        steps.end("seen", cause.seen_at)
    steps.end("read")
    return steps


def failed(
    number: int,
    cause: str,
    seconds: float | None,
    error: ProcessFailed | UserError,
    steps: LoadSteps = NO_STEPS,
) -> GenerationFailed:
    """The event for an error, with the place that it names."""
    failure = error.failure if isinstance(error, ProcessFailed) else None
    if failure is None:
        return GenerationFailed(number, str(error), None, None, "", cause, seconds, steps)
    return GenerationFailed(
        number, failure.error, failure.file, failure.line, failure.traceback, cause, seconds, steps
    )
