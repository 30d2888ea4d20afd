"""One load of the agent's code: from its control process to the switch, as one coroutine.

A load runs beside the generation that serves, and changes nothing until its switch. A later save cancels its
task. Save, roll back, reload and retry are the same load of another source.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from agent_tui.generations.bases import Bases
from agent_tui.generations.generation import Choice, Generation, Runtime
from agent_tui.generations.history import History, Kept
from agent_tui.generations.sources import Snapshot, Sources
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
    StartMethod,
)
from agent_tui.processes.inference import SharedInference
from agent_tui.processes.pool import Pool
from agent_tui.processes.process import ProcessFailed, SupervisedProcess, Supervisor
from agent_tui.runtimes.snapshots import Modules
from agent_tui.runtimes.threads import off_loop

ENDS = "agent-tui ends"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something is loaded: the file that was saved (or "start", "reload"), when, and all that differs.

    `saved_at` and `seen_at`, when the save was seen, are monotonic.
    """

    text: str
    saved_at: float | None = None
    changed: tuple[str, ...] = ()
    seen_at: float | None = None
    back_to: int = 0
    """The generation whose code it is, if that is not what is on disk."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is loaded: files as they were read, and the environment that they get."""

    snapshot: Snapshot
    environ: Mapping[str, str]
    found_in: Sources | None = None
    """Where the modules are that only loading shows; None if all of them are known, from an earlier load."""
    accept_new: bool = False
    """Whether modules may appear while it is loaded: after a load that was repeated for that reason."""
    back_to: int = 0
    """The generation whose modules these are, if they were loaded before."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of a load."""

    kept: Kept
    at: float
    """When, in Unix time: before it was reported."""
    could_not_start: bool = False
    """It failed because no process could be started, which says nothing about the code."""

    @property
    def ok(self) -> bool:
        return self.kept.good


class Appeared(UserError):
    """A module that was missing when the files were read was there when the agent's file imported it."""


class Project(Protocol):
    """What a load needs of the engine: the settings, and the switch of all else."""

    def make_runtime(self, environ: Mapping[str, str], modules: Modules) -> Runtime:
        """Return what starts the processes of a load."""
        ...

    def check(self, manifest: ch.Manifest) -> int:
        """Return how many processes should be idle. Raise UserError for options that cannot be."""
        ...

    async def apply(self, manifest: ch.Manifest) -> None:
        """Put the file's options in force and register under them. Raise UserError, with all as it was."""
        ...

    def switch(self, generation: Generation) -> None:
        """Start new jobs on this generation."""
        ...


class Loader:
    """Loads generations, one at a time, and knows which is current."""

    def __init__(
        self,
        project: Project,
        bases: Bases,
        pool: Pool,
        inference: SharedInference,
        supervisor: Supervisor,
        *,
        wanted: StartMethod | None = None,
        expect_template: bool = False,
    ) -> None:
        """`wanted` is what `--start-method` says. `expect_template`: an earlier run found it worth it."""
        self.current: Generation | None = None
        self.is_switching = False
        """Past the point at which a load can be overtaken."""
        self.history = History()
        self._project = project
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
        """Load a source as the next generation. A failure is reported, and leaves the current one as it is.

        `quiet` is set while no save has been seen for a moment. Raise CancelledError, with all undone, when
        cancelled (its message is why), and Appeared if the source should be read and loaded again.
        """
        self._number += 1
        self._emit(GenerationLoading(self._number, cause.text))
        steps = _steps_so_far(cause, self._clock)
        generation = self._make(self._number, source)
        try:
            try:
                return await self._load(generation, source, cause, quiet, steps)
            except Appeared:
                raise
            except Exception as error:
                self._abandon(generation, "its generation did not load")
                # A file that was read half written fails, too; then the rest of its save overtakes this load.
                await quiet.wait()
                return await self._fail(generation, source, cause, error, steps)
        except (asyncio.CancelledError, Appeared) as overtaken:
            if self.current is not generation:
                self._abandon(generation, str(overtaken) or ENDS)
                self._emit(GenerationOvertaken(generation.number))
            raise

    async def _load(
        self, generation: Generation, source: Source, cause: Cause, quiet: asyncio.Event, steps: "StepTimes"
    ) -> Loaded:
        try:
            manifest = await generation.load_file(expect_template=self._expect_template)
        finally:
            steps.end_loading(generation.control.process)
        generation.serve(await _all_modules(source, manifest))

        if other_kind := await off_loop(generation.runtime.other_kind, manifest):
            raise UserError(other_kind)
        idle = self._project.check(manifest)

        if self.current is None:
            # Nothing serves yet: offers are better taken now than once processes are warm. How those start
            # is known later; a save is loaded meanwhile.
            await self._switch(generation, steps)
            loaded = self._keep(generation, source, ok=True)
            self._reporting_first = asyncio.create_task(
                self._report_first(generation, cause, steps), name="first generation"
            )
            return loaded

        choice = await generation.choose_start_method()

        try:
            self._inference.use(generation.plan, manifest)  # prewarm may ask it already
            await self._pool.warm(generation.plan, idle)
        finally:
            steps.end("warm")

        await quiet.wait()
        steps.end("quiet")

        if self._reporting_first is not None:
            await asyncio.wait({self._reporting_first})  # in order

        await self._switch(generation, steps)
        loaded = self._keep(generation, source, ok=True)
        self._report_ready(generation, cause, choice, steps)
        return loaded

    async def _switch(self, generation: Generation, steps: "StepTimes") -> None:
        self.is_switching = True
        try:
            await self._project.apply(generation.manifest)
        finally:
            self.is_switching = False
        before, self.current = self.current, generation
        self._project.switch(generation)
        self._expect_template = generation.is_worth_a_template
        steps.end("switch")
        if before is not None:
            self._end(before, f"generation {generation.number} took over")

    async def _fail(
        self, generation: Generation, source: Source, cause: Cause, error: Exception, steps: "StepTimes"
    ) -> Loaded:
        error = await _explained(error, generation, cause)
        if generation.modules is None and source.found_in is not None:
            # It is not known what it was given: what is on disk now counts as loaded, too.
            now = await off_loop(source.found_in.read)
            generation.modules = Modules({**now.modules, **source.snapshot.modules}, source.snapshot.missing)
        loaded = self._keep(generation, source, ok=False)
        seconds = self._seconds(cause)
        self._emit(failure_event(generation.number, cause.text, seconds, error, steps.taken))
        could_not_start = isinstance(error, ProcessFailed) and error.by is EndedBy.NO_PROCESS
        return replace(loaded, could_not_start=could_not_start)

    def _keep(self, generation: Generation, source: Source, *, ok: bool) -> Loaded:
        """Keep what was loaded: before the event, after which it can be compared and rolled back to."""
        snapshot = source.snapshot
        if (modules := generation.modules) is not None:
            snapshot = replace(snapshot, modules=modules.contents, missing=modules.missing)
        kept = self.history.keep(Kept(generation.number, snapshot, ok, source.back_to))
        return Loaded(kept, self._clock.time())

    async def _report_first(self, generation: Generation, cause: Cause, steps: "StepTimes") -> None:
        self._report_ready(generation, cause, await generation.choose_start_method(), steps)

    def _report_ready(self, generation: Generation, cause: Cause, choice: Choice, steps: "StepTimes") -> None:
        manifest = generation.manifest
        self._emit(
            GenerationReady(
                generation.number,
                self._seconds(cause),
                cause.text,
                manifest.runtime,
                manifest.sdk_version,
                choice.method,
                choice.reason,
                manifest.load_ms,
                cause.changed,
                steps.taken,
                cause.back_to,
            )
        )
        # Not before: what the base lacks it imports now, and forks that are asked of it meanwhile wait.
        self._bases.learn(manifest.imports)

    # -- generations ----------------------------------------------------------------------------------

    @property
    def processes(self) -> tuple[SupervisedProcess, ...]:
        """Running control processes, templates and bases."""
        own = (process for generation in self._alive.values() for process in generation.processes)
        return (*self._bases.processes, *own)

    def stop(self) -> None:
        """Load nothing any more: launches that wait for a start method fail."""
        if self._reporting_first is not None:
            self._reporting_first.cancel()
        if self.current is not None:
            self.current.leave_unchosen()

    def kill(self, reason: str) -> None:
        """End everything but job and inference processes now."""
        self.stop()
        for generation in self._alive.values():
            generation.kill(reason)
        self._bases.kill(reason)

    async def close(self, reason: str) -> None:
        """End everything but job and inference processes, also of a generation that was abandoned."""
        self.stop()
        for generation in tuple(self._alive.values()):
            self._end(generation, reason)
        while self._ending:
            await asyncio.gather(*self._ending, return_exceptions=True)
        await self._bases.close(reason)

    def _make(self, number: int, source: Source) -> Generation:
        # What is missing on disk may still appear while it loads (`_all_modules`).
        missing = frozenset[str]() if source.found_in else source.snapshot.missing
        runtime = self._project.make_runtime(source.environ, Modules(source.snapshot.modules, missing))
        generation = Generation(number, runtime, source.environ, self._bases, self._supervisor, self._wanted)
        self._alive[number] = generation
        return generation

    def _abandon(self, generation: Generation, reason: str) -> None:
        self._pool.abandon(generation.plan)
        self._inference.keep(lambda number: number != generation.number)
        self._end(generation, reason)

    def _end(self, generation: Generation, reason: str) -> None:
        """End its processes, but for jobs, in the background."""
        released = self._inference.released(generation.number)
        task = asyncio.create_task(generation.end(reason, released), name=f"end {generation.number}")
        self._ending.add(task)

        def ended(task: "asyncio.Task[None]") -> None:
            self._ending.discard(task)
            self._alive.pop(generation.number, None)

        task.add_done_callback(ended)

    def _seconds(self, cause: Cause) -> float | None:
        return None if cause.saved_at is None else self._clock.monotonic() - cause.saved_at


async def _all_modules(source: Source, manifest: ch.Manifest) -> Modules:
    """Return the source's modules with those that only loading showed to belong to the agent.

    Raise Appeared if a module was not there when the rest was read, and has been imported: what was loaded
    may be two versions of the project.
    """
    snapshot = source.snapshot
    if source.found_in is None:
        return Modules(snapshot.modules, snapshot.missing)
    now = await off_loop(source.found_in.learn_and_read, manifest.roots, manifest.files)
    late = {path for path in now.modules.keys() - snapshot.modules.keys() if _stem(path) in snapshot.missing}
    imported = late.intersection(manifest.files)
    if imported and not source.accept_new:
        raise Appeared(f"{min(imported)} appeared while the agent's file was loaded")
    # What was saved since and is not loaded yet belongs to the next generation, and never to this one.
    found = {path: content for path, content in now.modules.items() if path not in late - imported}
    contents = {**found, **snapshot.modules}
    return Modules(contents, (snapshot.missing | now.missing).difference(map(_stem, contents)))


def _stem(path: str) -> str:
    """Return a module's path without suffix, a package's without `__init__.py`."""
    return path.removesuffix("/__init__.py").removesuffix(".py")


async def _explained(error: Exception, generation: Generation, cause: Cause) -> Exception:
    """Return what to report of a load that failed: the error, or what is behind it."""
    if not isinstance(error, (ProcessFailed, UserError)):
        return OwnError("loading", error)
    if not cause.back_to:
        # A file that has become one of another kind fails in strange ways.
        said = error.failure if isinstance(error, ProcessFailed) else None
        if other_kind := await off_loop(generation.runtime.other_kind, said):
            return UserError(other_kind)
    return error


# -- what is reported ---------------------------------------------------------------------------------


class StepTimes:
    """Takes the steps of one load as they end, each from the end of the one before."""

    def __init__(self, clock: Clock, since: float | None = None) -> None:
        """`since` is monotonic: the save, if one caused it."""
        self._clock = clock
        self._last = clock.monotonic() if since is None else since
        self._took: dict[str, float] = {}

    def end(
        self,
        step: Literal["seen", "read", "control", "load", "warm", "quiet", "switch"],
        at: float | None = None,
    ) -> None:
        """End a step, now or at that monotonic time."""
        at = max(self._clock.monotonic() if at is None else at, self._last)
        self._took[step] = (at - self._last) * 1000
        self._last = at

    def end_loading(self, process: SupervisedProcess | None) -> None:
        """End the steps of a control process that has loaded the file, or could not."""
        if process is None or process.loading_at is None:
            self.end("control")
        else:
            self.end("control", process.loading_at)
            self.end("load")

    @property
    def taken(self) -> LoadSteps:
        """Those that have ended."""
        return LoadSteps(**self._took)


def _steps_so_far(cause: Cause, clock: Clock) -> StepTimes:
    """Return the steps before a load: the save was seen, and the files were read."""
    if cause.seen_at is None:
        return StepTimes(clock)
    steps = StepTimes(clock, cause.seen_at if cause.saved_at is None else cause.saved_at)
    if cause.saved_at is not None:
        steps.end("seen", cause.seen_at)
    steps.end("read")
    return steps


def failure_event(
    number: int, cause: str, seconds: float | None, error: Exception, steps: LoadSteps = NO_STEPS
) -> GenerationFailed:
    """Return the event for an error, with the place that it names."""
    failure = error.failure if isinstance(error, ProcessFailed) else None
    if failure is None:
        return GenerationFailed(number, str(error), None, None, "", cause, seconds, steps)
    return GenerationFailed(
        number, failure.error, failure.file, failure.line, failure.traceback, cause, seconds, steps
    )
