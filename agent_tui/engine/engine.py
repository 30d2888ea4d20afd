"""The engine: wires the parts, accepts commands, and shuts everything down in order."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Self, cast

from livekit.protocol.agent import Job, JobType

import agent_tui
from agent_tui.engine.agent_code import AgentCode
from agent_tui.engine.bus import LIMIT, Bus, Subscription
from agent_tui.engine.commands import CommandHandler
from agent_tui.engine.config import RunConfig
from agent_tui.engine.dispatches import Destination, Dispatches, lacks_agent
from agent_tui.engine.endpoint import Endpoint, WorkerInfo
from agent_tui.engine.registrar import Registrar
from agent_tui.engine.remedies import Place, with_remedy
from agent_tui.engine.servers import ServerManager, join_link
from agent_tui.engine.supervision import InternalErrors, Supervision
from agent_tui.jobs.manager import JobManager, JobSettings
from agent_tui.jobs.record import JobRecord, Stage
from agent_tui.logs.event_text import log_line_of
from agent_tui.logs.intake import LogIntake
from agent_tui.logs.sanitize import MAX_LINE
from agent_tui.logs.store import LogAnnouncer, LogStore
from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model.clock import Clock, SystemClock
from agent_tui.model.errors import InternalError, UserError
from agent_tui.model.logs import LogLevel, LogSource, LogStream
from agent_tui.model.requests import A, Asks, JoinLink, JoinRoom, LogRange, ReadLogs, ReadSecrets
from agent_tui.model.session_events import SessionEvent
from agent_tui.model.state import LIVE_PHASES, AppState
from agent_tui.options.declare import BY_NAME, Effect, ServerOptions
from agent_tui.processes.memory import MemorySampler
from agent_tui.processes.pool import REFILL_AFTER_S, Pool, PoolEvent, Warmed
from agent_tui.processes.process import SupervisedProcess, Supervisor
from agent_tui.runtimes.kinds import AGENTS_JS
from agent_tui.runtimes.orphans import become_subreaper
from agent_tui.settings.manager import Push, SettingsManager, notice_of, registration_for
from agent_tui.settings.settings import Settings, defaults_context, starting_at_once
from agent_tui.system.descriptors import DESCRIPTORS
from agent_tui.worker.messages import Assigned, Offer, Terminated, WorkerEvent
from agent_tui.worker.worker import Worker

if TYPE_CHECKING:
    from agent_tui.local_server.dispatcher import Unassigned

MEMORY_GRACE_S = 2.0
"""Seconds that a job over its memory limit has to leave its room. Its memory may grow during that time."""

KILLED = "killed: agent-tui was forced to stop"
KILLED_AFTER_FAULT = "killed: agent-tui failed to end it gracefully"
KILL_S = 2.0
"""Seconds to wait until killed processes are reaped."""

Handler = Callable[[Any], Awaitable[cmd.CommandResult]]
"""Carries out the commands of one class. Raises UserError if one cannot be carried out."""

MESSAGE = 2 * 1024 * 1024
"""Maximum length of a text in an event of a conversation, in characters. For other events: `MAX_LINE`."""

LINK_S = 4.0
"""Seconds to wait for the server to say whether a room has the agent, before a join link is made."""


class Engine:
    """Runs one agent file. `async with` starts the engine and shuts everything down on exit, even after an
    exception.
    """

    def __init__(self, config: RunConfig, clock: Clock | None = None) -> None:
        """Raise UserError for an option that cannot be used."""
        self._config = config
        self._clock = clock or SystemClock()
        self.up = False
        """Whether everything has started, so that commands are accepted."""
        self._redactor = config.redactor
        self._store = LogStore(self._clock, redactor=self._redactor)
        self._bus = Bus(self._clock, self._clean, self._log_event)
        self._settings = SettingsManager(
            Settings(
                config.environment or config.read_environment(),
                config.flags,
                defaults_context(config.runtime, local=config.local),
            ),
            read_environment=config.read_environment,
            emit=self.publish,
            watchdogs=config.watchdogs,
        )
        self._redactor.mask((self._settings.options.api_secret, self._settings.options.worker_token))
        self._errors = InternalErrors(self._bus.publish)
        self._supervision = Supervision(
            self._errors, give_up=self._end_after_failure, clock=self._clock, emit=self._bus.publish
        )
        self._handlers: dict[type[object], Handler] = {}
        self._close_first: list[Callable[[], Awaitable[object]]] = []
        self._stopping: asyncio.Task[None] | None = None
        self._drain_over = asyncio.Event()

    def add_handlers(
        self, handlers: Mapping[type[object], Handler], close: Callable[[], Awaitable[object]]
    ) -> None:
        """Add the handlers of another component; `close` is called before anything else is closed."""
        self._handlers |= handlers
        self._close_first.append(close)

    # -- for front ends ----------------------------------------------------------------------------

    @property
    def state(self) -> AppState:
        """The current state, from which a front end draws itself."""
        return self._bus.state

    async def closed(self) -> None:
        """Wait until everything has ended and the state is final."""
        await self._bus.closed()

    def subscribe(self, limit: int = LIMIT) -> Subscription:
        """Subscribe to the state and the events after it."""
        return self._bus.subscribe(limit)

    async def request(self, request: Asks[A]) -> A:
        """Answer a request with frozen data. Raise UserError if it is not available."""
        answer: Any
        match request:
            case ReadLogs(first, end):
                answer = LogRange(self._store.pull(first, end))
            case ReadSecrets():
                answer = self._settings.current.secrets
            case JoinRoom(room):
                if not self.up:
                    raise UserError("no server yet: agent-tui is starting")
                answer = await self._join_link(room)
            case _:
                raise TypeError(request)
        return cast("A", answer)

    async def _join_link(self, room: str) -> JoinLink:
        server, options = self._servers.current, self._settings.options
        has_agent = any(job.room == room and job.phase in LIVE_PHASES for job in self.state.jobs.values())
        needs_dispatch = False
        if server.chosen.media and not has_agent:
            with contextlib.suppress(Exception):  # a server that does not answer is reported elsewhere
                async with asyncio.timeout(LINK_S):
                    to = Destination(server.address, options.agent_name, options.deployment)
                    needs_dispatch = await lacks_agent(to, room, options.server_type)
        return join_link(
            server.chosen,
            server.address,
            room,
            options.agent_name,
            options.deployment,
            needs_dispatch=needs_dispatch,
        )

    async def send(self, command: cmd.Command) -> cmd.CommandResult:
        """Carry out a command. The text of the result is one line, for the user."""
        if not self.up:
            return cmd.CommandResult(False, "agent-tui is not running")
        try:
            if isinstance(command, cmd.Stop):
                await self._stop(command.reason, kill=command.kill, drain=command.drain)
                return cmd.CommandResult(True, "stopped")
            result = await self._handlers.get(type(command), self._commands.handle)(command)
        except UserError as error:
            result = cmd.CommandResult(False, str(error))
        return self._redactor.clean_value(result, limit=sys.maxsize)  # already shortened

    # -- start -------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start everything. If that fails, end everything and raise UserError."""
        options = self._settings.options
        become_subreaper()
        DESCRIPTORS.raise_limit()
        asyncio.get_running_loop().set_exception_handler(self._supervision.report_loop_error)
        self._announce_start()
        async with contextlib.AsyncExitStack() as undo:
            self._intake = LogIntake(self._store, self._clock)
            undo.callback(self._intake.close)
            self._announcer = LogAnnouncer(self._store, self._bus.publish)
            undo.callback(self._announcer.close)
            self._http = Endpoint(
                health=self._health, info=self._info, metrics=self._metrics, emit=self._bus.publish
            )
            await self._http.listen(options)
            undo.push_async_callback(self._http.close)
            self._servers = ServerManager(
                self._settings,
                self._redactor,
                local=self._config.local,
                clock=self._clock,
                emit=self._bus.publish,
                on_unassigned=self._unassigned,
            )
            await self._servers.start()
            self._make_owners()
            undo.pop_all()
        self.up = True
        self._supervision.start("pool", self._pool.run)
        self._supervision.start("memory", self._sampler.run)
        self._supervision.start("generations", self._code.reloader.run)
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object, /) -> None:
        """End everything. Raise InternalError if a part of the engine failed, unless the body raised."""
        await self._stop("end of the run", kill=False)
        if self._errors.first is not None and error is None:
            raise self._errors.first

    def _announce_start(self) -> None:
        self._bus.publish(
            ev.Starting(
                agent_tui.__version__,
                str(self._config.agent),
                self._settings.options.agent_name,
                self._follows_sessions,
            )
        )
        self._bus.publish(ev.SettingsChanged(self._settings.current.view))
        self._bus.publish(self._config.interpreter.chosen())
        clear = [
            name
            for name, given in self._config.flags.items()
            if BY_NAME[name].kind.secret and given.where == BY_NAME[name].flag
        ]
        if clear:
            what = f"{', '.join(clear)} on the command line: all users of this machine can read it"
            self._bus.publish(ev.Notice(LogLevel.WARN, f"{what}; use @FILE or an environment variable"))
        for problem in self._settings.environment.problems:
            self._bus.publish(notice_of(problem))

    def _make_owners(self) -> None:
        """Create the parts bottom-up: calls go down, events come up."""
        config, settings, clock, emit = self._config, self._settings, self._clock, self.publish
        self._registrar = Registrar(
            on_event=self._on_worker_event,
            changed=self._update_live,
            clock=clock,
            emit=emit,
            failed=self._supervision.failed,
        )
        supervisor = Supervisor(settings.process_timings, clock, emit)
        self._pool = Pool(
            supervisor,
            self._on_pool_event,
            starting_at_once=starting_at_once(),
            refill_after_s=REFILL_AFTER_S,
        )
        self._jobs = JobManager(
            pool=self._pool,
            settings=self._job_settings,
            changed=self._job_changed,
            clock=clock,
            emit=emit,
            clean=self._redactor.clean,
        )
        self._code = AgentCode(
            config,
            settings,
            self._servers,
            self._registrar,
            self._pool,
            supervisor,
            self._jobs,
            self._intake,
        )
        self._sampler = MemorySampler(
            processes=self._code.measured,
            warn_mb=settings.options.job_memory_warn_mb,
            limit_mb=settings.options.job_memory_limit_mb,
            over_limit=self._over_memory_limit,
            measure=config.memory_measure,
            clock=clock,
            emit=emit,
        )
        self._dispatches = Dispatches(registrar=self._registrar, clock=clock, emit=emit)
        settings.push_to(self._pushes(), self._registrar.wait_until_accepted)
        self._commands = CommandHandler(
            config,
            self._bus,
            self._redactor,
            settings=settings,
            servers=self._servers,
            jobs=self._jobs,
            code=self._code,
            sampler=self._sampler,
            dispatches=self._dispatches,
        )

    def _pushes(self) -> dict[Effect, Push]:
        """Return the functions that apply changed options, by effect."""
        return {
            Effect.LISTENER: self._http.listen,
            Effect.SERVER: self._reload,
            Effect.CODE: self._reload,
            Effect.REGISTRATION: self._code.register,
            Effect.WORKER: self._registrar.reconfigure,
            Effect.POOL: lambda options: self._pool.set_target(options.num_idle_processes),
            Effect.MEMORY: lambda options: self._sampler.set_limits(
                warn_mb=options.job_memory_warn_mb, limit_mb=options.job_memory_limit_mb
            ),
        }

    async def _reload(self, _: ServerOptions) -> None:
        if not await self._code.reloader.reload():
            error = self._bus.state.generation.error or "the file does not load"
            raise UserError(f"{error}; the old values are kept")

    def _on_worker_event(self, worker: Worker, event: WorkerEvent) -> None:
        """Handle the messages of the server and the changes of the connection, in order."""
        match event:
            case Offer():
                self._jobs.offer(event, worker, self._dispatches.claim(event.job))
            case Assigned():
                self._jobs.assigned(event)
            case Terminated(job_id=job_id):
                self._jobs.terminated(job_id)
            case _:
                self._registrar.handle(worker, event)

    def _on_pool_event(self, event: PoolEvent) -> None:
        if isinstance(event, Warmed):
            self._sampler.note_baseline(event.process, is_awaited=event.is_awaited)
        else:
            self._code.on_pool_event(event)

    def _clean(self, event: ev.Event) -> ev.Event:
        limit = MESSAGE if isinstance(event, SessionEvent) else MAX_LINE
        return self._redactor.clean_value(with_remedy(event, self._place), limit=limit)

    def _place(self) -> Place:
        interpreter = self._config.interpreter
        python = None if self._config.runtime == AGENTS_JS else interpreter.path
        return Place(self._config.agent, self._config.cwd, python, self._settings.environment)

    def _job_settings(self) -> JobSettings:
        """Return the settings for a new job.

        Without media, a job gets the SDK's mock room. No participant ever leaves that, so test jobs get a
        time limit.
        """
        server, config = self._servers.current, self._config
        length = config.job_length_s
        if length is None and not server.chosen.media:
            length = config.unattended_job_length_s
        has_media = server.chosen.media
        return JobSettings(
            server.address.url,
            not has_media,
            server.address.api_secret,
            config.debug_port,
            length,
            sessions=self._follows_sessions,
            text_only=not has_media if config.text_only is None else config.text_only,
            turn_timeout_s=config.turn_timeout_s,
            pinned=self._settings.options.pin,
            prices=self._settings.environment.prices,
        )

    @property
    def _follows_sessions(self) -> bool:
        chosen = self._config.sessions
        return not self._settings.options.production if chosen is None else chosen

    def _job_changed(self, record: JobRecord) -> None:
        if record.stage is Stage.ENDED:
            self._dispatches.ended(record)
        self._update_live()

    def _unassigned(self, job: Job, why: "Unassigned") -> None:
        """Report a job for which the embedded server found no worker."""
        self._dispatches.lost(job, why.text)

    def _over_memory_limit(self, process: SupervisedProcess, why: str) -> None:
        """Ask the job to leave its room, and kill the process if it is still there after a moment."""
        job_id, by = process.job_id, ev.EndedBy.MEMORY_LIMIT
        if job_id is None or not self._jobs.end(job_id, ev.JobStatus.FAILED, why, by):
            process.kill(why, by)
        else:
            asyncio.get_running_loop().call_later(MEMORY_GRACE_S, process.kill, why, by)

    def publish(self, event: ev.Event) -> None:
        """Add an event to the stream, after the log lines that led to it."""
        self._announcer.announce()
        if isinstance(event, ev.ProcessChanged):
            self._store.set_owner(event.id, event.generation, event.job_id)
            if event.state is ev.ProcessState.ENDED:
                self._store.process_ended(event.id)
        self._bus.publish(event)

    def _log_event(self, event: ev.Event) -> None:
        """Add the event's log line, if it has one, so that the logs on the screen include these events."""
        if (line := log_line_of(event)) is not None:
            self._store.add(LogSource("", LogStream.EVENT), *line)

    def _update_live(self) -> None:
        self._code.update_live()

    # -- over HTTP ------------------------------------------------------------------------------------

    def _health(self) -> str | None:
        return self._registrar.problem if self.up else "starting"

    def _info(self) -> WorkerInfo:
        options = self._settings.options
        return WorkerInfo(
            agent_name=options.agent_name,
            worker_type=JobType.Name(registration_for(options, "").job_type),
            active_jobs=len(self._jobs.running) if self.up else 0,
            sdk_version=self._settings.current.version,
            worker_load=self._bus.state.worker.measured_load,
            agent_name_is_env=self._settings.resolution.agent_name_is_env,
            deployment=options.deployment,
            project_type="nodejs" if self._config.runtime == AGENTS_JS else "python",
        )

    def _metrics(self) -> bytes:
        from agent_tui.engine.metrics import metrics  # rarely requested, and slow to import

        return metrics(self._bus.state, self._settings.options.num_idle_processes)

    # -- stop ----------------------------------------------------------------------------------------

    async def _stop(self, reason: str, *, kill: bool, drain: bool = False) -> None:
        if not self.up:
            return
        if kill:
            self._kill_all(KILLED)
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop_all(reason, drain=drain), name="stop")
        await asyncio.shield(self._stopping)

    async def _stop_all(self, reason: str, *, drain: bool) -> None:
        """End jobs first, then the registration, then everything else.

        Every step runs, even if one before it failed.
        """
        errors = self._errors
        try:
            with errors.caught("farewell"):
                await self._hold_offers(reason, drain=drain)
            await self._supervision.close()
            with errors.caught("generations"):
                self._code.end_stock(reason)  # jobs may take a while to end
            await errors.gather(job_manager=self._jobs.close(reason), pool=self._pool.close(reason))
            await errors.gather(dispatches=self._dispatches.close())
            await errors.gather(registrar=self._registrar.close())
            await errors.gather(
                generations=self._code.close(reason),
                endpoint=self._http.close(),
                server=self._servers.current.close(),
            )
            if errors.first is not None:
                await self._kill_what_is_left()
            await errors.gather(logs=asyncio.to_thread(self._intake.close))
            with errors.caught("logs"):
                self._announcer.close()
            self._bus.publish(ev.Stopped(reason))
        finally:
            self._bus.close()

    async def _hold_offers(self, reason: str, *, drain: bool) -> None:
        """Stop accepting jobs, and let running ones finish if that is requested."""
        jobs = len(self._jobs.running)
        timings, options = self._settings.process_timings(), self._settings.options
        deadline = timings.wind_down_s + 2 * timings.shutdown_s if jobs else timings.shutdown_s
        drain_s = options.drain_timeout / 1000 if (drain or options.production) and jobs else None
        self._bus.publish(ev.Stopping(reason, jobs, deadline + (drain_s or 0.0), drain_s))
        with self._errors.caught("job_manager"):
            self._jobs.drain()  # first, so that the registrar reports it to the agent's functions
        with self._errors.caught("registrar"):
            self._registrar.drain()
        for close in self._close_first:
            with self._errors.caught("tuner"):
                await close()
        if drain_s is not None:
            await self._let_jobs_finish(drain_s)

    def _kill_all(self, reason: str) -> None:
        self._drain_over.set()
        with self._errors.caught("pool"):
            self._pool.kill(reason)
        with self._errors.caught("generations"):
            self._code.kill(reason)

    async def _kill_what_is_left(self) -> None:
        """Kill processes that a failed part may have left running."""
        self._kill_all(KILLED_AFTER_FAULT)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_S):
                await self._pool.wait_reaped()

    async def _let_jobs_finish(self, limit_s: float) -> None:
        """Wait for the running jobs, at most `limit_s` seconds; 0 is no limit (agents-js.md §2,
        drainTimeout).
        """
        waits = [asyncio.create_task(each) for each in (self._jobs.finished(), self._drain_over.wait())]
        try:
            await asyncio.wait(waits, timeout=limit_s or None, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _end_after_failure(self, error: InternalError) -> None:
        self._ending = asyncio.create_task(self._stop(str(error), kill=False), name="end after a failure")
