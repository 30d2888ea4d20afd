"""The front end without a screen: prints events, makes test jobs, and decides the exit code."""

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent_tui.engine.bus import LaggedError, Subscription
from agent_tui.engine.engine_api import EngineAPI
from agent_tui.headless import jsonl, lines
from agent_tui.headless.talk import Talk
from agent_tui.headless.writer import Writer
from agent_tui.jobs.sessions import TURN_TIMEOUT_S
from agent_tui.logs.event_text import path_text
from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model import session_events as se
from agent_tui.model.dispatches import remote_refusal
from agent_tui.model.errors import ExitCode, InternalError, UserError
from agent_tui.model.logs import LogLevel, LogStream
from agent_tui.model.requests import ReadLogs
from agent_tui.model.state import LIVE_PHASES, AppState, JobPhase
from agent_tui.model.wording import counted


@dataclass(frozen=True, slots=True)
class HeadlessOptions:
    """Options of a headless run: the output format, the test jobs, and when to exit."""

    json: bool = False
    dispatch: int = 0
    exit_when_idle: bool = False
    watch: bool = True
    confirmed_host: str = ""
    say: tuple[str, ...] = ()
    """Turns to say to each test job; `-` stands for the lines of standard input."""
    turn_timeout_s: float = TURN_TIMEOUT_S
    ready_within_s: float | None = None
    """Exit with an error if the agent is not ready within this time, in s; None for no limit."""


class Work(Protocol):
    """What a run does once the agent is ready, instead of single test jobs. The run then ends."""

    async def run(self, say: Callable[[str], None]) -> ExitCode:
        """Do the work, and return the exit code. `say` prints a line, except with `--json`."""
        ...

    def last_lines(self) -> Sequence[str]:
        """Return lines to print at the end, except with `--json`."""
        ...

    def last_event(self) -> dict[str, Any] | None:
        """Return the last event to print with `--json`."""
        ...


@dataclass(slots=True)
class ExitPolicy:
    """Follows the events, and decides when to exit, and with which code."""

    options: HeadlessOptions
    tests: bool = False
    """Whether the run makes test jobs other than those of `options.dispatch`, as `tune` does."""
    made: set[int] = field(default_factory=set)
    """Numbers of the test dispatches."""
    settled: set[int] = field(default_factory=set)
    """Numbers of the test dispatches whose job ended or was lost; includes 0 after such a job of others."""
    failed: bool = False
    loaded: bool = False
    running: set[str] = field(default_factory=set)
    server_lost: str | None = None
    talking: bool = False
    """Whether there are turns left to say."""
    failures: dict[str, None] = field(default_factory=dict)
    """Failures about which users can do something, each once."""
    refusal: str | None = None
    load_error: str | None = None

    def observe(self, event: ev.Event) -> ExitCode | None:
        """Return the exit code if it is time to exit, else None."""
        match event:
            case ev.ServerChosen() if self.options.dispatch or self.tests:
                self.refusal = remote_refusal(event, self.options.confirmed_host, "a test dispatch")
                if self.refusal is not None:
                    return ExitCode.USAGE
            case ev.WorkerRegistered():
                self.server_lost = None
            case ev.GenerationReady():
                self.loaded = True
            case ev.GenerationFailed(error=error, file=file, line=line, todo=todo) if not self.loaded and (
                self.options.exit_when_idle or not self.options.watch
            ):
                place = f"{path_text(file)}:{line}" if file and line else file
                self.load_error = _advised(f"failed to load: {error} ({place})" if place else error, todo)
                return ExitCode.JOB_FAILED
            case (
                ev.WorkerRefused(reason=reason, todo=todo)
                | ev.WorkerDisconnected(reason=reason, retry_in_s=None, todo=todo)
            ):
                self.server_lost = _advised(reason, todo)
            case ev.Dispatched(test_dispatch=number):
                self.made.add(number)
            case ev.OfferReceived(job_id=job_id):
                self.running.add(job_id)
            case ev.OfferAnswered(job_id=job_id, accepted=False):
                self.running.discard(job_id)
            case ev.JobEnded(job_id=job_id, test_dispatch=number, status=status, reason=reason, todo=todo):
                self.running.discard(job_id)
                if todo:
                    self.failures[_advised(reason, todo)] = None
                self.settled.add(number)
                self.failed |= status is ev.JobStatus.FAILED
            case se.SessionFailed(todo=todo, retrying=False) if todo:
                component = f"{event.component.upper()}: " if event.component else ""
                self.failures[_advised(f"{component}{event.error}", todo)] = None
            case se.TurnEnded(error=error) if error:
                self.failed = True
            case ev.JobLost(job_id=lost, test_dispatch=number):
                self.running.discard(lost or "")
                self.settled.add(number)
                self.failed = True
            case _:
                pass
        if self.server_lost is not None and not self.running:
            return ExitCode.SERVER
        return self.when_idle()

    def catch_up(self, state: AppState) -> ExitCode | None:
        """Apply the state after missed events. Return the exit code if it is time to exit, else None."""
        for job in state.jobs.values():
            if job.phase in LIVE_PHASES:
                self.running.add(job.id)
                continue
            self.running.discard(job.id)
            if job.phase in (JobPhase.ENDED, JobPhase.LOST):
                self.settled.add(job.test_dispatch)
                self.failed |= job.phase is JobPhase.LOST or job.status is ev.JobStatus.FAILED
        return self.when_idle()

    def when_idle(self) -> ExitCode | None:
        """Return the exit code if nothing is left to do, else None."""
        if self.talking or not self.options.exit_when_idle or not self.settled or self.running:
            return None
        if self.options.dispatch and len(self.made) < self.options.dispatch:
            return None
        if not self.made <= self.settled:
            return None
        return ExitCode.JOB_FAILED if self.failed else ExitCode.OK


def _advised(reason: str, todo: str) -> str:
    return f"{reason}; {todo}" if todo else reason


class Printer:
    """Prints events, and the log lines that they announce. With `brief` it skips most of them."""

    def __init__(
        self, engine: EngineAPI, write: Callable[[str], None], *, json: bool, brief: bool = False
    ) -> None:
        self._engine = engine
        self._write = write
        self._json = json
        self._brief = brief and not json
        self._seq = itertools.count(1)

    async def print(self, stamped: ev.Stamped) -> None:
        """Print one event."""
        if isinstance(stamped.event, ev.LogsAdded):
            answer = await self._engine.request(ReadLogs(stamped.event.first, stamped.event.end))
            least = self._engine.state.settings.log_level
            if self._brief:
                least = max(least, LogLevel.ERROR)
            for log in answer.lines:
                if log.level >= least and log.source.stream is not LogStream.EVENT:
                    self._out(jsonl.log_line(log) if self._json else lines.log_to_line(log), log.ts)
            return
        if self._brief and not isinstance(stamped.event, lines.BRIEF):
            return
        self._out(jsonl.event(stamped.event) if self._json else lines.to_line(stamped), stamped.ts)

    async def notice(self, text: str) -> None:
        """Print a warning as an event."""
        now = time.time()
        await self.print(ev.Stamped(0, now, ev.Notice(LogLevel.WARN, text)))

    def say(self, text: str) -> None:
        """Print a line, except with `--json`."""
        if not self._json:
            self._write(text)

    def last(self, work: Work) -> None:
        """Print the result of the work, after everything else."""
        if (event := work.last_event()) is not None and self._json:
            self._out(event, time.time())
        for line in work.last_lines():
            self.say(line)

    def _out(self, form: dict[str, Any] | str | None, ts: float) -> None:
        if isinstance(form, dict):
            form = jsonl.line(form, ts, next(self._seq))
        if form is not None:
            self._write(form)


class Headless:
    """One headless run of an engine, which must not have been started yet."""

    def __init__(self, engine: EngineAPI, options: HeadlessOptions, work: Work | None = None) -> None:
        self._engine = engine
        self._options = options
        self._work = work
        self._policy = ExitPolicy(options, tests=work is not None, talking=bool(options.say))
        self._loop = asyncio.get_running_loop()
        # JSON is always UTF-8; lines for people use the encoding of the terminal.
        encoding = "utf-8" if options.json else sys.stdout.encoding or "utf-8"
        self._writer = Writer(sys.stdout.fileno(), encoding, self._cannot_write)
        self._printer = Printer(engine, self._writer.write, json=options.json, brief=work is not None)
        self._decided: asyncio.Future[ExitCode] = asyncio.get_running_loop().create_future()
        self._dispatching: asyncio.Task[None] | None = None
        self._talk = (
            Talk(engine, options.say, options.turn_timeout_s, options.dispatch) if options.say else None
        )

    async def run(self) -> ExitCode:
        """Run the engine until it is time to exit, or it is stopped. Return the exit code.

        Raises UserError if the engine cannot start, and InternalError if a part of it failed.
        """
        # Subscribed before the start, so that nothing is missed.
        printing = asyncio.create_task(self._print(self._engine.subscribe()), name="headless")
        try:
            async with self._engine:
                if self._options.ready_within_s is not None:
                    self._loop.call_later(self._options.ready_within_s, self._exit_unless_ready)
                futures: set[asyncio.Future[Any]] = {printing, self._decided}
                await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
                await self._end_work()
            await printing
            if self._work is not None:
                self._printer.last(self._work)
        except InternalError:
            await printing  # the engine has ended; print the remaining events
            raise
        finally:
            printing.cancel()
            await asyncio.gather(printing, return_exceptions=True)
            if unread := await asyncio.to_thread(self._writer.close):
                print(
                    f"agent-tui: {counted(unread, 'line')} not printed: nothing reads stdout", file=sys.stderr
                )
        policy = self._policy
        for line in (policy.refusal, policy.server_lost, policy.load_error, *policy.failures):
            if line is not None and self._decided.done() and self._decided.result():
                print(f"agent-tui: {' '.join(line.splitlines())}", file=sys.stderr)
        return self._decided.result() if self._decided.done() else ExitCode.OK

    async def _print(self, stream: Subscription) -> None:
        while True:
            try:
                async for batch in stream.batches():
                    for stamped in batch:
                        await self._printer.print(stamped)
                        if self._talk is not None:
                            self._talk.observe(stamped.event)
                        self._decide(self._policy.observe(stamped.event))
                    self._dispatch_when_ready(stream.state)
                    if dropped := self._writer.take_dropped():
                        await self._printer.notice(
                            f"{counted(dropped, 'line')} not printed: the reader of stdout is too slow"
                        )
                return
            except LaggedError as lag:
                stream = self._engine.subscribe()
                await self._printer.notice(f"some events were not printed: {lag}")
                self._decide(self._policy.catch_up(stream.state))

    def _cannot_write(self, error: OSError) -> None:
        """Exit, with an error unless the reader has gone (`| head`). Called in the writing thread."""
        closed = isinstance(error, BrokenPipeError)
        if not closed:
            print(f"agent-tui: cannot write to stdout: {error.strerror}", file=sys.stderr)
        code = ExitCode.OK if closed else ExitCode.JOB_FAILED
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._decide, code)

    def _decide(self, code: ExitCode | None) -> None:
        if code is not None and not self._decided.done():
            self._decided.set_result(code)

    def _dispatch_when_ready(self, state: AppState) -> None:
        target = state.settings.options.num_idle_processes
        if self._dispatching is not None or not state.is_ready_for_tests(target):
            return
        if self._work is not None:
            self._dispatching = asyncio.create_task(self._do(self._work), name="work")
        elif self._options.dispatch:
            self._dispatching = asyncio.create_task(self._dispatch(), name="test dispatches")

    async def _do(self, work: Work) -> None:
        try:
            self._decide(await work.run(self._printer.say))
        except UserError as error:
            self._policy.refusal = str(error)
            self._decide(error.exit_code)

    async def _end_work(self) -> None:
        if self._dispatching is not None:
            self._dispatching.cancel()
            await asyncio.gather(self._dispatching, return_exceptions=True)

    def _exit_unless_ready(self) -> None:
        if self._dispatching is None and not self._decided.done():
            self._policy.load_error = f"the agent was not ready within {self._options.ready_within_s:g} s"
            self._decide(ExitCode.JOB_FAILED)

    async def _converse(self, talk: Talk) -> None:
        problem = await talk.run()
        if problem:
            self._policy.failed = True
            print(f"agent-tui: {problem}", file=sys.stderr)
        self._policy.talking = False
        self._decide(self._policy.when_idle())

    async def _dispatch(self) -> None:
        command = cmd.Dispatch(self._options.dispatch, confirmed_host=self._options.confirmed_host)
        result = await self._engine.send(command)
        if result.ok:
            if self._talk is not None:
                await self._converse(self._talk)
            return
        print(f"agent-tui: {result.text}", file=sys.stderr)
        if result.refused:
            self._decide(ExitCode.USAGE)
        elif self._options.exit_when_idle:
            self._decide(ExitCode.JOB_FAILED)
