"""The engine: wires the parts, takes commands, and ends everything in order."""

import asyncio
import contextlib
import os
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Self

from livekit.protocol.agent import Job, JobType

import agent_tui
from agent_tui.engine.bus import Bus, Subscription
from agent_tui.engine.config import RunConfig
from agent_tui.engine.dispatches import Dispatches
from agent_tui.engine.guards import remote_refusal
from agent_tui.engine.registrar import Registrar, registration_for
from agent_tui.engine.servers import Server, choose_server
from agent_tui.engine.settings import Settings
from agent_tui.generations.control import ControlTimings
from agent_tui.generations.generations import Generation, Generations
from agent_tui.generations.saves import next_save
from agent_tui.jobs.desk import Desk, JobSettings
from agent_tui.jobs.record import JobRecord
from agent_tui.local_server.dispatcher import Unassigned
from agent_tui.logs.intake import LogIntake
from agent_tui.logs.store import LogStore
from agent_tui.model import child as ch
from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model.clock import Clock, SystemClock
from agent_tui.model.errors import UserError
from agent_tui.model.logs import LogLevel, LogLine
from agent_tui.options.declare import ServerOptions
from agent_tui.processes.inference import Inference
from agent_tui.processes.memory import MemorySampler
from agent_tui.processes.pool import Lease, Pool
from agent_tui.processes.process import SupervisedProcess
from agent_tui.processes.timings import ProcessTimings
from agent_tui.runtimes.python import ChildSettings, PythonRuntime
from agent_tui.worker.http import InfoServer, WorkerInfo
from agent_tui.worker.load import CpuLoad

LOG_BATCH_S = 0.05
PROCESS_NAMES = {ch.ProcessKind.JOB: "job process", ch.ProcessKind.CONTROL: "control process"}


@dataclass(slots=True)
class _Parts:
    """What exists only between start and stop."""

    server: Server
    http: InfoServer
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)


class Engine:
    """One run of one agent file. `async with` starts it and, however the body ends, ends all of it."""

    def __init__(self, config: RunConfig, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._settings = Settings(config.environment.variables, config.flags, config.runtime)
        self._bus = Bus(self._clock)
        self._store = LogStore(self._clock)
        self._parts: _Parts | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._killed = False
        self._logs_told = 0
        self._log_timer: asyncio.TimerHandle | None = None
        self._inference: Inference | None = None
        self._inference_task: asyncio.Task[None] | None = None

    # -- what a front end may do ------------------------------------------------------------------

    def subscribe(self, limit: int = 10_000) -> Subscription:
        """A snapshot of the state and the events after it."""
        return self._bus.subscribe(limit)

    def logs(self, first: int, end: int) -> tuple[LogLine, ...]:
        """Stored lines with first ≤ index < end."""
        return self._store.pull(first, end)

    @property
    def options(self) -> ServerOptions:
        """The options in force."""
        return self._settings.options

    @property
    def log_level(self) -> LogLevel:
        """The level from which on lines are to be shown."""
        return LogLevel[self._settings.options.log_level.upper()]

    async def send(self, command: cmd.Command) -> cmd.CommandResult:
        """Carries out a command; its result says in one line what became of it."""
        try:
            match command:
                case cmd.Dispatch():
                    return await self._dispatch(command)
                case cmd.EndJob(job_id=job_id, reason=reason):
                    found = self._desk.end(job_id, ev.JobStatus.TERMINATED, reason)
                    return cmd.CommandResult(found, reason if found else f"no job {job_id} runs here")
                case cmd.SetOptions(values=values):
                    return self._set_options(values)
                case cmd.Reload():
                    loaded = await self._load("reload", None)
                    return cmd.CommandResult(loaded, "loaded" if loaded else "the file does not load")
                case cmd.Stop(reason=reason, kill=kill):
                    await self._stop(reason, kill=kill)
                    return cmd.CommandResult(True, "stopped")
        except UserError as error:
            return cmd.CommandResult(False, str(error))

    # -- start -------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Brings everything up. Raises UserError when that cannot be; then nothing is left."""
        self._intake = LogIntake(self._store, self._clock)
        self._loop = asyncio.get_running_loop()
        self._store.on_added(self._logs_added)
        self._cpu = CpuLoad(clock=self._clock)
        self._make_owners()
        options = self._settings.options
        self._bus.publish(ev.Starting(agent_tui.__version__, str(self._config.agent), options.agent_name))
        found = self._config.interpreter
        misses = tuple(f"{miss.path} ({miss.how}): {miss.reason}" for miss in found.misses)
        self._bus.publish(ev.InterpreterChosen(str(found.path), found.version, found.how, misses))
        for problem in self._config.environment.problems:
            self._bus.publish(ev.Notice(LogLevel.WARN, problem))
        async with contextlib.AsyncExitStack() as undo:
            undo.callback(self._intake.close)
            http = InfoServer(
                host=options.host, port=options.port, health=lambda: self._registrar.trouble, info=self._info
            )
            await http.start()
            undo.push_async_callback(http.close)
            server = await self._choose_server()
            self._parts = _Parts(server, http)
            undo.pop_all()
        self._bus.publish(ev.HttpListening(f"http://{options.host}:{http.port}"))
        self._spawn(self._pool.run(), "pool")
        self._spawn(self._sampler.run(), "memory")
        self._spawn(self._keep_loaded(), "generations")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop("agent-tui ends", kill=False)

    def _make_owners(self) -> None:
        emit = self._bus.publish
        self._dispatches = Dispatches(clock=self._clock, emit=emit)
        self._pool = Pool(
            target=0,
            starting_at_once=max(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2, 2),
            timings=self._process_timings,
            clock=self._clock,
            emit=emit,
            relay=self._relay,
        )
        self._registrar = Registrar(
            jobs=lambda: self._desk,
            measure_load=self._measure_load,
            job_count=lambda: len(self._desk.running),
            id_changed=self._tell_live,
            clock=self._clock,
            emit=emit,
        )
        self._generations = Generations(
            make_runtime=self._make_runtime,
            apply=self._apply_manifest,
            timings=self._process_timings,
            limits=ControlTimings(),
            clock=self._clock,
            emit=emit,
        )
        self._desk = Desk(
            server=lambda: self._registrar,
            agent=self._current_control,
            settings=self._job_settings,
            around=self,
            clock=self._clock,
            emit=emit,
        )
        self._sampler = MemorySampler(
            processes=lambda: self._pool.processes,
            warn_mb=lambda: self._settings.options.job_memory_warn_mb,
            clock=self._clock,
            emit=emit,
        )

    async def _choose_server(self) -> Server:
        """Also has the secrets masked that logs must never show."""
        server = await choose_server(
            self._settings.options,
            local=self._config.local,
            clock=self._clock,
            on_unassigned=self._unassigned,
            environ=self._config.environment.plain,
        )
        address = server.address
        self._store.mask((address.api_secret, address.worker_token or ""))
        self._bus.publish(server.chosen)
        if not server.chosen.media:
            text = (
                "no media here: jobs get the SDK's fake room (livekit-agents) or an error from ctx.connect() "
                "(native); install livekit-server to join real rooms"
            )
            self._bus.publish(ev.Notice(LogLevel.INFO, text))
        return server

    # -- generations -------------------------------------------------------------------------------

    async def _keep_loaded(self) -> None:
        """Loads the file; when it does not load, again at each save until it does."""
        cause, saved_at = "start", None
        stop = asyncio.Event()
        while not await self._load(cause, saved_at):
            if not self._config.watch:
                return
            saved = await next_save([self._config.agent.resolve().parent], stop)
            if saved is None:
                return
            cause, saved_at = str(saved), self._clock.monotonic()

    async def _load(self, cause: str, saved_at: float | None) -> bool:
        generation = await self._generations.load(cause, saved_at)
        if generation is None:
            return False
        await self._start_inference(generation)
        self._pool.use(generation.plan)
        self._tell_live()
        return True

    async def _apply_manifest(self, manifest: ch.Manifest) -> None:
        """Takes the file's own options and registers under them, while its processes still start."""
        before = self._settings.options
        self._settings.take_manifest(manifest)
        for name in sorted(self._settings.unknown(manifest)):
            self._bus.publish(ev.Notice(LogLevel.WARN, f"{name}, set in the agent's code, has no effect yet"))
        options = self._settings.options
        assert self._parts is not None
        if not self._config.local and _server_fields(before) != _server_fields(options):
            old, self._parts.server = self._parts.server, await self._choose_server()
            await old.close()
        registration_for(options, "")
        self._pool.set_target(options.num_idle_processes)
        version = manifest.sdk_version or agent_tui.__version__
        server = self._parts.server
        await self._registrar.present(options, server.address, server.chosen.kind, version)

    def _make_runtime(self) -> PythonRuntime:
        assert self._parts is not None
        address, options = self._parts.server.address, self._settings.options
        return PythonRuntime(
            self._config.runtime,
            self._config.interpreter.path,
            self._config.agent,
            self._config.cwd,
            self._config.environment.plain,
            self._intake,
            self._clock,
            settings=ChildSettings(session_end_timeout_ms=options.session_end_timeout),
            overlay={
                "LIVEKIT_URL": address.url,
                "LIVEKIT_API_KEY": address.api_key,
                "LIVEKIT_API_SECRET": address.api_secret,
            },
            head_start=self._config.head_start,
        )

    async def _start_inference(self, generation: Generation) -> None:
        if not generation.manifest.inference_runners or self._inference is not None:
            return
        self._inference = Inference(
            generation.number, launch=generation.plan.launch, clock=self._clock, emit=self._bus.publish
        )
        self._inference_task = asyncio.create_task(self._inference.run(), name="inference")

    def _relay(self, process: SupervisedProcess, message: ch.FromChild) -> None:
        if isinstance(message, ch.InferenceRequest):
            if self._inference is None:
                error = "this generation has no inference process"
                process.send(ch.InferenceResponse(message.request_id, None, error))
            else:
                self._inference.ask(message, process.send)

    def _current_control(self) -> Any:
        return self._generations.current.control if self._generations.current else None

    async def _measure_load(self) -> float:
        generation = self._generations.current
        if generation is not None and generation.manifest.has_load_func:
            self._tell_live()
            return await generation.control.ask_load()
        return await self._cpu()

    # -- jobs: what the desk asks and tells (`Surroundings`) ----------------------------------------

    def lease(self) -> Lease:
        return self._pool.lease()

    def dispatched_at(self, job: Job) -> float | None:
        self._dispatches.offered(job.room.name)
        return self._dispatches.dispatched_at(job)

    def launched(self, record: JobRecord) -> None:
        assert record.process is not None
        self._store.assign(record.process.id, record.id)
        self._tell_live()

    def entered(self, record: JobRecord) -> None:
        length = self._job_length()
        if length is not None and self._dispatches.is_ours(record.room):
            self._loop.call_later(
                length, self._desk.end, record.id, ev.JobStatus.SUCCESS, f"job length of {length:g} s reached"
            )

    def _job_length(self) -> float | None:
        assert self._parts is not None
        if self._config.job_length_s is None and not self._parts.server.chosen.media:
            return self._config.unattended_job_length_s
        return self._config.job_length_s

    def over(self, record: JobRecord) -> None:
        if record.declined is not None:
            self._dispatches.lost(record.room, f"the offer was declined: {record.declined}", record.id)
        self._dispatches.settled(record.room)
        self._tell_live()

    def _tell_live(self) -> None:
        generation = self._generations.current
        if generation is None:
            return
        jobs = tuple(
            ch.ActiveJob(r.job.SerializeToString(), r.accept, r.url, r.token, r.worker_id)
            for r in self._desk.running
            if r.accept is not None
        )
        generation.control.live(
            ch.WorkerLive(self._registrar.worker_id or "unregistered", jobs, self._stopping is not None)
        )

    def _unassigned(self, job: Job, why: Unassigned) -> None:
        if self._dispatches.is_ours(job.room.name):
            self._dispatches.lost(job.room.name, why.text, job.id)
        else:
            self._bus.publish(ev.JobLost(job.room.name, why.text, job.id))

    def _job_settings(self) -> JobSettings:
        assert self._parts is not None
        server = self._parts.server
        return JobSettings(server.address.url, not server.chosen.media)

    def _process_timings(self) -> ProcessTimings:
        options = self._settings.options
        return ProcessTimings(
            initialize_s=options.initialize_process_timeout / 1000,
            shutdown_s=options.shutdown_process_timeout / 1000,
            session_end_s=options.session_end_timeout / 1000,
        )

    # -- commands ------------------------------------------------------------------------------------

    async def _dispatch(self, command: cmd.Dispatch) -> cmd.CommandResult:
        assert self._parts is not None
        server, options = self._parts.server, self._settings.options
        refusal = remote_refusal(server.chosen, command.confirmed_host, "a test dispatch")
        if refusal is not None:
            return cmd.CommandResult(False, refusal, refused=True)
        names = [_room_name(command, number) for number in range(command.count)]
        made = await asyncio.gather(
            *(
                self._dispatches.make(
                    server.address, options.agent_name, options.deployment, name, command.metadata
                )
                for name in names
            ),
            return_exceptions=True,
        )
        failures = [result for result in made if isinstance(result, BaseException)]
        if failures:
            text = f"{len(failures)} of {len(made)} dispatches failed: {failures[0]}"
            self._bus.publish(ev.Notice(LogLevel.ERROR, text))
            return cmd.CommandResult(False, text)
        return cmd.CommandResult(True, ", ".join(str(room) for room in made))

    def _set_options(self, values: Any) -> cmd.CommandResult:
        changes = self._settings.edit(values)
        options = self._settings.options
        self._pool.set_target(options.num_idle_processes)
        self._registrar.reconfigure(options)
        if changes:
            self._bus.publish(ev.OptionsChanged(changes))
        return cmd.CommandResult(True, ", ".join(f"{name} = {new}" for name, (_, new) in changes.items()))

    def _info(self) -> WorkerInfo:
        options, source = self._settings.options, self._settings.resolution.sources["agentName"]
        manifest = self._generations.current.manifest if self._generations.current else None
        return WorkerInfo(
            agent_name=options.agent_name,
            worker_type=JobType.Name(registration_for(options, "").job_type),
            active_jobs=len(self._desk.running),
            sdk_version=(manifest.sdk_version if manifest else None) or agent_tui.__version__,
            worker_load=self._bus.state.worker.measured_load,
            agent_name_is_env=source[0].startswith("environment"),
            deployment=options.deployment,
            project_type="python",
        )

    # -- stop ----------------------------------------------------------------------------------------

    async def _stop(self, reason: str, *, kill: bool) -> None:
        if self._parts is None:
            return
        if kill and not self._killed:
            self._killed = True
            self._pool.kill("killed: agent-tui was told to end at once")
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop_all(reason, self._parts), name="stop")
        await asyncio.shield(self._stopping)

    async def _stop_all(self, reason: str, parts: _Parts) -> None:
        jobs = len(self._desk.running)
        timings = self._process_timings()
        deadline = timings.wind_down_s + 2 * timings.shutdown_s if jobs else timings.shutdown_s
        self._bus.publish(ev.Stopping(reason, jobs, deadline))
        self._registrar.drain()
        self._desk.drain()
        for task in parts.tasks:
            task.cancel()
        await asyncio.gather(*parts.tasks, return_exceptions=True)
        closing_inference = self._close_inference(reason)
        await asyncio.gather(self._desk.close(reason), self._pool.close(reason))
        await self._dispatches.close()
        await self._registrar.close()
        await asyncio.gather(
            self._generations.close(reason), closing_inference, parts.http.close(), parts.server.close()
        )
        await asyncio.to_thread(self._intake.close)
        await asyncio.sleep(0)  # the intake's last call
        if self._log_timer is not None:
            self._log_timer.cancel()
        self._tell_logs()
        self._bus.publish(ev.Stopped(reason))
        self._bus.close()

    async def _close_inference(self, reason: str) -> None:
        if self._inference is not None and self._inference_task is not None:
            self._inference.close(reason)
            await self._inference_task

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        assert self._parts is not None
        self._parts.tasks.append(asyncio.create_task(work, name=name))

    # -- logs ----------------------------------------------------------------------------------------

    def _logs_added(self) -> None:
        """From any thread: announce soon, once for all that comes until then."""
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to be told
            self._loop.call_soon_threadsafe(self._announce_soon)

    def _announce_soon(self) -> None:
        if self._log_timer is None:
            self._log_timer = self._loop.call_later(LOG_BATCH_S, self._tell_logs)

    def _tell_logs(self) -> None:
        self._log_timer = None
        end = self._store.end
        if end > self._logs_told:
            first, self._logs_told = self._logs_told, end
            self._bus.publish(ev.LogsAdded(max(first, self._store.first), end, self._store.dropped))


def _room_name(command: cmd.Dispatch, number: int) -> str:
    if not command.room or command.count == 1:
        return command.room
    return f"{command.room}-{number + 1}"


def _server_fields(options: ServerOptions) -> tuple[str, str, str]:
    return options.ws_url, options.api_key, options.api_secret
