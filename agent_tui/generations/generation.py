"""One generation, a loaded version of the agent's code: how its processes start and end.

Job processes start by one of three methods, chosen by what loading showed (design §5.3, fork.md §7): forks of
the base, forks of a template that has loaded the file, or fresh interpreters.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from agent_tui.generations.bases import Base, Bases
from agent_tui.generations.control import Control
from agent_tui.generations.sources import Snapshot, Sources
from agent_tui.model import child as ch
from agent_tui.model.clock import Clock
from agent_tui.model.events import LoadSteps, StartMethod
from agent_tui.options.envfiles import Environment
from agent_tui.processes.pool import Plan
from agent_tui.processes.process import ProcessFailed, SupervisedProcess, Supervisor
from agent_tui.runtimes.python import ChildSettings, Modules

TEMPLATE_FROM_MS = 50.0
"""If loading takes less time than this, in ms, there is no template: it would save nothing measurable, and
without it each process has its own module state.
"""


class Runtime(Protocol):
    """Starts the children of one generation, on one interpreter, with one environment."""

    def launch(
        self, kind: ch.ProcessKind, process_id: str, functions: str, parents: tuple[ch.Child, ...]
    ) -> Awaitable[ch.Child]:
        """Fork a child from the first of `parents` that can, or start a fresh process.

        Raise OSError if it does not start.
        """
        ...

    @property
    def environ(self) -> Mapping[str, str]:
        """The whole environment that children get."""
        ...

    @property
    def unforked(self) -> StartMethod:
        """The start method of processes that are not forked."""
        ...

    @property
    def keeps_control(self) -> bool:
        """Whether the control process stays, because it costs little, even if it has no function to run."""
        ...

    def configure(self, settings: ChildSettings) -> None:
        """Configure the children launched from now on."""
        ...

    def serve(self, modules: Modules) -> None:
        """Set the project's modules for children launched from now on."""
        ...

    def other_kind(self, result: ch.Manifest | ch.Failed | None) -> Awaitable[str]:
        """Return what the user must do if the file is now of another kind; empty if it is not.

        `result` is the result of its load.
        """
        ...

    def close(self) -> None:
        """Release the resources that are needed to start children. Running children are not affected."""
        ...


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something is loaded: the saved file (or "start", "reload"), when, and all files that differ.

    `saved_at` and `seen_at` (when the save was seen) are monotonic.
    """

    text: str
    saved_at: float | None = None
    changed: tuple[str, ...] = ()
    seen_at: float | None = None
    rolled_back_to: int = 0
    """After a rollback, the earlier generation whose code this is; 0 if the code is that on disk."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is loaded: the files as they were read, and their environment."""

    snapshot: Snapshot
    environment: Environment
    found_in: Sources | None = None
    """Finds modules that only loading reveals; None if an earlier load has revealed them all."""
    accept_new: bool = False
    """Whether modules may appear on disk while it loads: True if the load is repeated because one did."""
    rolled_back_to: int = 0
    """The generation that these modules were loaded for before; 0 for none."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A start method and its reason."""

    method: StartMethod
    reason: str


class Generation:
    """A version of the agent's code, from the start of its load until only jobs run on it."""

    manifest: ch.Manifest
    """What loading the file found; set by `load_file`."""

    def __init__(
        self,
        number: int,
        source: Source,
        cause: Cause,
        runtime: Runtime,
        bases: Bases,
        supervisor: Supervisor,
        wanted: StartMethod | None,
    ) -> None:
        """`wanted` is the value of `--start-method`."""
        self.number = number
        self.source = source
        self.cause = cause
        self.snapshot = source.snapshot
        """The files that the generation's processes get; complete once loading has shown which are used."""
        self.steps = _steps_so_far(cause, supervisor.clock)
        self.runtime = runtime
        self.plan = Plan(number, self._launch)
        self.control = Control(number, supervisor, self._launch_to_load, on_message=self._on_message)
        self._bases = bases
        self._supervisor = supervisor
        self._wanted = wanted
        self._base: Base | None = None
        self._template: SupervisedProcess | None = None
        self._template_life: asyncio.Task[None] | None = None
        self._report: ch.TemplateReport | None = None
        self._choice: asyncio.Future[Choice] = asyncio.get_running_loop().create_future()

    @property
    def processes(self) -> tuple[SupervisedProcess, ...]:
        """The running processes of this generation, except job processes."""
        both = (self.control.process, self._template)
        return tuple(each for each in both if each is not None and not each.ended.done())

    @property
    def is_worth_a_template(self) -> bool:
        return worth_a_template(self._wanted, self.manifest.load_ms)

    async def load_file(self, *, expect_template: bool) -> ch.Manifest:
        """Load the agent's file in the control process. Raise ProcessFailed if it does not load.

        With `expect_template`, load it in a template at the same time.
        """
        self._base = await self._bases.get(self.runtime.environ)
        if expect_template and self._base is not None:
            self._start_template(self._base)
        self.manifest = manifest = await self.control.start()
        if not (self.runtime.keeps_control or manifest.has_request_func or manifest.has_load_func):
            self.control.release("the file has no request or load function to run")
        return manifest

    def serve(self, snapshot: Snapshot) -> None:
        """Set the project's modules for children launched from now on."""
        self.snapshot = snapshot
        self.runtime.serve(Modules(snapshot.modules, snapshot.missing))

    async def choose_start_method(self) -> Choice:
        """Choose how the generation's job processes start. Launches wait until then."""
        base = self._base
        if base is not None:
            if self._template is None and self.is_worth_a_template:
                self._start_template(base)
            await base.prepared.wait()
            if self._template is not None:
                await self._template_loaded(self._template)
        choice = choose(
            self._wanted,
            self._bases.impossible,
            self.manifest.load_ms,
            self._report,
            self.runtime.unforked,
        )
        if choice.method is not StartMethod.TEMPLATE:
            self._end_template("not needed")
        self._choice.set_result(choice)
        return choice

    def leave_unchosen(self) -> None:
        """Fail the launches that wait for a start method."""
        if not self._choice.done():
            self._choice.cancel()

    def kill(self, reason: str) -> None:
        """Kill the generation's processes now, except jobs. `end` waits until they have ended."""
        self.control.kill(reason)
        if self._template is not None:
            self._template.kill(reason)

    async def end(self, reason: str, released: Awaitable[None]) -> None:
        """End the generation's processes, except jobs, once open questions are answered.

        `released` completes when nothing more will be launched from its plan.
        """
        self._end_template(reason)
        await self.control.close(reason)
        await released
        self.runtime.close()
        if self._template_life is not None:
            await self._template_life
        self.leave_unchosen()

    # -- launching ------------------------------------------------------------------------------------

    async def _launch(self, kind: ch.ProcessKind, process_id: str) -> ch.Child:
        """Start a job or inference process. Raise OSError if it does not start."""
        try:
            choice = await asyncio.shield(self._choice)
        except asyncio.CancelledError:
            if self._choice.cancelled():
                raise OSError("its generation was abandoned") from None
            raise
        parents = self._bases.parents(self.runtime.environ)
        template = self._template.child if self._template is not None else None
        if choice.method is StartMethod.TEMPLATE and template is not None and kind is ch.ProcessKind.JOB:
            parents = (template, *parents)
        return await self.runtime.launch(kind, process_id, self.manifest.functions, parents)

    async def _launch_to_load(self, kind: ch.ProcessKind, process_id: str) -> ch.Child:
        """Start a process that finds out which functions the file has."""
        try:
            return await self.runtime.launch(kind, process_id, "", self._bases.parents(self.runtime.environ))
        finally:
            if self._base is not None:
                self._bases.warm_up(self._base)

    # -- the template ---------------------------------------------------------------------------------

    def _start_template(self, base: Base) -> None:
        async def launch(kind: ch.ProcessKind, process_id: str) -> ch.Child:
            await base.prepared.wait()
            return await self._launch_to_load(kind, process_id)

        self._template = SupervisedProcess(
            self._supervisor,
            f"t{self.number}",
            ch.ProcessKind.TEMPLATE,
            self.number,
            launch=launch,
            relay=lambda process, message: self._on_message(message),
        )
        self._template_life = asyncio.create_task(self._template.run(), name=f"template {self.number}")

    async def _template_loaded(self, template: SupervisedProcess) -> None:
        try:
            await asyncio.shield(template.ready)
        except ProcessFailed:
            self._report = None  # job processes load the file themselves and report what is wrong

    def _end_template(self, reason: str) -> None:
        if self._template is not None:
            self._template.shutdown(reason)

    def _on_message(self, message: ch.FromChild) -> None:
        match message:
            case ch.TemplateReport():
                self._report = message
            case ch.Code(modules=modules):
                self._bases.share_code(modules)
            case _:
                pass


def worth_a_template(wanted: StartMethod | None, load_ms: float) -> bool:
    """Return whether a template is worth starting, given `--start-method` and the loading time."""
    if wanted is not None:
        return wanted is StartMethod.TEMPLATE
    return load_ms >= TEMPLATE_FROM_MS


def choose(
    wanted: StartMethod | None,
    impossible: str,
    load_ms: float,
    template: ch.TemplateReport | None,
    unforked: StartMethod = StartMethod.SPAWN,
) -> Choice:
    """Return the start method and its reason.

    `wanted` is the value of `--start-method`, `impossible` why nothing can be forked, `template` the report
    of a template that loaded the file (None if it was not worth it or failed). `unforked` is the start method
    of processes that are not forked.
    """
    took = f"loading takes {_duration(load_ms)}"
    if impossible:
        return Choice(unforked, impossible)
    if wanted is StartMethod.FORK:
        return Choice(StartMethod.FORK, "--start-method fork")
    if not worth_a_template(wanted, load_ms):
        return Choice(StartMethod.FORK, took)
    if template is None:
        return Choice(
            StartMethod.FORK, f"the template failed to load, so each process loads the file; {took}"
        )
    if wanted is StartMethod.TEMPLATE:
        risk = f", although loading leaves {template.unsafe}" if template.unsafe else ""
        return Choice(StartMethod.TEMPLATE, f"--start-method template{risk}")
    if template.unsafe:
        return Choice(
            StartMethod.FORK, f"loading leaves {template.unsafe}, so each process loads the file; {took}"
        )
    drawn = (
        f"; random values of {', '.join(template.drawn)} are the same in all jobs" if template.drawn else ""
    )
    return Choice(StartMethod.TEMPLATE, f"{took}; the template does it once{drawn}")


def _duration(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 950 else f"{ms:.0f} ms"


class StepTimes:
    """Measures the steps of a load, each from the end of the one before."""

    def __init__(self, clock: Clock, since: float | None = None) -> None:
        """`since` is the monotonic time of the save, if a save caused the load."""
        self._clock = clock
        self.last = clock.monotonic() if since is None else since
        """The end of the last step, in monotonic seconds."""
        self._took: dict[str, float] = {}

    def end(
        self,
        step: Literal["seen", "read", "control", "load", "warm", "quiet", "switch"],
        at: float | None = None,
    ) -> None:
        """End a step, now or at the given monotonic time."""
        at = max(self._clock.monotonic() if at is None else at, self.last)
        self._took[step] = (at - self.last) * 1000
        self.last = at

    def end_loading(self, process: SupervisedProcess | None) -> None:
        """End the steps `control` and `load`, once the control process has loaded the file or failed."""
        if process is None or process.loading_at is None:
            self.end("control")
        else:
            self.end("control", process.loading_at)
            self.end("load")

    @property
    def taken(self) -> LoadSteps:
        """The steps that have ended."""
        return LoadSteps(**self._took)


def _steps_so_far(cause: Cause, clock: Clock) -> StepTimes:
    """Return the steps before a load: seeing the save, and reading the files."""
    if cause.seen_at is None:
        return StepTimes(clock)
    steps = StepTimes(clock, cause.seen_at if cause.saved_at is None else cause.saved_at)
    if cause.saved_at is not None:
        steps.end("seen", cause.seen_at)
    steps.end("read")
    return steps
