"""The agent's code as the engine runs it: loaded, its options applied, its functions asked."""

import contextlib
import glob
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import agent_tui
from agent_tui.engine.context import Context
from agent_tui.engine.registrar import Registrar, registration_for
from agent_tui.engine.servers import Server, require_credentials
from agent_tui.engine.settings import (
    Settings,
    changes,
    check_functions,
    named_functions,
    overruled,
    unknown,
)
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
from agent_tui.model.errors import UserError
from agent_tui.model.events import Notice, OptionsChanged
from agent_tui.model.logs import LogLevel
from agent_tui.options.declare import ServerOptions
from agent_tui.options.envfiles import Environment
from agent_tui.processes.inference import SharedInference
from agent_tui.processes.pool import Plan, Pool
from agent_tui.processes.process import ProcessFailed, SupervisedProcess
from agent_tui.runtimes.detect import changed_kind, may_be_of_another_kind
from agent_tui.runtimes.kinds import KINDS
from agent_tui.runtimes.learned import Learned, recall, remember
from agent_tui.runtimes.python import ChildSettings, PythonRuntime
from agent_tui.runtimes.spawn import system_pidfd_open
from agent_tui.worker.load import CpuLoad

BROKEN = "its processes do not become ready"
DOES_NOT_PARSE = ("SyntaxError", "IndentationError", "TabError")
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
        self._find_server = find_server
        self._listen = listen
        self._live_changed = live_changed
        self._cpu = CpuLoad(clock=context.clock)
        self._server_for = _server_fields(context.settings.options)
        self._sdk_version: str | None = None
        self._next = context.settings
        """What the generation that is being loaded runs under."""
        self._inference = SharedInference(clock=context.clock, emit=context.emit)
        config = context.config
        self._learned = recall(config.learned) if config.learned else Learned()
        kind = KINDS[config.runtime]
        self._bases = Bases(
            launch=self._launch_base,
            sdk=kind.sdk_modules,
            warm_up=(*kind.warm_up, *self._learned.wants),
            imports=self._learned.imports,
            timings=context.process_timings,
            clock=context.clock,
            emit=context.emit,
            impossible="" if system_pidfd_open() else NO_FORKS,
        )
        self._generations = Generations(
            self,
            Tools(
                self._bases,
                context.process_timings,
                ControlTimings(),
                context.clock,
                context.emit,
                config.start_method,
            ),
            expect_template=self._learned.template,
        )
        sources = Sources(
            config.agent,
            cwd=config.cwd,
            globs=(*config.watch_globs, *_config_file(context.settings.environment)),
            roots=_python_path(context.settings.environment),
        )
        self._reloads = Reloads(
            self._generations,
            sources,
            Watch(any_name=sources.any_name) if config.watch else None,
            packages=lambda: self._bases.packages,
            packages_changed=self._bases.packages_changed,
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

    async def keep_loaded(self) -> None:
        """Loads the file, and again at each save that matters."""
        await self._reloads.run()

    async def reload(self) -> bool:
        """Loads it again now; False when it does not load."""
        return await self._reloads.reload()

    async def roll_back(self, number: int) -> bool:
        """Loads an earlier generation's code again; False when it does not load. Raises UserError."""
        return await self._reloads.roll_back(number)

    async def diff(self, number: int, against: int | None) -> str:
        """What changed from one load to another. Raises UserError if one of them is not kept."""
        return await self._reloads.diff(number, against, str(self._context.config.agent.absolute().parent))

    async def register(self) -> None:
        """Registers under the options in force, where that is not what stands. Raises UserError."""
        options, server = self._context.settings.options, self._context.server
        version = self._sdk_version or agent_tui.__version__
        await self._registrar().present(options, server.address, server.chosen.kind, version)

    def pause_watching(self, paused: bool) -> None:
        """Passes saves over, or no longer."""
        self._reloads.pause(paused)

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

    def broken(self, number: int, error: ProcessFailed) -> None:
        """No process of that generation becomes ready: no job is taken until there is another one."""
        self._registrar().set_full(f"processes of generation {number} do not become ready: {error}")
        self._context.emit(failed(number, BROKEN, None, error))

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
        await self._generations.close(reason)
        await self._inference.close(reason)

    # -- what the generations ask (`Host`) --------------------------------------------------------------

    def read_environment(self) -> Mapping[str, str]:
        """Environment files as they are now, and the server that the agent is to find."""
        context = self._context
        environment = context.config.read_environment()
        for problem in environment.problems:
            context.emit(Notice(LogLevel.WARN, problem))
        self._next = context.settings.loaded(environment)
        return {**environment.plain, **self._server_variables()}

    def make_runtime(self, environ: Mapping[str, str], modules: Mapping[str, bytes]) -> PythonRuntime:
        return self._runtime(environ, modules)

    async def check(self, manifest: ch.Manifest) -> int:
        kind = self._context.config.runtime
        look = may_be_of_another_kind(manifest.imports, kind)
        if look and (changed := changed_kind(self._context.config.agent, kind)):
            raise UserError(changed)
        self._next = self._checked(manifest)
        return self._next.options.num_idle_processes

    def explain(self, error: ProcessFailed | UserError) -> ProcessFailed | UserError:
        """A file that became one of another kind fails in strange ways. One that does not parse says so."""
        failure = error.failure if isinstance(error, ProcessFailed) else None
        if failure is not None and failure.error.startswith(DOES_NOT_PARSE):
            return error
        changed = changed_kind(self._context.config.agent, self._context.config.runtime)
        return UserError(changed) if changed else error

    async def apply(self, manifest: ch.Manifest) -> None:
        """Takes the file's own options, beside the edits as they are by now, and registers under them."""
        context, before = self._context, self._context.settings
        # In force before anything is waited for: an edit that comes meanwhile adds to them.
        wanted = self._next = context.settings = self._checked(manifest)
        try:
            await self._move(wanted.options)
        except BaseException:
            context.settings = replace(context.settings, environment=before.environment, code=before.code)
            raise
        for line in overruled(before, wanted):
            context.emit(Notice(LogLevel.WARN, line))
        for name in sorted(unknown(manifest)):
            context.emit(Notice(LogLevel.WARN, f"{name}, set in the agent's code, has no effect here"))
        if self.current is not None and (changed := changes(before, wanted)):
            context.emit(OptionsChanged(changed))
        self._pool().set_target(context.settings.options.num_idle_processes)
        self._sdk_version = manifest.sdk_version
        await self.register()

    async def warm(self, plan: Plan, manifest: ch.Manifest, count: int) -> None:
        self._inference.use(plan, manifest)  # prewarm may ask it already
        await self._pool().warm(plan, count)

    def abandon(self, plan: Plan) -> None:
        self._pool().abandon(plan)
        self._inference.keep(lambda generation: generation != plan.generation)

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

    def _checked(self, manifest: ch.Manifest) -> Settings:
        """What is in force once this file is. Raises UserError for what cannot be."""
        settings = self._context.settings.loaded(self._next.environment, manifest)
        check_functions(settings.resolution, manifest)
        registration_for(settings.options, "")
        if not self._context.config.local:
            require_credentials(settings.options)
        return settings

    async def _move(self, options: ServerOptions) -> None:
        """To the server and the port of these options. Raises UserError, and stays with the old ones."""
        context, old, fields = self._context, self._context.server, _server_fields(options)
        found = not context.config.local and fields != self._server_for
        new = await self._find_server(options) if found else old
        try:
            await self._listen(context.settings.options)  # as edited while the server was looked for
        except BaseException:
            if found:
                await new.close()
                context.emit(old.chosen)
            raise
        if found:
            context.server, self._server_for = new, fields
            await old.close()

    def _learn(self, learned: Learned) -> None:
        path = self._context.config.learned
        if path is not None and learned != self._learned:
            remember(path, learned)
        self._learned = learned

    def _server_variables(self) -> dict[str, str]:
        """Where the agent's code is to connect: what is in use, or what the environment now names instead."""
        address, fields = self._context.server.address, self._server_for
        with contextlib.suppress(UserError):  # `check` tells it once the file is loaded
            fields = _server_fields(self._next.options)
        values = fields[:3]
        if self._context.config.local or fields == self._server_for or not all(values):
            values = address.url, address.api_key, address.api_secret
        return dict(zip(("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"), values, strict=True))

    async def _launch_base(
        self, process_id: str, environ: Mapping[str, str], modules: Sequence[str]
    ) -> ch.Child:
        return await self._runtime(environ, None).launch_base(process_id, modules)

    def _runtime(self, environ: Mapping[str, str], modules: Mapping[str, bytes] | None) -> PythonRuntime:
        config = self._context.config
        return PythonRuntime(
            config.runtime,
            config.interpreter.path,
            config.agent,
            config.cwd,
            environ,
            self._context.intake,
            self._context.clock,
            settings=self._child_settings,
            head_start=config.head_start,
            modules=modules,
        )

    def _child_settings(self) -> ChildSettings:
        try:
            resolution = self._next.resolution
        except UserError:  # `check` tells it once the file is loaded
            resolution = self._context.settings.resolution
        functions = named_functions(resolution)
        return ChildSettings(
            resolution.options.session_end_timeout,
            functions.get("requestFunc", ""),
            functions.get("loadFunc", ""),
            resolution.options.production,
        )


def _config_file(environment: Environment) -> list[str]:
    return [glob.escape(str(environment.config_file))] if environment.config_file else []


def _python_path(environment: Environment) -> list[str]:
    return [each for each in environment.plain.get("PYTHONPATH", "").split(os.pathsep) if each]


def _server_fields(options: ServerOptions) -> tuple[str, str, str, str]:
    return options.ws_url, options.api_key, options.api_secret, options.worker_token
