"""The agent's code as the engine runs it: loading, the processes on it, and calls of its functions."""

import asyncio
import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from agent_tui.engine.config import RunConfig
from agent_tui.engine.registrar import Registrar
from agent_tui.engine.servers import ServerManager, require_credentials
from agent_tui.generations.bases import Bases
from agent_tui.generations.generation import Generation, Runtime
from agent_tui.generations.load import Loader, failure_event
from agent_tui.generations.reloader import Reloader
from agent_tui.generations.sources import Sources, Watch
from agent_tui.jobs.manager import JobManager
from agent_tui.jobs.swaps import JobSwaps
from agent_tui.logs.intake import LogIntake
from agent_tui.model import child as ch
from agent_tui.model.errors import ServerError, UserError
from agent_tui.model.events import OnReload, StartMethod, StartsFailing, StartsRecovered
from agent_tui.options.declare import ServerOptions
from agent_tui.options.envfiles import Environment
from agent_tui.processes.inference import SharedInference
from agent_tui.processes.memory import MeasuredProcess
from agent_tui.processes.pool import (
    MessageReceived,
    Pool,
    PoolEvent,
    ProcessReaped,
    StartsFail,
    StartsSucceed,
)
from agent_tui.processes.process import SupervisedProcess, Supervisor
from agent_tui.runtimes.kinds import KINDS
from agent_tui.runtimes.node.blanks import Blanks
from agent_tui.runtimes.node.find import NodeInterpreter
from agent_tui.runtimes.node.runtime import NodeRuntime
from agent_tui.runtimes.python import Modules, PythonRuntime
from agent_tui.runtimes.spawn import system_pidfd_open
from agent_tui.runtimes.startup_hints import StartupHints, load_hints, save_hints
from agent_tui.settings.manager import SettingsManager, child_settings
from agent_tui.settings.settings import available_cores
from agent_tui.worker.load import CpuLoad

BROKEN = "its processes fail to start"
FAILS_AFTER = 3
"""After this many failed starts in a row, the generation is reported as failed if its code is the cause."""

NO_FORKS = "forking works on Linux only"
NODE_CANNOT_FORK = "Node cannot fork: blank processes import the SDK in advance"


class AgentCode:
    """Loads the agent's file, owns the processes that run it, and calls its functions.

    Implements `Project` for its loads.
    """

    def __init__(
        self,
        config: RunConfig,
        settings: SettingsManager,
        servers: ServerManager,
        registrar: Registrar,
        pool: Pool,
        supervisor: Supervisor,
        jobs: JobManager,
        intake: LogIntake,
    ) -> None:
        """Raise UserError for a `--watch` pattern that cannot be used."""
        self._config = config
        self._settings = settings
        self._servers = servers
        self._registrar = registrar
        self._pool = pool
        self._clock, self._emit = supervisor.clock, supervisor.emit
        self._jobs = jobs
        self._intake = intake
        self._runtime = partial(
            PythonRuntime,
            config.runtime,
            config.interpreter.path,
            config.agent,
            config.cwd,
            sink=intake,
            clock=self._clock,
            head_start=config.head_start,
        )
        self._blanks = self._make_blanks(config, settings.environment)
        self.swaps = JobSwaps(
            jobs,
            policy=lambda: OnReload(settings.options.on_reload),
            agent=str(config.agent),
            emit=self._emit,
        )
        self._cpu = CpuLoad(clock=self._clock)
        self._hints = load_hints(config.startup_hints) if config.startup_hints else StartupHints()
        self._inference = SharedInference(supervisor)
        kind = KINDS[config.runtime]
        self._bases = Bases(
            supervisor,
            self._launch_base,
            sdk=kind.sdk_modules,
            warm_up=(*kind.warm_up, *self._hints.preloads),
            imports=self._hints.imports,
            impossible=_why_no_forks(config.start_method, is_node=self._blanks is not None),
        )
        self._loader = Loader(
            self,
            settings,
            self._bases,
            self._pool,
            self._inference,
            supervisor,
            wanted=config.start_method,
            expect_template=self._hints.template,
        )
        environment = settings.environment
        sources = Sources(
            config.agent,
            cwd=config.cwd,
            globs=(*config.watch_globs, *_config_file(environment)),
            roots=_python_path(environment),
        )
        self.reloader = Reloader(
            self._loader,
            sources,
            Watch(any_name=sources.any_name) if config.watch else None,
            self._bases,
            read_environment=settings.read,
            clock=self._clock,
            emit=self._emit,
        )

    @property
    def current(self) -> Generation | None:
        return self._loader.current

    def processes(self) -> tuple[SupervisedProcess, ...]:
        """Return all running processes."""
        return (*self._pool.processes, *self._loader.processes, *self._inference.processes)

    def measured(self) -> tuple[MeasuredProcess, ...]:
        """Return all processes whose memory is measured, including blanks, which have no file yet."""
        return (*self.processes(), *(self._blanks.stock if self._blanks is not None else ()))

    # -- what a load needs (`Project`) ----------------------------------------------------------------

    def make_runtime(self, environment: Environment, modules: Modules) -> Runtime:
        settings = replace(self._settings.current, environment=environment)
        try:
            options, for_children = settings.options, child_settings(settings)
        except UserError:  # `SettingsManager.check` reports it once the file has loaded
            options, for_children = self._settings.options, child_settings(self._settings.current)
        environ = {**environment.plain, **self._servers.variables(options)}
        if self._blanks is not None:
            return NodeRuntime(
                self._blanks,
                self._config.agent,
                environ,
                self._intake,
                self._clock,
                settings=for_children,
                modules=modules,
            )
        return self._runtime(environ=environ, settings=for_children, modules=modules)

    def switch(self, generation: Generation) -> None:
        self._inference.use(generation.plan, generation.manifest)
        self._pool.use(generation.plan)
        self._release_unused()
        self._registrar.set_full("")
        self.update_live()
        self._jobs.switched(generation.control)
        in_use = {process.generation for process in self._pool.processes}
        self.swaps.switched(
            generation.number, generation.snapshot.modules, generation.source.environment.plain, in_use
        )
        if self._blanks is not None:
            self._blanks.learn(generation.manifest.imports)
        self._learn(
            replace(self._hints, imports=generation.manifest.imports, template=generation.is_worth_a_template)
        )

    # -- the worker -----------------------------------------------------------------------------------

    async def register(self, options: ServerOptions) -> None:
        """Register under these options, unless the worker is registered under them already.

        If they cannot be used, raise UserError and change nothing. Missing credentials are reported like
        refused ones if nothing is registered yet; otherwise they raise ServerError.
        """
        async with self._servers.switching(options) as server:
            options = self._settings.options  # edits may have come while the server was being found
            try:
                if not self._config.local:
                    require_credentials(options)
            except ServerError as error:
                self._registrar.refuse(error)
                return
            version = self._settings.current.version
            await self._registrar.register(
                options, server.address, server.chosen.kind, version, self.measure_load
            )

    async def measure_load(self) -> float:
        """Return what the agent's load function returns, or the CPU load if it has none."""
        generation = self.current
        own = not self._settings.options.worker_token  # with a worker token, the server defines the load
        if own and generation is not None and generation.manifest.has_load_func:
            return await generation.control.ask_load()
        return await self._cpu()

    def update_live(self) -> None:
        """Send the current worker data to the agent's functions."""
        if self.current is None:
            return
        manifest = self.current.manifest
        if not (manifest.has_request_func or manifest.has_load_func):
            return  # without functions, nothing reads the list of jobs
        jobs = tuple(
            ch.ActiveJob(
                record.job.SerializeToString(), record.accept, record.url, record.token, record.worker_id
            )
            for record in self._jobs.running
            if record.accept is not None
        )
        worker_id = self._registrar.worker_id or "unregistered"
        self.current.control.update_live(ch.WorkerLive(worker_id, jobs, self._jobs.draining))

    # -- the end --------------------------------------------------------------------------------------

    def kill(self, reason: str) -> None:
        """Kill all processes except job processes; `close()` waits for them."""
        self._loader.kill(reason)
        self._inference.kill(reason)
        self.end_stock(reason)

    def end_stock(self, reason: str) -> None:
        """End the spare blanks, and start no more in advance: no load will need them."""
        if self._blanks is not None:
            self._blanks.kill(reason)

    async def close(self, reason: str) -> None:
        """Stop loading, and end all processes except job processes."""
        self._inference.release()
        await self._loader.close(reason)
        await self._inference.close(reason)
        if self._blanks is not None:
            await self._blanks.close(reason)

    # -- processes ------------------------------------------------------------------------------------

    def on_pool_event(self, event: PoolEvent) -> None:
        """Handle an event of the pool, such as an inference request or failing starts."""
        match event:
            case MessageReceived(process, ch.InferenceRequest() as request):
                self._inference.ask(process, request)
            case MessageReceived(message=ch.PreloadHint(name=name)):
                self._bases.hold(name)
                if name not in self._hints.preloads:
                    self._learn(replace(self._hints, preloads=(*self._hints.preloads, name)))
            case ProcessReaped():
                self._release_unused()
            case StartsFail():
                self._report_failing_starts(event)
            case StartsSucceed():
                self._registrar.set_full("")
                self._emit(StartsRecovered())

    def _release_unused(self) -> None:
        """End inference processes that the generations in use do not need."""
        used = {process.generation for process in self._pool.processes}
        current = self.current.number if self.current else 0
        self._inference.keep(lambda generation: generation in used or generation >= current)

    def _report_failing_starts(self, problem: StartsFail) -> None:
        """Report failed starts, and refuse offers while jobs would probably get no process in time."""
        number, error = problem.generation, problem.error
        refusing = f"processes of generation {number} fail to start: {error}" if problem.refusing else ""
        self._registrar.set_full(refusing)
        if problem.failures == FAILS_AFTER and error.is_codes_fault:
            self._emit(failure_event(number, BROKEN, None, error))
        at = error.failure or ch.Failed("")
        self._emit(
            StartsFailing(
                number,
                problem.failures,
                str(error),
                problem.retry_in_s,
                not problem.refusing,
                at.file,
                at.line,
                at.traceback,
                error.by,
            )
        )

    def _make_blanks(self, config: RunConfig, environment: Environment) -> Blanks | None:
        """Return the stock of blanks for an agents-js file; None for Python."""
        if not isinstance(config.interpreter, NodeInterpreter):
            return None
        return Blanks(
            config.interpreter,
            config.agent,
            config.cwd,
            self._intake,
            self._clock,
            self._emit,
            cores=available_cores(),
            jobs_wait=lambda: self._pool.jobs_wait,
            method=config.start_method or StartMethod.BLANK,
            keeps_stock=config.watch,
            first=config.head_start.claim() if config.head_start else None,
            first_environ=environment.plain,
        )

    async def _launch_base(
        self, process_id: str, environ: Mapping[str, str], modules: Sequence[str]
    ) -> ch.Child:
        settings = child_settings(self._settings.current)
        return await self._runtime(environ=environ, settings=settings).launch_base(process_id, modules)

    def _learn(self, hints: StartupHints) -> None:
        """Save these hints for the next run, if they changed."""
        path = self._config.startup_hints
        if path is not None and hints != self._hints:
            asyncio.get_running_loop().run_in_executor(None, save_hints, path, hints)
        self._hints = hints


def _why_no_forks(wanted: StartMethod | None, *, is_node: bool) -> str:
    if wanted is StartMethod.SPAWN:
        return "--start-method spawn"
    if is_node:
        return NODE_CANNOT_FORK
    return "" if system_pidfd_open() else NO_FORKS


def _config_file(environment: Environment) -> list[str]:
    return [glob.escape(str(environment.config_file))] if environment.config_file else []


def _python_path(environment: Environment) -> list[str]:
    return [each for each in environment.plain.get("PYTHONPATH", "").split(os.pathsep) if each]
