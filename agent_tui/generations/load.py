"""One load of the agent's code, from its control process to the switch, as one coroutine.

A load runs beside the current generation and changes nothing until its switch. A later save cancels its task.
Saves, rollbacks, reloads, and retries all load this way, each from another source.
"""

import asyncio
from dataclasses import replace
from typing import Protocol

from agent_tui.generations.bases import Bases
from agent_tui.generations.generation import Cause, Choice, Generation, Runtime, Source
from agent_tui.generations.history import History, Loaded
from agent_tui.generations.sources import Appeared
from agent_tui.model.errors import InternalError, UserError
from agent_tui.model.events import (
    NO_STEPS,
    EndedBy,
    GenerationFailed,
    GenerationLoading,
    GenerationOvertaken,
    GenerationReady,
    LoadSteps,
    StartMethod,
)
from agent_tui.options.envfiles import Environment
from agent_tui.processes.inference import SharedInference
from agent_tui.processes.pool import Pool
from agent_tui.processes.process import ProcessFailed, SupervisedProcess, Supervisor
from agent_tui.runtimes.python import Modules
from agent_tui.runtimes.threads import off_loop
from agent_tui.settings.manager import SettingsManager, child_settings
from agent_tui.settings.settings import Settings

STOPPING = "agent-tui is stopping"


class Project(Protocol):
    """What a load needs from the engine: a runtime to start processes, and the switch to the new code."""

    def make_runtime(self, environment: Environment, modules: Modules) -> Runtime:
        """Return the runtime that starts a load's processes."""
        ...

    def switch(self, generation: Generation) -> None:
        """Start new jobs on this generation."""
        ...


class Loader:
    """Loads generations, one at a time, and knows the current one."""

    def __init__(
        self,
        project: Project,
        settings: SettingsManager,
        bases: Bases,
        pool: Pool,
        inference: SharedInference,
        supervisor: Supervisor,
        *,
        wanted: StartMethod | None = None,
        expect_template: bool = False,
    ) -> None:
        """`wanted` is the value of `--start-method`.

        `expect_template` says that a template was worth its cost in an earlier run.
        """
        self.current: Generation | None = None
        self.is_switching = False
        """Whether the load is switching, so that a save can no longer overtake it."""
        self.history = History()
        self._project = project
        self._settings = settings
        self._bases = bases
        self._pool = pool
        self._inference = inference
        self._supervisor = supervisor
        self._clock = supervisor.clock
        self._emit = supervisor.emit
        self._wanted = wanted
        self._expect_template = expect_template
        self._number = 0
        self._alive: dict[int, Generation] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._reporting_first: asyncio.Task[None] | None = None

    # -- the load -------------------------------------------------------------------------------------

    async def load(self, source: Source, cause: Cause, quiet: asyncio.Event) -> Loaded:
        """Load a source as the next generation. If that fails, report it; the current generation stays.

        `quiet` is set while no save has come for a moment. When cancelled (the message is the reason), undo
        everything. Raise Appeared if the source should be read and loaded again.
        """
        self._number += 1
        self._emit(GenerationLoading(self._number, cause.text))
        generation = self._make(source, cause)
        try:
            try:
                return await self._load(generation, quiet)
            except Appeared:
                raise
            except Exception as error:
                self._abandon(generation, "its generation failed to load")
                # A half-written file fails to load too. The rest of its save then overtakes this load.
                await quiet.wait()
                return await self._fail(generation, error)
        except (asyncio.CancelledError, Appeared) as overtaken:
            if self.current is not generation:
                self._abandon(generation, str(overtaken) or STOPPING)
                self._emit(GenerationOvertaken(generation.number))
            raise

    async def _load(self, generation: Generation, quiet: asyncio.Event) -> Loaded:
        steps, source = generation.steps, generation.source

        try:
            manifest = await generation.load_file(expect_template=self._expect_template)
        finally:
            steps.end_loading(generation.control.process)
        if source.found_in is not None:
            roots, files = manifest.roots, manifest.files
            generation.serve(
                await off_loop(source.found_in.complete, source.snapshot, roots, files, source.accept_new)
            )

        if other_kind := await generation.runtime.other_kind(manifest):
            raise UserError(other_kind)
        settings = self._settings.check(manifest, source.environment)
        generation.runtime.configure(child_settings(settings))

        if self.current is None:
            # Nothing serves yet, so accept offers now instead of waiting for warm processes. The start method
            # is chosen in the background, where it may overlap later loads.
            await self._switch(generation, settings)
            self._reporting_first = asyncio.create_task(self._report_first(generation), name="first report")
            return self._keep(generation, good=True)

        choice = await generation.choose_start_method()

        try:
            self._inference.use(generation.plan, manifest)  # prewarm may use it already
            count = settings.options.num_idle_processes
            # The stock has a blank for one process. The switch should not wait until others have imported the
            # SDK, so the pool starts them after it.
            await self._pool.warm(
                generation.plan, min(count, 1) if choice.method is StartMethod.BLANK else count
            )
        finally:
            steps.end("warm")

        await quiet.wait()
        steps.end("quiet")

        if self._reporting_first is not None:
            await asyncio.wait({self._reporting_first})  # keeps the events in order

        await self._switch(generation, settings)
        loaded = self._keep(generation, good=True)
        self._report_ready(generation, choice)
        return loaded

    async def _switch(self, generation: Generation, settings: Settings) -> None:
        self.is_switching = True
        try:
            await self._settings.apply(settings)
        finally:
            self.is_switching = False
        before, self.current = self.current, generation
        self._project.switch(generation)
        self._expect_template = generation.is_worth_a_template
        generation.steps.end("switch")
        if before is not None:
            self._end(before, f"generation {generation.number} took over")

    async def _fail(self, generation: Generation, error: Exception) -> Loaded:
        source, cause = generation.source, generation.cause
        if not isinstance(error, (ProcessFailed, UserError)):
            error = InternalError("loading", error)
        elif not cause.rolled_back_to:
            # If the file now needs another runtime, the error does not say so.
            result = error.failure if isinstance(error, ProcessFailed) else None
            if other_kind := await generation.runtime.other_kind(result):
                error = UserError(other_kind)
        if generation.snapshot is source.snapshot and source.found_in is not None:
            # Which files belong to this load is unknown, so all files on disk now count as loaded.
            now = await off_loop(source.found_in.read)
            generation.snapshot = replace(source.snapshot, modules={**now.modules, **source.snapshot.modules})
        could_not_start = isinstance(error, ProcessFailed) and error.by is EndedBy.NO_PROCESS
        loaded = self._keep(generation, good=False, could_not_start=could_not_start)
        self._emit(
            failure_event(generation.number, cause.text, self._seconds(cause), error, generation.steps.taken)
        )
        return loaded

    def _keep(self, generation: Generation, *, good: bool, could_not_start: bool = False) -> Loaded:
        """Add the load to the history. Call this before its event, after which users may roll back to it."""
        number, snapshot, rolled_back_to = (
            generation.number,
            generation.snapshot,
            generation.source.rolled_back_to,
        )
        return self.history.keep(
            Loaded(number, snapshot, good, rolled_back_to, self._clock.time(), could_not_start)
        )

    async def _report_first(self, generation: Generation) -> None:
        self._report_ready(generation, await generation.choose_start_method())

    def _report_ready(self, generation: Generation, choice: Choice) -> None:
        manifest, cause = generation.manifest, generation.cause
        self._emit(
            GenerationReady(
                generation.number,
                # Until the switch: what follows it delays no job.
                None if cause.saved_at is None else generation.steps.last - cause.saved_at,
                cause.text,
                manifest.runtime,
                manifest.sdk_version,
                choice.method,
                choice.reason,
                manifest.load_ms,
                cause.changed,
                generation.steps.taken,
                cause.rolled_back_to,
            )
        )
        # At the end, because forks have to wait while the base imports what it lacks.
        self._bases.learn(manifest.imports)

    # -- generations ----------------------------------------------------------------------------------

    @property
    def processes(self) -> tuple[SupervisedProcess, ...]:
        """The running control, template, and base processes."""
        own = (process for generation in self._alive.values() for process in generation.processes)
        return (*self._bases.processes, *own)

    def stop(self) -> None:
        """Stop loading. Process starts that wait for the choice of a start method fail."""
        if self._reporting_first is not None:
            self._reporting_first.cancel()
        if self.current is not None:
            self.current.leave_unchosen()

    def kill(self, reason: str) -> None:
        """Kill all control, template, and base processes now."""
        self.stop()
        for generation in self._alive.values():
            generation.kill(reason)
        self._bases.kill(reason)

    async def close(self, reason: str) -> None:
        """End all control, template, and base processes, including those of abandoned generations."""
        self.stop()
        for generation in tuple(self._alive.values()):
            self._end(generation, reason)
        while self._ending:
            await asyncio.gather(*self._ending, return_exceptions=True)
        await self._bases.close(reason)

    def _make(self, source: Source, cause: Cause) -> Generation:
        # A file missing on disk may still appear while it loads (`Sources.complete`).
        missing = frozenset[str]() if source.found_in else source.snapshot.missing
        runtime = self._project.make_runtime(source.environment, Modules(source.snapshot.modules, missing))
        generation = Generation(
            self._number, source, cause, runtime, self._bases, self._supervisor, self._wanted
        )
        self._alive[generation.number] = generation
        return generation

    def _abandon(self, generation: Generation, reason: str) -> None:
        self._pool.abandon(generation.plan)
        self._inference.keep(lambda number: number != generation.number)
        self._end(generation, reason)

    def _end(self, generation: Generation, reason: str) -> None:
        """End the processes of a generation, except jobs, in the background."""
        released = self._inference.released(generation.number)
        task = asyncio.create_task(generation.end(reason, released), name=f"end {generation.number}")
        self._ending.add(task)

        def ended(task: "asyncio.Task[None]") -> None:
            self._ending.discard(task)
            self._alive.pop(generation.number, None)

        task.add_done_callback(ended)

    def _seconds(self, cause: Cause) -> float | None:
        return None if cause.saved_at is None else self._clock.monotonic() - cause.saved_at


def failure_event(
    number: int, cause: str, seconds: float | None, error: Exception, steps: LoadSteps = NO_STEPS
) -> GenerationFailed:
    """Return the event for a failed load, with the file and line that the error names."""
    failure = error.failure if isinstance(error, ProcessFailed) else None
    if failure is None:
        return GenerationFailed(number, str(error), None, None, "", cause, seconds, steps)
    return GenerationFailed(
        number, failure.error, failure.file, failure.line, failure.traceback, cause, seconds, steps
    )
