"""The agent's code as the engine runs it: what is loaded, what runs on it, and its functions, asked."""

import asyncio
import glob
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import agent_tui
from agent_tui.engine.code_options import CodeOptions
from agent_tui.engine.context import Context
from agent_tui.engine.registrar import Registrar
from agent_tui.engine.servers import Server, require_credentials
from agent_tui.generations.attempt import Tools
from agent_tui.generations.bases import Bases
from agent_tui.generations.control import Control, ControlTimings
from agent_tui.generations.generations import Generation, Generations, failed
from agent_tui.generations.reloads import Reloads
from agent_tui.generations.sources import Sources
from agent_tui.generations.watch import Watch
from agent_tui.jobs.desk import Desk
from agent_tui.jobs.record import JobRecord
from agent_tui.model import child as ch
from agent_tui.model.errors import ServerError, UserError
from agent_tui.model.events import StartsFailing, StartsRecovered
from agent_tui.options.declare import ServerOptions
from agent_tui.options.envfiles import Environment
from agent_tui.processes.inference import SharedInference
from agent_tui.processes.pool import Plan, Pool, StartTrouble
from agent_tui.processes.process import ProcessFailed, SupervisedProcess
from agent_tui.runtimes.detect import changed_kind, may_be_of_another_kind
from agent_tui.runtimes.kinds import KINDS
from agent_tui.runtimes.learned import Learned, recall, remember
from agent_tui.runtimes.python import PythonRuntime
from agent_tui.runtimes.snapshots import Modules
from agent_tui.runtimes.spawn import system_pidfd_open
from agent_tui.runtimes.threads import off_loop
from agent_tui.worker.load import CpuLoad

BROKEN = "its processes do not become ready"
FAILS_AFTER = 3
"""Failed starts in a row after which the generation is reported as failed, if its code is to blame."""

DOES_NOT_PARSE = ("SyntaxError", "IndentationError", "TabError")
DOES_NOT_IMPORT = ("ImportError", "ModuleNotFoundError")
NO_FORKS = "processes are forked on Linux only"


class AgentCode:
    """Loads the file, applies what it sets, and asks its functions; the generations' `Host`."""

    def __init__(
        self,
        context: Context,
        *,
        pool: Callable[[], Pool],
        desk: Callable[[], Desk],
        registrar: Callable[[], Registrar],
        find_server: Callable[[ServerOptions], Awaitable[Server]],
        listen: Callable[[ServerOptions], Awaitable[None]],
        live_changed: Callable[[], None],
    ) -> None:
        """`live_changed` is told when the agent's functions would see something else (`tell_live`).

        Raises UserError for a `--watch` pattern that cannot be used.
        """
        self._context = context
        self._pool = pool
        self._desk = desk
        self._registrar = registrar
        self._options = CodeOptions(context, find_server=find_server, listen=listen)
        self._live_changed = live_changed
        self._cpu = CpuLoad(clock=context.clock)
        self._sdk_version: str | None = None
        self._inference = SharedInference(clock=context.clock, emit=context.emit)
        config = context.config
        self._learned = recall(config.learned) if config.learned else Learned()
        self._bases = self._make_bases()
        timings, clock, emit = context.process_timings, context.clock, context.emit
        self._generations = Generations(
            self,
            Tools(self._bases, timings, ControlTimings(), clock, emit, config.start_method),
            expect_template=self._learned.template,
        )
        self.reloads = self._make_reloads()
        """Loads the file, at the start, at each save and when asked."""

    def _make_bases(self) -> Bases:
        context, kind = self._context, KINDS[self._context.config.runtime]
        return Bases(
            launch=self._launch_base,
            sdk=kind.sdk_modules,
            warm_up=(*kind.warm_up, *self._learned.wants),
            imports=self._learned.imports,
            timings=context.process_timings,
            clock=context.clock,
            emit=context.emit,
            impossible="" if system_pidfd_open() else NO_FORKS,
        )

    def _make_reloads(self) -> Reloads:
        context, config = self._context, self._context.config
        sources = Sources(
            config.agent,
            cwd=config.cwd,
            globs=(*config.watch_globs, *_config_file(context.settings.environment)),
            roots=_python_path(context.settings.environment),
        )
        return Reloads(
            self._generations,
            sources,
            Watch(any_name=sources.any_name) if config.watch else None,
            read_environment=self._options.read_environment,
            packages=lambda: self._bases.packages,
            take_changed_packages=self._bases.take_changed_packages,
            clock=context.clock,
            emit=context.emit,
        )

    @property
    def current(self) -> Generation | None:
        return self._generations.current

    @property
    def control(self) -> Control | None:
        """The current generation's control process."""
        return self.current.control if self.current else None

    @property
    def processes(self) -> tuple[SupervisedProcess, ...]:
        """All that are there beside the job processes."""
        return (*self._generations.processes, *self._inference.processes)

    async def register(self) -> None:
        """Registers under the options in force, where that is not what stands. Raises UserError.

        Missing credentials are no fault of the code: until there is a registration they count as refused.
        """
        options, server = self._context.settings.options, self._context.server
        try:
            if not self._context.config.local:
                require_credentials(options)
        except ServerError as error:
            self._registrar().refuse(error)
            return
        version = self._sdk_version or agent_tui.__version__
        await self._registrar().present(options, server.address, server.chosen.kind, version)

    async def measure_load(self) -> float:
        """The agent's own load function, or the CPU's load without one."""
        generation = self.current
        own = not self._context.settings.options.worker_token  # with one load is not ours to define
        if own and generation is not None and generation.manifest.has_load_func:
            return await generation.control.ask_load()
        return await self._cpu()

    def tell_live(self, worker_id: str | None, running: Iterable[JobRecord], *, draining: bool) -> None:
        """Keeps what the agent's functions see of the worker up to date."""
        if self.control is None:
            return
        jobs = tuple(
            ch.ActiveJob(
                record.job.SerializeToString(), record.accept, record.url, record.token, record.worker_id
            )
            for record in running
            if record.accept is not None
        )
        self.control.live(ch.WorkerLive(worker_id or "unregistered", jobs, draining))

    def relay(self, process: SupervisedProcess, message: ch.FromChild) -> None:
        """Takes what job processes say that is not about their job."""
        match message:
            case ch.InferenceRequest():
                self._inference.ask(process, message)
            case ch.Wants(name=name):
                self._bases.hold(name)
                if name not in self._learned.wants:
                    self._learn(replace(self._learned, wants=(*self._learned.wants, name)))
            case _:
                pass

    def start_trouble(self, trouble: StartTrouble | None) -> None:
        """Reports starts that fail; offers are refused while none can succeed soon enough for a job."""
        if trouble is None:
            self._registrar().set_full("")
            self._context.emit(StartsRecovered())
            return
        number, error = trouble.generation, trouble.error
        refusing = (
            f"processes of generation {number} do not become ready: {error}" if trouble.refusing else ""
        )
        self._registrar().set_full(refusing)
        if trouble.failures == FAILS_AFTER and error.is_codes_fault:
            self._context.emit(failed(number, BROKEN, None, error))
        self._context.emit(
            StartsFailing(number, trouble.failures, str(error), trouble.retry_in_s, not trouble.refusing)
        )

    def process_ended(self) -> None:
        """A job process is gone: what only its generation needed can go too."""
        used = {process.generation for process in self._pool().processes}
        current = self.current.number if self.current else 0
        self._inference.keep(lambda generation: generation in used or generation >= current)

    def kill(self, reason: str) -> None:
        """Ends all that are not job processes now; `close()` waits for it."""
        self._generations.kill(reason)
        self._inference.kill(reason)

    async def close(self, reason: str) -> None:
        """Ends all that are not job processes; nothing is loaded any more."""
        self._inference.release()
        await self._generations.close(reason)
        await self._inference.close(reason)

    # -- what the generations ask (`Host`) --------------------------------------------------------------

    def make_runtime(self, environ: Mapping[str, str], modules: Modules | None) -> PythonRuntime:
        config = self._context.config
        return PythonRuntime(
            config.runtime,
            config.interpreter.path,
            config.agent,
            config.cwd,
            environ,
            self._context.intake,
            self._context.clock,
            settings=self._options.child_settings(),
            head_start=config.head_start,
            modules=modules,
        )

    async def check(self, manifest: ch.Manifest) -> int:
        kind = self._context.config.runtime
        look = may_be_of_another_kind(manifest.imports, kind)
        if look and (changed := await off_loop(changed_kind, self._context.config.agent, kind)):
            raise UserError(changed)
        return self._options.check(manifest).num_idle_processes

    async def explain(self, error: ProcessFailed | UserError) -> ProcessFailed | UserError:
        """A file that became one of another kind fails in strange ways.

        One that does not parse says so by itself, and so does an import of the SDK that is misspelt.
        """
        kind = self._context.config.runtime
        failure = error.failure if isinstance(error, ProcessFailed) else None
        own = (*DOES_NOT_PARSE, *(DOES_NOT_IMPORT if KINDS[kind].sdk else ()))
        if failure is not None and failure.error.startswith(own):
            return error
        changed = await off_loop(changed_kind, self._context.config.agent, kind)
        return UserError(changed) if changed else error

    async def apply(self, manifest: ch.Manifest) -> None:
        """While its processes still start."""
        before, self._sdk_version = self._sdk_version, manifest.sdk_version
        try:
            await self._options.take(manifest, self.register, first=self.current is None)
        except BaseException:
            self._sdk_version = before
            raise
        self._pool().set_target(self._context.settings.options.num_idle_processes)

    async def warm(self, plan: Plan, manifest: ch.Manifest, count: int) -> None:
        self._inference.use(plan, manifest)  # prewarm may ask it already
        await self._pool().warm(plan, count)

    def abandon(self, plan: Plan) -> None:
        self._pool().abandon(plan)
        self._inference.keep(lambda generation: generation != plan.generation)

    async def released(self, plan: Plan) -> None:
        await self._inference.released(plan.generation)

    def switched(self, generation: Generation) -> None:
        self._inference.use(generation.plan, generation.manifest)
        self._pool().use(generation.plan)
        self.process_ended()
        self._live_changed()
        self._registrar().set_full("")
        self._desk().switched(generation.number, self._context.config.on_reload)

    def settled(self, manifest: ch.Manifest, *, template: bool) -> None:
        """Keeps for the next run what this one found out."""
        self._learn(replace(self._learned, imports=manifest.imports, template=template))

    # -- parts ------------------------------------------------------------------------------------------

    def _learn(self, learned: Learned) -> None:
        path = self._context.config.learned
        if path is not None and learned != self._learned:
            asyncio.get_running_loop().run_in_executor(None, remember, path, learned)
        self._learned = learned

    async def _launch_base(
        self, process_id: str, environ: Mapping[str, str], modules: Sequence[str]
    ) -> ch.Child:
        return await self.make_runtime(environ, None).launch_base(process_id, modules)


def _config_file(environment: Environment) -> list[str]:
    return [glob.escape(str(environment.config_file))] if environment.config_file else []


def _python_path(environment: Environment) -> list[str]:
    return [each for each in environment.plain.get("PYTHONPATH", "").split(os.pathsep) if each]
