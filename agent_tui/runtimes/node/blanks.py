"""Blank processes: Node with the SDK loaded, started in advance, which get the agent's file later.

Node cannot fork, and importing the SDK takes almost a second of CPU time (conversation.md §6). A blank in
stock has done that already, and runs a saved file within milliseconds.
"""

import asyncio
import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import agent_tui
from agent_tui.files import user_folder
from agent_tui.model.child import MemoryMeasure, ProcessKind
from agent_tui.model.clock import Clock
from agent_tui.model.errors import UserError
from agent_tui.model.events import EndedBy, Event, ProcessChanged, ProcessState, StartMethod
from agent_tui.model.logs import LogSink
from agent_tui.runtimes.node.find import NodeInterpreter, with_packages
from agent_tui.runtimes.node.imports import extended, settings_files
from agent_tui.runtimes.spawn import Command, SpawnedProcess, Started, start, system_pidfd_open

CHILD = Path(agent_tui.__file__).parent / "child" / "node"

STOCK = 2
"""How many spare blanks there are. A load uses one to check the file, and one for the first warm process.

Other processes take these only if a job waits: a save soon after a job would find none otherwise.
"""

STOCK_WHILE_BUSY = 3
OFTEN_S = 10.0
"""Two loads within this time, in s, mean that saves are frequent."""

REFILL_AFTER_S = 0.5
"""Seconds before a claimed blank is replaced, so that it does not share the CPU with its replacement.

A save takes 0.2 s; with two blanks that import the SDK at the same time, it takes 0.5 s.
"""

MOST_REFILL_S = 2.0
"""The longest pause before the stock is refilled, even if one blank after the other is claimed."""

MOST_DEATHS = 3
"""After this many unexpected exits in a row, no blank is started in advance until a process is needed."""

IMPORT_LIMIT_S = 60.0
"""Time limit for importing the SDK; the same as that of a process (`ProcessTimings.import_s`)."""

EXITED = "it exited unexpectedly"
NOT_IMPORTED = f"importing the SDK took longer than {IMPORT_LIMIT_S:g} s"
_ENDED_BY = {EXITED: EndedBy.EXIT, NOT_IMPORTED: EndedBy.INIT_TIMEOUT}

COMPILE_CACHE_SINCE = 22

_READ_BY_NODE = ("NODE_", "LD_", "SSL_", "TZ", "LANG", "LC_", "UV_", "OPENSSL_", "TSX_", "ESBUILD_")
"""Prefixes of variables that are read at the start, before a blank gets the agent's environment."""

_SERVER = ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")
"""Variables that agent-tui sets once it has a server: code reads them when it connects."""


def blank_command(
    node: NodeInterpreter, cwd: Path, environ: Mapping[str, str], preload: Sequence[str] = ()
) -> Command:
    """Return the command that starts a blank."""
    main = "main.mjs" if node.is_esm else "main.cjs"
    config = {
        "sdk": str(node.package),
        "version": node.sdk_version,
        "tsx": str(node.tsx) if node.tsx else "",
        "typescript": node.typescript,
        "esm": node.is_esm,
        "preload": list(preload),
    }
    environ = {**_compile_cache(node, environ), **environ}
    arguments = [str(node.path), *node.flags, str(CHILD / main), json.dumps(config)]
    return Command(arguments, cwd, environ, "NODE_CHANNEL_FD", side_variable="AGENT_TUI_STACKS_FD")


def _compile_cache(node: NodeInterpreter, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the variables that let Node cache compiled code, from Node 22 on.

    The SDK's import is then a fifth faster. The agent's code does not see these variables.
    """
    if int(node.version.split(".")[0] or 0) < COMPILE_CACHE_SINCE:
        return {}
    try:
        cache = user_folder(environ, "XDG_CACHE_HOME", ".cache")
    except OSError:
        return {}
    return {"NODE_COMPILE_CACHE": str(cache / "agent-tui" / "node")}


class Blank:
    """One blank, from its start until it gets a file or ends."""

    kind = ProcessKind.BLANK
    generation = 0
    job_id: str | None = None
    had_job = False
    loading_at: float | None = None
    memory_measure = MemoryMeasure.RSS

    def __init__(
        self,
        number: int,
        started: Started,
        environ: Mapping[str, str],
        *,
        has_packages: bool = False,
        since: float = 0.0,
    ) -> None:
        """`has_packages`: it also imports the project's packages. `since`: its start, monotonic, in s."""
        self.id = f"k{number}"
        self.environ = environ
        self.has_packages = has_packages
        self.since = since
        self.for_load = False
        """Whether a load has claimed it."""
        self.started = started
        self.process = SpawnedProcess(started, system_pidfd_open())
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the SDK is imported, or the process has ended before that."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def fits(self, environ: Mapping[str, str]) -> bool:
        """Return whether the blank can be used with this environment.

        It can if the packages that it has imported would have read the same variables.
        """
        differ = {name for name, _ in self.environ.items() ^ environ.items() if name not in _SERVER}
        return not (differ if self.has_packages else any(each.startswith(_READ_BY_NODE) for each in differ))


class Blanks:
    """Keeps a stock of blanks for one project."""

    def __init__(
        self,
        node: NodeInterpreter,
        file: Path,
        cwd: Path,
        sink: LogSink,
        clock: Clock,
        emit: Callable[[Event], None],
        *,
        cores: int = 2,
        jobs_wait: Callable[[], bool] = lambda: True,
        method: StartMethod = StartMethod.BLANK,
        keeps_stock: bool = True,
        first: Started | None = None,
        first_environ: Mapping[str, str] | None = None,
    ) -> None:
        """`first` is a blank that was started before, in `first_environ`.

        `jobs_wait` returns whether jobs wait for a process.

        Without `keeps_stock` (no save will come), or with the method `spawn`, blanks are only started when
        they are claimed.
        """
        self.method = method
        self._keeps_stock = keeps_stock and method is StartMethod.BLANK
        self._node = node
        self._file = Path(os.path.realpath(file))  # `resolve` raises for a link to itself
        self._cwd = cwd
        self._stamps = self._stamps_now()
        self._sink = sink
        self._clock = clock
        self._emit = emit
        self._cores = cores
        self._jobs_wait = jobs_wait
        self._numbers = itertools.count(1)
        self._stock: list[Blank] = []
        self._importing: set[Blank] = set()
        """Blanks that are still importing the SDK, including claimed ones."""
        self._preload: tuple[str, ...] = ()
        self._environ: Mapping[str, str] = first_environ or {}
        self._loads = (-OFTEN_S, -2 * OFTEN_S)
        """The monotonic times at which the last two loads claimed a blank."""
        self._deaths = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._refill: asyncio.TimerHandle | None = None
        self._refill_by = 0.0
        self._closing = False
        if first is not None:
            self._add(self._follow(first, self._environ, has_packages=True))

    @property
    def stock(self) -> tuple[Blank, ...]:
        return tuple(self._stock)

    def claim(
        self, environ: Mapping[str, str], kind: ProcessKind, process_id: str, *, for_load: bool = True
    ) -> Blank:
        """Return a blank for that environment: one from the stock, preferably ready, or a new one.

        With `for_load`, a load waits for the process. The caller owns the blank, and sends it a spec once it
        is `ready`, or gives it back. Raise OSError if no blank can be started, for example because the
        project no longer has the SDK.
        """
        if kind is ProcessKind.CONTROL:
            self._loads = (self._clock.monotonic(), self._loads[0])
            self._discard_if_changed()
        for each in [each for each in self._stock if not each.fits(environ)]:
            self._end(each, "the environment changed")
        self._environ = environ
        self._deaths = 0
        kept = 0 if for_load or not self._keeps_stock or self._jobs_wait() else STOCK
        if len(self._stock) > kept:
            blank = next((each for each in self._stock if each.ready.done()), self._stock[0])
            self._stock.remove(blank)
            self._report(blank, ProcessState.ENDED, f"became {process_id}")
        else:
            blank = self._start(environ)
        blank.for_load = for_load
        self._refill_later()
        return blank

    def give_back(self, blank: Blank) -> None:
        """Put a claimed blank back into the stock. It must not have a spec yet."""
        self._stock.insert(0, blank)
        if self._closing:
            self._end(blank, "agent-tui is stopping")
        elif not blank.ready.done() and self._clock.monotonic() - blank.since >= IMPORT_LIMIT_S:
            self._preload = ()
            self._end(blank, NOT_IMPORTED)
        else:
            asyncio.get_running_loop().add_reader(blank.process.sock, self._readable, blank)
            self._report(blank, ProcessState.IDLE if blank.ready.done() else ProcessState.STARTING)
            self._refill_later()

    def hand_over(self, blank: Blank) -> None:
        """Stop reading a claimed blank's channel, because its owner sends it a spec now."""
        asyncio.get_running_loop().remove_reader(blank.process.sock)

    def _discard_if_changed(self) -> None:
        """End the spare blanks if the project's packages or settings have changed on disk.

        Raise OSError if the project no longer has what a blank needs.
        """
        try:
            node = with_packages(self._node, self._file)
        except UserError as error:
            raise OSError(str(error)) from None
        stamps = self._stamps_now()
        if (node, stamps) == (self._node, self._stamps):
            return
        self._node, self._stamps = node, stamps
        for each in tuple(self._stock):
            self._end(each, "the project's packages changed")

    def _stamps_now(self) -> Mapping[str, int]:
        """Return the modification times of the project's files that a blank reads, such as tsconfig.json."""
        folders = (str(self._file.parent), str(self._cwd))
        settings = list(settings_files(folders))
        chains = [path for each in settings if each.endswith("tsconfig.json") for path, _ in extended(each)]
        return {path: _changed_at(Path(path)) for path in (*settings, *chains)}

    def learn(self, packages: Sequence[str]) -> None:
        """Let future blanks preload the installed packages that the project imports."""
        self._preload = tuple(packages)

    def discard(self, why: str) -> None:
        """End the spare blanks, because they are outdated, and start new ones later."""
        for each in tuple(self._stock):
            self._end(each, why)
        self._refill_later()

    def kill(self, reason: str) -> None:
        """End the spare blanks now, and start no more."""
        self._closing = True
        if self._refill is not None:
            self._refill.cancel()
        for each in tuple(self._stock):
            self._end(each, reason)

    async def close(self, reason: str) -> None:
        """End the spare blanks, and wait until they are reaped."""
        self.kill(reason)
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- the stock ------------------------------------------------------------------------------------

    @property
    def _target(self) -> int:
        if not self._keeps_stock:
            return 0
        often = self._loads[0] - self._loads[1] < OFTEN_S
        recently = self._clock.monotonic() - self._loads[0] < 2 * OFTEN_S
        return STOCK_WHILE_BUSY if often and recently else STOCK

    def _refill_later(self) -> None:
        if self._closing:
            return
        loop = asyncio.get_running_loop()
        if self._refill is None:
            self._refill_by = loop.time() + MOST_REFILL_S
        else:
            self._refill.cancel()
        self._refill = loop.call_at(min(loop.time() + REFILL_AFTER_S, self._refill_by), self._fill)

    def _fill(self) -> None:
        self._refill = None
        if self._closing or self._deaths >= MOST_DEATHS:
            return
        while len(self._stock) > self._target:
            self._end(self._stock[-1], "more blanks than needed")
        # A claimed blank that still imports the SDK comes first if a load or a job waits for it.
        claimed = self._importing - set(self._stock)
        if claimed and (self._jobs_wait() or any(each.for_load for each in claimed)):
            return
        while len(self._stock) < self._target and len(self._importing) < self._cores:
            try:
                self._add(self._start(self._environ))
            except OSError:
                return

    def _start(self, environ: Mapping[str, str]) -> Blank:
        started = start(blank_command(self._node, self._cwd, environ, self._preload))
        return self._follow(started, environ, has_packages=bool(self._preload))

    def _follow(self, started: Started, environ: Mapping[str, str], *, has_packages: bool) -> Blank:
        now = self._clock.monotonic()
        blank = Blank(next(self._numbers), started, environ, has_packages=has_packages, since=now)
        self._importing.add(blank)
        blank.process.sock.setblocking(False)
        asyncio.get_running_loop().add_reader(blank.process.sock, self._readable, blank)
        return blank

    def _add(self, blank: Blank) -> None:
        self._stock.append(blank)
        self._report(blank, ProcessState.STARTING)

    def _readable(self, blank: Blank) -> None:
        """Handle a blank's only line, `blank_ready`, or its end."""
        try:
            data = blank.process.sock.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._importing.discard(blank)
        if not blank.ready.done():
            blank.ready.set_result(None)
            if not data:
                self._preload = ()  # perhaps something that it imported in advance ended it
        if data and blank in self._stock:
            self._report(blank, ProcessState.IDLE)
        elif not data and blank in self._stock:
            self._deaths += 1
            self._end(blank, EXITED)
        elif not data:
            self.hand_over(blank)  # its owner then sees that it has ended
        self._refill_later()

    def _end(self, blank: Blank, reason: str) -> None:
        self._stock.remove(blank)
        self._importing.discard(blank)
        self.hand_over(blank)
        blank.process.kill()
        task = asyncio.create_task(self._reap(blank, reason), name=f"blank {blank.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reap(self, blank: Blank, reason: str) -> None:
        blank.started.ends.attach(blank.id, self._sink)  # its output says why it ended
        exit = await blank.process.wait()
        blank.started.ends.close_channels()
        self._report(blank, ProcessState.ENDED, reason, exit.exit_code, exit.signal)

    def _report(
        self,
        blank: Blank,
        state: ProcessState,
        reason: str = "",
        exit_code: int | None = None,
        signal: int | None = None,
    ) -> None:
        by = _ENDED_BY.get(reason, EndedBy.ORDER) if state is ProcessState.ENDED else None
        self._emit(
            ProcessChanged(
                blank.id,
                blank.process.pid,
                ProcessKind.BLANK,
                state,
                0,
                None,
                reason,
                exit_code,
                signal,
                *(() if by is None else (by,)),
            )
        )


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
