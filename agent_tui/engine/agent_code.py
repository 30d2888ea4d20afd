"""The agent's code as the engine runs it: loaded, its options applied, its functions asked."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import agent_tui
from agent_tui.engine.context import Context
from agent_tui.engine.registrar import Registrar, registration_for
from agent_tui.engine.servers import Server, require_credentials
from agent_tui.generations.control import Control, ControlTimings
from agent_tui.generations.generations import Generation, Generations
from agent_tui.generations.saves import Saves
from agent_tui.jobs.record import JobRecord
from agent_tui.model import child as ch
from agent_tui.model.errors import UserError
from agent_tui.model.events import Notice
from agent_tui.model.logs import LogLevel
from agent_tui.options.declare import ServerOptions
from agent_tui.processes.inference import Inference
from agent_tui.processes.pool import Pool
from agent_tui.processes.process import SupervisedProcess
from agent_tui.runtimes.python import ChildSettings, PythonRuntime
from agent_tui.worker.load import CpuLoad


class AgentCode:
    """Loads the file, applies what it sets, and asks its functions."""

    def __init__(
        self,
        context: Context,
        *,
        pool: Callable[[], Pool],
        registrar: Callable[[], Registrar],
        find_server: Callable[[], Awaitable[Server]],
        loaded: Callable[[], None],
    ) -> None:
        self._context = context
        self._pool = pool
        self._registrar = registrar
        self._find_server = find_server
        self._loaded = loaded
        self._cpu = CpuLoad(clock=context.clock)
        self._server_for = _server_fields(context.settings.options)
        self._inference: Inference | None = None
        self._inference_task: asyncio.Task[None] | None = None
        self._generations = Generations(
            make_runtime=self._make_runtime,
            apply=self._apply,
            timings=context.process_timings,
            limits=ControlTimings(),
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
        """The control and inference processes that are there."""
        control = self.control.process if self.control else None
        inference = self._inference.process if self._inference else None
        return tuple(process for process in (control, inference) if process is not None)

    async def keep_loaded(self) -> None:
        """Loads the file; when it does not load, again at each save until it does."""
        if not self._context.config.watch:
            await self.load("start")
            return
        async with Saves(_folders(self._context.config.agent)) as saves:
            cause, saved_at = "start", None
            while not await self.load(cause, saved_at):
                try:
                    saved = await saves.next()
                except OSError as error:
                    text = f"saves cannot be seen ({error}): mend the file and start agent-tui again"
                    self._context.emit(Notice(LogLevel.WARN, text))
                    return
                saves.forget()
                cause, saved_at = str(saved), self._context.clock.monotonic()

    async def load(self, cause: str, saved_at: float | None = None) -> bool:
        """Loads the file as the next generation and switches to it; False when it does not load."""
        self._read_environment()
        generation = await self._generations.load(cause, saved_at)
        if generation is None:
            return False
        self._start_inference(generation)
        self._pool().use(generation.plan)
        self._loaded()
        return True

    async def measure_load(self) -> float:
        """The agent's own load function, or the CPU's load without one."""
        generation = self.current
        if generation is not None and generation.manifest.has_load_func:
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
        if isinstance(message, ch.InferenceRequest):
            if self._inference is None:
                error = "this generation has no inference process"
                process.send(ch.InferenceResponse(message.request_id, None, error))
            else:
                self._inference.ask(message, process.send)

    def kill(self, reason: str) -> None:
        """Ends the control and inference processes now; `close()` waits for it."""
        self._generations.kill(reason)
        if self._inference is not None:
            self._inference.kill(reason)

    async def close(self, reason: str) -> None:
        """Ends the control and inference processes; nothing is loaded any more."""
        await self._generations.close(reason)
        if self._inference is not None and self._inference_task is not None:
            self._inference.close(reason)
            await self._inference_task

    async def _apply(self, manifest: ch.Manifest) -> None:
        """Takes the file's own options and registers under them, while its processes still start."""
        context = self._context
        context.settings.take_manifest(manifest)
        for name in sorted(context.settings.unknown(manifest)):
            context.emit(Notice(LogLevel.WARN, f"{name}, set in the agent's code, has no effect yet"))
        options = context.settings.options
        registration_for(options, "")
        if not context.config.local:
            require_credentials(options)
        if not context.config.local and self._server_for != _server_fields(options):
            old, context.server = context.server, await self._find_server()
            self._server_for = _server_fields(options)
            await old.close()
        self._pool().set_target(options.num_idle_processes)
        version = manifest.sdk_version or agent_tui.__version__
        server = context.server
        await self._registrar().present(options, server.address, server.chosen.kind, version)

    def _read_environment(self) -> None:
        """Environment files as they are now: a key that was mended there is tried with this load."""
        context = self._context
        environment = context.config.read_environment()
        try:
            context.settings.take_environment(environment.variables)
        except UserError as error:
            context.emit(Notice(LogLevel.ERROR, f"{error}; the environment is used as it was"))
        else:
            context.environment = environment

    def _make_runtime(self) -> PythonRuntime:
        context = self._context
        config, address = context.config, context.server.address
        options = context.settings.options
        return PythonRuntime(
            config.runtime,
            config.interpreter.path,
            config.agent,
            config.cwd,
            context.environment.plain,
            context.intake,
            context.clock,
            settings=ChildSettings(session_end_timeout_ms=options.session_end_timeout),
            overlay={
                "LIVEKIT_URL": address.url,
                "LIVEKIT_API_KEY": address.api_key,
                "LIVEKIT_API_SECRET": address.api_secret,
            },
            head_start=config.head_start,
        )

    def _start_inference(self, generation: Generation) -> None:
        if not generation.manifest.inference_runners or self._inference is not None:
            return
        self._inference = Inference(
            generation.number,
            launch=generation.plan.launch,
            clock=self._context.clock,
            emit=self._context.emit,
        )
        self._inference_task = asyncio.create_task(self._inference.run(), name="inference")


def _folders(agent: Path) -> list[Path]:
    return [agent.resolve().parent]


def _server_fields(options: ServerOptions) -> tuple[str, str, str]:
    return options.ws_url, options.api_key, options.api_secret
