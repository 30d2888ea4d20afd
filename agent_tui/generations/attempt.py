"""One load of the agent's code, beside the generation that serves: it ends as the next one, or as nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from agent_tui.generations.bases import Base, Bases
from agent_tui.generations.control import Control, ControlTimings
from agent_tui.generations.methods import Choice, choose, worth_a_template
from agent_tui.generations.steps import StepTimes
from agent_tui.model import child as ch
from agent_tui.model.clock import Clock
from agent_tui.model.events import StartMethod
from agent_tui.processes.pool import Plan
from agent_tui.processes.process import Emit, ProcessFailed, SupervisedProcess
from agent_tui.processes.timings import ProcessTimings
from agent_tui.runtimes.snapshots import Modules

Complete = Callable[[ch.Manifest], Awaitable[Modules]]
"""The generation's modules, once loading has shown what belongs to it."""


class Runtime(Protocol):
    """What starts children of one generation, on one interpreter, with one environment."""

    def launch(
        self, kind: ch.ProcessKind, process_id: str, functions: str, parents: tuple[ch.Child, ...]
    ) -> Awaitable[ch.Child]:
        """A fork of the first of `parents` that can, else a fresh process. Raises OSError."""
        ...

    def serve(self, modules: Modules) -> None:
        """From here on children get these modules of the project's own."""
        ...

    def close(self) -> None:
        """Gives up what children were started with; those that are there keep theirs."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What every attempt needs."""

    bases: Bases
    timings: Callable[[], ProcessTimings]
    limits: ControlTimings
    clock: Clock
    emit: Emit
    wanted: StartMethod | None
    """What `--start-method` says."""


class Attempt:
    """Loads the file in a control process and, where it is worth it, in a template at the same time."""

    def __init__(
        self,
        number: int,
        runtime: Runtime,
        environ: Mapping[str, str],
        tools: Tools,
        *,
        expect_template: bool,
        steps: StepTimes,
    ) -> None:
        self.number = number
        self.manifest: ch.Manifest | None = None
        self.steps = steps
        self._runtime = runtime
        self._environ = environ
        self._tools = tools
        self._expect_template = expect_template
        self._base: Base | None = None
        self._template: SupervisedProcess | None = None
        self._template_life: asyncio.Task[None] | None = None
        self._report: ch.TemplateReport | None = None
        self._choice: asyncio.Future[Choice] = asyncio.get_running_loop().create_future()
        self.plan = Plan(number, self._launch)
        self.control = Control(
            number,
            launch=lambda kind, process_id: runtime.launch(kind, process_id, "", self._bases_child()),
            timings=tools.timings,
            limits=tools.limits,
            clock=tools.clock,
            emit=tools.emit,
            hear=self._hear,
        )

    @property
    def processes(self) -> tuple[SupervisedProcess, ...]:
        """Those that are there beside the job processes."""
        both = (self.control.process, self._template)
        return tuple(each for each in both if each is not None and not each.ended.done())

    async def load(self, complete: Complete) -> ch.Manifest:
        """What the file is. Raises ProcessFailed when it does not load."""
        if self._tools.wanted is not StartMethod.SPAWN:
            self._base = await self._tools.bases.get(self._environ)
        if self._expect_template and self._base is not None:
            self._start_template(self._base)
        try:
            self.manifest = await self.control.start()
        finally:
            self._end_steps()
        self._runtime.serve(await complete(self.manifest))
        return self.manifest

    def _end_steps(self) -> None:
        """The control process has loaded the file, or could not."""
        process = self.control.process
        if process is None or process.loading_at is None:
            self.steps.end("control")
            return
        self.steps.end("control", process.loading_at)
        self.steps.end("load")

    async def choose(self) -> Choice:
        """How its job processes come to be; they are launched from then on. Call it after `load`."""
        assert self.manifest is not None
        base, load_ms = self._base, self.manifest.load_ms
        if base is not None:
            if self._template is None and worth_a_template(self._tools.wanted, load_ms):
                self._start_template(base)
            await base.prepared.wait()
            if self._template is not None:
                await self._template_loaded()
        choice = choose(self._tools.wanted, self._tools.bases.impossible, load_ms, self._report)
        if choice.method is not StartMethod.TEMPLATE:
            self._end_template("it is not needed")
        self._choice.set_result(choice)
        return choice

    def leave_unchosen(self) -> None:
        """No job process is launched if that could not be until now."""
        if not self._choice.done():
            self._choice.cancel()

    def retire(self, reason: str, released: Awaitable[None]) -> "asyncio.Task[None]":
        """Ends what is not a job process, once it has answered what it was asked; the task ends when that is
        gone, and nothing is launched from the plan any more, which `released` says. Jobs go on.
        """
        return asyncio.create_task(self._end(reason, released), name=f"retire {self.number}")

    def kill(self, reason: str) -> None:
        """Ends it now; `retire` waits for it."""
        self.control.kill(reason)
        if self._template is not None:
            self._template.kill(reason)

    async def _end(self, reason: str, released: Awaitable[None]) -> None:
        self._end_template(reason)
        await self.control.close(reason)
        await released
        self._runtime.close()
        if self._template_life is not None:
            await self._template_life
        self.leave_unchosen()

    def _bases_child(self) -> tuple[ch.Child, ...]:
        if self._tools.wanted is StartMethod.SPAWN:
            return ()
        return self._tools.bases.parents(self._environ)

    async def _launch(self, kind: ch.ProcessKind, process_id: str) -> ch.Child:
        """A job or inference process. Raises OSError."""
        try:
            choice = await asyncio.shield(self._choice)
        except asyncio.CancelledError:
            if self._choice.cancelled():
                raise OSError("its generation is not used") from None
            raise
        assert self.manifest is not None
        parents = self._bases_child()
        template = self._template.child if self._template is not None else None
        if choice.method is StartMethod.TEMPLATE and template is not None and kind is ch.ProcessKind.JOB:
            parents = (template, *parents)
        return await self._runtime.launch(kind, process_id, self.manifest.functions, parents)

    # -- the template ---------------------------------------------------------------------------------

    def _start_template(self, base: Base) -> None:
        async def launch(kind: ch.ProcessKind, process_id: str) -> ch.Child:
            await base.prepared.wait()
            return await self._runtime.launch(kind, process_id, "", self._bases_child())

        self._template = SupervisedProcess(
            f"t{self.number}",
            ch.ProcessKind.TEMPLATE,
            self.number,
            launch=launch,
            timings=self._tools.timings,
            clock=self._tools.clock,
            emit=self._tools.emit,
            relay=lambda process, message: self._hear(message),
        )
        self._template_life = asyncio.create_task(self._template.run(), name=f"template {self.number}")

    async def _template_loaded(self) -> None:
        assert self._template is not None
        try:
            await asyncio.shield(self._template.ready)
        except ProcessFailed:
            self._report = None  # the job processes load it themselves, and say what is wrong

    def _end_template(self, reason: str) -> None:
        if self._template is not None:
            self._template.shutdown(reason)

    def _hear(self, message: ch.FromChild) -> None:
        match message:
            case ch.TemplateReport():
                self._report = message
            case ch.Code(modules=modules):
                self._tools.bases.keep_code(modules)
            case _:
                pass
